# attack: looks for other processes by every number there is: neighbours, the zygote, the worker
# expect: ok
# report: [1]
import os

result = []
for pid in range(1, 32769):
    try:
        os.kill(pid, 0)
        result.append(pid)
    except ProcessLookupError:
        pass
for pid in (HOST["worker"], HOST["zygote"], os.getppid()):
    for look in (os.getpgid, os.getsid, os.sched_getscheduler, os.pidfd_open, lambda p: os.getpriority(0, p)):
        try:
            if pid not in (0, 1) and look(pid) is not None:
                result.append(pid)
        except OSError:
            pass
