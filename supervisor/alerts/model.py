"""The words of alarms.

Runs in: supervisor, sender, tools. Values only; times are unix seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from graders.model import Cause
from supervisor.pauses import Pause
from supervisor.settings import Audience, Severity


class Change(StrEnum):
    """What is new about an alarm."""

    OPENED = "opened"
    WORSE = "worse"  # it became critical, or concerns more queues
    STILL = "still"  # told again, at growing intervals
    RECOVERED = "recovered"
    HAPPENED = "happened"  # dead letters and the like: nothing that lasts
    PLANNED = "planned"  # maintenance begins or ends
    TEST = "test"


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong now. `unit` names what has it: "queue demo", "server main", "service"."""

    unit: str
    cause: Cause
    severity: Severity
    text: str
    since: float | None = None
    at_once: bool = False  # it need not last before it is told
    queues: tuple[str, ...] = ()
    graders: tuple[str, ...] = ()  # whose it is, if it is about some

    @property
    def key(self) -> str:
        return f"{self.unit}: {self.cause.value}"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of one queue by one cause, since the last look."""

    queue: str
    cause: Cause
    count: int
    texts: tuple[str, ...] = ()
    graders: tuple[str, ...] = ()


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """What one status document shows.

    `unsure` holds units of which it cannot be told whether they are well (not polled yet, or paused): what
    was wrong with them may still be. `whole` False: nothing can be told at all, the service starts or ends.
    """

    conditions: tuple[Condition, ...] = ()
    unsure: frozenset[str] = frozenset()
    whole: bool = True
    pauses: tuple[Pause, ...] = ()


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm that stands."""

    unit: str
    cause: Cause
    severity: Severity  # the worst so far
    text: str
    since: float | None
    opened_at: float
    told_at: float
    told: int = 1
    queues: tuple[str, ...] = ()
    to: tuple[Audience, ...] = ()  # all that were told
    contacts: tuple[str, ...] = ()
    gone_at: float | None = None  # it looks well since then
    flapping: bool = False
    returns: int = 0  # how often it was gone for a moment, and came again


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that does not last long enough yet."""

    lasted_s: float
    seen_at: float
    present: bool = True


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of one queue by one cause that go on: gathered into digests."""

    until: float  # nothing is told before
    last_at: float
    told: int = 1
    count: int = 0  # since the last digest
    total: int = 0
    texts: tuple[str, ...] = ()
    graders: tuple[str, ...] = ()


class News(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell."""

    change: Change
    unit: str
    severity: Severity
    text: str
    cause: Cause | None = None
    since: float | None = None
    to: tuple[Audience, ...] = ()
    contacts: tuple[str, ...] = ()


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """News for one kind of reader. `contact` is set if it is for one course's contact alone.

    `seq` orders the letters of a state folder for ever; 0 for one that is not spooled.
    """

    seq: int
    at: float
    severity: Severity  # the worst of its news
    to: tuple[Audience, ...]
    contact: str = ""
    change: Change | None = None  # what all of its news have in common
    title: str
    text: str
    news: tuple[News, ...] = ()
    host: str = ""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that the engine remembers. `outgoing`: letters whose files may not be there yet."""

    at: float = 0.0
    seq: int = 0
    running: bool = False  # the supervisor that wrote this has not ended in order
    alarms: dict[str, Open] = {}
    pending: dict[str, Pending] = {}
    openings: dict[str, tuple[float, ...]] = {}
    streams: dict[str, Stream] = {}
    pauses: dict[str, Pause] = {}
    outgoing: tuple[Letter, ...] = ()


MAX_TEXTS: Final = 5
"""So many different texts of a digest are shown."""
