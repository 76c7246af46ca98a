# attack: takes capabilities
# expect: forbidden
import ctypes, struct

ctypes.CDLL(None).syscall(126, struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", *[0xFFFFFFFF] * 6))
