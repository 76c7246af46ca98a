# attack: system calls by every number that the filter has no name for, in search of one that answers
# expect: ok
# report: []
import ctypes

libc = ctypes.CDLL(None)
result = []
for call in [*range(336, 424), *range(451, 800), *range(1000, 1100), 4096, 65535, (1 << 29) + 39]:
    for first in (0, -1):
        if libc.syscall(ctypes.c_long(call), first, 0, 0, 0, 0, 0) >= 0:
            result.append(call)
