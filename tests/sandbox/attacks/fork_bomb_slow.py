# attack: a fork bomb that takes its time
# expect: processes wall cpu
# wall: 0.5
import os, time

while True:
    try:
        os.fork()
    except OSError:
        pass
    time.sleep(0.02)
