"""One supervisor per state folder: a lock that the kernel drops with the process, whatever ends it.

Runs in: supervisor; `holder` in tools.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FILE_NAME: Final = "warden.lock"


class AlreadyRunning(Exception):
    """Another supervisor holds the lock. The message names it."""


def holder(state_dir: Path) -> int | None:
    """The pid of the supervisor that holds the lock, None if nobody does.

    Raises:
        PermissionError: the lock may not be looked at.
    """
    try:
        fd = os.open(state_dir / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdecimal() else None
    finally:
        os.close(fd)
    return None


@contextmanager
def hold(state_dir: Path) -> Iterator[None]:
    """Hold the lock of `state_dir`; its file holds our pid for people to read.

    The file is never removed: a third process could lock the removed file while we lock a new one.

    Raises:
        AlreadyRunning: somebody else has it.
        OSError: the folder cannot be written.
    """
    path = state_dir / FILE_NAME
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise AlreadyRunning(f"a supervisor runs here already: pid {pid} holds {path}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
