# attack: every prctl that could give it something: memory maps, filters, capabilities, dumps, tracers, orphans
# expect: ok
# report: []
# report-reduced: ['dumpable']
import ctypes

libc = ctypes.CDLL(None)
result = []
data = ctypes.create_string_buffer(256)
for name, option, *arguments in (
    ("SET_DUMPABLE", 4, 1), ("SET_KEEPCAPS", 8, 1), ("SET_TIMING", 14, 1), ("SET_SECCOMP", 22, 1), ("CAPBSET_READ", 23, 21),
    ("CAPBSET_DROP", 24, 0), ("SET_TSC", 26, 2), ("SET_SECUREBITS", 28, 0), ("SET_TIMERSLACK", 29, 1),
    ("TASK_PERF_EVENTS_ENABLE", 32), ("MCE_KILL", 33, 1, 1), ("SET_MM", 35, 1, 0), ("SET_CHILD_SUBREAPER", 36, 1),
    ("SET_THP_DISABLE", 41, 0), ("CAP_AMBIENT", 47, 2, 21), ("SET_SPECULATION_CTRL", 53, 0, 2), ("SET_IO_FLUSHER", 57, 1),
    ("SET_SYSCALL_USER_DISPATCH", 59, 1, 0, 0, data), ("SCHED_CORE", 62, 1, 0, 0, 0), ("SET_MDWE", 65, 1),
    ("SET_MEMORY_MERGE", 67, 1), ("SET_PTRACER", 0x59616D61, -1), ("high bits of SET_DUMPABLE", 4 | 1 << 32, 1),
):
    arguments = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    if libc.syscall(157, ctypes.c_ulong(option), *arguments) >= 0:
        result.append(name)
if libc.prctl(3, 0, 0, 0, 0) != 0:
    result.append("dumpable")
libc.prctl(38, 0, 0, 0, 0)
if libc.prctl(39, 0, 0, 0, 0) != 1:
    result.append("new privileges")
