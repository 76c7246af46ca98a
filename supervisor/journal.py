"""The journal: every submission pulled, from RECEIVED to its end, in one SQLite file per host.

Runs in: worker; in the supervisor only `prepare`, before the first fork. A connection never crosses a fork.

    RECEIVED   committed before grading. Graded again after a crash, while its attempts last.
    GRADED     the reply is stored, committed before it is sent. Sent again until the server has it.
    DELIVERED  the server took it.
    DEAD       the server refuses it for good; the reason stands beside it.

A row in the dead-letter box (`dead_at` set) is one that a person should look at: it may well have been
delivered, with a neutral reply. A submission is the same if server, queue, id and the digest of its body are:
a server whose ids started again does not get old results.

`owner` is the worker that has the row in hand. Rows of a worker that died are released: at the start of the
supervisor all, later by the workers that are left (`release`). A row without an owner is anybody's. An
attempt is counted before it is made, so that what kills its worker does not come for ever; one that ended
with its worker for another reason (`spared`) is counted back.

Attempts of one learner at one problem (`series_of`) are delivered in their order: a reply is not due while an
earlier one of its series is open, for `patience_s` from the earlier one's pull at most. A reply that waits so
is nobody's: whoever settles the earlier one finds it next.

What a commit says survives a power cut; only that a reply was delivered, or is to be sent later, may be
forgotten: then it is sent once more. A clock that is set back holds nothing up: who began to wait in the
future waits no longer. Learner text is kept until the row is purged; the file is readable by its owner only.
Its columns are explained in supervisor.schema.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from graders.errors import CourseError
from graders.model import Blame, Cause, Verdict
from graders.payload import parse_payload
from supervisor.retention import Retention, forget_old, let_shrink
from supervisor.schema import JournalDamaged as JournalDamaged
from supervisor.schema import JournalError as JournalError
from supervisor.schema import connect, reading, writing
from xqueue.protocol import Submission

FILE_NAME: Final = "journal.sqlite3"
MOST_INTERRUPTIONS: Final = 20
"""After so many, interruptions count as attempts, whoever caused them: one of them may take all down."""
LEAST_FREE_BYTES: Final = 8 << 20
"""With less room on the disk nothing is pulled: what is in hand shall still find its place."""

_EARLIER: Final = """
    FROM submission AS was
    WHERE was.server = row.server AND was.queue = row.queue AND was.closed_at IS NULL
    AND was.series = row.series AND row.series <> ''
    AND (coalesce(was.submitted_at, was.pulled_at), CAST(was.submission_id AS INTEGER), was.id)
      < (coalesce(row.submitted_at, row.pulled_at), CAST(row.submission_id AS INTEGER), row.id)
    AND was.pulled_at > :now - :patience_s AND was.pulled_at <= :now
"""
"""The open earlier attempts that a reply (`row`) waits for."""
_BLOCKED: Final = f"EXISTS (SELECT 1 {_EARLIER})"
_TRY_AT: Final = "iif(row.waits_since > :now, :now, row.next_try_at)"
_DUE_AT: Final = (
    f"iif(row.state = 'RECEIVED', {_TRY_AT},"
    f" max({_TRY_AT}, coalesce((SELECT max(was.pulled_at) + :patience_s {_EARLIER}), 0)))"
)
_DUE: Final = (
    "row.state = :state AND row.closed_at IS NULL"
    " AND (row.next_try_at <= :now OR row.waits_since > :now)"
    f" AND (row.state = 'RECEIVED' OR NOT {_BLOCKED})"
)

_HELD: Final = (
    "(row.state = 'RECEIVED' AND (:everything OR row.grader IN (SELECT value FROM json_each(:graders)))"
    " AND row.pulled_at BETWEEN :now - :held_s AND :now)"
)
"""Rows of which no attempt is made now, because others like it failed."""

_RELEASED: Final = f"""
    UPDATE submission SET owner = NULL,
    attempts = attempts - (attempting AND :spared AND interruptions < {MOST_INTERRUPTIONS}),
    interruptions = interruptions + (attempting AND :spared),
    attempting = 0
    WHERE closed_at IS NULL AND owner IS NOT NULL
"""  # noqa: S608 (a constant)


CROSSING_S: Final = 30.0
"""How long a hand-out may take from the server to the journal, at the longest."""
STALE_S: Final = 5.0
STALE_CEILING_S: Final = 300.0
PATIENCE_S: Final = 3600.0
MOST_ASIDES: Final = 5
"""At its fifth failure edx-submissions gives a submission up."""


class State(StrEnum):
    """See the module's docstring."""

    RECEIVED = "RECEIVED"
    GRADED = "GRADED"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


