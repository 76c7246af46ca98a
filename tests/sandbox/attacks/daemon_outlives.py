# attack: a daemon by double fork, in its own session, ignoring signals
# expect: ok
# expect-reduced: exit
# reveals-reduced: not permitted
import os, signal, time

if os.fork() == 0:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        while True:
            time.sleep(0.01)
    os._exit(0)
os.wait()
result = True
