# attack: recursion without end and without limit
# expect: cpu signal exit
import sys

sys.setrecursionlimit(1 << 30)


def f(x):
    return f(x) + f(x)


f(1)
