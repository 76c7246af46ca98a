# attack: the system call clone_newuser
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
