"""Replace a file at once: a reader sees the old one or the new one, never half of one.

Runs in: supervisor, tools.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace(path: Path, raw: bytes, mode: int = 0o644) -> None:
    """Put `raw` at `path` with exactly `mode`, whatever the umask. Its folder must exist.

    There is one writer of each such file, so one temporary name: a crash leaves one such file. No fsync.

    Raises:
        OSError: the folder cannot be written. The old file then still stands.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(raw)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
