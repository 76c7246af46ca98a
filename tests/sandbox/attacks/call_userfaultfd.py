# attack: the system call userfaultfd
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(323, 0)
