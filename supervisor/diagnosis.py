"""Who is to blame, since when, and what to do: health's findings, put together by what they have in common.

Runs in: tools. Pure. Health finds what is wrong with each queue; one broken server shows there as many
findings. Here they become one diagnosis with one place to look at: a server, this host, a queue's
configuration, a grader. A learner is never to blame for anything that stands here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from graders.model import Blame, Cause
from supervisor.advice import ADVICE
from supervisor.health import Finding, Health, Level, Thresholds, findings, judge, view
from supervisor.status import Alert, Status

OF_A_SERVER: Final = frozenset({Cause.AUTH, Cause.QUEUE_UNREACHABLE, Cause.QUEUE_ERROR})
OF_THE_HOST: Final = frozenset({Cause.HOST, Cause.RESOURCE, Cause.SANDBOX_UNAVAILABLE})
MAX_EVIDENCE: Final = 4


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One trouble. `part` is what is to blame, in words; `since` unix seconds, None if it is unknown."""

    level: Level
    cause: Cause | None
    blame: Blame
    part: str
    since: float | None
    queues: tuple[str, ...]
    grader: str
    evidence: tuple[str, ...]
    remedy: str


def examine(
    status: Status,
    now: float,
    limits: Thresholds = Thresholds(),  # noqa: B008 (frozen)
) -> tuple[Health, tuple[Diagnosis, ...]]:
    """How the service is, and why; the worst first, nothing if it is well. `now` in unix seconds."""
    seen = view(json.loads(msgspec.json.encode(status)))
    found = findings(seen, now, limits)
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in found:
        if finding.topic == "dead" or (finding.topic == "polls" and not finding.queue):
            continue  # looked at below; and a sum of others
        groups.setdefault(_place(finding, status), []).append(finding)
    diagnoses = [_together(group, status) for group in groups.values()]
    for finding in found:
        if finding.topic == "dead":
            diagnoses += _of_dead_letters(finding, status, now - limits.dead_s)
    worst = max((finding.level for finding in found), default=Level.OK)
    diagnoses.sort(key=lambda one: (-one.level, one.since or 0.0))
    if diagnoses and diagnoses[0].level < worst:  # "no queue can be polled": all of them together are worse
        diagnoses[0] = replace(diagnoses[0], level=worst)
    return judge(seen, now, limits), tuple(diagnoses)


def _place(finding: Finding, status: Status) -> tuple[str, ...]:
    """What findings of one trouble have in common."""
    cause = _cause(finding)
    if cause in OF_A_SERVER and finding.queue in status.queues:
        return (finding.cause, "server", status.queues[finding.queue].server)
    if cause in OF_THE_HOST:
        return (finding.cause, "host")
    return (finding.cause, finding.topic if cause is None else "", finding.queue)


def _cause(finding: Finding) -> Cause | None:
    return Cause(finding.cause) if finding.cause in Cause.__members__ else None


def _together(group: list[Finding], status: Status) -> Diagnosis:
    cause = _cause(group[0])
    queues = tuple(dict.fromkeys(one.queue for one in group if one.queue))
    if cause is None:
        part, remedy = _without_a_cause(group[0])
        blame = Blame.SERVICE
    else:
        advice = ADVICE[cause]
        blame, part, remedy = advice.blame, advice.part, advice.remedy
        if cause in OF_A_SERVER and queues:
            name = status.queues[queues[0]].server
            server = status.servers.get(name)
            part = f"XQueue server {name}{f' ({server.url})' if server and server.url else ''}: {part}"
    return Diagnosis(
        level=max(one.level for one in group),
        cause=cause,
        blame=blame,
        part=part,
        since=min((one.since for one in group if one.since is not None), default=None),
        queues=queues,
        grader="",
        evidence=_few(f"queue {one.queue}: {one.what}" if one.queue else one.what for one in group),
        remedy=remedy,
    )


def _without_a_cause(finding: Finding) -> tuple[str, str]:
    """(part, remedy) of what has no cause code: it was meant, or there is too much to do."""
    if finding.topic == "progress":
        return (
            "the service is slower than submissions come, or one of them takes long",
            "look at the times below; more workers, or smaller limits",
        )
    if finding.topic == "state":
        return "nobody: it was stopped", "start it, if it should run"
    return (
        "nobody: somebody stopped the service, or it starts",
        "`systemctl status xqueue-warden`, and its log",
    )


def _of_dead_letters(finding: Finding, status: Status, after: float) -> Iterator[Diagnosis]:
    """One diagnosis for each cause and grader that has made dead letters of the queue lately."""
    queue = status.queues[finding.queue]
    groups: dict[tuple[Cause, str], list[Alert]] = {}
    for alert in status.alerts:
        if alert.queue == finding.queue and alert.at >= after and alert.cause in queue.dead_causes:
            groups.setdefault((alert.cause, alert.grader), []).append(alert)
    show = "`warden dead list`, then `warden dead show`"
    if not groups:
        part = "not known any more"
        yield Diagnosis(
            finding.level,
            None,
            Blame.SERVICE,
            part,
            finding.since,
            (finding.queue,),
            "",
            (finding.what,),
            show,
        )
    for (cause, grader), alerts in groups.items():
        advice = ADVICE[cause]
        yield Diagnosis(
            level=finding.level,
            cause=cause,
            # A payload that names no grader is the course's, though the code is that of any setting.
            blame=Blame.COURSE if grader or cause is Cause.CONFIG else advice.blame,
            part=f"grader {grader}: {advice.part}" if grader else advice.part,
            since=min(alert.first_at or alert.at for alert in alerts),
            queues=(finding.queue,),
            grader=grader,
            evidence=_few([finding.what, *(_told(alert) for alert in reversed(alerts))]),
            remedy=f"{advice.remedy}; {show}",
        )


def _told(alert: Alert) -> str:
    return f"{alert.text} ({alert.count} times)" if alert.count > 1 else alert.text


def _few(texts: Iterable[str]) -> tuple[str, ...]:
    every = list(dict.fromkeys(texts))
    more = len(every) - MAX_EVIDENCE
    return (*every[:MAX_EVIDENCE], f"and {more} more") if more > 0 else tuple(every)
