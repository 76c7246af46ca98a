"""A log file that may be renamed under us: every process that writes to it notices by itself.

Runs in: supervisor, worker. Before each line the path is looked at (one stat): if another file stands there,
or none, it is opened anew. So logrotate needs nobody to be told; SIGUSR1 only makes the new file appear at
once. A forked worker, whose descriptors were closed, opens it the same way.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path
from typing import Final

MODE: Final = 0o640

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LogFile(logging.Handler):
    """Appends to the file at `path`, whole lines in one write each, so that processes can share it.

    A line that cannot be written (the disk is full) goes to stderr.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._fd = -1
        self._pid = 0
        self.reopen()

    def reopen(self) -> None:
        """Open what stands at the path now, and make it if there is nothing.

        Raises:
            OSError: it cannot be opened; the old file is written on.
        """
        fd = os.open(self._path, _FLAGS, MODE)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(None, "it is not a regular file", str(self._path))
        if self._pid == os.getpid():
            os.close(self._fd)
        self._fd, self._pid = fd, os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except Exception:  # logging's own custom: a record that cannot be formatted stops nobody
            self.handleError(record)
            return
        try:
            self._follow()
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError:
            sys.stderr.buffer.write(line)
            sys.stderr.flush()

    def _follow(self) -> None:
        ours = self._pid == os.getpid()  # else our parent's number may be anything here
        try:
            if ours and os.path.samestat(self._path.stat(), os.fstat(self._fd)):
                return
        except OSError:
            pass
        try:
            self.reopen()
        except OSError:
            if not ours:
                raise

    def close(self) -> None:
        if self._pid == os.getpid():
            os.close(self._fd)
        self._fd, self._pid = -1, 0
        super().close()
