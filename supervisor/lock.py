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


def holder(state_dir: Path) -> int | None:
    """The pid of the supervisor that holds the lock, None if nobody does.

    No lock is taken for it, not even for a moment: a supervisor that starts now would be refused. The pid in
    the file alone may be that of one long dead. Source: proc_locks(5).

    Raises:
        PermissionError: the lock may not be looked at.
    """
    try:
        path = state_dir / FILE_NAME
        pid, inode = path.read_text().strip(), path.stat().st_ino
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        return None
    held = any(
        words[1] == "FLOCK" and words[4] == pid and words[5].endswith(f":{inode}")
        for words in locks
        if len(words) >= 6 and words[1] != "->"
    )
    return int(pid) if held else None
