# attack: puts itself before all others, and all others of its user behind
# expect: ok
# report: []
import ctypes, os, struct

libc = ctypes.CDLL(None)
result = []
for what, act in (
    ("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -1)),
    ("nice of the user", lambda: os.setpriority(os.PRIO_USER, 0, -1)),
    ("nice of the zygote", lambda: os.setpriority(os.PRIO_PROCESS, HOST["zygote"], 19)),
    ("fifo", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
    ("idle", lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))),
    ("affinity of the zygote", lambda: os.sched_setaffinity(HOST["zygote"], {0})),
):
    try:
        act()
        result.append(what)
    except OSError:
        pass
if libc.syscall(251, 1, 0, 1 << 13) == 0:  # ioprio_set, real time
    result.append("ioprio")
if libc.syscall(314, 0, struct.pack("=IIQiIQQQ", 48, 6, 0, 0, 0, 10**6, 10**7, 10**7), 0) == 0:
    result.append("deadline")
try:
    os.setpriority(os.PRIO_USER, os.getuid(), 19)  # whoever it may reach; the zygote must not be among them
except OSError:
    pass
