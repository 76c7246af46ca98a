# attack: an orphan in a session of its own, deaf to all signals, holds every pipe open
# expect: ok
# within: 0.5
# expect-reduced: exit
# reveals-reduced: not permitted
import os, signal, time

if os.fork() == 0:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    if os.fork() == 0:
        for fd in (1, 2, 3):
            for _ in range(5):
                os.dup(fd)
        time.sleep(1000)
    os._exit(0)
os.wait()
result = True
