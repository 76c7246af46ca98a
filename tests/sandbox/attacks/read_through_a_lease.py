# attack: leases on its own and on shared files: a signal when others open them, and their open held up
# expect: ok
# report: []
import fcntl, os, sys

result = []
own = os.open("own", os.O_RDWR | os.O_CREAT)
shared = os.open(os.__file__, os.O_RDONLY)
for name, fd in (("own", own), ("shared", shared)):
    for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, kind)
            result.append((name, kind))
        except OSError:
            pass
    for command in (fcntl.F_NOTIFY, fcntl.F_SETOWN, getattr(fcntl, "F_SETSIG", 10), 15):
        try:
            fcntl.fcntl(fd, command, os.getpid())
            result.append((name, "command", command))
        except OSError:
            pass
