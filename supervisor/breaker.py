"""A breaker as a pure state machine: what fails again and again is left alone for long, then tried once.

Runs in: supervisor. `step(breaker, event, policy, now, draw)`; which units have one, and what their events
are, stands in supervisor.switchboard. (A seat has its own in supervisor.slot.)

    CLOSED     all is as usual
    CLOSED     --Failed-->       OPEN       enough failures, of enough sources, without a success between them
    OPEN       --Tried-->        HALF_OPEN  the pause is over: one is let through
    HALF_OPEN  --Failed-->       OPEN       the pause grows
    HALF_OPEN  --Undecided-->    OPEN       the trial ended without an answer: another one soon
    HALF_OPEN  --Tick-->         OPEN       the same, when its time is over
    any        --Succeeded-->    CLOSED

Failures are of two kinds. One at work (a submission was being graded) is forgiven only by a grading that ends
well: a queue that kills every worker with its first submission answers polls all the same. One before any
work (a worker that dies as it starts) is forgiven by an answered poll, too.

Failures of the same source count once, so one poisonous submission, or one learner who sends it again and
again, opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, assert_never

from graders.model import Cause
from supervisor.backoff import Backoff
from supervisor.status import BreakerState

KEPT: Final = 64
"""So many failures are remembered; more than any policy asks for."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a breaker opens, and for how long."""

    failures: int  # so many different ones within window_s, without a success between them
    pause: Backoff  # from opening to the trial; by how often it has opened in a row
    window_s: float = 300.0
    units: int = 1  # … of at least so many units
    trial_s: float = 300.0  # a trial that has not been decided after so long counts as undecided
    again: Backoff = Backoff(first_s=2.0, ceiling_s=2.0)  # noqa: RUF009 (frozen); after an undecided trial


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed. Failures of one `source` count once; `unit` is the part of the whole that it happened in."""

    source: str
    cause: Cause
    message: str
    unit: str = ""
    at_work: bool = True


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It went well. Not `at_work`: that forgives only failures that were not at work either."""

    at_work: bool = True


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial begins; `by` says whose it is."""

    by: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """The trial has ended and told nothing."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Failed | Succeeded | Tried | Undecided | Tick


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure that is remembered."""

    at: float
    event: Failed


@dataclass(frozen=True, slots=True)
class Breaker:
    """One breaker. `cause` and `message` are those of the failure that opened it.

    `retry_at`: OPEN, a trial may begin; HALF_OPEN, the trial's time is over. None while CLOSED.
    """

    state: BreakerState = BreakerState.CLOSED
    since: float = 0.0
    retry_at: float | None = None
    trial: str = ""
    failures: tuple[Failure, ...] = ()  # since the last success, within the window
    openings: int = 0  # in a row
    cause: Cause | None = None
    message: str = ""

    @property
    def closed(self) -> bool:
        """Is all as usual?"""
        return self.state is BreakerState.CLOSED

    def may_try(self, now: float) -> bool:
        """May a trial begin?"""
        return self.state is BreakerState.OPEN and self.retry_at is not None and now >= self.retry_at


def step(breaker: Breaker, event: Event, policy: Policy, now: float, draw: float) -> Breaker:
    """What becomes of `breaker`; `draw` is random in 0..1 and only read where a wait is jittered."""
    match event:
        case Failed():
            return _failed(breaker, event, policy, now, draw)
        case Succeeded(at_work):
            return _succeeded(breaker, at_work, now)
        case Tried(by):
            if not breaker.may_try(now):
                return breaker
            # OPEN -> HALF_OPEN
            until = now + policy.trial_s
            return replace(breaker, state=BreakerState.HALF_OPEN, trial=by, retry_at=until)
        case Undecided():
            if breaker.state is not BreakerState.HALF_OPEN:
                return breaker
            # HALF_OPEN -> OPEN
            again = now + policy.again.delay(1, draw)
            return replace(breaker, state=BreakerState.OPEN, trial="", retry_at=again)
        case Tick():
            if breaker.state is BreakerState.HALF_OPEN and breaker.retry_at is not None:
                return step(breaker, Undecided(), policy, now, draw) if now >= breaker.retry_at else breaker
            return breaker
        case _:
            assert_never(event)


def _failed(breaker: Breaker, event: Failed, policy: Policy, now: float, draw: float) -> Breaker:
    if breaker.state is BreakerState.OPEN:
        return breaker  # what was in flight when it opened
    # One of each source, the latest; one at work is not replaced by one that is forgiven sooner.
    kept, at_work = [], event.at_work
    for failure in breaker.failures:
        if failure.event.source == event.source:
            at_work = at_work or failure.event.at_work
        elif failure.at > now - policy.window_s or not breaker.closed:
            kept.append(failure)
    failures = (*kept, Failure(now, replace(event, at_work=at_work)))[-KEPT:]
    breaker = replace(breaker, failures=failures)
    if breaker.state is BreakerState.HALF_OPEN:
        return _open(breaker, event, policy, now, draw)
    units = {failure.event.unit for failure in failures}
    if len(failures) >= policy.failures and len(units) >= policy.units:
        return _open(breaker, event, policy, now, draw)
    return breaker


def _open(breaker: Breaker, event: Failed, policy: Policy, now: float, draw: float) -> Breaker:
    # CLOSED, HALF_OPEN -> OPEN
    openings = breaker.openings + 1
    return replace(
        breaker,
        state=BreakerState.OPEN,
        since=now if breaker.closed else breaker.since,
        retry_at=now + policy.pause.delay(openings, draw),
        trial="",
        openings=openings,
        cause=event.cause,
        message=event.message,
    )


def _succeeded(breaker: Breaker, at_work: bool, now: float) -> Breaker:
    if at_work:
        kept: tuple[Failure, ...] = ()
    else:
        kept = tuple(failure for failure in breaker.failures if failure.event.at_work)
    if breaker.closed:
        return replace(breaker, failures=kept) if len(kept) < len(breaker.failures) else breaker
    # OPEN, HALF_OPEN -> CLOSED, unless it opened for what this does not forgive
    return breaker if kept else Breaker(since=now)
