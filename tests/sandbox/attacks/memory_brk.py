# attack: moves the end of its heap by hand
# expect: ok
# report: True
import ctypes

libc = ctypes.CDLL(None)
libc.sbrk.restype = ctypes.c_void_p
got = 0
while got < 1 << 40 and libc.sbrk(ctypes.c_long(4 << 20)) not in (None, (1 << 64) - 1):
    got += 4 << 20
result = got <= 128 << 20
