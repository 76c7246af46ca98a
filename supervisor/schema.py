"""The journal's file: its schema from version to version, opening it, transactions.

Runs in: supervisor (before the first fork), worker, tools. A connection never crosses a fork.

A file is brought from its version to ours step by step (`STEPS`), each step in a transaction of its own; a
new one starts at version 0. So an old file and a new one have the same schema. A file of a later version is
refused: what it means is not known here.

What the columns of `submission` say (times are unix seconds):

    server, queue, submission_id, body_digest   which one it is
    series            equal for the attempts of one learner at one problem ("" = not known); see `series_of`
    state             RECEIVED, GRADED, DELIVERED, DEAD
    owner             the worker that has it in hand, NULL: nobody
    header            xqueue_header as it came last: under it the reply goes back
    payload, response, student_key, random_seed, files, files_here, problem   what was handed in
    submitted_at      when the learner did, by the server's clock (NULL: it does not say)
    pulled_at         when it was first handed out to us, or put back by a person (supervisor.dead)
    handed_at         when `header` came: the server's processing delay runs from here
    started_at        when its last attempt began
    graded_at         when its reply was stored
    delivered_at      when the put that settled it was sent
    confirmed_at      when the server said that it has it (NULL: it never said so)
    closed_at         when it was settled, this way or another
    attempts          those that count, the one that is made now included (`attempting`)
    interruptions     those that ended with their worker, though not by their fault
    handouts, tries, refusals, uncertain                how often
    next_try_at       when its next step is due; `waits_since`: from when on it waits for that
    stale             hand-outs under the same `header` after the first; `asides`: see Journal.set_aside
    trouble           why the last attempt or put failed
    body, verdict, blame, cause, grader                 the reply, and what it says
    reason            why it is in the dead-letter box
    grader_digest     of the grader's files ("": not known)
    layers            the isolation in force, a JSON array
    versions          of warden, Python and the kernel, a JSON object
    outcome           what became of the learner's program, and what it used, a JSON object
    dead_at, dead_cause   in the dead-letter box since, and why
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

BUSY_S: Final = 15.0
"""How long a commit waits for the other workers' commits."""
MOST_WAL_BYTES: Final = 8 << 20
"""The -wal file is cut back to this when it has been copied into the main one."""

_FIRST: Final = """
CREATE TABLE submission (
    id INTEGER PRIMARY KEY,
    server TEXT NOT NULL,
    queue TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('RECEIVED', 'GRADED', 'DELIVERED', 'DEAD')),
    owner TEXT,
    header TEXT NOT NULL,
    payload TEXT NOT NULL,
    response TEXT NOT NULL,
    student_key TEXT NOT NULL,
    random_seed TEXT NOT NULL,
    files TEXT NOT NULL,
    files_here INTEGER NOT NULL,
    problem TEXT NOT NULL,
    submitted_at REAL,
    received_at REAL NOT NULL,
    started_at REAL,
    graded_at REAL,
    closed_at REAL,
    attempts INTEGER NOT NULL,
    handouts INTEGER NOT NULL DEFAULT 1,
    tries INTEGER NOT NULL DEFAULT 0,
    refusals INTEGER NOT NULL DEFAULT 0,
    uncertain INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL NOT NULL DEFAULT 0,
    body TEXT,
    verdict TEXT,
    blame TEXT,
    cause TEXT,
    grader TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    dead_at REAL,
    dead_cause TEXT,
    UNIQUE (server, queue, submission_id, body_digest)
) STRICT;
CREATE INDEX submission_open ON submission (server, queue, state, next_try_at) WHERE closed_at IS NULL;
CREATE INDEX submission_closed ON submission (closed_at) WHERE closed_at IS NOT NULL;
CREATE TABLE file (
    submission INTEGER NOT NULL REFERENCES submission (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (submission, name)
) STRICT;
CREATE TABLE probe (one INTEGER PRIMARY KEY CHECK (one = 1), at REAL NOT NULL) STRICT;
"""

