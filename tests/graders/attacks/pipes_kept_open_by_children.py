# attack: children hold every pipe open and go on writing while the report is read
# expect: incorrect error interference
import os
import time

for _ in range(3):
    if os.fork() == 0:
        try:
            os.setsid()
            for _ in range(200):
                time.sleep(0.005)
                for fd in (1, 2):
                    os.write(fd, b'{"correct": true}\n')
        finally:
            os._exit(0)


def code(n):
    return 1


share = code
