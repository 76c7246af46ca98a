# attack: advises the kernel on another process's memory
# expect: forbidden
# expect-reduced: exit
import ctypes, os

ctypes.CDLL(None).syscall(440, os.pidfd_open(os.getpid()), 0, 0, 0, 0)
