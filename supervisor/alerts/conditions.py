"""What is wrong now, and what has happened: from status documents, by the judgement of supervisor.health.

Runs in: supervisor. Pure. Health judges with patience, since it is asked by cron once a minute; here it is
asked to have none, and the engine damps: a condition has to last before anybody is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, assert_never

import msgspec

from graders.model import Cause
from supervisor import health
from supervisor.alerts.model import MAX_TEXTS, Condition, Event, Picture
from supervisor.health import Finding, Level, Thresholds
from supervisor.pauses import Pause
from supervisor.settings import Severity
from supervisor.status import BreakerUnit, QueueStatus, ServiceState, SlotState, Status

IMPATIENT: Final = Thresholds(fatal_s=0.0, unreachable_s=0.0, trouble_s=20.0)

CHANNEL_S: Final = 600.0
"""A channel of alerts that has failed for so long is an alarm itself; the other channels tell it."""

_OF_SERVER: Final = frozenset({Cause.AUTH, Cause.QUEUE_UNREACHABLE, Cause.QUEUE_ERROR})
"""Polls that fail for these are one trouble of the server, however many queues it has."""


def picture(document: Status, now: float) -> Picture:
    """What the document shows at `now` (unix seconds)."""
    pauses = tuple(_pauses(document))
    paused = {pause.queue for pause in pauses}
    if document.state in (ServiceState.DRAINING, ServiceState.STOPPED):
        return Picture(whole=False, pauses=pauses)
    found = health.findings(health.view(msgspec.to_builtins(document)), now, IMPATIENT)
    conditions: dict[str, Condition] = {}
    held = {breaker.cause for breaker in document.breakers if breaker.unit is BreakerUnit.HOST}
    nothing_polled = any(finding.topic == "polls" and not finding.queue for finding in found)
    for finding in found:
        condition = _condition(finding, document, nothing_polled)
        if condition is None or finding.queue in paused:
            continue
        if finding.topic in ("polls", "trouble") and condition.cause in held:
            continue  # the host's breaker says it for all queues
        known = conditions.get(condition.key)
        conditions[condition.key] = condition if known is None else _joined(known, condition)
    for condition in (*_breakers(document, paused), *_channels(document, now)):
        known = conditions.get(condition.key)
        conditions[condition.key] = condition if known is None else _joined(known, condition)
    return Picture(
        conditions=tuple(conditions.values()),
        unsure=_unsure(document, paused),
        whole=document.state is ServiceState.RUNNING,
        pauses=pauses,
    )


def _condition(finding: Finding, document: Status, nothing_polled: bool) -> Condition | None:
    if finding.topic in ("dead", "breaker") or (finding.topic == "polls" and not finding.queue):
        return None  # events; `_breakers` knows the grader; what `nothing_polled` says
    cause = Cause(finding.cause) if finding.cause in Cause.__members__ else Cause.HOST
    severity = Severity.CRITICAL if finding.level is Level.CRITICAL else Severity.WARNING
    if not finding.queue:
        return Condition(
            unit="service",
            cause=cause,
            severity=severity,
            text=finding.what,
            since=finding.since,
        )
    queue = document.queues[finding.queue]
    unit, text = f"queue {finding.queue}", finding.what
    if finding.topic == "polls" and cause in _OF_SERVER:
        unit = f"server {queue.server}"
        severity = Severity.CRITICAL if nothing_polled else severity
    fatal = finding.topic == "slots" and any(slot.state is SlotState.FATAL for slot in queue.slots)
    return Condition(
        unit=unit,
        cause=cause,
        severity=severity,
        text=text,
        since=finding.since,
        at_once=fatal or finding.topic == "fatal",
        queues=(finding.queue,),
    )


def _joined(one: Condition, other: Condition) -> Condition:
    """Two of the same unit and cause: the worse one's words; of a server's queues the longest since."""
    worse = one if one.severity is Severity.CRITICAL or other.severity is Severity.WARNING else other
    since = min((at for at in (one.since, other.since) if at is not None), default=None)
    return msgspec.structs.replace(
        worse,
        since=since,
        at_once=one.at_once or other.at_once,
        queues=tuple(dict.fromkeys((*one.queues, *other.queues))),
    )


def _unsure(document: Status, paused: set[str]) -> frozenset[str]:
    """Units that have not shown yet, in this life of the supervisor, that they are well; and paused ones."""
    queues = {
        name
        for name, queue in document.queues.items()
        if name in paused or (queue.last_poll_ok_at is None and queue.last_delivered_at is None)
    }
    servers: dict[str, bool] = {}
    for name, queue in document.queues.items():
        servers[queue.server] = servers.get(queue.server, True) and name in queues
    return frozenset(
        {f"queue {name}" for name in queues}
        | {f"server {name}" for name, unsure in servers.items() if unsure}
    )


def _pauses(document: Status) -> Iterator[Pause]:
    for name, queue in document.queues.items():
        if queue.paused_since is not None:
            yield Pause(
                queue=name,
                since=queue.paused_since,
                until=queue.paused_until,
                message=queue.paused_message,
                by=queue.paused_by,
            )


def _breakers(document: Status, paused: set[str]) -> Iterator[Condition]:
    """What is left alone for a while, because it failed again and again."""
    for breaker in document.breakers:
        queues: tuple[str, ...] = (breaker.queue,)
        match breaker.unit:
            case BreakerUnit.HOST:
                unit, what = "host", "it fails whatever is tried; nothing is pulled until one trial succeeds"
                queues = tuple(document.queues)
            case BreakerUnit.QUEUE:
                unit, what = f"queue {breaker.queue}", "given up for a while"
            case BreakerUnit.PROBLEM:
                unit = f"grader {breaker.grader} of queue {breaker.queue}"
                what = "given up for a while; its submissions wait"
            case _:
                assert_never(breaker.unit)
        if breaker.queue in paused:
            continue
        stops = breaker.unit is not BreakerUnit.PROBLEM
        yield Condition(
            unit=unit,
            cause=breaker.cause,
            severity=Severity.CRITICAL if stops else Severity.WARNING,
            text=f"{what}: {breaker.cause.value}: {breaker.message}".rstrip(": "),
            since=breaker.since,
            at_once=True,
            queues=queues,
            graders=(breaker.grader,) if breaker.grader else (),
        )


def _channels(document: Status, now: float) -> Iterator[Condition]:
    for name, channel in document.channels.items():
        if channel.failing_since is not None and now - channel.failing_since > CHANNEL_S:
            yield Condition(
                unit=f"channel {name}",
                cause=Cause.HOST,
                severity=Severity.WARNING,
                text=f"alerts cannot be sent: {channel.message}",
                since=channel.failing_since,
                at_once=True,
            )


def events(before: Status | None, document: Status) -> tuple[Event, ...]:
    """Dead letters since the document `before` (None: since the supervisor's start), by queue and cause."""
    found = []
    for name, queue in document.queues.items():
        known = before.queues.get(name) if before else None
        for cause, count in queue.dead_causes.items():
            new = count - (known.dead_causes.get(cause, 0) if known else 0)
            if new > 0:
                texts, graders = _about(before, document, name, cause)
                found.append(Event(queue=name, cause=cause, count=new, texts=texts, graders=graders))
    return tuple(found)


def _about(
    before: Status | None, document: Status, queue: str, cause: Cause
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What was said of such failures since then: texts, the latest first, and the graders."""
    counts = (
        {(alert.cause, alert.text, alert.queue): alert.count for alert in before.alerts} if before else {}
    )
    new = [
        alert
        for alert in reversed(document.alerts)
        if alert.queue == queue
        and alert.cause is cause
        and alert.count > counts.get((alert.cause, alert.text, alert.queue), 0)
    ]
    texts = [alert.text for alert in new]
    graders = [alert.grader for alert in new if alert.grader]
    return tuple(dict.fromkeys(texts))[:MAX_TEXTS], tuple(dict.fromkeys(graders))


def progress(queues: dict[str, QueueStatus]) -> str:
    """What the service has done so far, for the dead-man ping."""
    polls = sum(queue.polls for queue in queues.values())
    delivered = sum(queue.delivered for queue in queues.values())
    backlog = sum(queue.backlog for queue in queues.values())
    return f"polls={polls} delivered={delivered} in_hand={backlog}"
