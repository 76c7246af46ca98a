"""What the journal forgets, and when: learners' texts are kept no longer than they are of use.

Runs in: supervisor (before the first fork), worker. What is not delivered is never forgotten. Rows go in
small transactions, because the other workers wait meanwhile, and without an fsync: what a power cut brings
back is forgotten an hour later.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from supervisor.schema import reading, writing
from supervisor.settings import Warden

DAY_S: Final = 86_400.0
_INCREMENTAL: Final = 2
_BATCH: Final = 200
"""Rows that go in one transaction."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept. Days, from when it was closed, or came into the dead-letter box."""

    keep_days: int = 14
    dead_keep_days: int = 90
    files_keep_days: int = 2
    most_mib: int = 1024


def retention_of(warden: Warden) -> Retention:
    """As it is configured."""
    return Retention(
        warden.journal_keep_days, warden.dead_keep_days, warden.files_keep_days, warden.journal_most_mib
    )


_OLD: Final = (
    "closed_at < :closed AND (dead_at IS NULL OR dead_at < :dead)",
    "closed_at IS NOT NULL AND dead_at IS NULL",
    "closed_at IS NOT NULL",
)
"""What may go: always; where the file is too large; where that is not enough."""


def forget_old(db: sqlite3.Connection, retention: Retention, now: float) -> int:
    """Forget what is old enough, and more where the file is too large; how many rows.

    Raises:
        JournalError
    """
    times = {
        "closed": now - retention.keep_days * DAY_S,
        "dead": now - retention.dead_keep_days * DAY_S,
        "files": now - retention.files_keep_days * DAY_S,
    }
    most_bytes = retention.most_mib << 20
    while _forget_files(db, "closed_at <= :files AND dead_at IS NULL", times):
        pass
    gone = 0
    while rows := _forget(db, _OLD[0], times):
        gone += rows
    while _size(db) > most_bytes and _forget_files(db, _OLD[1], times):
        pass
    for condition in _OLD[1:]:
        while _size(db) > most_bytes and (rows := _forget(db, condition, times)):
            gone += rows
    with reading():  # some MiB at a time go back to the disk
        db.executescript("PRAGMA incremental_vacuum(2000)")  # execute() would free one page
    return gone


def let_shrink(db: sqlite3.Connection) -> None:
    """Once, for a file made by the first version: let it give room back to the disk.

    That copies the whole file; where there is no room for it, the file works as before, and stays as large.
    """
    (mode,) = db.execute("PRAGMA auto_vacuum").fetchone()
    if mode != _INCREMENTAL:
        with contextlib.suppress(sqlite3.Error):
            db.executescript("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")


def _forget(db: sqlite3.Connection, condition: str, times: Mapping[str, float]) -> int:
    with writing(db, lasting=False):
        return db.execute(
            "DELETE FROM submission WHERE id IN"  # noqa: S608
            f" (SELECT id FROM submission WHERE {condition} ORDER BY closed_at LIMIT {_BATCH})",
            times,
        ).rowcount


def _forget_files(db: sqlite3.Connection, condition: str, times: Mapping[str, float]) -> int:
    with writing(db, lasting=False):
        found = db.execute(
            "UPDATE submission SET files_here = 0 WHERE id IN"  # noqa: S608
            f" (SELECT id FROM submission WHERE {condition} AND files_here AND files <> '{{}}'"
            f" ORDER BY closed_at LIMIT {_BATCH}) RETURNING id",
            times,
        ).fetchall()
        db.executemany("DELETE FROM file WHERE submission = ?", found)
        return len(found)


def _size(db: sqlite3.Connection) -> int:
    """Bytes in use, without the pages that are free."""
    with reading():
        pages, free, each = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * each)
