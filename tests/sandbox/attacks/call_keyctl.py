# attack: the system call keyctl
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(250, 0, -3, 0, 0, 0)
