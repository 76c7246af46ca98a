# attack: stops itself and all in its namespace
# expect: ok
# expect-reduced: wall
# wall: 0.5
import os, signal

os.kill(os.getpid(), signal.SIGSTOP)
try:
    os.kill(-1, signal.SIGSTOP)
except ProcessLookupError:
    pass
result = "process 1 of a namespace cannot be stopped from inside"
