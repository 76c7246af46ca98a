"""The journal as people read it: what is known of each submission, and what it holds.

Runs in: tools. Connections are read-only and live for a command; a running service is not disturbed by them.
Facts (`Entry`) and what learners wrote (`Content`) are apart: the one may be shown to anybody who may read
the journal, the other only to those who ask for it.
"""

from __future__ import annotations

import json
import sqlite3
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from graders.model import Work
from supervisor.journal import State
from supervisor.schema import BUSY_S, VERSION, JournalError, reading, version_of
from xqueue.filenames import sanitise_file_names


@dataclass(frozen=True, slots=True)
class Entry:
    """The facts of one submission; nothing that a learner wrote. Times are unix seconds.

    `id` is the journal's own number. The columns are explained in supervisor.schema.
    """

    id: int
    server: str
    queue: str
    submission_id: str
    body_digest: str
    state: State
    owner: str | None
    submitted_at: float | None
    pulled_at: float
    handed_at: float
    started_at: float | None
    graded_at: float | None
    delivered_at: float | None
    confirmed_at: float | None
    closed_at: float | None
    next_try_at: float
    attempts: int
    interruptions: int
    handouts: int
    tries: int
    uncertain: bool
    verdict: str | None
    blame: str | None
    cause: str | None
    grader: str
    grader_digest: str
    reason: str
    trouble: str
    layers: tuple[str, ...]
    versions: Mapping[str, Any]
    outcome: Mapping[str, Any]
    dead_at: float | None
    dead_cause: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """What was handed in, and the reply to it (`body`, "" before there is one). `header` names the key."""

    header: str
    payload: str
    response: str
    student_key: str
    random_seed: int
    urls: Mapping[str, str]
    files_here: bool
    files: Mapping[str, bytes]
    problem: str
    body: str

    @property
    def work(self) -> Work:
        """The submission as a handler sees it."""
        return Work(self.payload, self.response, self.files, self.student_key, self.random_seed)

    @property
    def missing(self) -> list[str]:
        """Names of submitted files that were never fetched."""
        if self.files_here:
            return []
        names = sanitise_file_names(self.urls)
        return sorted(set(names.values()) - set(self.files))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which submissions. What is None does not matter; `ids` alone names some.

    `grader` is a shell-style pattern. `since` is when it came into the dead-letter box, or else was pulled.
    `dead`: only those in the box. `graded`: only those with a stored reply.
    """

    ids: Sequence[int] = ()
    queue: str | None = None
    cause: str | None = None
    grader: str | None = None
    verdict: str | None = None
    since: float | None = None
    dead: bool = False
    graded: bool = False

    def where(self) -> tuple[str, list[object]]:
        """The condition in SQL, and its parameters."""
        parts: list[str] = []
        values: list[object] = []
        for column, value in (("queue", self.queue), ("verdict", self.verdict)):
            if value is not None:
                parts.append(f"{column} = ?")
                values.append(value)
        if self.cause is not None:
            parts.append("coalesce(dead_cause, cause) = ?")
            values.append(self.cause)
        if self.grader is not None:
            parts.append("grader GLOB ?")
            values.append(self.grader)
        if self.since is not None:
            parts.append(f"{'dead_at' if self.dead else 'pulled_at'} >= ?")
            values.append(self.since)
        if self.ids:
            parts.append(f"id IN ({', '.join('?' * len(self.ids))})")
            values += self.ids
        if self.dead:
            parts.append("dead_at IS NOT NULL")
        if self.graded:
            parts.append("graded_at IS NOT NULL AND body IS NOT NULL")
        return " AND ".join(parts) or "1", values


_FACTS: Final = tuple(Entry.__dataclass_fields__)


class Archive:
    """A read-only connection. Its methods raise JournalError."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def entries(self, wanted: Wanted, limit: int | None = None) -> list[Entry]:
        """Those wanted, the latest first."""
        where, values = wanted.where()
        order = "dead_at DESC, id DESC" if wanted.dead else "id DESC"
        query = f"SELECT {', '.join(_FACTS)} FROM submission WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608
        with reading():
            rows = self._db.execute(query, (*values, -1 if limit is None else limit)).fetchall()
        return [_entry(row) for row in rows]

    def content(self, entry_id: int) -> Content | None:
        """What was handed in; None if it has been forgotten meanwhile."""
        with reading():
            row = self._db.execute(
                "SELECT header, payload, response, student_key, random_seed, files, files_here, problem,"
                " coalesce(body, '') FROM submission WHERE id = ?",
                (entry_id,),
            ).fetchone()
            if row is None:
                return None
            found = self._db.execute("SELECT name, content FROM file WHERE submission = ?", (entry_id,))
            files = {str(name): bytes(content) for name, content in found.fetchall()}
        header, payload, response, student_key, seed, urls, here, *rest = row
        known = header, payload, response, student_key, int(seed), json.loads(urls), bool(here), files
        return Content(*known, *rest)


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The journal at `path`, read-only.

    Raises:
        JournalError: there is none, it cannot be read, or it is of another version.
    """
    db = _connect(path, "ro")
    try:
        yield Archive(db)
    finally:
        db.close()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection to a journal that is there, of our version. `mode`: ro or rw.

    Raises:
        JournalError
    """
    if not path.exists():
        raise JournalError(f"{path}: there is no journal; is state_dir right, and has the service run yet?")
    try:
        uri = f"file:{urllib.parse.quote(str(path.absolute()))}?mode={mode}"
        db = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    except sqlite3.Error as error:
        raise JournalError(f"{path}: {error}") from error
    try:
        version = version_of(db)
        if version != VERSION:
            older = version < VERSION
            mend = "start the service once, which brings it up to date" if older else "use that one"
            raise JournalError(f"version {version} is that of another warden, not {VERSION}; {mend}")
    except JournalError as error:
        db.close()
        raise JournalError(f"{path}: {error}") from error
    return db


@contextmanager
def opened_to_write(path: Path) -> Iterator[sqlite3.Connection]:
    """The same journal for the few changes that people make, durable as the service's own.

    Raises:
        JournalError
    """
    db = _connect(path, "rw")
    try:
        with reading():
            db.execute("PRAGMA synchronous = FULL")
        yield db
    finally:
        db.close()


def _entry(row: Sequence[Any]) -> Entry:
    values = dict(zip(_FACTS, row, strict=True))
    values["state"] = State(values["state"])
    values["uncertain"] = bool(values["uncertain"])
    values["layers"] = tuple(json.loads(values["layers"]))
    for name in ("versions", "outcome"):
        values[name] = json.loads(values[name])
    return Entry(**values)
