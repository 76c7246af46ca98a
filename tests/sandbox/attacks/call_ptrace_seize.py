# attack: seizes its parent by ptrace
# expect: forbidden
import ctypes, os

ctypes.CDLL(None).ptrace(0x4206, os.getppid(), 0, 0)
