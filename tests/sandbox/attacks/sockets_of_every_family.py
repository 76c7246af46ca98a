# attack: a socket of every family and type that the kernel knows (vsock, packet, raw, bluetooth, alg, tipc ...)
# expect: ok
# report: []
import ctypes

libc = ctypes.CDLL(None)
result = []
for family in range(64):
    for kind in (1, 2, 3, 4, 5, 6, 10):
        for protocol in (0, 1, 6, 17, 255):
            if libc.socket(family, kind, protocol) >= 0:
                result.append((family, kind, protocol))
