# attack: children that fork again when their parent dies
# expect: ok
# within: 0.5
# expect-reduced: exit
# reveals-reduced: not permitted
import ctypes, os, signal, time


def again(*_):
    for _ in range(3):
        if os.fork() == 0:
            prepare()


def prepare():
    ctypes.CDLL(None).prctl(1, signal.SIGUSR1)  # PR_SET_PDEATHSIG
    while True:
        time.sleep(1)


signal.signal(signal.SIGUSR1, again)
for _ in range(3):
    if os.fork() == 0:
        prepare()
result = True
