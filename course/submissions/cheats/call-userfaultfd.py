# Prepares what many kernel exploits need first.
import ctypes
import platform

number = {"x86_64": 323, "aarch64": 282}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(number, 1) >= 0:
    print("LEAK", "userfaultfd")
