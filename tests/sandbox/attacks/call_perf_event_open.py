# attack: the system call perf_event_open
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(298, 0, 0, -1, -1, 0)
