# Looks into the kernel's key rings, which are older than namespaces.
import ctypes
import platform

number = {"x86_64": 250, "aarch64": 219}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(number, 0, -4, 1) >= 0:
    print("LEAK", "a key ring")
