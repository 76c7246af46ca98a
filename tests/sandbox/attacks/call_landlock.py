# attack: a Landlock ruleset of its own, in the hope of replacing the one in force
# expect: forbidden
import ctypes, struct

ctypes.CDLL(None).syscall(444, struct.pack("=Q", 1), 8, 0)
