# A grandchild in a session of its own that outlives the run and sends perfect results for ever.
import os
import time

try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            until = time.monotonic() + 3600
            while time.monotonic() < until:
                for fd in range(1, 64):
                    try:
                        os.write(fd, b"")
                    except OSError:
                        pass
                time.sleep(0.01)
        os._exit(0)
except OSError:
    pass
