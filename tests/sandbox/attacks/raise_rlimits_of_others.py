# attack: raises limits by prlimit: its own, its parent's, its child's
# expect: ok
# report: []
# expect-reduced: exit
# reveals-reduced: not permitted
import ctypes, os, struct

libc = ctypes.CDLL(None)
result = []
most = struct.pack("=QQ", (1 << 64) - 1, (1 << 64) - 1)
child = os.fork()
if child == 0:
    import time

    time.sleep(10)
for pid in (0, 1, child, os.getpid(), os.getppid(), HOST["zygote"], HOST["worker"]):
    for which in range(16):
        if libc.prlimit(pid, which, most, None) == 0 or libc.setrlimit(which, most) == 0:
            result.append((pid, which))
