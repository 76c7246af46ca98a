"""A point in time as people give it: how long ago, or a date.

Runs in: tools.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Final

import click

_UNITS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SPAN: Final = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic in the stubs only
    """`90min`, `2h`, `3d` before now, or `2026-03-31`, `2026-03-31T14:00`: unix seconds."""

    name = "time"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if found := _SPAN.fullmatch(value.strip()):
            return time.time() - float(found[1]) * _UNITS[found[2]]
        try:
            return datetime.fromisoformat(value.strip()).timestamp()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write 90min, 2h, 3d, or 2026-03-31T14:00", param, ctx)


def shown(at: float | None) -> str:
    """The local time of unix seconds, "" for None."""
    return "" if at is None else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
