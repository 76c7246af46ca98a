# attack: a child stops its parent, process 1, which then could not end
# expect: ok
# report: 'not stopped'
# expect-reduced: exit
# reveals-reduced: not permitted
import os, signal

pid = os.fork()
if pid == 0:
    for number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGKILL):
        os.kill(1, number)
    os._exit(0)
os.waitpid(pid, 0)
result = "not stopped"
