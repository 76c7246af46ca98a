"""A worker's seat as a pure state machine: `step(slot, event, policy, now, draw) -> (slot, actions)`.

Runs in: supervisor. No process is touched here; the arbiter does what the actions say.

    STOPPED  --Start-->                 STARTING   a worker is forked
    STARTING --Spoke(ready)-->          RUNNING    it can work
    STARTING --Exited-->                BACKOFF    it died; try again later
    RUNNING  --Exited-->                BACKOFF    the same
    RUNNING  --Exited(orderly)-->       STARTING   somebody asked the worker to go; seat it anew
    STARTING, RUNNING --Exited-->       FATAL      too many deaths without one success, or it says "useless"
    STARTING, RUNNING --Drain-->        DRAINING   finish what is in hand
    STARTING, RUNNING --Renew-->        DRAINING   the same; another one will sit here then
    DRAINING --Exited-->                STOPPED    or STARTING if it was to be renewed
    BACKOFF  --Tick-->                  STARTING   the wait is over
    FATAL    --Tick-->                  STARTING   the long wait is over: one try (half open)
    BACKOFF, FATAL --Renew-->           STARTING   what was wrong may be mended
    BACKOFF, FATAL, STOPPED --Drain-->  STOPPED

A worker that breaks its promise, is too slow to start, or drains too long is killed. One that drains without
a deadline (Renew, or Drain without one) may take as long as it keeps its promises. The seat keeps its state
until the process is really gone (Exited), so a seat never has two processes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, assert_never

from graders.model import Cause
from supervisor.backoff import Backoff
from supervisor.status import SlotState

SLOWLY: Final = Backoff(first_s=1.0, ceiling_s=60.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers of supervision."""

    start_s: float = 30.0  # from the fork to the first word
    grace_s: float = 5.0  # a promise may be broken by so much: the machine may be busy
    answer_s: float = 10.0  # from a question (a grant) to the next word
    backoff: Backoff = SLOWLY
    boot_deaths: int = 5  # so many deaths without one success, within boot_window_s, and the seat is FATAL
    boot_window_s: float = 300.0
    half_open_s: float = 900.0  # a FATAL seat is tried again after so long


@dataclass(frozen=True, slots=True)
class Start:
    """The seat shall be taken."""


@dataclass(frozen=True, slots=True)
class Spoke:
    """The worker spoke; `until` is its promise to speak again (monotonic seconds).

    `ready`: it can work; a worker that is still starting says so by False. `doing` names what it is at.
    """

    until: float
    ready: bool = True
    doing: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The supervisor asked the worker something; it has to answer soon, whatever it promised before."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The worker ended a whole turn well."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone. `orderly`: it meant to go. `hopeless`: starting it again is of no use for long.

    `at_work`: it was grading; that says more of what it graded than of the seat (supervisor.switchboard).
    """

    orderly: bool
    cause: Cause
    message: str
    hopeless: bool = False
    at_work: bool = False


@dataclass(frozen=True, slots=True)
class Drain:
    """The seat shall be empty by `deadline` (monotonic seconds); None: when the work in hand is done."""

    deadline: float | None


@dataclass(frozen=True, slots=True)
class Renew:
    """The worker shall do what is in hand and end, and a new one take its seat."""


@dataclass(frozen=True, slots=True)
class KillNow:
    """The seat shall be empty at once."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Start | Spoke | Asked | Succeeded | Exited | Drain | Renew | KillNow | Tick


class Action(Enum):
    """What the arbiter has to do."""

    SPAWN = "spawn"
    ASK_DRAIN = "ask_drain"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Slot:
    """One seat.

    `deadline` is when Tick has something to do (None: never). `killed` is set between our SIGKILL and the
    end of the process; `killed_cause` and `killed_why` then say why, and go into the record when it is gone.
    While DRAINING: `patient`: its promises hold instead of a deadline; `anew`: another one sits here then.
    `doing` is what the worker said it was at.
    """

    state: SlotState = SlotState.STOPPED
    since: float = 0.0
    deadline: float | None = None
    killed: bool = False
    killed_cause: Cause = Cause.HOST
    killed_why: str = ""
    failures: int = 0  # deaths in a row, for the backoff
    boot_deaths: tuple[float, ...] = ()  # times of the deaths since the last success
    crashes: int = 0  # all of them
    cause: Cause | None = None  # of the last trouble; None once the worker has succeeded
    message: str = ""
    patient: bool = False
    anew: bool = False
    doing: str = ""

    @property
    def alive(self) -> bool:
        """Is there a process?"""
        return self.state in (SlotState.STARTING, SlotState.RUNNING, SlotState.DRAINING)


