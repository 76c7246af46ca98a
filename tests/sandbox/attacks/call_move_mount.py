# attack: moves a mount
# expect: forbidden
import ctypes

ctypes.CDLL(None).syscall(429, -100, b"/course", -100, b"/home/learner", 0)
