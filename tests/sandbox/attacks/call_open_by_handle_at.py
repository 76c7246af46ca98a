# attack: the system call open_by_handle_at
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(304, 0, 0, 0)
