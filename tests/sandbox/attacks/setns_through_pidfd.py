# attack: enters the namespaces of another process through its pidfd
# expect: forbidden
import ctypes, os, signal

pid = os.fork()
if pid == 0:
    signal.pause()
fd = os.pidfd_open(pid)
ctypes.CDLL(None).setns(fd, 0x20000)