class Receipt(StrEnum):
    """What a hand-out turned out to be."""

    NEW = "new"  # ours to grade; its first attempt is counted
    MINE = "mine"  # known, not yet graded, and nobody has it in hand: now ours
    IN_HAND = "in_hand"  # a worker (this one or another) is at it; the newer header was adopted
    STORED = "stored"  # graded before; the stored result will be sent under the newer header


@dataclass(frozen=True, slots=True)
class Row:
    """One submission of the journal. `body` is the stored reply (xqueue_body), "" before it is graded."""

    id: int
    submission_id: str
    state: State
    header: str
    payload: str
    response: str
    student_key: str
    random_seed: int
    files: Mapping[str, str]
    files_here: bool
    problem: str
    submitted_at: float | None
    pulled_at: float
    handed_at: float
    started_at: float | None
    graded_at: float | None
    attempts: int
    tries: int
    refusals: int
    uncertain: bool
    body: str
    stale: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """What is recorded of a judgement besides the reply. `dead`: why it is in the dead-letter box.

    `outcome` (what became of the learner's program, and what it used) and `versions` are small values, kept
    as JSON; `layers` is the isolation that was in force.
    """

    verdict: Verdict
    blame: Blame
    cause: Cause
    grader: str = ""
    dead: str | None = None
    grader_digest: str = ""
    layers: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    outcome: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows not yet delivered. `held`: so many of them are of the graders asked about."""

    count: int
    oldest_at: float | None
    held: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """Which RECEIVED rows are left alone: those marked with one of `graders` (`hold`), or `everything`.

    Each at most `for_s` from its pull: then it is due, to be answered.
    """

    graders: Sequence[str] = ()
    everything: bool = False
    for_s: float = 0.0

    def named(self) -> dict[str, str | bool | float]:
        """As the statements want it."""
        return {
            "graders": json.dumps(list(self.graders)),
            "everything": self.everything,
            "held_s": self.for_s,
        }


NOTHING_HELD: Final = Held()


_COLUMNS: Final = (
    "id, submission_id, state, header, payload, response, student_key, random_seed, files, files_here,"
    " problem, submitted_at, pulled_at, handed_at, started_at, graded_at, attempts, tries, refusals,"
    " uncertain, coalesce(body, ''), stale"
)


def _row(values: tuple[object, ...]) -> Row:
    (row_id, submission_id, state, header, payload, response, student_key, seed, files, here, *rest) = values
    problem, submitted_at, pulled_at, handed_at, started_at, graded_at, *rest = rest
    attempts, tries, refusals, uncertain, body, stale = rest
    assert isinstance(row_id, int)  # noqa: S101 (STRICT tables)
    return Row(
        id=row_id,
        submission_id=str(submission_id),
        state=State(str(state)),
        header=str(header),
        payload=str(payload),
        response=str(response),
        student_key=str(student_key),
        random_seed=int(str(seed)),
        files=json.loads(str(files)),
        files_here=bool(here),
        problem=str(problem),
        submitted_at=_time(submitted_at),
        pulled_at=float(str(pulled_at)),
        handed_at=float(str(handed_at)),
        started_at=_time(started_at),
        graded_at=_time(graded_at),
        attempts=int(str(attempts)),
        tries=int(str(tries)),
        refusals=int(str(refusals)),
        uncertain=bool(uncertain),
        body=str(body),
        stale=int(str(stale)),
    )


def _time(value: object) -> float | None:
    return None if value is None else float(str(value))


def series_of(pulled: Submission) -> str:
    """Equal for the attempts of one learner at one problem; "" where the learner is not known.

    Nothing on the wire names the problem: learner and grader are the nearest. A payload that names no grader
    stands for itself.
    """
    if not pulled.student_key:
        return ""
    try:
        problem = parse_payload(pulled.payload, {}).grader
    except CourseError:
        problem = pulled.payload
    return hashlib.sha256(_utf8(f"{pulled.student_key}\0{problem}").encode()).hexdigest()


@contextmanager
def _stat(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error


def _utf8(text: str) -> str:
    """Without lone surrogates, which no UTF-8 file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Journal:
    """A connection to the journal, for one worker of one queue. `patience_s`: see the module's docstring.

    Every method raises JournalError, and then nothing of it has happened.
    """

    def __init__(self, path: Path, server: str, queue: str, owner: str, patience_s: float = 300.0) -> None:
        self._path = path
        self._db = connect(path)
        with _stat(path):
            self._inode = path.stat().st_ino
        self._of = (server, queue)
        self._owner = owner
        self._order = {"patience_s": patience_s}

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    # -- owners ------------------------------------------------------------------------------------------

    def release(self, owner: str, *, spared: bool = False) -> None:
        """The worker that signed as `owner` is dead: its rows are anybody's.

        `spared`: what it was grading has no part in that.
        """
        with writing(self._db):
            self._db.execute(f"{_RELEASED} AND owner = :owner", {"owner": owner, "spared": spared})

    def release_slot(self, slot: str, *, spared: bool = False) -> None:
        """The same for all who sat in `slot` before this worker."""
        with writing(self._db):
            self._db.execute(
                f"{_RELEASED} AND substr(owner, 1, length(:slot) + 1) = :slot || '#' AND owner <> :mine",
                {"slot": slot, "mine": self._owner, "spared": spared},
            )

    # -- in ----------------------------------------------------------------------------------------------

    def receive(self, pulled: Submission, now: float) -> tuple[Receipt, Row]:
        """Enter a submission that was just pulled, or recognise it."""
        key = (*self._of, _utf8(pulled.submission_id), pulled.body_digest)
        header = _utf8(pulled.header)
        with writing(self._db):
            found = self._db.execute(
                "SELECT id, state, owner, header, next_try_at, stale, confirmed_at FROM submission"
                " WHERE server = ? AND queue = ? AND submission_id = ? AND body_digest = ?",
                key,
            ).fetchone()
            if found is None:
                row_id = self._insert(pulled, key, header, now)
                return Receipt.NEW, self._get(row_id)
            row_id, state, owner, old_header, next_try_at, stale, confirmed_at = found
            newer = header != old_header
            if state == State.RECEIVED:
                mine = owner is None
                self._db.execute(
                    "UPDATE submission SET header = ?, handed_at = CASE WHEN ? THEN ? ELSE handed_at END,"
                    " handouts = handouts + 1, stale = CASE WHEN ? THEN 0 ELSE stale + 1 END,"
                    " owner = coalesce(owner, ?) WHERE id = ?",
                    (header, newer, now, newer, self._owner, row_id),
                )
                return (Receipt.MINE if mine else Receipt.IN_HAND), self._get(row_id)
            if not newer and confirmed_at is not None and abs(now - confirmed_at) < CROSSING_S:
                # The server's yes and this hand-out crossed: it has it.
                self._db.execute("UPDATE submission SET handouts = handouts + 1 WHERE id = ?", (row_id,))
                return Receipt.STORED, self._get(row_id)
            # Graded before. A new key is sent at once. Under the old one the server has not taken it, or has
            # and rolled it back, and hands it out at every poll: that must not put a fixed try off, and
            # what it took and forgot is sent less and less often.
            if newer:
                at = now
            elif state == State.GRADED:
                at = next_try_at
            else:
                at = now + min(STALE_S * stale, STALE_CEILING_S)
            self._db.execute(
                "UPDATE submission SET header = ?, handed_at = CASE WHEN ? THEN ? ELSE handed_at END,"
                " handouts = handouts + 1, state = 'GRADED', closed_at = NULL,"
                " delivered_at = NULL, confirmed_at = NULL, next_try_at = ?,"
                " waits_since = CASE WHEN state = 'GRADED' AND NOT ? THEN waits_since ELSE ? END,"
                " refusals = 0, uncertain = 0,"
                " tries = CASE WHEN ? THEN 0 ELSE tries END,"
                " stale = CASE WHEN ? THEN 0 ELSE stale + 1 END WHERE id = ?",
                (header, newer, now, at, newer, now, newer, newer, row_id),
            )
            if state != State.GRADED or next_try_at > now:  # else it is perhaps being sent right now: left
                self._db.execute(
                    f"UPDATE submission AS row SET owner = iif({_BLOCKED}, NULL, :mine) WHERE id = :id",  # noqa: S608
                    {"mine": self._owner, "id": row_id, "now": now, **self._order},
                )
            return Receipt.STORED, self._get(row_id)

    def _insert(self, pulled: Submission, key: tuple[str, str, str, str], header: str, now: float) -> int:
        cursor = self._db.execute(
            "INSERT INTO submission (server, queue, submission_id, body_digest, state, owner, header,"
            " payload, response, student_key, random_seed, files, files_here, problem, series,"
            " submitted_at, pulled_at, handed_at, started_at, attempts, attempting)"
            " VALUES (?, ?, ?, ?, 'RECEIVED', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 1)",
            (
                *key,
                self._owner,
                header,
                _utf8(pulled.payload),
                _utf8(pulled.response),
                _utf8(pulled.student_key),
                str(pulled.random_seed),
                json.dumps(dict(pulled.files)),
                not pulled.files,
                _utf8(pulled.problem),
                series_of(pulled),
                pulled.submitted_at,
                now,
                now,
                now,
            ),
        )
        assert cursor.lastrowid is not None  # noqa: S101 (an INSERT has one)
        return cursor.lastrowid

    def keep_files(self, row_id: int, contents: Mapping[str, bytes]) -> None:
        """Store the fetched files (sanitised names): their URLs expire."""
        with writing(self._db):
            self._db.executemany(
                "INSERT OR REPLACE INTO file (submission, name, content) VALUES (?, ?, ?)",
                [(row_id, _utf8(name), content) for name, content in contents.items()],
            )
            self._db.execute("UPDATE submission SET files_here = 1 WHERE id = ?", (row_id,))

    def files(self, row_id: int) -> dict[str, bytes]:
        """The stored files."""
        with reading():
            found = self._db.execute("SELECT name, content FROM file WHERE submission = ?", (row_id,))
            return {str(name): bytes(content) for name, content in found.fetchall()}

    # -- grading -----------------------------------------------------------------------------------------

    def due(self, state: State, now: float, held: Held = NOTHING_HELD) -> Row | None:
        """The oldest due row in `state` (RECEIVED or GRADED) that is ours or nobody's; it is then ours.

        A reply is due only when the earlier ones of its series are settled.
        """
        wanted = {"state": state, "mine": self._owner, "now": now, **self._order, **held.named()}
        with reading():
            found = self._db.execute(
                f"SELECT {_COLUMNS}, owner FROM submission AS row WHERE {_DUE} AND NOT {_HELD}"  # noqa: S608
                " AND server = :server AND queue = :queue AND (owner IS NULL OR owner = :mine)"
                " ORDER BY id LIMIT 1",
                {**wanted, "server": self._of[0], "queue": self._of[1]},
            ).fetchone()
        if found is None:
            return None
        *values, owner = found
        row = _row(tuple(values))
        if owner is None:
            with writing(self._db, lasting=False):  # a power cut ends us, too
                taken = self._db.execute(
                    f"UPDATE submission AS row SET owner = :mine WHERE {_DUE}"  # noqa: S608
                    " AND id = :id AND owner IS NULL",
                    {**wanted, "id": row.id},
                ).rowcount
            if not taken:  # another worker was faster
                return self.due(state, now, held)
        return row

    def hold(self, row_id: int, grader: str, *, counted: bool) -> None:
        """No attempt is made while `grader` is held; `counted`: one was counted already, and does not count.

        The row is anybody's, and marked, so that `due` leaves it out.
        """
        with writing(self._db):
            self._db.execute(
                "UPDATE submission SET grader = ?, owner = NULL, attempting = 0, attempts = attempts - ?"
                " WHERE id = ? AND state = 'RECEIVED'",
                (_utf8(grader), counted, row_id),
            )

    def begin(self, row_id: int, now: float) -> int:
        """Count one more attempt, before it is made: what kills its worker must not come for ever.

        Returns the number of this attempt, from 1.
        """
        with writing(self._db):
            found = self._db.execute(
                "UPDATE submission SET attempts = attempts + 1, attempting = 1, started_at = ? WHERE id = ?"
                " RETURNING attempts",
                (now, row_id),
            ).fetchone()
            return int(found[0])

    def give_back(self, row_id: int) -> None:
        """The attempt could not be made at all, through no fault of the submission: it does not count."""
        with writing(self._db):
            self._db.execute(
                "UPDATE submission SET attempts = attempts - 1, attempting = 0, owner = NULL WHERE id = ?",
                (row_id,),
            )

    def record(self, row_id: int, body: str, mark: Mark, now: float) -> None:
        """Graded: store the reply. It is due at once, or when the earlier ones of its series are settled."""
        values = {
            "body": body,
            "verdict": mark.verdict,
            "blame": mark.blame,
            "cause": mark.cause,
            "grader": _utf8(mark.grader),
            "reason": _utf8(mark.dead or ""),
            "dead_at": now if mark.dead is not None else None,
            "dead_cause": mark.cause if mark.dead is not None else None,
            "grader_digest": mark.grader_digest,
            "layers": json.dumps(list(mark.layers)),
            "versions": json.dumps(dict(mark.versions)),
            "outcome": json.dumps(dict(mark.outcome)),
        }
        assigned = ", ".join(f"{name} = :{name}" for name in values)
        with writing(self._db):
            self._db.execute(
                "UPDATE submission AS row SET state = 'GRADED', graded_at = :now,"  # noqa: S608
                " next_try_at = :now, waits_since = :now, tries = 0, stale = 0, attempting = 0,"
                " trouble = '',"
                f" owner = CASE WHEN {_BLOCKED} THEN NULL ELSE owner END, {assigned}"
                " WHERE id = :id AND state = 'RECEIVED'",
                {**values, **self._order, "now": now, "id": row_id},
            )

    def postpone(
        self, row_id: int, until: float, reason: str, now: float, *, uncertain: bool = False
    ) -> None:
        """Try the row's next step again at `until`; one more try is counted."""
        with writing(self._db, lasting=False):
            self._db.execute(
                "UPDATE submission SET next_try_at = ?, waits_since = ?, tries = tries + 1, attempting = 0,"
                " trouble = ?, uncertain = max(uncertain, ?) WHERE id = ?",
                (until, now, _utf8(reason), uncertain, row_id),
            )

    # -- out ---------------------------------------------------------------------------------------------

    def row(self, row_id: int) -> Row:
        """The row as it is now."""
        with reading():
            return self._get(row_id)

    def delivered(
        self, row_id: int, header: str, now: float, sent_at: float | None = None, *, confirmed: bool = True
    ) -> bool:
        """The server took the reply that was sent under `header` at `sent_at`. `confirmed`: it said so.

        False: meanwhile it handed the submission out under a newer header, which is due now (a legacy XQueue
        forgets a delivery that crosses with a pull), or somebody wants it to be graded again.
        """
        with writing(self._db, lasting=False):
            closed = self._db.execute(
                "UPDATE submission SET state = 'DELIVERED', closed_at = ?, owner = NULL, delivered_at = ?,"
                " confirmed_at = ?,"
                # A newer key has got through: nobody needs to look at what became of the older one.
                " dead_at = iif(blame = 'learner', NULL, dead_at),"
                " dead_cause = iif(blame = 'learner', NULL, dead_cause),"
                " reason = iif(blame = 'learner', '', reason)"
                " WHERE id = ? AND header = ? AND state = 'GRADED'",
                (
                    now,
                    now if sent_at is None else sent_at,
                    now if confirmed else None,
                    row_id,
                    header,
                ),
            ).rowcount
            return bool(closed)

    def refused(self, row_id: int, header: str, reason: str, now: float, again_s: float) -> bool:
        """The server refuses the reply sent under `header`.

        The first time it is left for `again_s`: a newer hand-out of it may be on its way to another worker.
        True: it was refused before under the same header; it is DEAD now.
        """
        with writing(self._db):
            found = self._db.execute(
                "SELECT refusals FROM submission WHERE id = ? AND header = ? AND state = 'GRADED'",
                (row_id, header),
            ).fetchone()
            if found is None:  # a newer header, or to be graded again: due already
                return False
            if found[0] == 0:
                self._db.execute(
                    "UPDATE submission SET refusals = 1, next_try_at = ?, waits_since = ?, trouble = ?"
                    " WHERE id = ?",
                    (now + again_s, now, _utf8(reason), row_id),
                )
                return False
            self._bury(row_id, Cause.REPLY_REFUSED, reason, now)
            return True

    def may_set_aside(self, row_id: int, now: float) -> bool:
        """Whether it is this row that the LMS cannot take, and not any.

        So it seems if it has taken another one since this came. The first time it may be without that, and
        later when this has been at the head for an hour: the server gives it up at the fifth time, and an LMS
        that takes nothing must not use these up.
        """
        with reading():
            asides, handed_at, takes = self._db.execute(
                "SELECT asides, handed_at, EXISTS (SELECT 1 FROM submission AS other"
                " WHERE other.server = row.server AND other.id <> row.id"
                " AND other.confirmed_at > row.handed_at)"
                " FROM submission AS row WHERE id = ?",
                (row_id,),
            ).fetchone()
        return bool(asides == 0 or takes or now - handed_at > PATIENCE_S)

    def set_aside(self, row_id: int, header: str, reason: str, now: float, until: float) -> bool:
        """The server was made to hand the row out again behind the others, under a new header.

        Until then its reply waits, `until` at the longest. True: that was the last time that the server lets
        itself be asked; the row is DEAD.
        """
        with writing(self._db):
            found = self._db.execute(
                "UPDATE submission SET asides = asides + 1, next_try_at = ?, waits_since = ?,"
                " tries = tries + 1, trouble = ? WHERE id = ? AND header = ? AND state = 'GRADED'"
                " RETURNING asides",
                (until, now, _utf8(reason), row_id, header),
            ).fetchone()
            if found is None or found[0] < MOST_ASIDES:
                return False
            self._bury(row_id, Cause.QUEUE_ERROR, reason, now)
            return True

    def _bury(self, row_id: int, cause: Cause, reason: str, now: float) -> None:
        """DEAD, and in the dead-letter box; what was there before keeps its reason."""
        self._db.execute(
            "UPDATE submission SET state = 'DEAD', closed_at = :now, owner = NULL, trouble = :reason,"
            " reason = iif(dead_at IS NULL, :reason, reason),"
            " dead_cause = coalesce(dead_cause, :cause), dead_at = coalesce(dead_at, :now) WHERE id = :id",
            {"now": now, "reason": _utf8(reason), "cause": cause, "id": row_id},
        )

    # -- looking -----------------------------------------------------------------------------------------

    def outlook(self, now: float, held: Held = NOTHING_HELD) -> tuple[Backlog, float | None]:
        """Rows of this queue not yet delivered, whoever has them; when the next that this worker may take is
        due (None: there is none).
        """
        with reading():
            count, oldest, left, due_at = self._db.execute(
                f"SELECT count(*), min(pulled_at), coalesce(sum({_HELD}), 0),"  # noqa: S608
                " min(CASE WHEN owner IS NULL OR owner = :mine"
                f" THEN iif({_HELD}, max(row.pulled_at + :held_s, {_DUE_AT}), {_DUE_AT}) END)"
                " FROM submission AS row WHERE server = :server AND queue = :queue AND closed_at IS NULL",
                {
                    "mine": self._owner,
                    "server": self._of[0],
                    "queue": self._of[1],
                    "now": now,
                    **self._order,
                    **held.named(),
                },
            ).fetchone()
            return Backlog(int(count), oldest, int(left)), due_at

    def check(self) -> None:
        """Before a pull: is the file still there, and is there room for what may come?"""
        with _stat(self._path):
            if self._path.stat().st_ino != self._inode:
                raise JournalDamaged(f"{self._path} was replaced while the service runs: it starts anew")
            room = os.statvfs(self._path)
        free = room.f_bavail * room.f_frsize
        if free < LEAST_FREE_BYTES:
            raise JournalError(
                f"{self._path.parent}: {free >> 10} KiB are free on this disk, {LEAST_FREE_BYTES >> 10} are"
                " needed; make room"
            )

    def probe(self, now: float) -> None:
        """Write something small: is the disk well again?"""
        self.check()
        with writing(self._db):
            self._db.execute("INSERT OR REPLACE INTO probe VALUES (1, ?)", (now,))

    def purge(self, retention: Retention, now: float) -> int:
        """Forget what is old enough, and more where the file is too large; how many rows."""
        return forget_old(self._db, retention, now)

    def _get(self, row_id: int) -> Row:
        return _row(
            self._db.execute(f"SELECT {_COLUMNS} FROM submission WHERE id = ?", (row_id,)).fetchone()  # noqa: S608
        )


def prepare(path: Path, retention: Retention, now: float) -> dict[tuple[str, str], Backlog]:
    """Before the first fork: make the file, release all rows, purge, and close it again.

    Returns what is open, by (server, queue).

    Raises:
        JournalError: the journal cannot be used; the message says why.
    """
    db = connect(path)
    try:
        with writing(db):
            db.execute(_RELEASED, {"spared": True})  # they died with the supervisor
        forget_old(db, retention, now)
        let_shrink(db)
        with reading():
            rows = db.execute(
                "SELECT server, queue, count(*), min(pulled_at) FROM submission WHERE closed_at IS NULL"
                " GROUP BY server, queue"
            ).fetchall()
    finally:
        db.close()
    return {(server, queue): Backlog(count, oldest) for server, queue, count, oldest in rows}
