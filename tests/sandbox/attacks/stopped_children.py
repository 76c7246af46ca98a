# attack: leaves stopped children behind, which handle no signal but SIGKILL
# expect: ok
# within: 0.5
# expect-reduced: exit
# reveals-reduced: not permitted
import os, signal

for _ in range(6):
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            signal.pause()
    os.kill(pid, signal.SIGSTOP)
result = True
