# attack: data in extended attributes, which no limit on files counts
# expect: ok
# report: 0
import ctypes, os

libc = ctypes.CDLL(None)
result = 0
with open("file", "w") as file:
    for number in range(1000):
        name = b"user.%d" % number
        result += libc.setxattr(b"file", name, bytes(4096), 4096, 0) == 0
        result += libc.lsetxattr(b"file", name, bytes(4096), 4096, 0) == 0
        result += libc.fsetxattr(file.fileno(), name, bytes(4096), 4096, 0) == 0
