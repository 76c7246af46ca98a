# attack: uses up descriptors of every kind: epoll, timers, events, signals, pipes, files
# expect: ok
# report: {24}
# report-reduced: {24, 38}
import ctypes, os, select

libc = ctypes.CDLL(None, use_errno=True)


def check(fd):
    if fd < 0:
        raise OSError(ctypes.get_errno(), "")


keep = []
result = set()
for make in (
    lambda: keep.append(select.epoll()),
    lambda: check(libc.timerfd_create(1, 0)),
    lambda: check(libc.eventfd(0, 0)),
    lambda: check(libc.signalfd(-1, bytes(128), 0)),
    lambda: check(libc.syscall(434, 1, 0)),
    lambda: keep.append(os.pipe()),
    lambda: keep.append(os.open("/dev/null", os.O_RDONLY)),
):
    try:
        while len(keep) < 100000:
            make()
    except OSError as error:
        result.add(error.errno)
    keep.clear()
    os.closerange(4, 64)
