# attack: takes a descriptor out of another process
# expect: forbidden
# expect-reduced: exit
import ctypes, os

ctypes.CDLL(None).syscall(438, os.pidfd_open(os.getpid()), 1, 0)
