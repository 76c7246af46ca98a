"""What the journal forgets: what is delivered and old, never what is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from graders.model import Blame, Cause, Verdict
from supervisor import journal
from supervisor.journal import Journal, Mark
from supervisor.retention import DAY_S, Retention
from tests.supervisor.test_journal import MARK, NOW, PULLED

NEUTRAL = Mark(Verdict.UNGRADED, Blame.COURSE, Cause.GRADER_BUG, "hw1/grader.py", "it broke")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / journal.FILE_NAME, "s", "q", "q.0#1")
    yield opened
    opened.close()


def enter(book: Journal, name: str, at: float, mark: Mark | None, size: int = 10) -> int:
    """A row with a file; delivered at once if there is a mark."""
    pulled = replace(PULLED, submission_id=name, header=name, files={"a": "/a"}, response="x" * size)
    _, row = book.receive(pulled, at)
    book.keep_files(row.id, {"a": b"x" * size})
    if mark is not None:
        book.record(row.id, "reply", mark, at)
        book.delivered(row.id, name, at)
    return row.id


def kept(tmp_path: Path) -> dict[str, bool]:
    """Names of the rows, and whether their files are there."""
    with sqlite3.connect(tmp_path / journal.FILE_NAME) as db:
        found = db.execute("SELECT submission_id, files_here FROM submission ORDER BY id").fetchall()
        files = {row[0] for row in db.execute("SELECT submission FROM file")}
        assert len(files) == sum(here for _, here in found)
    db.close()
    return {name: bool(here) for name, here in found}


def test_each_kind_has_its_own_time(book: Journal, tmp_path: Path) -> None:
    enter(book, "open", NOW, None)
    enter(book, "letter", NOW, NEUTRAL)
    enter(book, "old", NOW, MARK)
    retention = Retention(keep_days=14, dead_keep_days=90, files_keep_days=2)
    assert book.purge(retention, NOW + DAY_S) == 0
    assert kept(tmp_path) == {"open": True, "letter": True, "old": True}
    assert book.purge(retention, NOW + 3 * DAY_S) == 0
    assert kept(tmp_path) == {"open": True, "letter": True, "old": False}
    assert book.purge(retention, NOW + 15 * DAY_S) == 1
    assert kept(tmp_path) == {"open": True, "letter": True}
    assert book.purge(retention, NOW + 91 * DAY_S) == 1
    assert kept(tmp_path) == {"open": True}


def test_files_may_go_as_soon_as_their_submission_is_delivered(book: Journal, tmp_path: Path) -> None:
    enter(book, "new", NOW, MARK)
    enter(book, "open", NOW, None)
    book.purge(Retention(files_keep_days=0), NOW)
    assert kept(tmp_path) == {"new": False, "open": True}


def test_a_journal_that_grows_too_large_loses_files_first_then_the_oldest_then_letters_and_shrinks(
    book: Journal, tmp_path: Path
) -> None:
    for number in range(8):
        enter(book, f"old {number}", NOW + number, MARK, size=1 << 20)
    enter(book, "letter", NOW, NEUTRAL, size=1 << 20)
    enter(book, "open", NOW, None, size=1 << 20)
    file = tmp_path / journal.FILE_NAME
    book.purge(Retention(most_mib=15), NOW + 9)
    assert kept(tmp_path) == {**{f"old {number}": False for number in range(8)}, "letter": True, "open": True}
    book.purge(Retention(most_mib=1), NOW + 9)
    assert kept(tmp_path) == {"open": True}
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    assert file.stat().st_size < 6 << 20, "what is free goes back to the disk"
