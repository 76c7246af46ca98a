"""Planned maintenance: which queues are paused, in a file between the command line and the supervisor.

Runs in: supervisor (reads), tools (writes). `pauses.json` in the state folder holds one row for each paused
queue. It is written by `warden pause` and `resume` alone, one after the other (a lock), and replaced by a
rename. The supervisor looks at it in each turn of its loop, by its stamp, so a pause survives a restart and
works while the service is down. A row whose time is over counts as not there; the next writer drops it.

Times are unix seconds.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from supervisor import atomic

FILE_NAME: Final = "pauses.json"
LOCK_NAME: Final = ".pauses.lock"
MAX_BYTES: Final = 1024 * 1024
MAX_MESSAGE: Final = 300


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """One queue is not polled. `until`: None: until it is resumed. `message` and `by` are for people."""

    queue: str
    since: float
    until: float | None = None
    message: str = ""
    by: str = ""

    def over(self, now: float) -> bool:
        """Has it ended by itself?"""
        return self.until is not None and now >= self.until


class PausesUnreadable(Exception):
    """The file is there and cannot be used. The message says why and what to do."""


class _File(msgspec.Struct, frozen=True):
    pauses: tuple[Pause, ...] = ()


def read(state_dir: Path, now: float) -> dict[str, Pause]:
    """The pauses in force, by queue.

    Raises:
        PausesUnreadable: the file is damaged, or may not be read.
    """
    path = state_dir / FILE_NAME
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            raw = file.read(MAX_BYTES)
        found = msgspec.json.decode(raw, type=_File).pauses
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PausesUnreadable(
            f"{path}: {error.strerror}; make it readable for the service's user"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PausesUnreadable(
            f"{path}: not a list of pauses ({error}); remove it and pause again"
        ) from error
    return {pause.queue: pause for pause in found if not pause.over(now)}


@contextmanager
def change(state_dir: Path, now: float) -> Iterator[dict[str, Pause]]:
    """The pauses in force, to be changed; written when the block ends well.

    Written as the owner of the folder where we may (root does it for the service's user).

    Raises:
        PausesUnreadable: what is there cannot be used.
        OSError: the folder cannot be written.
    """
    lock = os.open(state_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _give(state_dir, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        pauses = read(state_dir, now)
        yield pauses
        rows = tuple(pauses[queue] for queue in sorted(pauses))
        raw = msgspec.json.format(msgspec.json.encode(_File(rows)), indent=2) + b"\n"
        atomic.replace(state_dir / FILE_NAME, raw, 0o600)
        file = os.open(state_dir / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _give(state_dir, file)
        finally:
            os.close(file)
    finally:
        os.close(lock)


def _give(state_dir: Path, file: int) -> None:
    owner = state_dir.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(file, owner.st_uid, owner.st_gid)


class Watch:
    """The supervisor's eye on the file: `look` costs one stat while it does not change."""

    def __init__(self, state_dir: Path | None) -> None:
        self._state_dir = state_dir
        self._stamp: tuple[int, int, int] | None = None
        self._pauses: Mapping[str, Pause] = {}
        self.trouble = ""

    def look(self, now: float) -> Mapping[str, Pause]:
        """The pauses in force, by queue. Of a file that cannot be read the last good state stays in force,
        and `trouble` says why."""
        if self._state_dir is None:
            return {}
        stamp = _stamp(self._state_dir / FILE_NAME)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._pauses, self.trouble = read(self._state_dir, now), ""
            except PausesUnreadable as error:
                self.trouble = str(error)
        return {queue: pause for queue, pause in self._pauses.items() if not pause.over(now)}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
