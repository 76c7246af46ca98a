# attack: clone with each flag that makes a namespace or a tracer, also in the half that the kernel ignores
# expect: ok
# report: []
# expect-reduced: exit
# reveals-reduced: not permitted
import ctypes, os

libc = ctypes.CDLL(None)
result = []
for flag in (0x80, 0x2000, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
    for high in (0, 1 << 32, 0xFFFFFFFF << 32):
        pid = os.fork()
        if pid == 0:
            made = libc.syscall(56, ctypes.c_ulong(high | flag | 17), 0, 0, 0, 0)
            os._exit(0 if made >= 0 else 1)
        if os.waitpid(pid, 0)[1] == 0:
            result.append(hex(flag))
