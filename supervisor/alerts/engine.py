"""What of it is news: a pure state machine over the pictures of the service.

Runs in: supervisor. Pure: state, picture, events and the time in; state and news out.

    (none) --seen--> pending --it lasted hold_s, or is told at once--> OPEN --due by repeat_s--> told again
    OPEN --not seen for hold_s--> recovered;  seen again before that --> OPEN, nobody told
    opened `flaps` times within flap_window_s --> OPEN and flapping: recovers only after a third of the window

Time counts as lasting only while the condition was seen at both ends of it, so one that comes and goes
needs longer to open, and still does. Where nothing can be told (the service starts, a queue is paused)
alarms stay as they are, and nobody is told. A clock set back moves all times with it.

Dead letters do not last; the first is told at once, and those that follow within digest_s in one digest.
After `digests` of them a digest comes every digest_long_s, until it was quiet for so long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from graders.model import Cause
from supervisor.alerts.audiences import Contacts, audiences, contacts_for
from supervisor.alerts.model import (
    MAX_TEXTS,
    Change,
    Condition,
    Event,
    News,
    Open,
    Pending,
    Picture,
    State,
    Stream,
)
from supervisor.health import span, stamp
from supervisor.pauses import Pause
from supervisor.settings import Audience, Damping, Severity

MAX_STEP_S: Final = 30.0
"""More time than this between two looks does not count as lasting: the machine slept."""


def step(
    state: State,
    picture: Picture,
    happened: Sequence[Event],
    now: float,
    policy: Damping,
    contacts: Contacts,
) -> tuple[State, tuple[News, ...]]:
    """The next state, and what to tell. `state.seq` and `state.outgoing` are left alone."""
    if now < state.at:
        state = _moved(state, now - state.at)
    desk = _Step(state, now, policy, contacts)
    desk.pause(picture.pauses)
    desk.conditions(picture)
    for event in happened:
        desk.event(event)
    desk.digest()
    return desk.state(state), tuple(desk.news)


def restarted(state: State, now: float) -> tuple[State, tuple[News, ...]]:
    """At the supervisor's start: did its predecessor end in order?"""
    if not state.running:
        return replace(state, running=True), ()
    text = "the supervisor had not ended in order (killed, or the machine went down); it was started again"
    news = News(
        change=Change.HAPPENED,
        unit="service",
        severity=Severity.WARNING,
        text=text,
        since=now,
        to=(Audience.ADMIN,),
    )
    return state, (news,)


