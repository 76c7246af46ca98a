# attack: the system call mknod
# expect: forbidden
import ctypes

ctypes.CDLL(None).mknod(b'x', 0o60666, 1)
