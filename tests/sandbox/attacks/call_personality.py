# attack: the system call personality
# expect: forbidden
import ctypes

ctypes.CDLL(None).personality(0x0040000)
