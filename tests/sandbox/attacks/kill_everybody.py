# attack: sends SIGKILL to everything it can see
# expect: ok
# report: 'still alive'
import os, signal

for target in (-1, 1, 2, 3, 4, 5):
    try:
        os.kill(target, signal.SIGKILL)
    except OSError:
        pass
result = "still alive"
