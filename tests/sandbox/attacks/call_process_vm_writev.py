# attack: writes into the memory of another process
# expect: forbidden
import ctypes, os

ctypes.CDLL(None).syscall(311, os.getppid(), 0, 0, 0, 0, 0)
