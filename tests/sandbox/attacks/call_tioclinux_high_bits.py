# attack: pastes into a console, with bits in the request that the kernel ignores
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(16, 0, ctypes.c_ulong((0xDEADBEEF << 32) | 0x541C), b"\x03")
