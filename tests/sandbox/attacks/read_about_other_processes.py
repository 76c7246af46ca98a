# attack: asks the kernel about every process number: groups, sessions, limits, priorities, schedulers, clocks
# expect: ok
# report: []
# only: full
import ctypes, os, time

libc = ctypes.CDLL(None, use_errno=True)
me = os.getpid()
result = []
for pid in [*range(1, 400), 1000, 4321, 32767]:
    if pid == me:
        continue
    for name, ask in (
        ("getpgid", lambda: os.getpgid(pid)), ("getsid", lambda: os.getsid(pid)), ("kill", lambda: os.kill(pid, 0)),
        ("priority", lambda: os.getpriority(os.PRIO_PROCESS, pid)), ("policy", lambda: os.sched_getscheduler(pid)),
        ("affinity", lambda: os.sched_getaffinity(pid)), ("clock", lambda: time.clock_gettime((~pid << 3) | 2)),
        ("pidfd", lambda: os.pidfd_open(pid)),
    ):
        try:
            ask()
            result.append((name, pid))
        except OSError:
            pass
    if libc.syscall(274, pid, bytes(8), bytes(8)) == 0:  # get_robust_list
        result.append(("robust list", pid))
