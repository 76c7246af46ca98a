# attack: kills its process group, its session and process 1 by every way there is
# expect: ok
# report: 'still alive'
import ctypes, os, signal

for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV):
    for target in (0, -1, 1):
        try:
            os.kill(target, number)
        except OSError:
            pass
    try:
        signal.pidfd_send_signal(os.pidfd_open(1), number)
    except OSError:
        pass
    ctypes.CDLL(None).syscall(200, 1, number)  # tkill
    ctypes.CDLL(None).syscall(129, 1, number, bytes(128))  # rt_sigqueueinfo
for parent in (os.getppid(), HOST["zygote"], HOST["worker"]):
    try:
        os.pidfd_open(parent)
        raise SystemExit("a process of the host: %d" % parent)
    except OSError:
        pass
result = "still alive"
