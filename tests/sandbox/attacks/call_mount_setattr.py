# attack: makes the read-only root writable again
# expect: forbidden
import ctypes, struct

ctypes.CDLL(None).syscall(442, -100, b"/", 0x8000, struct.pack("=QQQQ", 0, 1, 0, 0), 32)
