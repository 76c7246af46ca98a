# attack: exceptions chained in a ring twenty thousand deep, with notes, groups and source of their own making
# expect: error
import linecache


class Loader:
    def get_source(self, name):
        raise SystemExit(0)


globals()["__loader__"] = Loader()
linecache.clearcache()
first = last = ValueError("0")
for number in range(20000):
    following = ValueError(str(number))
    following.__cause__ = last
    last = following
first.__cause__ = last
if hasattr(last, "add_note"):
    last.add_note("note\n" * 1000)
error = SyntaxError("x", ("\0", 10**9, -(10**9), "y" * 100000, -1, -1))
error.__context__ = last
raise error
