# attack: the system call tiocsti_high_bits
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(16, 0, (1 << 32) | 0x5412, b'x')
