# attack: takes its own output pipe from the reading end, so that the watcher may wait for ever
# expect: ok
import fcntl, os

result = []
for fd in (1, 2, 3):
    try:
        os.read(fd, 1)
        result.append(fd)
    except OSError:
        pass
    for flags in (os.O_NONBLOCK, os.O_ASYNC, os.O_DIRECT):
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
