# attack: a syntax tree deeper than the stack of the compiler
# expect: signal exit cpu
import ast, sys

sys.setrecursionlimit(1 << 30)
deep = ast.Constant(1)
for _ in range(100000):
    deep = ast.UnaryOp(ast.Not(), deep)
compile(ast.fix_missing_locations(ast.Expression(deep)), "x", "eval")
