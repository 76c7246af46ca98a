# attack: queues realtime signals at a process that never takes them
# expect: ok
# report: True
import ctypes, os, signal

signal.pthread_sigmask(signal.SIG_BLOCK, range(34, 65))
libc = ctypes.CDLL(None)
queued = 0
while queued < 100000 and libc.sigqueue(os.getpid(), 34 + queued % 30, ctypes.c_void_p(queued)) == 0:
    queued += 1
result = queued <= 64
