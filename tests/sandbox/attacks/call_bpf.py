# attack: the system call bpf
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(321, 0, 0, 0)
