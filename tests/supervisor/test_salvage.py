"""A damaged journal: what can be read is saved, the rest is set aside, and somebody is told."""

from __future__ import annotations

import re
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor import journal
from supervisor.journal import Journal, State
from supervisor.retention import Retention
from supervisor.salvage import Salvaged, salvage
from supervisor.schema import JournalDamaged, JournalError
from tests.supervisor.test_journal import MARK, NOW, PULLED

PAGE = 4096
ROWS = 120


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of several hundred pages: delivered rows, graded ones, files."""
    path = tmp_path / journal.FILE_NAME
    book = Journal(path, "s", "q", "q.0#1")
    for number in range(ROWS):
        pulled = replace(
            PULLED,
            submission_id=str(number),
            header=f"header {number}",
            body_digest=f"{number:064}",
            student_key=f"learner {number}",
            response=f"x = {number}\n" * 800,
            files={"a": "/a"} if number == ROWS - 1 else {},
        )
        _, row = book.receive(pulled, NOW + number)
        if pulled.files:
            book.keep_files(row.id, {"a": b"x" * 100})
        if number % 4:
            book.record(row.id, f"reply {number}", MARK, NOW + number)
        if number % 4 > 1:
            book.delivered(row.id, row.header, NOW + number)
    book.close()
    return path


def overwrite(path: Path, first_page: int, pages: int) -> None:
    with path.open("r+b") as file:
        file.seek(first_page * PAGE)
        file.write(b"\xa5" * PAGE * pages)


def rows(path: Path) -> Iterator[sqlite3.Row]:
    db = sqlite3.connect(path)
    db.row_factory = sqlite3.Row
    try:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        yield from db.execute("SELECT * FROM submission ORDER BY id")
    finally:
        db.close()


def test_a_journal_that_is_well_is_left_alone(path: Path) -> None:
    before = path.read_bytes()
    assert salvage(path, NOW) is None
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_no_journal_is_no_damage(tmp_path: Path) -> None:
    assert salvage(tmp_path / journal.FILE_NAME, NOW) is None


def test_what_can_be_read_of_a_damaged_journal_goes_on(path: Path) -> None:
    whole = {row["id"]: tuple(row) for row in rows(path)}
    overwrite(path, 40, 60)
    found = salvage(path, NOW)
    assert found is not None
    saved = {row["id"]: tuple(row) for row in rows(path)}
    assert ROWS / 4 < len(saved) == found.saved < ROWS
    assert found.lost > 0
    assert all(whole[number] == row for number, row in saved.items()), "as it was, or not at all"
    assert 1 in saved and ROWS in saved, "from both ends"
    assert found.aside.name == f"{path.name}.damaged-19700112T134640Z"
    assert found.aside.stat().st_size > 100 * PAGE
    assert str(found.aside) in str(found) and str(found.saved) in str(found)
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}
    journal.prepare(path, Retention(keep_days=3650), NOW + ROWS)
    book = Journal(path, "s", "q", "q.0#1")
    assert book.due(State.GRADED, NOW + ROWS) is not None
    assert book.files(ROWS) == {"a": b"x" * 100}
    book.close()
    assert salvage(path, NOW) is None


def test_what_was_only_in_the_wal_is_saved_too(path: Path) -> None:
    book = Journal(path, "s", "q", "q.0#2")
    book.receive(replace(PULLED, submission_id="new"), NOW)
    wal = path.with_name(path.name + "-wal")
    kept = wal.read_bytes()
    book.close()
    wal.write_bytes(kept)  # as a kill would have left it
    overwrite(path, 40, 60)
    assert salvage(path, NOW) is not None
    assert "new" in {one["submission_id"] for one in rows(path)}


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 2000])
def test_a_file_that_is_no_journal_at_all_is_set_aside_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / journal.FILE_NAME
    path.write_bytes(content)
    found = salvage(path, NOW)
    assert found is not None and (found.saved, found.aside.read_bytes()) == (0, content)
    assert journal.prepare(path, Retention(), NOW) == {}


def test_a_journal_of_version_1_is_saved_in_its_version_and_brought_to_ours_afterwards(path: Path) -> None:
    path.unlink()
    old = sqlite3.connect(path)
    old.executescript((Path(__file__).parent / "journal_v1.sql").read_text())
    old.close()
    size = path.stat().st_size
    with path.open("r+b") as file:  # an index, say
        file.seek(size - PAGE)
        file.write(b"\xa5" * PAGE)
    assert salvage(path, NOW) is not None
    assert journal.prepare(path, Retention(), NOW)[("s", "q")].count == 2


def test_a_crash_between_the_moves_is_finished_at_the_next_start(path: Path) -> None:
    path.rename(path.with_name(path.name + ".saved"))
    assert salvage(path, NOW) is None
    assert len(list(rows(path))) == ROWS


def test_damage_that_shows_while_the_service_runs_is_named_with_its_mend(path: Path) -> None:
    book = Journal(path, "s", "q", "q.0#1")
    overwrite(path, 3, 150)
    with pytest.raises(JournalDamaged, match="starts anew"):
        for number in range(ROWS):
            book.row(number + 1)
    book.close()


def test_a_journal_of_a_newer_version_is_not_damaged(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert salvage(path, NOW) is None
    with pytest.raises(JournalError, match=re.escape("version 99")):
        journal.prepare(path, Retention(), NOW)


def test_the_words_say_where_it_is_and_what_comes_of_it() -> None:
    text = str(Salvaged(Path("/x/j.damaged"), "malformed", 7, 2))
    assert "7 submissions were saved" in text and "/x/j.damaged" in text
