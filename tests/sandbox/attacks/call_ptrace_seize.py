# attack: seizes its parent by ptrace
# expect: forbidden
import ctypes, os

if os.fork() == 0:
    ctypes.CDLL(None).ptrace(0x4206, 1, 0, 0)
    os._exit(0)
os.wait()
ctypes.CDLL(None).ptrace(0x4206, os.getppid(), 0, 0)
