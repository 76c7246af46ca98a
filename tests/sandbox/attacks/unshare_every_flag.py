# attack: a namespace of each kind, each in a child
# expect: ok
# report: []
# expect-reduced: exit
# reveals-reduced: not permitted
import ctypes, os

libc = ctypes.CDLL(None)
result = []
for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x200, 0x400, 0):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if libc.unshare(flag) == 0 else 1)
    if os.waitpid(pid, 0)[1] == 0:
        result.append(hex(flag))
