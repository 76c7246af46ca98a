"""The journal: nothing is lost, nothing is graded twice, whatever comes again or dies in between."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from graders.model import Blame, Cause, Verdict
from supervisor import journal
from supervisor.journal import (
    CROSSING_S,
    MOST_ASIDES,
    STALE_S,
    Held,
    Journal,
    JournalError,
    Mark,
    Receipt,
    State,
    series_of,
)
from supervisor.retention import DAY_S, Retention
from xqueue.protocol import Submission

NOW = 1_000_000.0
MARK = Mark(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER, "hw1/grader.py")
PULLED = Submission(
    queue="q",
    submission_id="7",
    submission_key="key1",
    header='{"submission_id": 7, "submission_key": "key1"}',
    payload='{"grader": "hw1/grader.py"}',
    response="def f(): return 1 # \ud800 \x00 é",
    student_key="anna",
    submitted_at=NOW - 9,
    random_seed=2**80,
    files={},
    body_digest="d" * 64,
)
LATER = replace(PULLED, submission_key="key2", header='{"submission_id": 7, "submission_key": "key2"}')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / journal.FILE_NAME


@pytest.fixture
def book(path: Path) -> Iterator[Journal]:
    opened = Journal(path, "s", "q", "q.0#1")
    yield opened
    opened.close()


def test_a_submission_goes_from_received_to_delivered(book: Journal) -> None:
    receipt, row = book.receive(PULLED, NOW)
    assert receipt is Receipt.NEW
    assert (row.state, row.attempts, row.random_seed) == (State.RECEIVED, 1, 2**80)
    assert row.response == "def f(): return 1 # ? \x00 é"
    book.record(row.id, "reply", MARK, NOW)
    due = book.due(State.GRADED, NOW)
    assert due is not None and due.body == "reply"
    assert book.outlook(NOW)[0].count == 1
    assert book.delivered(row.id, due.header, NOW)
    assert book.outlook(NOW)[0].count == 0
    assert book.due(State.GRADED, NOW) is None


def test_it_is_readable_by_its_owner_only(book: Journal, path: Path) -> None:
    book.receive(PULLED, NOW)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_handed_out_again_while_in_hand_it_is_not_graded_twice_and_the_newer_key_counts(
    book: Journal, path: Path
) -> None:
    _, row = book.receive(PULLED, NOW)
    other = Journal(path, "s", "q", "q.1#1")
    receipt, _ = other.receive(LATER, NOW + 61)
    assert receipt is Receipt.IN_HAND
    assert other.due(State.RECEIVED, NOW + 61) is None
    other.close()
    book.record(row.id, "reply", MARK, NOW + 70)
    due = book.due(State.GRADED, NOW + 70)
    assert due is not None and due.header == LATER.header


def test_handed_out_again_after_grading_the_stored_reply_goes_under_the_new_key(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    assert book.delivered(row.id, PULLED.header, NOW)
    receipt, again = book.receive(LATER, NOW + 61)
    assert receipt is Receipt.STORED
    assert (again.state, again.header, again.body) == (State.GRADED, LATER.header, "reply")
    assert book.due(State.RECEIVED, NOW + 61) is None
    due = book.due(State.GRADED, NOW + 61)
    assert due is not None and due.id == row.id


def test_a_server_that_hands_the_same_key_out_for_ever_is_answered_less_and_less_often(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    waits = []
    for number in range(3):
        now = NOW + number * CROSSING_S
        book.receive(PULLED, now)
        at = book.outlook(now)[1]
        assert at is not None
        waits.append(at - now)
        book.delivered(row.id, PULLED.header, now)
    assert waits == [0, STALE_S, 2 * STALE_S]


def test_polls_that_bring_the_same_key_do_not_put_a_fixed_try_off(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    book.postpone(row.id, NOW + 9, "500", NOW, uncertain=True)
    for second in range(9):
        book.receive(PULLED, NOW + second)
    due = book.due(State.GRADED, NOW + 9)
    assert due is not None
    assert (due.stale, due.tries) == (9, 1)
    _, row = book.receive(LATER, NOW + 10)
    assert (row.stale, row.tries) == (0, 0)


def test_a_hand_out_that_crossed_with_the_server_s_yes_changes_nothing(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    assert book.delivered(row.id, PULLED.header, NOW)
    assert book.receive(PULLED, NOW + 1)[1].state is State.DELIVERED
    assert book.receive(LATER, NOW + 2)[1].state is State.GRADED
    assert book.delivered(row.id, LATER.header, NOW + 3)
    assert book.receive(LATER, NOW + 3 + CROSSING_S)[1].state is State.GRADED, "it has forgotten its yes"


def test_what_came_again_while_it_was_graded_says_nothing_of_its_put(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    assert book.receive(PULLED, NOW + 1)[1].stale == 1
    book.record(row.id, "reply", MARK, NOW + 2)
    assert book.row(row.id).stale == 0


def test_what_is_set_aside_waits_for_its_new_key_and_is_dead_at_the_fifth_time(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    for number in range(1, MOST_ASIDES + 1):
        header = replace(PULLED, header=f"header {number}")
        book.receive(header, NOW)
        assert not book.set_aside(row.id, "an old header", "500", NOW, NOW + 600)
        assert book.set_aside(row.id, header.header, "500", NOW, NOW + 600) is (number == MOST_ASIDES)
        assert book.due(State.GRADED, NOW + 599) is None
    assert book.row(row.id).state is State.DEAD


def test_a_delivery_that_crosses_with_a_newer_hand_out_does_not_close_the_row(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    book.receive(LATER, NOW)
    assert not book.delivered(row.id, PULLED.header, NOW)
    due = book.due(State.GRADED, NOW)
    assert due is not None and due.header == LATER.header


def test_a_reused_id_with_another_body_is_another_submission(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    receipt, other = book.receive(replace(PULLED, body_digest="e" * 64), NOW)
    assert receipt is Receipt.NEW and other.id != row.id


def test_a_refusal_waits_once_for_a_newer_key_then_it_is_dead(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    assert not book.refused(row.id, PULLED.header, "wrong key", NOW, 5)
    assert book.due(State.GRADED, NOW + 4) is None
    assert book.due(State.GRADED, NOW + 5) is not None
    assert book.refused(row.id, PULLED.header, "wrong key", NOW + 5, 5)
    assert book.due(State.GRADED, NOW + 1e6) is None
    assert book.row(row.id).state is State.DEAD


def test_a_dead_one_that_is_handed_out_again_gets_its_reply(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    book.refused(row.id, PULLED.header, "wrong key", NOW, 5)
    book.refused(row.id, PULLED.header, "wrong key", NOW, 5)
    receipt, _ = book.receive(LATER, NOW)
    due = book.due(State.GRADED, NOW)
    assert receipt is Receipt.STORED and due is not None and due.header == LATER.header


def test_rows_of_the_living_are_left_alone_and_those_of_the_dead_are_taken(book: Journal, path: Path) -> None:
    _, row = book.receive(PULLED, NOW)
    other = Journal(path, "s", "q", "q.1#1")
    assert other.due(State.RECEIVED, NOW) is None
    other.release("q.0#1")
    taken = other.due(State.RECEIVED, NOW)
    assert taken is not None and taken.id == row.id
    assert book.due(State.RECEIVED, NOW) is None, "one owner"
    other.close()


def test_a_new_worker_releases_what_its_slot_had_and_nothing_of_slots_with_longer_names(path: Path) -> None:
    first, neighbour = Journal(path, "s", "q", "q.1#1"), Journal(path, "s", "q", "q.10#1")
    _, mine = first.receive(PULLED, NOW)
    neighbour.receive(replace(PULLED, submission_id="8"), NOW)
    second = Journal(path, "s", "q", "q.1#2")
    second.release_slot("q.1")
    found = second.due(State.RECEIVED, NOW)
    assert found is not None and found.id == mine.id
    assert second.begin(found.id, NOW) == 2
    third = Journal(path, "s", "q", "q.2#1")
    assert third.due(State.RECEIVED, NOW) is None
    for each in (first, second, third, neighbour):
        each.close()


def test_another_queue_sees_nothing_of_this_one(book: Journal, path: Path) -> None:
    book.receive(PULLED, NOW)
    other = Journal(path, "s", "q2", "q2.0#1")
    other.release("q.0#1")
    assert other.due(State.RECEIVED, NOW) is None
    assert other.outlook(NOW)[0].count == 0
    other.close()


def test_at_start_all_rows_are_released_and_old_ones_forgotten(book: Journal, path: Path) -> None:
    _, open_row = book.receive(PULLED, NOW)
    _, old = book.receive(replace(PULLED, submission_id="8", files={"a": "/a"}), NOW)
    book.keep_files(old.id, {"a": b"text"})
    book.record(old.id, "reply", MARK, NOW)
    book.delivered(old.id, PULLED.header, NOW)
    found = journal.prepare(path, Retention(), NOW + 14 * DAY_S + 1)
    assert found == {("s", "q"): journal.Backlog(1, NOW)}
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT id, owner FROM submission").fetchall() == [(open_row.id, None)]
        assert db.execute("SELECT count(*) FROM file").fetchall() == [(0,)]
    db.close()


def test_files_are_kept_with_the_row(book: Journal) -> None:
    _, row = book.receive(replace(PULLED, files={"../a.py": "/f/1"}), NOW)
    assert (dict(row.files), row.files_here) == ({"../a.py": "/f/1"}, False)
    book.keep_files(row.id, {"a.py": b"\xff\x00"})
    assert book.row(row.id).files_here
    assert book.files(row.id) == {"a.py": b"\xff\x00"}


def test_a_postponed_row_is_due_later(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.postpone(row.id, NOW + 10, "the sandbox failed", NOW)
    assert book.due(State.RECEIVED, NOW + 9) is None
    assert book.outlook(NOW)[1] == NOW + 10
    assert book.due(State.RECEIVED, NOW + 10) is not None


def test_an_attempt_given_back_does_not_count(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.give_back(row.id)
    again = book.due(State.RECEIVED, NOW)
    assert again is not None and again.attempts == 0


@pytest.mark.parametrize("point", ["received", "graded"])
def test_what_was_committed_before_a_kill_is_there_after_it(path: Path, point: str) -> None:
    journal.prepare(path, Retention(), NOW)
    child = os.fork()
    if child == 0:
        try:
            book = Journal(path, "s", "q", "q.0#1")
            _, row = book.receive(PULLED, NOW)
            if point == "graded":
                book.record(row.id, "reply", MARK, NOW)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert journal.prepare(path, Retention(), NOW)[("s", "q")].count == 1
    book = Journal(path, "s", "q", "q.0#2")
    due = book.due(State.GRADED if point == "graded" else State.RECEIVED, NOW)
    assert due is not None and due.body == ("reply" if point == "graded" else "")
    book.close()


def test_a_full_disk_is_an_error_and_leaves_nothing_half_done(path: Path) -> None:
    book = Journal(path, "s", "q", "q.0#1")
    pages = book._db.execute("PRAGMA page_count").fetchone()[0]
    book._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="full"):
        book.receive(replace(PULLED, response="x" * 1_000_000), NOW)
    assert book.outlook(NOW)[0].count == 0
    book._db.execute("PRAGMA max_page_count = 1000000")
    book.probe(NOW)
    assert book.receive(PULLED, NOW)[0] is Receipt.NEW
    book.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 2000])
def test_a_damaged_file_is_a_clear_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match=str(path.name)):
        journal.prepare(path, Retention(), NOW)


def test_a_journal_of_a_newer_version_is_refused(path: Path) -> None:
    journal.prepare(path, Retention(), NOW)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JournalError, match="version 99"):
        journal.prepare(path, Retention(), NOW)


def test_what_is_held_stays_counts_no_attempt_and_is_due_again_when_it_is_not_held(book: Journal) -> None:
    held = Held(("hw1/grader.py",), for_s=600.0)
    _, row = book.receive(PULLED, NOW)
    _, other = book.receive(replace(PULLED, submission_id="8"), NOW)
    book.hold(row.id, "hw1/grader.py", counted=True)
    book.hold(other.id, "hw2/grader.py", counted=True)
    assert (book.row(row.id).attempts, book.row(row.id).state) == (0, State.RECEIVED)
    due = book.due(State.RECEIVED, NOW, held)
    assert due is not None and due.id == other.id, "the others go on"
    backlog, _ = book.outlook(NOW, held)
    assert (backlog.count, backlog.held) == (2, 1)
    book.record(other.id, "reply", MARK, NOW)
    book.delivered(other.id, other.header, NOW)
    assert book.outlook(NOW, held)[1] == NOW + 600, "nothing to look for before"
    assert book.due(State.RECEIVED, NOW + 599, held) is None
    late = book.due(State.RECEIVED, NOW + 601, held)
    assert late is not None, "nobody waits for ever"
    released = book.due(State.RECEIVED, NOW)
    assert released is not None and released.id == row.id


def test_while_everything_is_held_nothing_is_begun_and_what_is_graded_is_sent(book: Journal) -> None:
    everything = Held(everything=True, for_s=600.0)
    _, row = book.receive(PULLED, NOW)
    book.give_back(row.id)
    assert book.due(State.RECEIVED, NOW, everything) is None
    assert book.due(State.RECEIVED, NOW - 9, everything) is not None, "a clock that was set back holds nobody"
    book.record(row.id, "reply", MARK, NOW)
    assert book.due(State.GRADED, NOW, everything) is not None


def test_what_is_graded_meanwhile_is_not_held_any_more(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    book.hold(row.id, "hw1/grader.py", counted=True)
    assert book.row(row.id).attempts == 1


def test_a_journal_of_version_1_is_brought_to_ours_with_all_that_it_holds(path: Path) -> None:
    old = sqlite3.connect(path)
    old.executescript((Path(__file__).parent / "journal_v1.sql").read_text())
    old.close()
    found = journal.prepare(path, Retention(), NOW)
    assert found[("s", "q")].count == 2
    new = path.parent / "new.sqlite3"
    journal.prepare(new, Retention(), NOW)
    with sqlite3.connect(path) as migrated, sqlite3.connect(new) as fresh:
        assert migrated.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        schema = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
        assert migrated.execute(schema).fetchall() == fresh.execute(schema).fetchall()
        times = migrated.execute(
            "SELECT submission_id, state, pulled_at, handed_at, graded_at, delivered_at, confirmed_at, body"
            " FROM submission ORDER BY id"
        ).fetchall()
    migrated.close()
    fresh.close()
    at = 1_790_000_000.0
    assert times == [
        ("1", "RECEIVED", at + 1, at + 1, None, None, None, None),
        ("2", "GRADED", at + 2, at + 2, at + 20, None, None, "reply 2"),
        ("3", "DELIVERED", at + 3, at + 3, at + 30, at + 31, at + 31, "reply 3"),
        ("4", "DEAD", at + 4, at + 4, at + 40, None, None, "reply 4"),
        ("5", "DELIVERED", at + 5, at + 5, at + 50, at + 70, None, "reply 5"),
    ]
    book = Journal(path, "s", "q", "q.0#1")
    due = book.due(State.GRADED, at + 100)
    assert due is not None and due.submission_id == "2"
    assert book.files(5) == {"a.py": b"\xff\x00"}
    book.close()


def test_the_six_times_and_what_a_replay_needs(book: Journal, path: Path) -> None:
    _, row = book.receive(PULLED, NOW)
    book.begin(row.id, NOW + 1)
    mark = replace(
        MARK, grader_digest="ab", layers=("seccomp",), versions={"warden": "1"}, outcome={"kind": "ok"}
    )
    book.record(row.id, "reply", mark, NOW + 2)
    assert book.delivered(row.id, PULLED.header, NOW + 4, sent_at=NOW + 3)
    with sqlite3.connect(path) as db:
        assert db.execute(
            "SELECT submitted_at, pulled_at, started_at, graded_at, delivered_at, confirmed_at,"
            " grader_digest, layers, versions, outcome FROM submission"
        ).fetchone() == (
            *(NOW - 9, NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4),
            *("ab", '["seccomp"]', '{"warden": "1"}', '{"kind": "ok"}'),
        )
    db.close()


def test_a_reply_that_is_only_presumed_to_have_arrived_has_no_time_of_confirmation(
    book: Journal, path: Path
) -> None:
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    book.delivered(row.id, PULLED.header, NOW + 4, sent_at=NOW + 3, confirmed=False)
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT state, delivered_at, confirmed_at FROM submission").fetchone()
        assert found == ("DELIVERED", NOW + 3, None)
    db.close()


def test_attempts_are_of_one_series_by_learner_and_grader() -> None:
    again = replace(PULLED, submission_id="8", payload='{"grader": "hw1/grader.py", "seed": 2}')
    assert series_of(PULLED) == series_of(again) != ""
    assert series_of(replace(PULLED, student_key="berta")) != series_of(PULLED)
    assert series_of(replace(PULLED, payload="hw2/grader.py")) != series_of(PULLED)
    assert series_of(replace(PULLED, payload="[]")) != series_of(replace(PULLED, payload="{}"))
    assert series_of(replace(PULLED, student_key="")) == ""


# -- attempts that do not count --------------------------------------------------------------------------


@pytest.mark.parametrize("spared", [True, False])
def test_a_death_that_is_not_the_submission_s_fault_does_not_count(
    book: Journal, path: Path, spared: bool
) -> None:
    _, row = book.receive(PULLED, NOW)
    other = Journal(path, "s", "q", "q.1#1")
    other.release("q.0#1", spared=spared)
    taken = other.due(State.RECEIVED, NOW)
    assert taken is not None and taken.attempts == (0 if spared else 1)
    assert other.begin(row.id, NOW) == (1 if spared else 2)
    other.close()


def test_an_attempt_that_had_ended_before_its_worker_died_is_not_counted_back(
    book: Journal, path: Path
) -> None:
    _, row = book.receive(PULLED, NOW)
    book.postpone(row.id, NOW + 2, "the zygote died", NOW)
    journal.prepare(path, Retention(), NOW)
    assert book.row(row.id).attempts == 1


def test_interruptions_without_end_count_at_last(book: Journal, path: Path) -> None:
    """A submission may take the whole machine down, every time."""
    _, row = book.receive(PULLED, NOW)
    attempts = []
    for _ in range(journal.MOST_INTERRUPTIONS + 2):
        journal.prepare(path, Retention(), NOW)
        assert book.due(State.RECEIVED, NOW) is not None
        attempts.append(book.begin(row.id, NOW))
    assert attempts == [1] * journal.MOST_INTERRUPTIONS + [2, 3]


# -- order -----------------------------------------------------------------------------------------------


SECOND = replace(
    PULLED, submission_id="10", header="second", submitted_at=NOW - 2, body_digest="f" * 64, response="y = 2"
)


def test_a_later_attempt_waits_until_the_earlier_one_is_settled(book: Journal, path: Path) -> None:
    other = Journal(path, "s", "q", "q.1#1")
    _, first = book.receive(PULLED, NOW)
    _, second = other.receive(SECOND, NOW + 1)
    other.record(second.id, "reply 2", MARK, NOW + 2)
    assert other.due(State.GRADED, NOW + 2) is None
    assert other.outlook(NOW + 2)[1] == NOW + 300, "it does not look again and again meanwhile"
    book.record(first.id, "reply 1", MARK, NOW + 3)
    due = book.due(State.GRADED, NOW + 3)
    assert due is not None and due.id == first.id
    assert book.due(State.GRADED, NOW + 3) is not None
    book.delivered(first.id, PULLED.header, NOW + 4)
    assert book.outlook(NOW + 4)[1] == NOW + 2, "who settles the first one finds the second"
    due = book.due(State.GRADED, NOW + 4)
    assert due is not None and due.id == second.id
    assert other.due(State.GRADED, NOW + 4) is None, "one owner"
    other.close()


@pytest.mark.parametrize(
    "second",
    [
        replace(SECOND, student_key="berta"),
        replace(SECOND, payload="hw2/grader.py"),
        replace(SECOND, submitted_at=NOW - 99),
    ],
    ids=["another learner", "another problem", "an earlier one"],
)
def test_nobody_else_waits_for_it(book: Journal, second: Submission) -> None:
    book.receive(PULLED, NOW)
    _, row = book.receive(second, NOW)
    book.record(row.id, "reply", MARK, NOW)
    due = book.due(State.GRADED, NOW)
    assert due is not None and due.id == row.id


def test_attempts_of_the_same_second_go_by_their_numbers(book: Journal) -> None:
    ninth = replace(SECOND, submission_id="9", header="ninth", submitted_at=SECOND.submitted_at)
    _, tenth = book.receive(SECOND, NOW)
    book.receive(ninth, NOW)
    book.record(tenth.id, "reply", MARK, NOW)
    assert book.due(State.GRADED, NOW) is None, "9 comes before 10"


def test_a_stuck_attempt_holds_the_later_ones_for_its_patience_only(book: Journal, path: Path) -> None:
    book.receive(PULLED, NOW)
    other = Journal(path, "s", "q", "q.1#1", patience_s=50)
    _, second = other.receive(SECOND, NOW + 20)
    other.record(second.id, "reply", MARK, NOW + 21)
    assert other.due(State.GRADED, NOW + 49) is None
    assert other.outlook(NOW + 49)[1] == NOW + 50
    assert other.due(State.GRADED, NOW + 50) is not None
    other.close()


def test_one_handed_out_again_while_it_waits_for_an_earlier_one_still_waits(
    book: Journal, path: Path
) -> None:
    other = Journal(path, "s", "q", "q.1#1")
    _, first = book.receive(PULLED, NOW)
    _, second = book.receive(SECOND, NOW)
    book.record(second.id, "reply 2", MARK, NOW)
    assert other.receive(replace(SECOND, header="newer"), NOW + 61)[0] is Receipt.STORED
    assert other.due(State.GRADED, NOW + 61) is None
    book.record(first.id, "reply 1", MARK, NOW + 62)
    book.delivered(first.id, PULLED.header, NOW + 62)
    due = book.due(State.GRADED, NOW + 62)
    assert due is not None and due.header == "newer"
    other.close()


# -- the clock -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-600.0, -DAY_S])
def test_a_clock_that_is_set_back_holds_no_row_up(book: Journal, jump_s: float) -> None:
    _, row = book.receive(PULLED, NOW)
    book.postpone(row.id, NOW + 10, "the sandbox failed", NOW)
    assert book.due(State.RECEIVED, NOW + 9) is None
    assert book.outlook(NOW + jump_s)[1] == NOW + jump_s
    assert book.due(State.RECEIVED, NOW + jump_s) is not None


def test_a_clock_that_is_set_back_keeps_no_later_attempt_waiting(book: Journal) -> None:
    book.receive(PULLED, NOW)
    _, second = book.receive(SECOND, NOW)
    book.record(second.id, "reply", MARK, NOW)
    assert book.due(State.GRADED, NOW - DAY_S) is not None


def test_a_clock_that_is_set_forward_makes_all_due(book: Journal) -> None:
    _, row = book.receive(PULLED, NOW)
    book.postpone(row.id, NOW + 10, "the sandbox failed", NOW)
    assert book.due(State.RECEIVED, NOW + DAY_S) is not None


def test_a_submission_costs_three_commits_of_which_two_wait_for_the_disk(book: Journal) -> None:
    said: list[str] = []
    book._db.set_trace_callback(said.append)
    _, row = book.receive(PULLED, NOW)
    book.record(row.id, "reply", MARK, NOW)
    due = book.due(State.GRADED, NOW)
    assert due is not None
    book.delivered(due.id, due.header, NOW)
    book._db.set_trace_callback(None)
    words = [
        one.partition("= ")[2] or one for one in said if one.startswith(("COMMIT", "PRAGMA synchronous"))
    ]
    assert words == ["FULL", "COMMIT", "FULL", "COMMIT", "NORMAL", "COMMIT"]


def test_a_journal_that_was_replaced_under_a_running_service_is_noticed(book: Journal, path: Path) -> None:
    book.check()
    path.rename(path.with_name("old"))
    with pytest.raises(JournalError, match="No such file"):
        book.check()
    path.write_bytes(b"")
    with pytest.raises(JournalError, match="replaced"):
        book.check()
