# attack: replaces how classes are built, contexts entered and translations made, under the harness
# expect: incorrect error interference
import builtins
import contextlib
import contextvars


class Quiet:
    def __init__(self, *anything, **more):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *anything):
        return True


contextlib.suppress = contextlib.contextmanager = Quiet
contextvars.copy_context().run(lambda: None)
builtins.__build_class__ = lambda function, name, *bases, **more: Quiet
builtins._ = lambda message: "1"
builtins.BaseException = builtins.Exception = builtins.MemoryError = ()
builtins.bool = builtins.len = lambda *anything: 1


def code(n):
    raise ZeroDivisionError


share = code
