# attack: the system call setuid
# expect: forbidden
import ctypes

ctypes.CDLL(None).setuid(0)
