"""A damaged journal: what can be read goes on, the rest is set aside.

Runs in: supervisor, while there are no workers. SQLite looks through the whole file. If it is damaged, all
rows that can still be read are copied into a new one, and the old one is kept beside it, with the time in its
name, for people to look at. No submission is lost by that: one that cannot be read was answered, or its
server hands it out again, and it is graded as if it were new. What may be lost is that it was answered, so
that a server gets a second, equal, result.

The copy is made complete under another name before anything is moved; a crash between the moves is found at
the next start.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervisor.schema import VERSION, JournalDamaged, JournalError, migrate, reading, version_of

MOST_GAP: Final = 20_000
"""So many rows between two readable ones are asked for one by one."""
_OTHERS: Final = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What became of a damaged journal. `lost` counts rows that were seen and could not be read."""

    aside: Path
    why: str
    saved: int
    lost: int

    def __str__(self) -> str:
        return (
            f"the journal was damaged ({self.why}): {self.saved} submissions were saved from it, at least"
            f" {self.lost} could not be read; what of them is not answered is handed out again by its server."
            f" The damaged file is {self.aside}; delete it when nobody wants to look at it any more"
        )


def salvage(path: Path, now: float, *, suspect: bool = False) -> Salvaged | None:
    """Look through the journal, and mend it if need be; None: it is well, or there is none.

    `now` is in unix seconds. `suspect`: a worker found damage, so the indexes are looked through as well,
    which takes longer.

    Raises:
        JournalError: it is damaged, and there is no room or no right to mend it.
    """
    fresh = path.with_name(f"{path.name}.saved")
    if not path.exists():
        if fresh.exists():  # a crash between the moves
            _moved(fresh, path)
        return None
    why = _damage(path, "integrity_check" if suspect else "quick_check")
    if why is None:
        fresh.unlink(missing_ok=True)
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("", *_OTHERS):
        fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    saved, lost = _copy(path, fresh)
    for suffix in _OTHERS:  # first these: they must never lie beside another file than their own
        with contextlib.suppress(FileNotFoundError):
            _moved(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
    _moved(path, aside)
    _moved(fresh, path)
    return Salvaged(aside, why, saved, lost)


def _moved(old: Path, new: Path) -> None:
    try:
        old.rename(new)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise JournalError(f"{old} cannot be moved: {error.strerror}") from error


def _damage(path: Path, check: str) -> str | None:
    """What SQLite finds wrong with the file; None: nothing. That it cannot be opened others will say."""
    try:
        with _opened(path) as db, reading():
            (said,) = db.execute(f"PRAGMA {check}(1)").fetchone()
            return None if said == "ok" else " ".join(str(said).split())
    except JournalDamaged as error:
        return str(error.__cause__)
    except JournalError:
        return None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with reading():
        db = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(db):
        yield db


def _copy(old: Path, fresh: Path) -> tuple[int, int]:
    """(rows copied, rows seen and not copied). The new file is on the disk when this returns."""
    try:
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalError(f"{fresh}: {error.strerror}") from error
    with _opened(fresh) as target, _opened(old) as source:
        try:
            version = version_of(source)
        except JournalError:
            version = 0
        readable = 0 < version <= VERSION
        with reading():
            target.execute("PRAGMA auto_vacuum = INCREMENTAL")
        migrate(target, version if readable else VERSION)
        counts = _Copy(source, target).run() if readable else (0, 0)
        with reading():
            target.execute("PRAGMA synchronous = FULL")
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    handle = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return counts


class _Copy:
    """Copies row by row, from both ends to the damage, then what may lie between."""

    def __init__(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        self._source = source
        self._target = target
        with reading():
            self._columns = [str(one[1]) for one in target.execute("PRAGMA table_info(submission)")]
        self._saved = 0
        self._lost = 0

    def run(self) -> tuple[int, int]:
        with reading():
            self._target.execute("BEGIN")
            low, whole = self._ids(">", -1, "ASC")
            if not whole:
                high, _ = self._ids("<", 1 << 62, "DESC", until=low)
                first = low + 1
                last = min(high, first + MOST_GAP) if high < 1 << 62 else first + MOST_GAP
                for row_id in range(first, last):
                    self._row(row_id, known=False)
            self._target.execute("COMMIT")
        return self._saved, self._lost

    def _ids(self, sign: str, start: int, order: str, until: int = -1) -> tuple[int, bool]:
        """(the last number that could be read in this direction, whether the end was reached)."""
        query = f"SELECT id FROM submission WHERE id {sign} ? ORDER BY id {order} LIMIT 1"  # noqa: S608
        while True:
            try:
                found = self._source.execute(query, (start,)).fetchone()
            except sqlite3.DatabaseError:
                return start, False
            if found is None or found[0] <= until:
                return start, True
            start = int(found[0])
            self._row(start, known=True)

    def _row(self, row_id: int, *, known: bool) -> None:
        names = ", ".join(self._columns)
        marks = ", ".join("?" * len(self._columns))
        try:
            row = self._source.execute(f"SELECT {names} FROM submission WHERE id = ?", (row_id,)).fetchone()  # noqa: S608
            if row is None:
                self._lost += known
                return
            self._target.execute(f"INSERT INTO submission ({names}) VALUES ({marks})", row)  # noqa: S608
        except sqlite3.DatabaseError:  # of the source, or a value that no such column can hold
            self._lost += known
            return
        self._saved += 1
        try:
            files = self._source.execute("SELECT * FROM file WHERE submission = ?", (row_id,)).fetchall()
            self._target.executemany("INSERT INTO file VALUES (?, ?, ?)", files)
        except sqlite3.DatabaseError:  # they are fetched again
            self._target.execute("UPDATE submission SET files_here = 0 WHERE id = ?", (row_id,))
