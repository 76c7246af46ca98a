# attack: the system call add_key
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(248, b'user', b'x', b'y', 1, -3)
