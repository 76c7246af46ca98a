# attack: asks the kernel about the processes above: groups, sessions, priorities, clocks, death
# expect: ok
# report: []
# only: full
import os, time

result = []
for pid in (HOST["worker"], HOST["zygote"], os.getppid()):
    for look in (
        os.getpgid,
        os.getsid,
        os.sched_getscheduler,
        os.sched_getaffinity,
        os.pidfd_open,
        lambda p: os.getpriority(0, p),
        lambda p: time.clock_gettime((~p << 3) | 2),
    ):
        try:
            if pid not in (0, 1):
                look(pid)
                result.append(pid)
        except OSError:
            pass
