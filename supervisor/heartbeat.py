"""The worker's side of the heartbeat: every word carries the promise "I speak again by T".

Runs in: worker. A promise is as long as the work it covers: a long grading is not a hang, and a hang is found
on time. Before each pass of a grading the promise is renewed with that pass's own limit.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable
from typing import Final

from supervisor.events import (
    GoHome,
    Grant,
    Happened,
    Hold,
    Inherit,
    Order,
    Phase,
    Stir,
    Trouble,
    Well,
    Word,
    next_order,
    send,
)

IDLE_S: Final = 30.0
"""An idle worker says so this often."""


class Voice:
    """The worker's end of the channel: speaks, collects what happened, waits for orders.

    `happened` is kept until the next word, so that a turn costs few packets.
    """

    def __init__(self, sock: socket.socket, clock: Callable[[], float]) -> None:
        self._sock = sock
        self._clock = clock
        self._pending: list[Happened] = []
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._troubled = False
        self.draining = False
        self.granted = False
        self.asked_length = False  # with the last grant
        self.inherited: list[tuple[str, bool]] = []  # owner, spared
        self.holds = Hold()
        self.holds_changed = False
        self.stirred = False

    def happened(self, *events: Happened) -> None:
        """Remember for the next word."""
        self._pending.extend(events)

    def trouble(self, trouble: Trouble) -> None:
        """Remember a trouble for the next word; it lasts until `well`."""
        self._troubled = True
        self.happened(trouble)

    def well(self) -> None:
        """Work succeeds: the last trouble, if any, is over."""
        if self._troubled:
            self._troubled = False
            self.happened(Well())

    def say(self, phase: Phase, for_s: float, *, wants_turn: bool = False) -> None:
        """Speak, and promise to speak again within `for_s` seconds.

        Raises:
            supervisor.events.ChannelClosed: the supervisor is gone.
        """
        word = Word(phase, self._clock() + for_s, wants_turn, tuple(self._pending))
        send(self._sock, word)
        self._pending.clear()

    def hush(self) -> None:
        """End at the next chance, as if ordered; safe in a signal handler."""
        self.draining = True
        with contextlib.suppress(BlockingIOError):  # full of earlier wake-ups: it will wake
            self._wake_write.send(b"x")

    def listen(self, timeout_s: float) -> None:
        """Wait for orders, at most so long; they are then in `draining`, `granted`, ….

        Raises:
            supervisor.events.ChannelClosed: the supervisor is gone.
        """
        if self.draining:
            timeout_s = 0.0
        self._selector.select(max(0.0, timeout_s))
        while (order := next_order(self._sock)) is not None:
            self._obey(order)

    def _obey(self, order: Order) -> None:
        match order:
            case Grant(length):
                self.granted, self.asked_length = True, length
            case GoHome():
                self.draining = True
            case Inherit(owner, spared):
                self.inherited.append((owner, spared))
            case Hold():
                self.holds, self.holds_changed = order, True
            case Stir():
                self.stirred = True
