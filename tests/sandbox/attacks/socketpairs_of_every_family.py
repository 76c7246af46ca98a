# attack: connected pairs of sockets in families other than unix, also with bits that only the kernel ignores
# expect: ok
# report: []
import ctypes

libc = ctypes.CDLL(None)
pair = (ctypes.c_int * 2)()
result = []
for family in range(64):
    for kind in (1, 2, 3, 5):
        for high in (0, 1 << 32):
            if libc.syscall(53, ctypes.c_long(family | high), kind, 0, pair) >= 0 and family != 1:
                result.append((family, kind))
