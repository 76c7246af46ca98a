# attack: clone3 with namespace flags that no filter can see
# expect: ok
# report: -38
import ctypes, struct

libc = ctypes.CDLL(None, use_errno=True)
args = struct.pack("=11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
outcome = libc.syscall(435, args, len(args))
result = -ctypes.get_errno() if outcome < 0 else outcome