@dataclass(slots=True)
class _Step:
    """One step while it is made."""

    before: State
    now: float
    policy: Damping
    contacts: Contacts
    alarms: dict[str, Open] = field(init=False)
    pending: dict[str, Pending] = field(init=False)
    openings: dict[str, tuple[float, ...]] = field(init=False)
    streams: dict[str, Stream] = field(init=False)
    pauses: dict[str, Pause] = field(init=False)
    news: list[News] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.alarms, self.pending = dict(self.before.alarms), dict(self.before.pending)
        self.streams, self.pauses = dict(self.before.streams), dict(self.before.pauses)
        since = self.now - self.policy.flap_window_s
        recent = {key: tuple(at for at in ats if at > since) for key, ats in self.before.openings.items()}
        self.openings = {key: ats for key, ats in recent.items() if ats}

    def state(self, before: State) -> State:
        return replace(
            before,
            at=self.now,
            alarms=self.alarms,
            pending=self.pending,
            openings=self.openings,
            streams=self.streams,
            pauses=self.pauses,
        )

    # -- what lasts ----------------------------------------------------------------------------------

    def conditions(self, picture: Picture) -> None:
        elapsed_s = min(self.now - self.before.at, MAX_STEP_S) if self.before.at else 0.0
        seen = {condition.key: condition for condition in picture.conditions}
        for key, condition in seen.items():
            if key in self.alarms:
                self._again(key, condition)
            else:
                self._pending(key, condition, elapsed_s)
        for key, alarm in list(self.alarms.items()):
            if key not in seen and picture.whole and alarm.unit not in picture.unsure:
                self._gone(key, alarm)
        for key, waiting in list(self.pending.items()):
            if key in self.alarms or self.now - waiting.seen_at >= self.policy.hold_s > 0:
                del self.pending[key]
            elif key not in seen:
                self.pending[key] = replace(waiting, present=False)

    def _pending(self, key: str, condition: Condition, elapsed_s: float) -> None:
        known = self.pending.get(key)
        lasted_s = known.lasted_s + (elapsed_s if known.present else 0.0) if known else 0.0
        if not condition.at_once and lasted_s < self.policy.hold_s:
            self.pending[key] = Pending(lasted_s=lasted_s, seen_at=self.now)
            return
        openings = (*self.openings.get(key, ()), self.now)
        self.openings[key] = openings
        flapping = len(openings) >= self.policy.flaps
        to, contacts = self._readers(condition)
        alarm = Open(
            unit=condition.unit,
            cause=condition.cause,
            severity=condition.severity,
            text=condition.text,
            since=condition.since,
            opened_at=self.now,
            told_at=self.now,
            queues=condition.queues,
            to=to,
            contacts=contacts,
            flapping=flapping,
        )
        self.alarms[key] = alarm
        comes = f"comes and goes ({len(openings)} times in {span(self.policy.flap_window_s)}): "
        self._tell(Change.OPENED, alarm, comes if flapping else "")

    def _again(self, key: str, condition: Condition) -> None:
        """An open alarm is seen again: is there anything new to say?"""
        alarm = self.alarms[key]
        to, contacts = self._readers(condition)
        worse = condition.severity is Severity.CRITICAL and alarm.severity is not Severity.CRITICAL
        more = tuple(queue for queue in condition.queues if queue not in alarm.queues)
        returned = alarm.gone_at is not None
        alarm = replace(
            alarm,
            severity=Severity.CRITICAL if worse else alarm.severity,
            text=condition.text,
            since=alarm.since if returned else condition.since,
            queues=(*alarm.queues, *more),
            to=tuple(dict.fromkeys((*alarm.to, *to))),
            contacts=tuple(dict.fromkeys((*alarm.contacts, *contacts))),
            gone_at=None,
            returns=alarm.returns + returned,
        )
        pauses = self.policy.repeat_s
        due = bool(pauses) and self.now - alarm.told_at >= pauses[min(alarm.told, len(pauses)) - 1]
        if worse or (more and not alarm.flapping):
            alarm = replace(alarm, told_at=self.now)
            self._tell(Change.WORSE, alarm, "")
        elif due:
            alarm = replace(alarm, told_at=self.now, told=alarm.told + 1)
            self._tell(Change.STILL, alarm, "")
        self.alarms[key] = alarm

    def _gone(self, key: str, alarm: Open) -> None:
        """An open alarm is not seen: over, once that lasts."""
        gone_at = self.now if alarm.gone_at is None else alarm.gone_at
        quiet_s = self.policy.flap_window_s / 3 if alarm.flapping else self.policy.hold_s
        if self.now - gone_at < quiet_s:
            self.alarms[key] = replace(alarm, gone_at=gone_at)
            return
        del self.alarms[key]
        began = alarm.opened_at if alarm.since is None else min(alarm.since, alarm.opened_at)
        text = f"over after {span(gone_at - began)}"
        if alarm.returns:
            text += f", in which it came and went {alarm.returns + 1} times"
        self._tell(Change.RECOVERED, alarm, f"{text}; it was: ")

    def _readers(self, condition: Condition) -> tuple[tuple[Audience, ...], tuple[str, ...]]:
        to = audiences(condition.cause, condition.severity, course=bool(condition.graders))
        if Audience.CONTACTS not in to:
            return to, ()
        return to, self._contacts(condition.queues, condition.graders)

    def _contacts(self, queues: Iterable[str], graders: tuple[str, ...] = ()) -> tuple[str, ...]:
        found = [one for queue in queues for one in contacts_for(self.contacts, queue, graders)]
        return tuple(dict.fromkeys(found))

    def _tell(self, change: Change, alarm: Open, before: str) -> None:
        several = len(alarm.queues) > 1 or (alarm.queues and not alarm.unit.startswith("queue "))
        queues = f" (queue{'s' * (len(alarm.queues) > 1)} {', '.join(alarm.queues)})" if several else ""
        self.news.append(
            News(
                change=change,
                unit=alarm.unit,
                cause=alarm.cause,
                severity=alarm.severity,
                text=f"{before}{alarm.text}{queues}",
                since=alarm.since,
                to=alarm.to,
                contacts=alarm.contacts,
            )
        )

    # -- what only happens ---------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        key = f"{event.queue}: {event.cause.value}"
        stream = self.streams.get(key) or Stream(until=self.now, last_at=self.now, told=0)
        self.streams[key] = replace(
            stream,
            last_at=self.now,
            count=stream.count + event.count,
            total=stream.total + event.count,
            texts=tuple(dict.fromkeys((*stream.texts, *event.texts)))[:MAX_TEXTS],
            graders=tuple(dict.fromkeys((*stream.graders, *event.graders))),
        )

    def digest(self) -> None:
        """Tell the streams that are due, and forget those that are quiet."""
        for key, stream in list(self.streams.items()):
            if self.now >= stream.until and stream.count:
                self._tell_stream(key, stream)
            elif self.now - stream.last_at >= self.policy.digest_long_s:
                del self.streams[key]

    def _tell_stream(self, key: str, stream: Stream) -> None:
        queue, _, name = key.rpartition(": ")
        cause = Cause(name)
        told = stream.told + 1
        wait_s = self.policy.digest_s if told < self.policy.digests else self.policy.digest_long_s
        self.streams[key] = replace(stream, until=self.now + wait_s, told=told, count=0, texts=(), graders=())
        letters = "1 dead letter" if stream.count == 1 else f"{stream.count} dead letters"
        more = f", {stream.total} since this began" if stream.total > stream.count else ""
        said = "".join(f"\n    {text}" for text in stream.texts)
        to = audiences(cause, Severity.WARNING, dead=True)
        self.news.append(
            News(
                change=Change.HAPPENED,
                unit=f"queue {queue}",
                cause=cause,
                severity=Severity.WARNING,
                text=f"{letters}: {name}{more}{said}",
                to=to,
                contacts=self._contacts([queue], stream.graders) if Audience.CONTACTS in to else (),
            )
        )

    # -- what is planned -----------------------------------------------------------------------------

    def pause(self, pauses: Iterable[Pause]) -> None:
        now = {pause.queue: pause for pause in pauses}
        for queue, pause in now.items():
            if self.pauses.get(queue) != pause:
                until = f"until {stamp(pause.until)}" if pause.until is not None else "until it is resumed"
                said = f": {pause.message}" if pause.message else ""
                by = f" (by {pause.by})" if pause.by else ""
                self._plan(queue, f"paused {until}{said}{by}", pause.since)
        for queue, pause in self.pauses.items():
            if queue not in now:
                self._plan(queue, "the pause is over; submissions are pulled again", pause.since)
        self.pauses = now

    def _plan(self, queue: str, text: str, since: float) -> None:
        self.news.append(
            News(
                change=Change.PLANNED,
                unit=f"queue {queue}",
                severity=Severity.WARNING,
                text=text,
                since=since,
                to=(Audience.TEAM, Audience.CONTACTS),
                contacts=self._contacts([queue]),
            )
        )


def _moved(state: State, by_s: float) -> State:
    """All that still matters of the state, as if it had happened `by_s` later: the clock was set."""

    def at(time: float | None) -> float | None:
        return None if time is None else time + by_s

    return replace(
        state,
        at=state.at + by_s,
        alarms={
            key: replace(
                alarm,
                opened_at=alarm.opened_at + by_s,
                told_at=alarm.told_at + by_s,
                gone_at=at(alarm.gone_at),
            )
            for key, alarm in state.alarms.items()
        },
        pending={key: replace(one, seen_at=one.seen_at + by_s) for key, one in state.pending.items()},
        openings={key: tuple(one + by_s for one in ats) for key, ats in state.openings.items()},
        streams={
            key: replace(one, until=one.until + by_s, last_at=one.last_at + by_s)
            for key, one in state.streams.items()
        },
    )
