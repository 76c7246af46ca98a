"""The supervisor's signals, as bytes on a socket that its loop waits on.

Runs in: supervisor. The handlers themselves do nothing: what a signal means is decided in the loop, between
two turns, never in the middle of one.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import Final

ENDING: Final = (signal.SIGTERM, signal.SIGINT)
"""The first one drains, a second one ends at once, as SIGQUIT does."""
HEARD: Final = (*ENDING, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def hold_off() -> None:
    """A word to the supervisor (HUP, USR1, USR2) that comes before it listens, or to another process of the
    service, ends nobody. Caught, not ignored: what is executed gets the default action back.
    """
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)


@contextlib.contextmanager
def listen() -> Iterator[socket.socket]:
    """The socket that becomes readable with each signal; `read` it. The old handlers come back after it."""
    read, write = socket.socketpair()
    read.setblocking(False)
    write.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in HEARD}
    wakeup = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        read.close()
        write.close()


def read(pipe: socket.socket) -> list[signal.Signals]:
    """The signals that came, in their order."""
    return [signal.Signals(number) for number in pipe.recv(4096)]
