# attack: signals to owners of files, notifications, leases, larger pipes
# expect: ok
# report: []
import ctypes, os

libc = ctypes.CDLL(None)
result = []
file = os.open(os.__file__, os.O_RDONLY)
folder = os.open(os.path.dirname(os.__file__), os.O_RDONLY)
read, write = os.pipe()
# SETOWN SETSIG SETOWN_EX NOTIFY SETPIPE_SZ SET_RW_HINT SET_FILE_RW_HINT ADD_SEALS on files that are not ours
for command, value in ((8, 1), (8, -1), (10, 9), (15, 0), (1026, 0x8000003F), (1031, 1 << 20), (1036, 0), (1038, 0), (1033, 15)):
    for fd in (0, 1, 2, 3, file, folder, read, write):
        for high in (0, 1 << 32):
            if libc.syscall(72, fd, ctypes.c_ulong(high | command), ctypes.c_long(value)) >= 0:
                result.append((command, fd))
for fd in (file, os.open("mine", os.O_RDWR | os.O_CREAT)):
    if libc.fcntl(fd, 1024, 0) == 0:
        result.append("a lease, which makes others wait")
