# attack: an interval timer whose handler rewrites the frames that it interrupts, then raises in them
# expect: incorrect error interference
import signal

ticks = [0]


def handler(number, frame):
    ticks[0] += 1
    while frame is not None:
        for name, value in list(frame.f_locals.items()):
            if name == "outputs" and isinstance(value, list):
                value[:] = ["1\n"] * len(value)
        frame = frame.f_back
    if ticks[0] > 200:
        raise KeyboardInterrupt("from the alarm")


signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)


def code(n):
    return 1


share = code
