# attack: the system call process_vm_readv
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(310, 1, 0, 0, 0, 0, 0)