def fatal(cause: Cause, message: str, now: float) -> Slot:
    """A seat that is given up for good: only a new configuration helps."""
    return Slot(state=SlotState.FATAL, since=now, cause=cause, message=message)


def step(
    slot: Slot, event: Event, policy: Policy, now: float, draw: float
) -> tuple[Slot, tuple[Action, ...]]:
    """What becomes of `slot`; `draw` is random in 0..1 and only read where a wait is jittered."""
    match event:
        case Start():
            # STOPPED -> STARTING
            return _starting(slot, policy, now) if slot.state is SlotState.STOPPED else (slot, ())
        case Spoke(until, ready, doing):
            return _spoke(replace(slot, doing=doing), until, ready, policy, now), ()
        case Asked():
            if slot.state is SlotState.RUNNING and not slot.killed:
                by = now + policy.answer_s
                slot = replace(slot, deadline=by if slot.deadline is None else min(slot.deadline, by))
            return slot, ()
        case Succeeded():
            clean = not (slot.failures or slot.boot_deaths or slot.cause or slot.message)
            if slot.alive and not slot.killed and not clean:
                slot = replace(slot, failures=0, boot_deaths=(), cause=None, message="")
            return slot, ()
        case Exited():
            return _exited(slot, event, policy, now, draw)
        case Drain(deadline):
            return _drain(slot, deadline, now)
        case Renew():
            return _renew(slot, policy, now)
        case KillNow():
            slot = replace(slot, anew=False)
            if slot.alive and not slot.killed:
                return _killed(slot, Cause.HOST, "killed: asked to end at once")
            # BACKOFF, FATAL, STOPPED -> STOPPED
            return (slot, ()) if slot.alive else (_stopped(slot, now), ())
        case Tick():
            return _tick(slot, policy, now)
        case _:
            assert_never(event)


def _starting(slot: Slot, policy: Policy, now: float) -> tuple[Slot, tuple[Action, ...]]:
    started = replace(
        slot,
        state=SlotState.STARTING,
        since=now,
        deadline=now + policy.start_s,
        killed=False,
        killed_why="",
        patient=False,
        anew=False,
    )
    return started, (Action.SPAWN,)


def _stopped(slot: Slot, now: float) -> Slot:
    if slot.state is SlotState.STOPPED:
        return slot
    return replace(
        slot,
        state=SlotState.STOPPED,
        since=now,
        deadline=None,
        killed=False,
        killed_why="",
        patient=False,
        anew=False,
    )


def _killed(slot: Slot, cause: Cause, why: str) -> tuple[Slot, tuple[Action, ...]]:
    return replace(slot, killed=True, killed_cause=cause, killed_why=why, deadline=None), (Action.KILL,)


def _spoke(slot: Slot, until: float, ready: bool, policy: Policy, now: float) -> Slot:
    if slot.killed:
        return slot  # said before it died
    if slot.state is SlotState.STARTING and ready:
        # STARTING -> RUNNING
        return replace(slot, state=SlotState.RUNNING, since=now, deadline=until + policy.grace_s)
    if slot.state in (SlotState.STARTING, SlotState.RUNNING) or slot.patient:
        return replace(slot, deadline=until + policy.grace_s)
    return slot  # DRAINING has its own deadline


def _drain(slot: Slot, deadline: float | None, now: float) -> tuple[Slot, tuple[Action, ...]]:
    if slot.state is SlotState.DRAINING:
        if deadline is not None and slot.patient and not slot.killed:
            slot = replace(slot, patient=False, deadline=deadline)
        return replace(slot, anew=False), ()
    if not slot.alive:
        # BACKOFF, FATAL, STOPPED -> STOPPED
        return _stopped(slot, now), ()
    # STARTING, RUNNING -> DRAINING
    draining = replace(slot, state=SlotState.DRAINING, since=now)
    if slot.killed:
        return draining, ()
    if deadline is None:
        return replace(draining, patient=True), (Action.ASK_DRAIN,)
    return replace(draining, deadline=deadline), (Action.ASK_DRAIN,)


