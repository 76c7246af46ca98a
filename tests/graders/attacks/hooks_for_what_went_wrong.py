# attack: takes over what the interpreter calls when something goes wrong, and makes something go wrong
# expect: interference
import os
import sys
import threading
import warnings


def forgive(*anything):
    os.write(3, b"\0\0\0\x02{}")
    os._exit(0)


sys.excepthook = sys.unraisablehook = threading.excepthook = forgive
sys.breakpointhook = sys.displayhook = warnings.showwarning = forgive


class Broken:
    def __del__(self):
        raise ValueError


Broken()
raise ValueError
