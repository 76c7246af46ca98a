# attack: reads the interpreter's own arguments and the kernel's notes behind them, which /proc would have shown
# expect: ok
# report: []
import ctypes, sys

words = (b"xqueue", b"password", b"secret", b"token", b"config.toml", b"SUDO_", b"SSH_", b"XDG_", b"LOGNAME", b"PWD=")
here = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value
libc = ctypes.CDLL(None)
vector = (ctypes.c_ubyte * 1)()
first = ctypes.cast(here, ctypes.POINTER(ctypes.c_void_p))[0]
result = [] if first else ["no environment to start from"]
for start in {here & ~4095, (first or 0) & ~4095}:
    page = start
    while libc.mincore(ctypes.c_void_p(page), ctypes.c_size_t(4096), vector) == 0 and page < start + (64 << 10):
        text = ctypes.string_at(page, 4096)
        result += [word for word in words if start == (first & ~4095) and word in text]
        page += 4096
result += [argument for argument in getattr(sys, "orig_argv", []) if "xqueue" in argument or "password" in argument]
