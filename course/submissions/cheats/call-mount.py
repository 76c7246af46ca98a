# Mounts a file system of its own.
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"proc", b"/box", b"proc", 0, None) == 0:
    print("LEAK", "mounted")
