# attack: writes into the memory of another process
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(311, 1, 0, 0, 0, 0, 0)
