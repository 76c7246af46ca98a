"""News in words: one letter for each kind of reader.

Runs in: supervisor, tools. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from graders.model import Cause
from supervisor.advice import ADVICE
from supervisor.alerts.model import Change, Letter, News
from supervisor.health import span, stamp
from supervisor.settings import Audience, Severity

MAX_NEWS: Final = 20
"""So many stand in one letter; the rest is counted."""
MAX_TITLE: Final = 120

_WORDS: Final = {
    Change.OPENED: "",
    Change.WORSE: "worse: ",
    Change.STILL: "still: ",
    Change.RECOVERED: "recovered: ",
    Change.HAPPENED: "",
    Change.PLANNED: "planned: ",
    Change.TEST: "test: ",
}


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom letters are from."""

    host: str
    version: str = ""
    config_path: str = ""


def compose(news: Iterable[News], sender: Sender, seq: int, now: float) -> tuple[Letter, ...]:
    """Letters numbered from `seq` + 1: one for each set of audiences, and one for each course's contact."""
    groups: dict[tuple[tuple[Audience, ...], str], list[News]] = {}
    for one in news:
        groups_of = tuple(sorted(audience for audience in one.to if audience is not Audience.CONTACTS))
        if groups_of:
            groups.setdefault((groups_of, ""), []).append(one)
        for contact in one.contacts:
            groups.setdefault(((Audience.CONTACTS,), contact), []).append(one)
    return tuple(
        _letter(group, to, contact, sender, number, now)
        for number, ((to, contact), group) in enumerate(groups.items(), seq + 1)
    )


def _letter(
    news: list[News], to: tuple[Audience, ...], contact: str, sender: Sender, seq: int, now: float
) -> Letter:
    critical = any(one.severity is Severity.CRITICAL for one in news)
    severity = Severity.CRITICAL if critical else Severity.WARNING
    changes = {one.change for one in news}
    change = changes.pop() if len(changes) == 1 else None
    first = news[0]
    if len(news) == 1:
        head = f"{_WORDS[first.change]}{first.unit}: {first.text.splitlines()[0]}"
    else:
        head = f"{len(news)} alarms, the first: {_WORDS[first.change]}{first.unit}"
    over = change in (Change.RECOVERED, Change.PLANNED, Change.TEST)
    title = f"warden on {sender.host}: {'' if over else f'{severity.value.upper()}: '}{head}"
    blocks = [_block(one, now) for one in news[:MAX_NEWS]]
    if len(news) > MAX_NEWS:
        blocks.append(f"and {len(news) - MAX_NEWS} more: see `warden alert list`")
    version = f"xqueue-warden {sender.version}, " if sender.version else ""
    config = f", {sender.config_path}" if sender.config_path else ""
    foot = f"-- \n{version}host {sender.host}{config}, {stamp(now)}"
    return Letter(
        seq=seq,
        at=now,
        severity=severity,
        to=to,
        contact=contact,
        change=change,
        title=title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1] + "…",
        text="\n\n".join([*blocks, foot]),
        news=tuple(news[:MAX_NEWS]),
        host=sender.host,
    )


def to_do(cause: Cause) -> str:
    """Where the trouble is, and what to do about it, in one line."""
    advice = ADVICE[cause]
    return f"trouble in {advice.part}; what to do: {advice.remedy}"


def _block(one: News, now: float) -> str:
    """One of the news, as a paragraph of lines."""
    lines = [f"{_WORDS[one.change]}{one.unit}: {one.text}"]
    if one.change not in (Change.RECOVERED, Change.PLANNED, Change.TEST):
        lines[0] = f"{one.severity.value.upper()}: {lines[0]}"
    if one.since is not None:
        lines.append(f"  since:       {stamp(one.since)} ({span(now - one.since)})")
    if one.cause is not None and one.change is not Change.RECOVERED:
        advice = ADVICE[one.cause]
        lines.append(f"  trouble in:  {advice.part} ({one.cause.value})")
        lines.append(f"  what to do:  {advice.remedy}")
        who = ", ".join(audience.value for audience in one.to)
        lines.append(f"  told to:     {who}")
    return "\n".join(lines)
