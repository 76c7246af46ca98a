# attack: asks the kernel for a key of somebody's ring
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(249, b"user", b"warden", None, -4)
