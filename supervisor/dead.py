"""The dead-letter box: what can become of a letter, and the transactions that do it.

Runs in: tools. A letter is a row of the journal with `dead_at`: a person should look at it. What is possible
with one is decided in `prospect`, pure. A change is one transaction, made on the row as it is then; a running
service finds the rows by itself and is told to look at once (`stir`).
"""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, assert_never

from graders.model import Cause, Verdict
from supervisor import lock
from supervisor.archive import Entry
from supervisor.journal import State
from supervisor.schema import writing


class Way(StrEnum):
    """What trying a letter again means."""

    GRADE = "grade"  # it is graded anew, then sent
    SEND = "send"  # its reply is good; it is sent anew


@dataclass(frozen=True, slots=True)
class Prospect:
    """How a letter would be tried again (None: there is nothing to try), and in words what to expect."""

    way: Way | None
    words: str


def prospect(entry: Entry) -> Prospect:
    """What trying again comes to."""
    way = Way.GRADE if entry.verdict in (None, Verdict.UNGRADED) else Way.SEND
    if entry.state is State.DEAD:
        refused = "the server refused the last reply for good"
        if entry.dead_cause == Cause.QUEUE_ERROR:
            refused = "the server could not take the last reply, however often it was asked"
        words = f"{refused}, and so it will go on unless something changed there or it hands it out anew"
        return Prospect(way, f"{words}: {entry.trouble or entry.reason}")
    if entry.state is State.DELIVERED and way is Way.GRADE:
        how = "was delivered" if entry.confirmed_at is not None else "was probably delivered"
        words = (
            f"a neutral reply {how}, and the LMS takes one reply to a submission (then its key is retired):"
            " the new result will stand in the journal, but the learner will most likely not see it unless he"
            " submits again or staff rescore"
        )
        return Prospect(way, words)
    if way is Way.SEND:
        where = "has been delivered after all" if entry.state is State.DELIVERED else "is on its way"
        return Prospect(None, f"its reply {where}: there is nothing to mend, and it can be dropped")
    return Prospect(way, "its neutral reply has not been delivered yet; the new result goes in its place")


class Done(StrEnum):
    """What became of an order to a letter."""

    DONE = "done"
    GONE = "gone"  # it is not, or no longer, in the box


_ANEW: Final = (
    "owner = NULL, pulled_at = :now, handed_at = :now, next_try_at = :now, waits_since = :now,"
    " closed_at = NULL, delivered_at = NULL, confirmed_at = NULL, dead_at = NULL, dead_cause = NULL,"
    " tries = 0, refusals = 0, uncertain = 0, stale = 0, asides = 0, attempting = 0, trouble = ''"
)
_UNGRADED: Final = (
    "attempts = 0, interruptions = 0, graded_at = NULL, body = NULL, verdict = NULL, blame = NULL,"
    " cause = NULL, grader_digest = '', layers = '[]', versions = '{}', outcome = '{}'"
)


def retry(db: sqlite3.Connection, entry: Entry, now: float) -> Done:
    """Put a letter back, as `prospect` says: due at once, with all its attempts, and nobody's.

    Its time runs from now, as if it had just been pulled: the old one is over, and the row would be answered
    at once as too late, or be told of as a backlog of days.
    """
    way = prospect(entry).way
    match way:
        case Way.GRADE:
            changes = f"state = 'RECEIVED', {_UNGRADED}, {_ANEW}"
        case Way.SEND:
            changes = f"state = 'GRADED', {_ANEW}"
        case None:
            return Done.GONE
        case _:
            assert_never(way)
    with writing(db):
        changed = db.execute(
            f"UPDATE submission SET {changes} WHERE id = :id AND dead_at = :dead_at AND state = :state",  # noqa: S608
            {"now": now, "id": entry.id, "dead_at": entry.dead_at, "state": entry.state},
        ).rowcount
    return Done.DONE if changed else Done.GONE


def drop(db: sqlite3.Connection, entry: Entry) -> Done:
    """Take a letter out of the box. All else that the journal knows of it stays until it is purged."""
    with writing(db):
        changed = db.execute(
            "UPDATE submission SET dead_at = NULL, dead_cause = NULL WHERE id = ? AND dead_at = ?",
            (entry.id, entry.dead_at),
        ).rowcount
    return Done.DONE if changed else Done.GONE


class Fate(StrEnum):
    """What became of the reply to a letter."""

    REFUSED = "refused"  # by the server, for good
    WAITS = "waits"  # to be delivered
    NEUTRAL = "neutral"  # the learner was told that it is not his fault
    DELIVERED = "delivered"
    NONE = "none yet"


def fate(entry: Entry) -> Fate:
    """What became of the reply."""
    match entry.state:
        case State.DEAD:
            return Fate.REFUSED
        case State.GRADED:
            return Fate.WAITS
        case State.RECEIVED:
            return Fate.NONE
        case State.DELIVERED:
            return Fate.NEUTRAL if entry.verdict == Verdict.UNGRADED else Fate.DELIVERED
        case _:
            assert_never(entry.state)


def stir(state_dir: Path) -> int | None:
    """Tell the service of this folder to look into the journal now; its pid, None if none runs.

    Raises:
        PermissionError: it runs as somebody else.
    """
    pid = lock.holder(state_dir)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR2)
    return pid