_SECOND: Final = """
ALTER TABLE submission RENAME COLUMN received_at TO pulled_at;
ALTER TABLE submission ADD COLUMN handed_at REAL NOT NULL DEFAULT 0;
ALTER TABLE submission ADD COLUMN delivered_at REAL;
ALTER TABLE submission ADD COLUMN confirmed_at REAL;
ALTER TABLE submission ADD COLUMN attempting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE submission ADD COLUMN interruptions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE submission ADD COLUMN trouble TEXT NOT NULL DEFAULT '';
ALTER TABLE submission ADD COLUMN waits_since REAL NOT NULL DEFAULT 0;
ALTER TABLE submission ADD COLUMN stale INTEGER NOT NULL DEFAULT 0;
ALTER TABLE submission ADD COLUMN asides INTEGER NOT NULL DEFAULT 0;
ALTER TABLE submission ADD COLUMN series TEXT NOT NULL DEFAULT '';
ALTER TABLE submission ADD COLUMN grader_digest TEXT NOT NULL DEFAULT '';
ALTER TABLE submission ADD COLUMN layers TEXT NOT NULL DEFAULT '[]';
ALTER TABLE submission ADD COLUMN versions TEXT NOT NULL DEFAULT '{}';
ALTER TABLE submission ADD COLUMN outcome TEXT NOT NULL DEFAULT '{}';
UPDATE submission SET handed_at = pulled_at;
UPDATE submission SET delivered_at = closed_at WHERE state = 'DELIVERED';
UPDATE submission SET confirmed_at = closed_at WHERE state = 'DELIVERED' AND uncertain = 0;
CREATE INDEX submission_series ON submission (server, queue, series) WHERE closed_at IS NULL;
CREATE INDEX submission_dead ON submission (dead_at) WHERE dead_at IS NOT NULL;
"""

STEPS: Final = (_FIRST, _SECOND)
"""The n-th brings a file from version n to n + 1."""
VERSION: Final = len(STEPS)


class JournalError(Exception):
    """The journal cannot be read or written (disk full, read-only, damaged): cause HOST. Stop pulling."""


class JournalDamaged(JournalError):
    """The file is no journal any more, in part or as a whole, or not the one that was opened. No worker can
    mend that, or wait for its end: all have to let go of it first. See supervisor.salvage."""


_MENDS: Final = (
    ("SQLITE_FULL", "the disk is full; make room, the service goes on by itself"),
    ("SQLITE_READONLY", "it cannot be written (a file system mounted read-only, or permissions); mend that"),
    ("SQLITE_IOERR", "the disk answers with errors; see the kernel's log"),
    ("SQLITE_CANTOPEN", "it cannot be opened; look at the folder's permissions and free space"),
    ("SQLITE_BUSY", f"somebody held it for more than {BUSY_S:g} s: a slow disk, or a backup that locks it"),
    ("SQLITE_LOCKED", "somebody holds it"),
)


def _said(error: sqlite3.Error) -> JournalError:
    """The error with what to do about it."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return JournalDamaged(
            f"the journal is damaged ({error}): the service starts anew, and saves what can be read of it"
        )
    for prefix, mend in _MENDS:
        if name.startswith(prefix):
            return JournalError(f"the journal: {error}: {mend}")
    return JournalError(f"the journal: {error}")


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the journal; the file is made, and brought to our version, where it has to be.

    Raises:
        JournalError
    """
    try:
        # SQLite gives its -wal and -shm files the mode of the main one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"{path}: {error}") from error
    try:
        with reading():
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file; an old one keeps what it has
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(f"PRAGMA journal_size_limit = {MOST_WAL_BYTES}")
            db.execute("PRAGMA cache_size = -256")  # KiB, of each worker; the system has the pages anyway
        migrate(db)
    except JournalError as error:
        db.close()
        raise type(error)(f"{path}: {error}") from error
    return db


def version_of(db: sqlite3.Connection) -> int:
    """The version of the open file; 0: it is new."""
    with reading():
        (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(db: sqlite3.Connection, to: int = VERSION) -> None:
    """Bring the open file to a version, step by step.

    Raises:
        JournalError: it is of a later one than ours, or cannot be written.
    """
    while (version := version_of(db)) < to:
        with writing(db):
            if version_of(db) != version:  # somebody else was faster
                continue
            for statement in STEPS[version].split(";\n"):
                if statement.strip():
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {version + 1}")
    if version > VERSION:
        raise JournalError(
            f"it has version {version}, written by a newer warden; this one knows {VERSION} and older. Run"
            " the newer one, or move the journal away (what is open in it would be graded again)"
        )


@contextmanager
def reading() -> Iterator[None]:
    """SQLite's errors as ours.

    Raises:
        JournalError
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _said(error) from error


@contextmanager
def writing(db: sqlite3.Connection, *, lasting: bool = True) -> Iterator[None]:
    """One transaction. The lock is taken at its start: a busy journal is waited for, not failed at.

    `lasting`: it survives a power cut from now on, at the price of one fsync. Else it survives the end of
    this process, and a power cut from the next lasting one of anybody on.

    Raises:
        JournalError: and nothing of it has happened.
    """
    with reading():
        db.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # SQLite has rolled some failures back by itself
                db.execute("ROLLBACK")
            raise
