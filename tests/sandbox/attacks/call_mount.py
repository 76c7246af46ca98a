# attack: the system call mount
# expect: forbidden
import ctypes

ctypes.CDLL(None).mount(b'none', b'/home', b'tmpfs', 0, None)
