"""Points in time and spans of it, as people give them at a command line.

Runs in: tools.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import Final

import click

from supervisor.health import span

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "min": 60, "s": 1}
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:w|d|h|min|m|s))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(w|d|h|min|m|s)")
_CLOCK: Final = re.compile(r"\d\d?:\d\d")


def seconds_of(text: str) -> float:
    """2h, 90m, 1h30m, 1.5d as seconds.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    squeezed = text.replace(" ", "").lower()
    if not _SPAN.fullmatch(squeezed):
        raise ValueError(f"{text!r} is not a time span; write it like 90m, 2h, 1h30m or 1d")
    found = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(squeezed))
    if not 0 < found < 10 * 366 * 86400:
        raise ValueError(f"{text!r} is out of range; give a time span of less than ten years")
    return found


def moment_of(text: str, now: float) -> float:
    """When 18:00, 2026-12-24, 2026-12-24 18:00 or 2026-12-24T18:00+01:00 is, as unix seconds.

    Without a zone it is meant in local time; a clock time alone is the next one.

    Raises:
        ValueError: it is none, or it is over; the message says what to write.
    """
    found, alone = _read(text, now)
    if alone and found <= now:
        found = (datetime.fromtimestamp(found) + timedelta(days=1)).astimezone().timestamp()
    if found <= now:
        raise ValueError(f"{text!r} is over since {span(now - found)}; give a time to come")
    return found


def since_of(text: str, now: float) -> float:
    """When 2h ago was, or 18:00 was last, or 2026-12-24 was, as unix seconds.

    Raises:
        ValueError: it is none, or to come; the message says what to write.
    """
    if _SPAN.fullmatch(text.replace(" ", "").lower()):
        return now - seconds_of(text)
    found, alone = _read(text, now)
    if alone and found > now:
        found = (datetime.fromtimestamp(found) - timedelta(days=1)).astimezone().timestamp()
    if found > now:
        raise ValueError(f"{text!r} is to come in {span(found - now)}; give a time that was, or 2h")
    return found


def _read(text: str, now: float) -> tuple[float, bool]:
    """Unix seconds, and whether it was a clock time alone (then today's)."""
    here = datetime.fromtimestamp(now).astimezone()
    words = text.strip()
    alone = bool(_CLOCK.fullmatch(words))
    try:
        if alone:
            hour, minute = map(int, words.split(":"))
            moment = here.replace(hour=hour, minute=minute, second=0, microsecond=0, tzinfo=None)
        else:
            moment = datetime.fromisoformat(words)
        return moment.astimezone().timestamp(), alone
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text!r} is not a time; write it like 18:00, 2026-12-24 18:00 or 2026-12-24T18:00+01:00"
        ) from None


class Since(click.ParamType):  # type: ignore[type-arg]  # generic in the newer ones only
    """An option's point in the past, as `since_of`: unix seconds."""

    name = "time"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return since_of(value, time.time())
        except ValueError as error:
            self.fail(str(error), param, ctx)


def shown(at: float | None) -> str:
    """The local time of unix seconds, "" for None."""
    return "" if at is None else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
