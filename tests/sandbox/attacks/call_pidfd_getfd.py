# attack: takes a descriptor out of another process
# expect: forbidden
import ctypes, os

fd = os.pidfd_open(1)
ctypes.CDLL(None).syscall(438, fd, 3, 0)
