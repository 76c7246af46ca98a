# attack: ioctls on terminals, disks and namespaces, on every descriptor that it has
# expect: ok
# report: []
import ctypes

libc = ctypes.CDLL(None)
result = []
data = ctypes.create_string_buffer(4096)
# TIOCSCTTY TIOCCONS TIOCNOTTY TIOCSPGRP TCSETS TIOCGPTPEER TIOCSETD FIOASYNC FS_IOC_SETFLAGS FIFREEZE FICLONE
# FITRIM NS_GET_PARENT NS_GET_USERNS RNDADDENTROPY BLKROSET SIOCGIFCONF FIOSETOWN LOOP_CTL_GET_FREE
for request in (0x540E, 0x541D, 0x5422, 0x5410, 0x5402, 0x5441, 0x5423, 0x5452, 0x40086602, 0xC0045877, 0x40049409,
                0xC0185879, 0xB702, 0xB701, 0x40085203, 0x125D, 0x8912, 0x8901, 0x4C82):
    for fd in (0, 1, 2, 3):
        for high in (0, 1 << 32):
            if libc.syscall(16, fd, ctypes.c_ulong(high | request), data) >= 0:
                result.append((fd, hex(request)))
