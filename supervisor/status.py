"""The status document: what the service is doing, as one JSON file that others may read at any time.

Runs in: supervisor (writes), tools (read). The supervisor writes it about once a second and at every change;
`warden status`, `warden health` and people's own scripts read it. The schema stands in docs/status.md.

The file is replaced by a rename, so a reader sees an old document or a new one, never half of one. There is
no fsync: after a power cut the file is worthless anyway, its age says so. It holds no secrets, and nothing
that a learner wrote.

Times are unix seconds. A count belongs to this life of the supervisor unless it says otherwise.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from graders.model import Cause
from supervisor import atomic
from supervisor.histogram import BUCKETS_S, Histogram

SCHEMA: Final = "1.1"
"""major.minor. A reader takes any minor of its own major: fields are added, never renamed or removed."""

MAX_BYTES: Final = 8 * 1024 * 1024
"""A larger file is not ours."""


class SlotState(StrEnum):
    """The states of a worker's seat; a queue has them, too."""

    STOPPED = "STOPPED"  # no process, and none wanted
    STARTING = "STARTING"  # forked; has not said that it is ready
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"  # finishes what is in hand, takes nothing new
    BACKOFF = "BACKOFF"  # died; is started again later
    FATAL = "FATAL"  # given up for a long while (the breaker), or for good (CONFIG)


class BreakerState(StrEnum):
    """The states of a breaker (supervisor.breaker)."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"  # the unit is left alone
    HALF_OPEN = "HALF_OPEN"  # one is let through, to see


class BreakerUnit(StrEnum):
    """What has a breaker, besides each slot (supervisor.switchboard)."""

    HOST = "host"
    QUEUE = "queue"
    PROBLEM = "problem"  # a grader of a queue


class ServiceState(StrEnum):
    """The states of the supervisor itself."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"  # the last document of an orderly end


class SlotStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One seat. `until` is the heartbeat's promise: "I speak again by then"."""

    id: str
    state: SlotState
    since: float  # in this state
    pid: int | None = None
    cpu: int | None = None
    phase: str = ""  # what the worker last said it does: poll, grade, deliver …
    until: float | None = None
    graded: int = 0  # by all workers that sat here
    crashes: int = 0
    memory_bytes: int | None = None  # resident set of the worker, without its zygotes
    cause: Cause | None = None
    message: str = ""


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One queue and its seats. `cause` and `message` say why it is not well (None and "" if it is)."""

    server: str
    state: SlotState
    since: float  # in this state
    cause: Cause | None = None
    message: str = ""
    slots: tuple[SlotStatus, ...] = ()
    slots_min: int = 0  # always there
    slots_max: int = 0  # in a burst
    slots_wanted: int = 0  # now
    polls: int = 0
    last_poll_at: float | None = None
    last_poll_ok_at: float | None = None  # the server answered, with or without a submission
    last_submission_at: float | None = None
    last_delivered_at: float | None = None
    last_dead_at: float | None = None
    received: int = 0
    graded: int = 0
    delivered: int = 0
    dead: int = 0  # dead letters
    backlog: int = 0  # open rows of the journal: received or graded, not yet delivered
    backlog_oldest_at: float | None = None  # when the oldest of them came
    held: int = 0  # of the backlog: not to be begun at present, see Status.breakers
    queue_length: int | None = None  # as the server tells it; None if it does not
    verdicts: dict[str, int] = {}
    paused_since: float | None = None  # None: it is not paused
    paused_until: float | None = None  # None: until somebody resumes it, if it is paused
    paused_message: str = ""
    paused_by: str = ""
    resumed_at: float | None = None  # when the last pause of this life ended
    polled: dict[str, int] = {}  # how polls ended -> count: hit, empty, error, lost
    again: int = 0  # submissions that the server handed out though they were in the journal
    failures: dict[Cause, int] = {}  # all that went wrong
    dead_causes: dict[Cause, int] = {}
    starts: int = 0  # of workers
    deaths: dict[Cause, int] = {}  # of workers, that were not meant to
    recycled: int = 0  # workers that were replaced on purpose
    times: dict[str, Histogram] = {}  # wait, grading, delivery, total -> how long they took


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One XQueue. `url` without credentials."""

    url: str
    dialect: str = ""  # as found out by the client; "" before the first answer
    last_ok_at: float | None = None
    cause: Cause | None = None
    message: str = ""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the queues."""

    received: int = 0
    graded: int = 0
    delivered: int = 0
    dead: int = 0
    backlog: int = 0
    verdicts: dict[str, int] = {}


class BreakerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that is not closed. `cause` and `message` are those of the failure that opened it."""

    unit: BreakerUnit
    queue: str = ""
    grader: str = ""
    state: BreakerState
    since: float  # not closed since then
    retry_at: float | None = None  # OPEN: one is tried then; HALF_OPEN: the trial counts as lost then
    cause: Cause
    message: str = ""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should know. Equal ones are counted, not repeated."""

    at: float  # last seen
    cause: Cause
    text: str
    queue: str = ""
    count: int = 1
    first_at: float | None = None  # first seen
    grader: str = ""  # whose it is, if it is about one


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Trouble that lasts, as people are told of it. `unit` has it: "queue demo", "server main", "service"."""

    unit: str
    cause: Cause
    severity: str  # warning or critical: the worst so far
    text: str
    since: float | None = None  # of the trouble
    opened_at: float
    told_at: float  # the last time
    told: int = 1  # how often
    to: tuple[str, ...] = ()  # audiences, and contacts of courses
    flapping: bool = False  # it comes and goes, so it is told once


class ChannelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A way for alerts to people, or the dead-man ping."""

    last_ok_at: float | None = None
    failing_since: float | None = None  # None: the last delivery went well, or there was none
    message: str = ""
    waiting: int = 0  # alerts that it has not delivered yet


class Reload(msgspec.Struct, frozen=True, kw_only=True):
    """The last reload of the configuration. `message`: what it changed, or why the old one is kept."""

    at: float
    ok: bool
    message: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document."""

    schema: str = SCHEMA
    written_at: float
    written_at_iso: str = ""  # the same for human eyes, UTC; filled in
    state: ServiceState
    pid: int
    started_at: float
    warden_version: str = ""
    host: str = ""
    config_path: str = ""
    config_digest: str = ""
    isolation: dict[str, tuple[str, ...]] = {}  # sandbox name -> layers in force
    servers: dict[str, ServerStatus] = {}
    queues: dict[str, QueueStatus] = {}
    totals: Totals = Totals()
    alerts: tuple[Alert, ...] = ()
    breakers: tuple[BreakerStatus, ...] = ()  # those that are not closed
    reload: Reload | None = None
    alarms: tuple[Alarm, ...] = ()
    channels: dict[str, ChannelStatus] = {}
    buckets_s: tuple[float, ...] = BUCKETS_S  # of every Histogram: upper bounds, the last count is beyond

    def __post_init__(self) -> None:
        if not self.written_at_iso:
            stamp = datetime.fromtimestamp(self.written_at, UTC).isoformat(timespec="milliseconds")
            msgspec.structs.force_setattr(self, "written_at_iso", stamp)


class StatusUnreadable(Exception):
    """There is no status file, or it is not one. The message says which, with the path."""


def total(queues: dict[str, QueueStatus]) -> Totals:
    """Sums over `queues`."""
    verdicts: dict[str, int] = {}
    for queue in queues.values():
        for verdict, count in queue.verdicts.items():
            verdicts[verdict] = verdicts.get(verdict, 0) + count
    return Totals(
        received=sum(q.received for q in queues.values()),
        graded=sum(q.graded for q in queues.values()),
        delivered=sum(q.delivered for q in queues.values()),
        dead=sum(q.dead for q in queues.values()),
        backlog=sum(q.backlog for q in queues.values()),
        verdicts=verdicts,
    )


def encode(status: Status) -> bytes:
    """The document as JSON, one line with a newline."""
    return msgspec.json.encode(status) + b"\n"


def decode(raw: bytes) -> Status:
    """The document from its bytes; fields of newer minor versions are ignored.

    Raises:
        StatusUnreadable: not JSON, not a status document, or one of another major version.
    """
    try:
        version = msgspec.json.decode(raw, type=_Version).schema
        if version.partition(".")[0] != SCHEMA.partition(".")[0]:
            raise StatusUnreadable(f"its schema is {version!r}; this warden reads {SCHEMA}")
        return msgspec.json.decode(raw, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StatusUnreadable(f"it is not a status document: {error}") from error
    except (ValueError, OverflowError, OSError) as error:  # a time beyond what datetime can say
        raise StatusUnreadable(f"it holds an impossible value: {error}") from error


class _Version(msgspec.Struct):
    schema: str


def write(path: Path, status: Status) -> None:
    """Replace the file at `path`, readable by everybody (0644). Its folder must exist.

    Raises:
        OSError: the folder cannot be written. The old file then still stands.
    """
    atomic.replace(path, encode(status))


def read(path: Path) -> Status:
    """The document at `path`.

    Raises:
        StatusUnreadable: no file, no permission, or not a status document; the message is for people.
    """
    return decode(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The raw file at `path`.

    Raises:
        StatusUnreadable: as `read`.
    """
    try:
        # A pipe in the file's place must not make us wait.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise StatusUnreadable(f"{path}: there is no such file; the service has never run here") from error
    except OSError as error:
        raise StatusUnreadable(f"{path}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise StatusUnreadable(f"{path}: larger than {MAX_BYTES} bytes; this is not a status file")
    return raw
