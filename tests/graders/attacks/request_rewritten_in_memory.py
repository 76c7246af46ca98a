# attack: overwrites the request in the harness's frame and in raw memory, so that another grader seems meant
# expect: incorrect error interference
import ctypes
import gc
import sys

frame = sys._getframe()
while frame is not None:
    for value in list(frame.f_locals.values()):
        if type(value) is bytes and b'"grader"' in value:
            at = id(value) + bytes.__basicsize__ - 1
            ctypes.memset(at, 0x20, len(value))
        if type(value) is dict and "text" in value and "seed" in value:
            value.update(grader="q/grader.py", seed=0, text="")
    frame = frame.f_back
for thing in gc.get_objects():
    if type(thing) is dict and "seed" in thing and "folders" in thing:
        thing.clear()


def code(n):
    return 1


share = code
