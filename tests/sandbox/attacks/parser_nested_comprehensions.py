# attack: comprehensions and functions nested as deep as the parser permits
# expect: ok exit cpu
for text in (
    "[" * 19 + "x" + " for x in y]" * 19,
    "lambda: " * 90 + "0",
    "f'{" * 4 + "x" + "}'" * 4,
    "(yield " * 90 + ")" * 90,
):
    try:
        compile(text, "x", "eval")
    except (SyntaxError, RecursionError, MemoryError):
        pass
for depth in (19, 99, 1000):
    block = "".join(" " * level + "if 1:\n" for level in range(depth)) + " " * depth + "pass\n"
    try:
        compile(block, "x", "exec")
    except (SyntaxError, RecursionError, MemoryError, IndentationError):
        pass
result = True
