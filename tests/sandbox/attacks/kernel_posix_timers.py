# attack: timers without end, each of them kernel memory
# expect: ok
# report: True
import ctypes

libc = ctypes.CDLL(None)
number = ctypes.c_void_p()
made = 0
while made < 100000 and libc.timer_create(1, None, ctypes.byref(number)) == 0:
    made += 1
result = made <= 64
