# attack: never the same process for long: each forks its heir and ends
# expect: wall cpu
# wall: 0.5
# expect-reduced: exit
# reveals-reduced: not permitted
import os, time

if os.fork() == 0:
    while True:
        if os.fork():
            os._exit(0)
time.sleep(100)