def _renew(slot: Slot, policy: Policy, now: float) -> tuple[Slot, tuple[Action, ...]]:
    if slot.state in (SlotState.BACKOFF, SlotState.FATAL):
        # BACKOFF, FATAL -> STARTING
        return _starting(replace(slot, failures=0, boot_deaths=()), policy, now)
    if slot.state not in (SlotState.STARTING, SlotState.RUNNING) or slot.killed:
        return slot, ()  # whoever comes next is new in any case
    # STARTING, RUNNING -> DRAINING
    leaving = replace(slot, state=SlotState.DRAINING, since=now, patient=True, anew=True)
    return leaving, (Action.ASK_DRAIN,)


def _tick(slot: Slot, policy: Policy, now: float) -> tuple[Slot, tuple[Action, ...]]:
    if slot.deadline is None or now < slot.deadline:
        return slot, ()
    match slot.state:
        case SlotState.STARTING:
            return _killed(slot, Cause.HOST, f"killed: not ready {now - slot.since:.0f} s after its start")
        case SlotState.RUNNING:
            return _hung(slot, slot.deadline, policy, now)
        case SlotState.DRAINING:
            if slot.patient:
                return _hung(slot, slot.deadline, policy, now)
            return _killed(slot, Cause.HOST, "killed: the drain deadline passed")
        case SlotState.BACKOFF | SlotState.FATAL:
            # BACKOFF, FATAL -> STARTING
            return _starting(slot, policy, now)
        case SlotState.STOPPED:
            return slot, ()
        case _:
            assert_never(slot.state)


def _hung(slot: Slot, deadline: float, policy: Policy, now: float) -> tuple[Slot, tuple[Action, ...]]:
    late = now - deadline + policy.grace_s
    where = f" in its phase {slot.doing}" if slot.doing else ""
    return _killed(slot, Cause.HOST, f"killed: it hung{where}, its heartbeat is {late:.1f} s late")


def _exited(
    slot: Slot, event: Exited, policy: Policy, now: float, draw: float
) -> tuple[Slot, tuple[Action, ...]]:
    if not slot.alive:
        return slot, ()
    cause, message = (slot.killed_cause, slot.killed_why) if slot.killed else (event.cause, event.message)
    if slot.state is SlotState.DRAINING:
        if slot.killed or not event.orderly:
            slot = replace(slot, crashes=slot.crashes + 1, cause=cause, message=message)
        if slot.anew:
            # DRAINING -> STARTING
            return _starting(slot, policy, now)
        # DRAINING -> STOPPED
        return _stopped(slot, now), ()
    if event.orderly and not slot.killed and slot.state is SlotState.RUNNING:
        # RUNNING -> STARTING
        return _starting(slot, policy, now)
    deaths = tuple(at for at in slot.boot_deaths if at > now - policy.boot_window_s)
    if not event.at_work:
        deaths = (*deaths, now)
    failures = slot.failures + 1
    dead = replace(
        slot,
        since=now,
        killed=False,
        killed_why="",
        failures=failures,
        boot_deaths=deaths,
        crashes=slot.crashes + 1,
        cause=cause,
        message=message,
    )
    hopeless = event.hopeless and not slot.killed
    if hopeless or len(deaths) >= policy.boot_deaths:
        # STARTING, RUNNING -> FATAL. The deaths stay: one more after the half-open try and it is FATAL again,
        # unless they are older than the window, which the long wait must not bring about.
        again = now + policy.half_open_s * (1.0 - 0.1 * draw)
        kept = (again,) * (policy.boot_deaths - 1)
        return replace(dead, state=SlotState.FATAL, deadline=again, boot_deaths=kept), ()
    # STARTING, RUNNING -> BACKOFF
    wait = policy.backoff.delay(failures, draw)
    return replace(dead, state=SlotState.BACKOFF, deadline=now + wait), ()
