# attack: compares kernel objects of processes, which tells their addresses apart
# expect: forbidden
import ctypes, os

ctypes.CDLL(None).syscall(312, os.getpid(), os.getpid(), 0, 0, 1)
