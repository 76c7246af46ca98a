"""What the supervisor tells the sender: its orders once, then progress, and letters that no disk takes.

Runs in: supervisor, sender. The orders lie in a memory file; the rest are lines of JSON in a pipe. No
secret crosses here: orders name the places of secrets, and the sender reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from supervisor.alerts.model import Letter
from supervisor.settings import Alerts, LogStyle

SILENT_S: Final = 45.0
"""The supervisor says something every eight seconds; after so long it is stuck."""


class Orders(msgspec.Struct, frozen=True):
    """All that the sender has to know."""

    alerts: Alerts
    state_dir: Path
    log: LogStyle
    host: str
    silent_s: float = SILENT_S
    log_file: Path | None = None


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """The supervisor's loop has come round. `line` is the health line, `token` what was done so far."""

    critical: bool
    line: str
    token: str


class Carry(msgspec.Struct, frozen=True, tag="carry"):
    """Send this letter; it could not be spooled."""

    letter: Letter


class Poke(msgspec.Struct, frozen=True, tag="poke"):
    """There are new letters."""


Line = Progress | Carry | Poke


def encode_orders(orders: Orders) -> bytes:
    """As JSON."""
    return msgspec.json.encode(orders, enc_hook=str)


def decode_orders(raw: bytes) -> Orders:
    """From JSON."""
    return msgspec.json.decode(raw, type=Orders, dec_hook=_path)


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


def encode_line(line: Line) -> bytes:
    """One line of JSON with its newline."""
    return msgspec.json.encode(line) + b"\n"


def decode_line(raw: bytes) -> Line:
    """One line.

    Raises:
        msgspec.DecodeError: it is not one.
    """
    line: Line = msgspec.json.decode(raw, type=Line)
    return line
