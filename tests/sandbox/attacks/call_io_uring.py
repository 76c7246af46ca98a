# attack: the system call io_uring
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(425, 8, 0)
