"""All breakers of the service: what counts against which, who may try again, and what workers have to leave.

Runs in: supervisor. No I/O: what happened is told, what follows from it is asked. A breaker is a pure machine
(supervisor.breaker); here is which units have one:

    unit      what counts against it                           while it is not closed
    problem   a worker that dies while it grades, and a        its submissions stay in the journal, no attempt
    (queue    grading that fails and is to be tried again,     is made; one worker takes one of them, to see;
    and       each once for a learner                          the queue's others go on
    grader)
    queue     deaths of its workers, as they start and at      no workers, no polls; then one seat alone
              work, but not those that a problem explains
    host      all of these at work with a cause of the         no polls, nothing is begun; then one worker has
              host's, on two queues at least (if it has        one poll, or one submission of the journal
              only one, at two problems of that)

What does not count: a result whose blame is the learner's or the course's. It was answered, at once, and a
learner could bring it about (a comparison that stumbles over his output), so it holds up nobody else. And
what is the queue server's (files that cannot be had): polls have a backoff of their own.

A seat's own breaker (supervisor.slot) counts deaths of workers that were not grading.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, assert_never

from graders.model import Cause
from supervisor import breaker
from supervisor.backoff import Backoff
from supervisor.breaker import Breaker, Event, Failed, Policy, Succeeded, Tick, Tried, Undecided
from supervisor.events import Begun, Hold
from supervisor.status import BreakerState, BreakerStatus, BreakerUnit

SERVERS: Final = frozenset(
    {Cause.AUTH, Cause.QUEUE_ERROR, Cause.QUEUE_UNREACHABLE, Cause.REPLY_REFUSED, Cause.LEARNER}
)
"""Causes that say nothing of this host."""
HOSTS: Final = frozenset({Cause.HOST, Cause.RESOURCE, Cause.SANDBOX_UNAVAILABLE})
MOST_HELD: Final = 200
"""Graders that one order names; a packet has an end."""


@dataclass(frozen=True, slots=True)
class Policies:
    """One for each kind of unit."""

    problem: Policy = Policy(  # noqa: RUF009 (frozen)
        failures=4, window_s=600.0, pause=Backoff(first_s=60.0, ceiling_s=1800.0), trial_s=60.0
    )
    queue: Policy = Policy(  # noqa: RUF009
        failures=6, pause=Backoff(first_s=900.0, ceiling_s=3600.0, jitter=0.1), trial_s=math.inf
    )
    host: Policy = Policy(  # noqa: RUF009
        failures=6,
        units=2,
        pause=Backoff(first_s=15.0, ceiling_s=300.0),
        trial_s=120.0,
        again=Backoff(first_s=5.0, ceiling_s=5.0),
    )


@dataclass(frozen=True, slots=True)
class Unit:
    """What a breaker stands for; the host is the one without a queue."""

    queue: str = ""
    grader: str = ""

    @property
    def kind(self) -> BreakerUnit:
        """Of the three."""
        if not self.queue:
            return BreakerUnit.HOST
        return BreakerUnit.PROBLEM if self.grader else BreakerUnit.QUEUE


HOST: Final = Unit()
WELL: Final = Breaker()
"""Of whatever has no breaker of its own, which is nearly everything, nearly always."""


@dataclass(frozen=True, slots=True)
class Change:
    """A breaker went from one state to another."""

    unit: Unit
    before: BreakerState
    openings: int  # before
    after: Breaker


def told(change: Change) -> tuple[int, str]:
    """How much it matters (a level of logging), and what to say of it."""
    unit, after = change.unit, change.after
    name = {
        BreakerUnit.HOST: "all that this host grades",
        BreakerUnit.QUEUE: f"queue {unit.queue}",
        BreakerUnit.PROBLEM: f"grader {unit.grader}",
    }[unit.kind]
    done = {
        BreakerUnit.HOST: "nothing is polled",
        BreakerUnit.QUEUE: "it is not served",
        BreakerUnit.PROBLEM: "its submissions are held",
    }[unit.kind]
    match after.state:
        case BreakerState.CLOSED:
            return logging.INFO, f"{name} works again"
        case BreakerState.HALF_OPEN:
            return logging.INFO, f"{name} is tried again"
        case BreakerState.OPEN:
            # One that only goes on waiting after an undecided trial is no news.
            failed = change.before is BreakerState.CLOSED or after.openings > change.openings
            text = f"{name} fails again and again, {done}: {after.message}"
            return logging.ERROR if failed else logging.INFO, text
        case _:
            assert_never(after.state)


@dataclass(frozen=True, slots=True)
class _At:
    unit: Unit
    learner: str


class Switchboard:
    """See the module's docstring. `dice` is random in 0..1; all times are monotonic seconds."""

    def __init__(self, policies: Policies, dice: Callable[[], float]) -> None:
        self._policies = policies
        self._dice = dice
        self._queues: set[str] = set()
        self._breakers: dict[Unit, Breaker] = {HOST: Breaker()}
        self._at: dict[str, _At] = {}  # what a worker grades, by its slot
        self._under_way: set[Unit] = set()  # trials that have begun to grade
        self._probed = ""  # the queue of the last poll that was a trial of the host
        self._changes: list[Change] = []

    def serve(self, queue: str) -> None:
        """The queue is served."""
        self._queues.add(queue)

    def forget(self, queue: str) -> None:
        """The queue is served no more, or by a new configuration."""
        self._queues.discard(queue)
        for unit in [unit for unit in self._breakers if unit.queue == queue]:
            del self._breakers[unit]
            self._under_way.discard(unit)

    def changes(self) -> list[Change]:
        """What has changed since this was last asked."""
        found, self._changes = self._changes, []
        return found

    # -- what happened -----------------------------------------------------------------------------------

    def begun(self, queue: str, slot: str, event: Begun) -> None:
        """The worker grades now."""
        unit = Unit(queue, event.grader)
        self._at[slot] = _At(unit, event.learner)
        for trial in (unit, HOST):
            if self.of(trial).trial == slot:
                self._under_way.add(trial)

    def idle(self, slot: str, now: float) -> None:
        """The worker has nothing in hand. One that should have tried something found nothing to try."""
        self._at.pop(slot, None)
        for unit, found in list(self._breakers.items()):
            if found.trial == slot and (unit == HOST or unit in self._under_way):
                self._step(unit, Undecided(), now)

    def graded(self, queue: str, slot: str, now: float) -> None:
        """What it had begun has ended with a result, whatever that says."""
        at = self._at.pop(slot, None)
        if at is not None:  # else nothing was run: it was answered because its time was over
            for unit in dict.fromkeys((at.unit, Unit(queue), HOST)):
                self._step(unit, Succeeded(), now)

    def failed(self, queue: str, slot: str, cause: Cause, message: str, now: float) -> None:
        """What it had begun has ended without one, by the fault of the service."""
        at = self._at.pop(slot, None)
        if at is None:
            return
        if cause in SERVERS:
            self._undecided(slot, now)
            return
        what = Failed(at.learner, cause, message)
        known = not self.of(at.unit).closed
        if at.unit.grader and cause is not Cause.SANDBOX_UNAVAILABLE:
            self._step(at.unit, what, now)
        self._blame_host(at.unit, what, known, now)

    def died(self, queue: str, slot: str, owner: str, cause: Cause, message: str, now: float) -> None:
        """The worker that sat there as `owner` is dead, and was not meant to be."""
        at = self._at.pop(slot, None)
        if at is None:
            self._step(Unit(queue), Failed(owner, cause, message, at_work=False), now)
        else:
            what = Failed(at.learner, cause, message)
            known = not self.of(at.unit).closed
            if at.unit.grader and cause is not Cause.SANDBOX_UNAVAILABLE:
                self._step(at.unit, what, now)
            if at.unit.grader and not self.of(at.unit).closed:
                self._explain(Unit(queue), at.unit)
            else:
                in_queue = replace(what, source=_source(at.unit, what), unit=at.unit.grader)
                self._step(Unit(queue), in_queue, now)
            self._blame_host(at.unit, what, known, now)
        self._undecided(slot, now)

    def left(self, slot: str, now: float) -> None:
        """The worker is gone, as it was meant to: what it should have tried is somebody else's."""
        self._at.pop(slot, None)
        self._undecided(slot, now)

    def _undecided(self, slot: str, now: float) -> None:
        for unit, found in list(self._breakers.items()):
            if found.trial == slot:
                self._step(unit, Undecided(), now)

    def answered(self, queue: str, now: float) -> None:
        """A poll of the queue was answered, whatever it brought: its workers start well."""
        self._step(Unit(queue), Succeeded(at_work=False), now)
        self._step(HOST, Succeeded(at_work=False), now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for unit, found in list(self._breakers.items()):
            if unit not in self._under_way and not found.closed:
                self._step(unit, Tick(), now)

    def _blame_host(self, unit: Unit, what: Failed, known: bool, now: float) -> None:
        """`known`: the problem was known to fail before; that it fails again says nothing of the host."""
        if what.cause in HOSTS and not (known and self.host.closed):
            where = unit.queue if len(self._queues) > 1 else unit.grader
            self._step(HOST, replace(what, source=_source(unit, what), unit=where), now)
            if not self.of(HOST).closed:  # that explains all others
                for one in [one for one in self._breakers if one != HOST]:
                    self._set(one, Breaker(since=now))

    def _explain(self, queue: Unit, by: Unit) -> None:
        """What a problem has done does not count against its queue."""
        found = self.of(queue)
        kept = tuple(one for one in found.failures if one.event.unit != by.grader)
        if found.closed and len(kept) < len(found.failures):
            self._breakers[queue] = replace(found, failures=kept)

    def at_work(self, slot: str) -> bool:
        """Does the worker in this slot grade?"""
        return slot in self._at

    # -- what follows ------------------------------------------------------------------------------------

    def of(self, unit: Unit) -> Breaker:
        """The breaker of a unit."""
        return self._breakers.get(unit, WELL)

    @property
    def host(self) -> Breaker:
        """The breaker of the whole."""
        return self.of(HOST)

    def seats(self, queue: str, now: float) -> int | None:
        """How many seats the queue may have: 0, 1 for the trial, or as many as it likes (None)."""
        unit = Unit(queue)
        found = self.of(unit)
        if found.closed:
            return None
        if found.may_try(now):
            self._step(unit, Tried("one seat"), now)
            return 1
        return 1 if found.state is BreakerState.HALF_OPEN else 0

    def held(self, queue: str, slot: str) -> Hold:
        """What the worker in this slot has to leave in the journal."""
        graders = [
            unit.grader
            for unit, found in self._breakers.items()
            if unit.queue == queue and unit.grader and not found.closed and not self._tries(unit, slot)
        ]
        everything = not self.host.closed and not self._tries(HOST, slot)
        return Hold(tuple(sorted(graders)[:MOST_HELD]), everything)

    def _tries(self, unit: Unit, slot: str) -> bool:
        return self.of(unit).trial == slot and unit not in self._under_way

    def try_problems(self, queue: str, slot: str, now: float) -> None:
        """The worker in this slot is free: it may try what is to be tried of its queue."""
        for unit, found in list(self._breakers.items()):
            if unit.queue == queue and unit.grader and found.may_try(now):
                self._step(unit, Tried(slot), now)

    def probe(self, queues: list[str], now: float) -> str | None:
        """While the host's breaker is not closed: the queue to be polled once, if it is time.

        Args:
            queues: those with a worker that waits for a grant. Say `probes` of the one that gets it.
        """
        if not queues or not self.host.may_try(now):
            return None
        return min(queues, key=lambda name: (name <= self._probed, name))

    def probes(self, queue: str, slot: str, now: float) -> None:
        """The worker in this slot tries for the host."""
        self._probed = queue
        self._step(HOST, Tried(slot), now)

    def next_at(self, now: float) -> float | None:
        """When the next pause or trial is over (monotonic seconds). One that is over waits for a worker."""
        times = [
            found.retry_at
            for unit, found in self._breakers.items()
            if found.retry_at is not None and unit not in self._under_way and now < found.retry_at < math.inf
        ]
        return min(times, default=None)

    def why(self, queue: str) -> tuple[Cause, str] | None:
        """Why the queue is not served as usual; None: it is, as far as breakers know."""
        if not self.host.closed:
            cause = self.host.cause.value if self.host.cause else ""
            return Cause.HOST, f"all that this host grades fails: {cause}: {self.host.message}"
        own = self.of(Unit(queue))
        return (own.cause, own.message) if not own.closed and own.cause else None

    def given_up(self, queue: str) -> bool:
        """Has the queue no workers at present?"""
        return self.of(Unit(queue)).state is BreakerState.OPEN

    def status(self, now: float, wall: float) -> Iterator[BreakerStatus]:
        """Those that are not closed; `wall` is unix seconds of the moment `now`."""
        for unit, found in self._breakers.items():
            if found.closed or found.cause is None:
                continue
            retry_at = found.retry_at
            yield BreakerStatus(
                unit=unit.kind,
                queue=unit.queue,
                grader=unit.grader,
                state=found.state,
                since=round(wall - (now - found.since), 3),
                retry_at=None
                if retry_at is None or retry_at == math.inf
                else round(wall + (retry_at - now), 3),
                cause=found.cause,
                message=found.message,
            )

    def _step(self, unit: Unit, event: Event, now: float) -> None:
        policy = {
            BreakerUnit.HOST: self._policies.host,
            BreakerUnit.QUEUE: self._policies.queue,
            BreakerUnit.PROBLEM: self._policies.problem,
        }[unit.kind]
        before = self.of(unit)
        after = breaker.step(before, event, policy, now, self._dice())
        if after is not before:
            self._set(unit, after)

    def _set(self, unit: Unit, after: Breaker) -> None:
        before = self.of(unit)
        if after.state is not BreakerState.HALF_OPEN:
            self._under_way.discard(unit)
        if after.closed and not after.failures and unit != HOST:
            self._breakers.pop(unit, None)  # there may be many problems
        else:
            self._breakers[unit] = after
        if after.state is not before.state:
            self._changes.append(Change(unit, before.state, before.openings, after))


def _source(unit: Unit, what: Failed) -> str:
    """Different problems of one learner are different sources for a queue."""
    return f"{unit.queue}\0{unit.grader}\0{what.source}"
