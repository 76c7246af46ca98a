# attack: a nested object pickled in C, with the guard against recursion off
# expect: signal exit cpu
import pickle, sys

deep = None
for _ in range(150000):
    deep = [deep]
sys.setrecursionlimit(1 << 30)
pickle.dumps(deep)
