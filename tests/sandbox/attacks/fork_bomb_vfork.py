# attack: a chain of vforks, each parent waiting for ever for its child
# expect: processes wall cpu
# wall: 0.5
import ctypes, os, time

libc = ctypes.CDLL(None)
CLONE_VFORK = 0x4000
while libc.syscall(56, CLONE_VFORK | 17, 0, 0, 0, 0) == 0:
    pass
time.sleep(100)
