# attack: the system call pivot_root
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(155, b'/', b'/')
