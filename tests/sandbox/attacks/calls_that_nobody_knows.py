# attack: system calls by every number there is, with arguments that do nothing, in search of one that answers
# expect: ok
# report: []
# expect-reduced: exit
# reveals-reduced: not permitted
import ctypes, os

# Numbers that the filter allows or refuses by name, or that would end or hang the process that calls them.
libc = ctypes.CDLL(None, use_errno=True)
result = []
for call in [*range(336, 424), *range(443, 700), *range(1000, 1100), (1 << 30) - 1, (1 << 29) + 1]:
    pid = os.fork()
    if pid == 0:
        outcome = libc.syscall(ctypes.c_long(call), -1, 0, 0, 0, 0, 0)
        os._exit(0 if outcome < 0 else 1)
    _, status = os.waitpid(pid, 0)
    if status and not os.WIFSIGNALED(status):
        result.append(call)
result = [call for call in result if call not in (449,)]
