"""A finding: what was looked at, how it stands, what follows, what mends it.

Runs in: tools. Whoever looks at something makes findings of its own area.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a finding stands."""

    OK = "ok"
    WARNING = "warning"  # it works; with this it would be better
    BAD = "bad"  # what is required is not to be had
    UNKNOWN = "unknown"  # it could not be found out


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: one line each of what was found, what follows, and what mends it."""

    area: str
    name: str
    state: State
    finding: str
    consequence: str = ""
    mend: str = ""


def exit_status(findings: Iterable[Finding], strict: bool) -> int:
    """2 if one is BAD, 1 if one is not OK and `strict`, else 0."""
    states = {one.state for one in findings}
    if State.BAD in states:
        return 2
    return 1 if strict and states - {State.OK} else 0


def summary(findings: Sequence[Finding]) -> str:
    """One line: how many of each."""
    counts = {state: sum(one.state is state for one in findings) for state in State}
    bad, warnings, unknown = counts[State.BAD], counts[State.WARNING], counts[State.UNKNOWN]
    parts = [f"{bad} bad", f"{warnings} warning{'' if warnings == 1 else 's'}"]
    if unknown:
        parts.append(f"{unknown} unknown")
    verdict = "NOT fit for what is required" if bad else "fit for what is required"
    return f"this installation is {verdict} ({', '.join(parts)} of {len(findings)} findings)"
