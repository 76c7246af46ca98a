"""When a queue may be polled: one poll in flight, at once after a hit, slower and slower while it is empty.

Runs in: supervisor. Pure: the clock and the dice come in as arguments. One Pacer per queue and host, however
many workers: a legacy XQueue hands the same submission to two simultaneous pulls.

A server that tells how long the queue is gets asked along with a poll that brought something, every few
seconds, whether one worker polls or ten. In between the length is what is left of the last answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from supervisor.backoff import Backoff

SLOWLY: Final = Backoff(first_s=1.0, ceiling_s=60.0)
LENGTH: Final = Backoff(first_s=3.0, ceiling_s=3.0)
"""How long between two questions for the length of a queue."""
LENGTH_OF_NONE: Final = Backoff(first_s=0.5, ceiling_s=0.5)
"""The same where none waited: a burst begins that way, and what was told before it holds for no longer."""


class Poll(StrEnum):
    """How a poll ended."""

    HIT = "hit"
    EMPTY = "empty"
    ERROR = "error"
    LOST = "lost"  # its holder died, or gave the grant back unused


@dataclass(frozen=True, slots=True)
class Pace:
    """The numbers. An empty queue is polled after floor_s, then ever later by `growth`, up to ceiling_s."""

    floor_s: float = 0.2
    ceiling_s: float = 5.0
    growth: float = 1.6
    jitter: float = 0.2
    errors: Backoff = SLOWLY


@dataclass(frozen=True, slots=True)
class Pacer:
    """State of one queue's polling. `holder` is who has the one grant ("" = nobody).

    `length`: submissions that wait on the server, as far as is known; None where it does not tell.
    """

    holder: str = ""
    next_at: float = 0.0
    hits: int = 0  # in a row
    empties: int = 0  # in a row
    failures: int = 0  # in a row
    length: int | None = None
    ask_at: float = 0.0  # the length is not asked for before
    asks: bool = False  # the poll in flight asks for it

    def may_grant(self, now: float) -> bool:
        """May a poll begin?"""
        return not self.holder and now >= self.next_at


def grant(pacer: Pacer, holder: str, now: float) -> Pacer:
    """The state after a grant to `holder`; `asks` says whether to ask for the length, too."""
    return replace(pacer, holder=holder, asks=now >= pacer.ask_at)


def ended(pacer: Pacer, how: Poll, pace: Pace, now: float, draw: float, length: int | None = None) -> Pacer:
    """The state after the poll in flight has ended; `draw` is random in 0..1.

    `length` is what the server said of the queue after this poll, None if it was not asked.
    """
    match how:
        case Poll.HIT:
            told = LENGTH_OF_NONE if length == 0 else LENGTH
            ask_at = now + told.delay(1, draw) if pacer.asks else pacer.ask_at
            if length is None and pacer.length:
                length = pacer.length - 1  # from 0 to None: more have come than it told
            return Pacer(next_at=now, hits=pacer.hits + 1, length=length, ask_at=ask_at)
        case Poll.EMPTY:
            empties = pacer.empties + 1
            whole = min(pace.ceiling_s, pace.floor_s * pace.growth ** min(empties - 1, 64))
            wait = max(pace.floor_s, whole * (1.0 - pace.jitter * draw))
            left = pacer.length if length is None else length
            return Pacer(next_at=now + wait, empties=empties, length=left, ask_at=pacer.ask_at)
        case Poll.ERROR:
            failures = pacer.failures + 1
            wait = max(pace.floor_s, pace.errors.delay(failures, draw))
            # Whatever waits there may be with others by the time that it answers again.
            return Pacer(next_at=now + wait, empties=pacer.empties, failures=failures, ask_at=pacer.ask_at)
        case Poll.LOST:
            # Nothing was learned of the queue; the floor keeps a crashing worker from becoming a hammer.
            wait = pace.floor_s * (1.0 + pace.jitter * draw)
            return replace(pacer, holder="", asks=False, next_at=now + wait)
