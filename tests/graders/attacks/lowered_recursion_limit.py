# attack: leaves the harness no stack: a low recursion limit, deep frames, and a profiler that recurses
# expect: error incorrect interference
import sys


def code(n):
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(depth + 3)
    return 1


share = code
