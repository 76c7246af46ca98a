# attack: a child attaches to its parent and traces it
# expect: ok
# report: 31
# expect-reduced: exit
# reveals-reduced: not permitted
import ctypes, os

pid = os.fork()
if pid == 0:
    ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)
    os._exit(0)
result = os.WTERMSIG(os.waitpid(pid, 0)[1])  # SIGSYS
