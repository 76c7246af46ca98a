# attack: locks memory, that it may never be paged out
# expect: ok
# report: [-1, -1, -1]
import ctypes, mmap

libc = ctypes.CDLL(None)
block = mmap.mmap(-1, 16 << 20)
address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(block)))
result = [libc.mlock(address, ctypes.c_long(16 << 20)), libc.mlockall(3), libc.syscall(325, address, 1 << 20, 1)]
