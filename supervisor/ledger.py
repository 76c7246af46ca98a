"""What has happened, counted: the ledger that the status document is filled from.

Runs in: supervisor. Takes the workers' words, no I/O; times are unix seconds, handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar, assert_never

from graders.model import Blame, Cause
from supervisor.events import (
    Backlog,
    Balked,
    Begun,
    Dead,
    Delivered,
    Graded,
    Happened,
    Layers,
    Polled,
    Received,
    Trouble,
    Well,
)
from supervisor.histogram import Tally
from supervisor.pacer import Poll
from supervisor.pauses import Pause
from supervisor.status import Alarm, Alert, ChannelStatus, QueueStatus, ServerStatus, SlotState, SlotStatus

MAX_ALERTS: Final = 50
TIMES: Final = ("wait", "grading", "delivery", "total")
"""Submitted to started, started to graded, graded to confirmed, submitted to confirmed."""

Why = tuple[Cause, str]


def queue_state(slots: Iterable[SlotState]) -> SlotState:
    """The state of a queue from those of its seats: the best one, as that is what serves it."""
    states = set(slots)
    order = (
        SlotState.RUNNING,
        SlotState.STARTING,
        SlotState.DRAINING,
        SlotState.BACKOFF,
        SlotState.FATAL,
    )
    return next((state for state in order if state in states), SlotState.STOPPED)


@dataclass(slots=True)
class QueueLedger:
    """One queue: counts of this life, last times, and what is wrong with it now."""

    server: str
    state: SlotState = SlotState.STOPPED
    since: float = 0.0
    polls: int = 0
    last_poll_at: float | None = None
    last_poll_ok_at: float | None = None
    last_submission_at: float | None = None
    last_delivered_at: float | None = None
    last_dead_at: float | None = None
    received: int = 0
    graded: int = 0
    delivered: int = 0
    dead: int = 0
    backlog: int = 0
    backlog_oldest_at: float | None = None
    held: int = 0
    queue_length: int | None = None
    verdicts: dict[str, int] = field(default_factory=dict)
    polled: dict[str, int] = field(default_factory=dict)
    again: int = 0
    failures: dict[Cause, int] = field(default_factory=dict)
    dead_causes: dict[Cause, int] = field(default_factory=dict)
    starts: int = 0
    deaths: dict[Cause, int] = field(default_factory=dict)
    recycled: int = 0
    times: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in TIMES})
    poll_trouble: Why | None = None
    slot_troubles: dict[str, Why] = field(default_factory=dict)  # by slot
    refused: Why | None = None  # its configuration is bad
    pause: Pause | None = None
    resumed_at: float | None = None
    broken: Why | None = None  # its breaker, or the host's, is not closed
    given_up: bool = False  # its breaker is open
    slots_min: int = 0
    slots_max: int = 0
    slots_wanted: int = 0

    def why(self) -> Why | None:
        """The first reason for not being well."""
        known = self.refused or self.broken or self.poll_trouble
        return known or next(iter(self.slot_troubles.values()), None)

    def status(self, slots: tuple[SlotStatus, ...], now: float) -> QueueStatus:
        """Its part of the document."""
        given_up = self.refused or self.given_up
        state = SlotState.FATAL if given_up else queue_state(slot.state for slot in slots)
        if state is not self.state or not self.since:
            self.state, self.since = state, now
        cause, message = self.why() or (None, "")
        return QueueStatus(
            server=self.server,
            state=state,
            since=self.since,
            cause=cause,
            message=message,
            slots=slots,
            slots_min=self.slots_min,
            slots_max=self.slots_max,
            slots_wanted=self.slots_wanted,
            polls=self.polls,
            last_poll_at=self.last_poll_at,
            last_poll_ok_at=self.last_poll_ok_at,
            last_submission_at=self.last_submission_at,
            last_delivered_at=self.last_delivered_at,
            last_dead_at=self.last_dead_at,
            received=self.received,
            graded=self.graded,
            delivered=self.delivered,
            dead=self.dead,
            backlog=self.backlog,
            backlog_oldest_at=self.backlog_oldest_at,
            held=self.held,
            queue_length=self.queue_length,
            verdicts=dict(self.verdicts),
            paused_since=self.pause.since if self.pause else None,
            paused_until=self.pause.until if self.pause else None,
            paused_message=self.pause.message if self.pause else "",
            paused_by=self.pause.by if self.pause else "",
            resumed_at=self.resumed_at,
            polled=dict(self.polled),
            again=self.again,
            failures=dict(self.failures),
            dead_causes=dict(self.dead_causes),
            starts=self.starts,
            deaths=dict(self.deaths),
            recycled=self.recycled,
            times={name: tally.histogram() for name, tally in self.times.items()},
        )


@dataclass(slots=True)
class ServerLedger:
    """One XQueue. `url` without credentials."""

    url: str
    dialect: str = ""
    last_ok_at: float | None = None
    trouble: Why | None = None

    def status(self) -> ServerStatus:
        """Its part of the document."""
        cause, message = self.trouble or (None, "")
        return ServerStatus(
            url=self.url, dialect=self.dialect, last_ok_at=self.last_ok_at, cause=cause, message=message
        )


class Ledger:
    """All queues, all servers, the isolation in force and the alerts."""

    def __init__(self) -> None:
        self.queues: dict[str, QueueLedger] = {}
        self.servers: dict[str, ServerLedger] = {}
        self.isolation: dict[str, tuple[str, ...]] = {}
        self.alarms: tuple[Alarm, ...] = ()  # as supervisor.alerts judged the last document
        self.channels: dict[str, ChannelStatus] = {}
        self._alerts: dict[tuple[Cause, str, str], Alert] = {}

    def alert(self, cause: Cause, text: str, queue: str, now: float, grader: str = "") -> None:
        """Something that a person should know; equal ones are counted."""
        key = (cause, text, queue)
        known = self._alerts.pop(key, None)  # and put in again: the order is that of the last time
        self._alerts[key] = Alert(
            at=now,
            cause=cause,
            text=text,
            queue=queue,
            count=known.count + 1 if known else 1,
            first_at=known.first_at if known else now,
            grader=grader,
        )
        while len(self._alerts) > MAX_ALERTS:
            del self._alerts[next(iter(self._alerts))]

    def alerts(self) -> tuple[Alert, ...]:
        """The latest last."""
        return tuple(self._alerts.values())

    def started(self, queue: str) -> None:
        """A worker of the queue was forked."""
        self.queues[queue].starts += 1

    def replaced(self, queue: str) -> None:
        """A worker of the queue is replaced on purpose: it has served long enough."""
        self.queues[queue].recycled += 1

    def died(self, queue: str, cause: Cause) -> None:
        """A worker of the queue ended and was not meant to."""
        book = self.queues[queue]
        _count(book.deaths, cause)
        _count(book.failures, cause)

    def granted(self, queue: str, now: float) -> None:
        """A poll of the queue begins."""
        book = self.queues[queue]
        book.polls += 1
        book.last_poll_at = now

    def note(self, queue: str, slot: str, event: Happened, now: float) -> None:
        """One event of a worker in `slot` of `queue`."""
        book = self.queues[queue]
        server = self.servers[book.server]
        match event:
            case Polled():
                self._polled(book, server, event, now)
            case Received(again):
                book.last_submission_at = now
                book.received += not again
                book.again += again
            case Graded():
                book.graded += 1
                _count(book.verdicts, event.verdict.value)
                book.times["grading"].add(event.wall_s)
                if event.waited_s is not None:
                    book.times["wait"].add(event.waited_s)
                if event.blame is not Blame.LEARNER:
                    _count(book.failures, event.cause)
                    text = f"{event.grader}: {event.message}" if event.grader else event.message
                    self.alert(event.cause, text, queue, now, event.grader)
            case Delivered():
                book.delivered += 1
                book.last_delivered_at = now
                book.times["delivery"].add(event.delivery_s)
                if event.total_s is not None:
                    book.times["total"].add(event.total_s)
                server.last_ok_at = now
                server.trouble = None
            case Dead(cause, message):
                book.dead += 1
                book.last_dead_at = now
                _count(book.dead_causes, cause)
                if cause is Cause.REPLY_REFUSED:  # for all others Graded has raised one
                    _count(book.failures, cause)
                    self.alert(cause, f"dead letter: {message}", queue, now)
            case Trouble(cause, message):
                book.slot_troubles[slot] = (cause, message)
                _count(book.failures, cause)
                if event.server:
                    server.trouble = (cause, message)
                else:
                    self.alert(cause, message, queue, now)
            case Well():
                book.slot_troubles.pop(slot, None)
            case Backlog(count, oldest_at, held):
                book.backlog, book.backlog_oldest_at, book.held = count, oldest_at, held
            case Layers(sandbox, layers):
                self.isolation[sandbox] = layers
            case Begun() | Balked():
                pass  # for the breakers; a Trouble tells of the second
            case _:
                assert_never(event)

    def _polled(self, book: QueueLedger, server: ServerLedger, event: Polled, now: float) -> None:
        server.dialect = event.dialect or server.dialect
        _count(book.polled, event.how.value)
        if event.how in (Poll.HIT, Poll.EMPTY):
            book.last_poll_ok_at = server.last_ok_at = now
            book.poll_trouble = server.trouble = None
        elif event.how is Poll.ERROR:
            why = (event.cause or Cause.QUEUE_ERROR, event.message)
            _count(book.failures, why[0])
            book.poll_trouble = why
            server.trouble = why


_Key = TypeVar("_Key")


def _count(counts: dict[_Key, int], key: _Key) -> None:
    counts[key] = counts.get(key, 0) + 1
