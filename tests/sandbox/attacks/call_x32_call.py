# attack: the system call x32_call
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(0x40000000 + 39)
