"""What was seen of a queue server (xqueue.probe) means: findings.

Runs in: tools. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from supervisor.doctor.findings import Finding, State
from xqueue.probe import Seen, Step

CLOCK_S: Final = 5.0
"""Clocks further apart than this are told: a server's Date has whole seconds, and answers take their time."""
LIFE_S: Final = 600.0
"""A session shorter than this means a login every few minutes; one costs the server a third of a second."""
CERTIFICATE_S: Final = 14 * 86_400.0

WHY: Final[Mapping[Step, str]] = {
    Step.LOGIN: "a login is tried again after 30 s, then at longer and longer intervals, up to 15 minutes",
    Step.SESSION: "every call would need a login of its own; one is tried at longer and longer intervals",
    Step.RIGHTS: "a login succeeds, and all else is refused; it is tried at longer and longer intervals",
}


def of_server(
    name: str, seen: Iterable[Seen], needed: bool = True, known: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """The findings of one server.

    `needed`: a queue uses it; else nothing is worse than a warning. `known`: what the journal says of a
    queue, for servers that do not tell whether it exists.
    """
    area = f"server {name}"
    wrong = State.BAD if needed else State.WARNING
    for one in seen:
        label = f"queue {one.queue}" if one.step is Step.QUEUE else one.step.value
        if not one.ok:
            silent = "its queues are not served" if needed else "no queue can use it"
            if one.step is Step.QUEUE:
                silent = "nothing is ever pulled from it"
            follows = f"{silent} ({one.cause})"
            if one.step in WHY:
                follows += f"; {WHY[one.step]}"
            yield Finding(area, label, wrong, one.found, follows, one.mend)
        else:
            yield _held(area, label, one, (known or {}).get(one.queue, ""))


def _held(area: str, label: str, one: Seen, known: str) -> Finding:
    """A step that succeeded may still be better."""
    seconds = one.seconds
    match one.step:
        case Step.TLS if one.mend:
            follows = "whoever sits between here and there can read the password and answer as the server"
            return Finding(area, label, State.WARNING, one.found, follows, one.mend)
        case Step.TLS if seconds is not None and seconds < CERTIFICATE_S:
            follows = "when it has expired, its queues are not served (QUEUE_UNREACHABLE)"
            return Finding(area, label, State.WARNING, one.found, follows, "renew the certificate there")
        case Step.CLOCK if seconds is not None and abs(seconds) > CLOCK_S:
            follows = "waits are told wrongly, signed file URLs may count as expired, and certificates, too"
            mend = "let both machines keep their clocks by NTP: timedatectl set-ntp true"
            return Finding(area, label, State.WARNING, one.found, follows, mend)
        case Step.LIFE if seconds is not None and seconds < LIFE_S:
            follows = "each login costs the server about a third of a second"
            mend = "raise SESSION_COOKIE_AGE on the server"
            return Finding(area, label, State.WARNING, one.found, follows, mend)
        case Step.QUEUE if one.length is None and known:
            return Finding(area, label, State.OK, f"{one.found}; {known}")
        case Step.QUEUE if one.length is None:
            follows = "with a wrong name everything looks well, and nothing is ever pulled"
            mend = "compare it with queuename in the course's problems; submit an answer and look here again"
            return Finding(area, label, State.UNKNOWN, one.found, follows, mend)
        case _:
            return Finding(area, label, State.OK, one.found)
