# attack: asks prctl for addresses, auxiliary vector, tracers and the right to be traced
# expect: ok
# report: []
# report-reduced: ['dumpable']
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
room = ctypes.create_string_buffer(4096)
result = []
for name, arguments in (
    ("SET_MM", (35, 1, 4096, 0, 0)), ("GET_AUXV", (0x41555856, room, 4096, 0, 0)), ("SET_PTRACER", (0x59616D61, -1, 0, 0, 0)),
    ("SET_DUMPABLE", (4, 1, 0, 0, 0)), ("GET_TID_ADDRESS", (40, room, 0, 0, 0)), ("SET_CHILD_SUBREAPER", (36, 1, 0, 0, 0)),
    ("SET_KEEPCAPS", (8, 1, 0, 0, 0)), ("SCHED_CORE", (62, 0, 0, 0, room)), ("SET_SECUREBITS", (28, 0, 0, 0, 0)),
):
    if libc.prctl(*arguments) >= 0:
        result.append(name)
if libc.prctl(3, 0, 0, 0, 0) != 0:
    result.append("dumpable")
