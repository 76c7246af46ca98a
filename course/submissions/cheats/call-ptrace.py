# Takes hold of its parent's memory.
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, os.getppid() or 1, None, None) == 0:
    print("LEAK", "attached")
