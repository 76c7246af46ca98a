# attack: timers and alarms that ring after its end
# expect: ok
import ctypes, signal

signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
signal.setitimer(signal.ITIMER_PROF, 0.01, 0.01)
signal.setitimer(signal.ITIMER_VIRTUAL, 10, 0.01)
signal.signal(signal.SIGPROF, signal.SIG_IGN)
signal.alarm(1)
libc = ctypes.CDLL(None)
number = ctypes.c_void_p()
libc.timer_create(0, None, ctypes.byref(number))
result = True
