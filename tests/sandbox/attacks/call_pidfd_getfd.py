# attack: takes a descriptor out of another process
# expect: forbidden
import ctypes

libc = ctypes.CDLL(None)
libc.syscall(438, libc.syscall(434, 1, 0), 3, 0)
