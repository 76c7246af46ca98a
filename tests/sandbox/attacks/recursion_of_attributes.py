# attack: objects that call themselves where the interpreter looks for attributes, equality and hashes
# expect: signal exit cpu
import sys

sys.setrecursionlimit(1 << 30)


class Mirror:
    def __getattr__(self, name):
        return getattr(self, name + "x")

    def __eq__(self, other):
        return other == self


Mirror() == Mirror()
