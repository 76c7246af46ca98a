# attack: takes every process that it can get and goes on trying, so that its parent can start nothing any more
# expect: processes wall cpu
# wall: 0.5
import os, time

while True:
    try:
        if os.fork() == 0:
            time.sleep(100)
    except OSError:
        continue
