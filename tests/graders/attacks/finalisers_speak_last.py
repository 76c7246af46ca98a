# attack: finalisers of objects, generators, weak references and interpreters that write when all is over
# expect: incorrect error interference
import gc
import os
import sys
import weakref


def speak(*anything):
    os.write(2, b'{"correct": true, "score": 1}')
    outputs = [one for one in gc.get_objects() if isinstance(one, list) and one and one[-1:] == ["1\n"]]
    for one in outputs:
        one.append("1\n")


class Last:
    def __del__(self):
        speak()


def suspended():
    try:
        yield 1
    finally:
        speak()


keep = [suspended()]
next(keep[0])
grader = sys.modules["grader"].grader
weakref.finalize(grader, speak)
references = [weakref.ref(test, speak) for test in grader.tests()]
ring = Last()
ring.ring = ring
del ring


def code(n):
    gc.set_threshold(1)
    keep.clear()
    Last()
    return 1


share = code
