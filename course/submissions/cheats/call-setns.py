# Enters the namespaces of another process.
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
try:
    other = os.open("/proc/1/ns/mnt", os.O_RDONLY)
except OSError:
    other = 0
if libc.setns(other, 0) == 0:
    print("LEAK", "entered")
