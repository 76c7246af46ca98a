# attack: the text of a list that is nested too deep, with the guard against recursion off
# expect: signal exit cpu
import sys

deep = None
for _ in range(150000):
    deep = [deep]
sys.setrecursionlimit(1 << 30)
repr(deep)
