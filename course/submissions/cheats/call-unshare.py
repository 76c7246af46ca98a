# Makes a user namespace, in which it would be root.
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10000000) == 0:
    print("LEAK", "root of a namespace")
