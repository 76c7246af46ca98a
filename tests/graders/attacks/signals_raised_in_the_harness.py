# attack: signals to itself whose handlers raise every kind of exception out of the harness
# expect: error incorrect interference
import os
import signal
import threading


def handler(number, frame):
    raise (SystemExit(0), KeyboardInterrupt(), GeneratorExit(), StopIteration())[number % 4]


for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, handler)


def shoot():
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM) * 200:
        os.kill(os.getpid(), number)


def code(n):
    threading.Thread(target=shoot, daemon=True).start()
    return 1


share = code
