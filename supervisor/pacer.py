"""When a queue may be polled: one poll in flight, at once after a hit, slower and slower while it is empty.

Runs in: supervisor. Pure: the clock and the dice come in as arguments. One Pacer per queue and host, however
many workers: a legacy XQueue hands the same submission to two simultaneous pulls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from supervisor.backoff import Backoff

SLOWLY: Final = Backoff(first_s=1.0, ceiling_s=60.0)


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
    """State of one queue's polling. `holder` is who has the one grant ("" = nobody)."""

    holder: str = ""
    next_at: float = 0.0
    empties: int = 0  # in a row
    failures: int = 0  # in a row

    def may_grant(self, now: float) -> bool:
        """May a poll begin?"""
        return not self.holder and now >= self.next_at


def grant(pacer: Pacer, holder: str) -> Pacer:
    """The state after a grant to `holder`."""
    return replace(pacer, holder=holder)


def ended(pacer: Pacer, how: Poll, pace: Pace, now: float, draw: float) -> Pacer:
    """The state after the poll in flight has ended; `draw` is random in 0..1."""
    match how:
        case Poll.HIT:
            return Pacer(next_at=now)
        case Poll.EMPTY:
            empties = pacer.empties + 1
            whole = min(pace.ceiling_s, pace.floor_s * pace.growth ** min(empties - 1, 64))
            wait = max(pace.floor_s, whole * (1.0 - pace.jitter * draw))
            return Pacer(next_at=now + wait, empties=empties)
        case Poll.ERROR:
            failures = pacer.failures + 1
            wait = max(pace.floor_s, pace.errors.delay(failures, draw))
            return Pacer(next_at=now + wait, empties=pacer.empties, failures=failures)
        case Poll.LOST:
            # Nothing was learned of the queue; the floor keeps a crashing worker from becoming a hammer.
            return replace(pacer, holder="", next_at=now + pace.floor_s)
