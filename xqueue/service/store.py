"""Where the embedded XQueue keeps everything: one SQLite file, one process that writes it.

Runs in: queue server; `History` also in tools.

Theory of operation. One lock serialises all work on the database, so a pull is atomic without further ado,
and each operation is one short transaction. Two connections share the file: what must survive a power cut (a
submit, a result) is committed with `synchronous=FULL`, everything else with NORMAL, which survives any death
of the process; in WAL mode a later FULL commit also saves the NORMAL ones before it. An empty queue is known
to be empty until a time (`quiet_until`), so that idle polling never touches the database.

The states of a submission:

    QUEUED      -> ANSWERED       a result was put with the right key
    QUEUED      -> SUPERSEDED     the same callback URL submitted again (never handed out again)
    SUPERSEDED  -> ANSWERED       it was in a grader's hand, and the LMS may still wait for it
    ANSWERED    -> DELIVERED      the LMS acknowledged the result
    ANSWERED    -> UNDELIVERABLE  the LMS refused it too often; kept, and shown by `warden queue show`
    (ANSWERED is passed over, KEPT taken, when the submission came without a callback URL)
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from xqueue.service.settings import ServiceError

SCHEMA: Final = 1
CLOCK_STEP_S: Final = 60.0
"""A submission pulled further in the future than this was pulled before the clock was set back."""

EXPIRE_BATCH: Final = 200


class State(StrEnum):
    """See the module's docstring for the transitions."""

    QUEUED = "queued"
    SUPERSEDED = "superseded"
    ANSWERED = "answered"
    DELIVERED = "delivered"
    KEPT = "kept"
    UNDELIVERABLE = "undeliverable"


OVER: Final = (State.SUPERSEDED, State.DELIVERED, State.KEPT, State.UNDELIVERABLE)


class Put(StrEnum):
    """What became of a result that was put."""

    STORED = "stored"  # to be delivered
    KEPT = "kept"  # stored, nobody to be called
    AGAIN = "again"  # right key, but there is a result already: nothing changed
    NO_SUBMISSION = "no submission"
    WRONG_KEY = "wrong key"


@dataclass(frozen=True, slots=True)
class Pulled:
    """A submission handed out, under the key of this pull. `files` maps the uploader's names to URLs."""

    submission_id: int
    key: str
    body: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pending:
    """A result that the LMS has not acknowledged, and when it is due (unix seconds)."""

    submission_id: int
    url: str
    due: float


@dataclass(frozen=True, slots=True)
class Letter:
    """A result with all that is needed to deliver it."""

    submission_id: int
    url: str
    header: str  # the LMS's own xqueue_header
    reply: str
    failures: int


@dataclass(frozen=True, slots=True)
class Row:
    """One submission as `warden queue show` lists it. Times are unix seconds, None: not yet."""

    submission_id: int
    queue: str
    state: State
    arrived_at: float
    pulls: int
    pulled_at: float | None
    changed_at: float
    failures: int
    next_try_at: float | None
    last_error: str
    callback_url: str
    lms_key: str
    reply: str | None
    files: int


_META = MetaData()

_USERS = Table(
    "users", _META, Column("name", Text, primary_key=True), Column("password_hash", Text, nullable=False)
)

_SESSIONS = Table(
    "sessions",
    _META,
    Column("token_hash", Text, primary_key=True),
    Column("user", Text, nullable=False),
    Column("expires_at", Float, nullable=False),
)

_QUEUES = Table("queues", _META, Column("name", Text, primary_key=True))

_SUBMISSIONS = Table(
    "submissions",
    _META,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("queue", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("pulled_at", Float, nullable=False, default=0.0),  # 0: never
    Column("key", Text, nullable=False, default=""),  # "": never pulled
    Column("pulls", Integer, nullable=False, default=0),
    Column("arrived_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("failures", Integer, nullable=False, default=0),
    Column("next_try_at", Float, nullable=False, default=0.0),
    Column("last_error", Text, nullable=False, default=""),
    Column("callback_url", Text, nullable=False),
    Column("lms_key", Text, nullable=False),
    Column("files", Text, nullable=False),
    Column("header", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("reply", Text),
    sqlite_autoincrement=True,  # an id is never used again
)

_S = _SUBMISSIONS.c


def _is(state: State) -> ColumnElement[bool]:
    """Written out in the SQL: SQLite takes a partial index only for a condition that it can read."""
    return _S.state == literal_column(f"'{state.value}'", Text)


# What a pull or a queue length looks at is all in this index: a backlog's bodies are not read to count it.
Index("waiting", _S.queue, _S.id, _S.pulled_at, _S.state, sqlite_where=_is(State.QUEUED))
Index("same_callback", _S.callback_url, sqlite_where=_is(State.QUEUED))
Index("undelivered", _S.id, sqlite_where=_is(State.ANSWERED))
Index("over", _S.changed_at, _S.state)

_WAITING = (_S.queue == bindparam("of_queue")) & _is(State.QUEUED)
_READY = _WAITING & or_(_S.pulled_at <= bindparam("before"), _S.pulled_at > bindparam("future"))

_COUNT = select(func.count(_S.id)).where(_READY)
_NEXT = select(_S.id, _S.body, _S.files).where(_READY).order_by(_S.id).limit(1)
_OLDEST_PULL = select(func.min(_S.pulled_at)).where(_WAITING)
_TAKE = (
    update(_SUBMISSIONS)
    .where(_S.id == bindparam("of_id"))
    .values(
        key=bindparam("new_key"), pulled_at=bindparam("at"), changed_at=bindparam("at"), pulls=_S.pulls + 1
    )
)
_SUPERSEDE = (
    update(_SUBMISSIONS)
    .where((_S.callback_url == bindparam("of_url")) & _is(State.QUEUED))
    .values(state=State.SUPERSEDED.value, changed_at=bindparam("at"))
)
_ADD = insert(_SUBMISSIONS)
_LOOK = select(_S.key, _S.state, _S.callback_url, _S.header).where(_S.id == bindparam("of_id"))
_ANSWER = (
    update(_SUBMISSIONS)
    .where(_S.id == bindparam("of_id"))
    .values(
        state=bindparam("to"),
        reply=bindparam("text"),
        changed_at=bindparam("at"),
        next_try_at=bindparam("at"),
    )
)
_LETTER = select(_S.id, _S.callback_url, _S.header, _S.reply, _S.failures).where(
    (_S.id == bindparam("of_id")) & _is(State.ANSWERED)
)
_PENDING = select(_S.id, _S.callback_url, _S.next_try_at).where(_is(State.ANSWERED)).order_by(_S.id)
_DELIVERED = (
    update(_SUBMISSIONS)
    .where(_S.id == bindparam("of_id"))
    .values(state=State.DELIVERED.value, changed_at=bindparam("at"), last_error="")
)


class Store:
    """The one writer. Every method may be called from any thread; times come from `clock` (unix seconds)."""

    def __init__(self, data_dir: Path, *, processing_delay_s: float, clock: Callable[[], float]) -> None:
        """Opens or makes the store in `data_dir` (mode 0700).

        Raises:
            ServiceError: the folder cannot be used, another server uses it, or the file is not ours.
        """
        self.files_dir = data_dir / "files"
        self._clock = clock
        self._delay_s = processing_delay_s
        self._lock = threading.Lock()
        self._quiet_until: dict[str, float] = {}
        self._exits = contextlib.ExitStack()
        try:
            self._open(data_dir)
        except (OSError, SQLAlchemyError, sqlite3.Error) as problem:
            self._exits.close()
            raise ServiceError(f"cannot use {data_dir} as the queue's data folder: {problem}") from problem
        except BaseException:
            self._exits.close()
            raise

    def _open(self, data_dir: Path) -> None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.files_dir.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._exits.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(
                f"another queue server uses {data_dir}; stop it, or name another folder"
            ) from None
        path = database(data_dir)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._durable = self._connect(path, "FULL")
        self._quick = self._connect(path, "NORMAL")
        with self._write(self._durable) as db:
            version = db.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version not in (0, SCHEMA):
                raise ServiceError(f"{path} was made by another version (schema {version}, this is {SCHEMA})")
            _META.create_all(db)
            db.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")

    def _connect(self, path: Path, synchronous: str) -> Connection:
        def connect() -> sqlite3.Connection:
            # isolation_level None: transactions are begun below, by us, and not guessed by the driver.
            raw = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            raw.execute("PRAGMA journal_mode = WAL")
            raw.execute(f"PRAGMA synchronous = {synchronous}")
            return raw

        engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
        # Straight to the driver: through SQLAlchemy this statement costs as much as the others.
        event.listen(engine, "begin", lambda db: db.connection.driver_connection.execute("BEGIN IMMEDIATE"))
        self._exits.callback(engine.dispose)
        return self._exits.enter_context(engine.connect())

    def close(self) -> None:
        """Closes the files; the store cannot be used any more."""
        with self._lock:
            self._exits.close()

    @contextlib.contextmanager
    def _write(self, db: Connection) -> Iterator[Connection]:
        with self._lock, db.begin():
            yield db

    # -- users and sessions ----------------------------------------------------------------------------------

    def password_hashes(self) -> dict[str, str]:
        """Who may log in, and the hash of his password."""
        with self._write(self._quick) as db:
            return {row.name: row.password_hash for row in db.execute(select(_USERS))}

    def replace_users(self, hashes: Mapping[str, str]) -> None:
        """From now on exactly these users; the sessions of those whose hash is new, or who are gone, end."""
        with self._write(self._durable) as db:
            old = {row.name: row.password_hash for row in db.execute(select(_USERS))}
            for name in old.keys() | hashes.keys():
                if old.get(name) != hashes.get(name):
                    db.execute(delete(_USERS).where(_USERS.c.name == name))
                    db.execute(delete(_SESSIONS).where(_SESSIONS.c.user == name))
                    if name in hashes:
                        db.execute(insert(_USERS).values(name=name, password_hash=hashes[name]))

    def sessions(self) -> dict[str, tuple[str, float]]:
        """Hash of the token -> user, expiry."""
        with self._write(self._quick) as db:
            return {row.token_hash: (row.user, row.expires_at) for row in db.execute(select(_SESSIONS))}

    def add_session(self, token_hash: str, user: str, expires_at: float) -> None:
        with self._write(self._quick) as db:
            db.execute(delete(_SESSIONS).where(_SESSIONS.c.expires_at <= self._clock()))
            db.execute(insert(_SESSIONS).values(token_hash=token_hash, user=user, expires_at=expires_at))

    def drop_session(self, token_hash: str) -> None:
        with self._write(self._quick) as db:
            db.execute(delete(_SESSIONS).where(_SESSIONS.c.token_hash == token_hash))

    # -- queues ----------------------------------------------------------------------------------------------

    def queues(self) -> set[str]:
        """Every queue that was ever named."""
        with self._write(self._quick) as db:
            return set(db.execute(select(_QUEUES.c.name)).scalars())

    def add_queue(self, name: str) -> None:
        with self._write(self._durable) as db:
            db.execute(insert(_QUEUES).prefix_with("OR IGNORE").values(name=name))

    # -- submissions -----------------------------------------------------------------------------------------

    def submit(
        self, *, queue: str, callback_url: str, lms_key: str, header: str, body: str, files: Mapping[str, str]
    ) -> int:
        """Adds a submission and retires the waiting ones of the same callback URL, in any queue.

        Returns the number of submissions that `queue` could hand out now, this one included.
        """
        with self._write(self._durable) as db:
            now = self._clock()
            if callback_url:
                db.execute(_SUPERSEDE, {"of_url": callback_url, "at": now})
            db.execute(
                _ADD,
                {
                    "queue": queue,
                    "state": State.QUEUED.value,
                    "arrived_at": now,
                    "changed_at": now,
                    "callback_url": callback_url,
                    "lms_key": lms_key,
                    "files": json.dumps(dict(files)),
                    "header": header,
                    "body": body,
                },
            )
            length: int = db.execute(_COUNT, self._ready(queue, now)).scalar_one()
            # Before the commit, still under the lock: nobody can look in between.
            self._quiet_until.pop(queue, None)
        return length

    def length(self, queue: str) -> int:
        """How many submissions `queue` could hand out now."""
        if self.is_quiet(queue):
            return 0
        with self._write(self._quick) as db:
            length: int = db.execute(_COUNT, self._ready(queue, self._clock())).scalar_one()
        return length

    def is_quiet(self, queue: str) -> bool:
        """Whether `queue` is known to be empty without a look. Cheap, takes no lock."""
        until = self._quiet_until.get(queue)
        if until is None:
            return False
        now = self._clock()
        return until - self._delay_s - CLOCK_STEP_S <= now < until

    def pull(self, queue: str) -> Pulled | None:
        """Hands out the oldest submission that is ready, under a new key; None if there is none."""
        if self.is_quiet(queue):
            return None
        with self._write(self._quick) as db:
            now = self._clock()
            row = db.execute(_NEXT, self._ready(queue, now)).one_or_none()
            if row is None:
                oldest = db.execute(_OLDEST_PULL, {"of_queue": queue}).scalar_one()
                # Nothing waits at all: look again after a delay's time, in case the clock is set back
                # meanwhile.
                self._quiet_until[queue] = (now if oldest is None else oldest) + self._delay_s
                return None
            key = secrets.token_hex(16)
            db.execute(_TAKE, {"of_id": row.id, "new_key": key, "at": now})
        return Pulled(row.id, key, row.body, json.loads(row.files))

    def _ready(self, queue: str, now: float) -> dict[str, Any]:
        return {"of_queue": queue, "before": now - self._delay_s, "future": now + CLOCK_STEP_S}

    def put(self, submission_id: int, key: str | None, reply: str) -> tuple[Put, Letter | None]:
        """Stores a result; when this returns, it survives a power cut.

        Returns what became of it, and what is to be delivered now.
        """
        with self._write(self._durable) as db:
            row = db.execute(_LOOK, {"of_id": submission_id}).one_or_none()
            if row is None:
                return Put.NO_SUBMISSION, None
            if not key or not row.key:
                return Put.WRONG_KEY, None
            if not hmac.compare_digest(key.encode("utf-8", "surrogatepass"), row.key.encode()):
                return Put.WRONG_KEY, None
            if row.state not in (State.QUEUED, State.SUPERSEDED):
                return Put.AGAIN, None
            to = State.ANSWERED if row.callback_url else State.KEPT
            db.execute(_ANSWER, {"of_id": submission_id, "to": to.value, "text": reply, "at": self._clock()})
        if row.callback_url:
            return Put.STORED, Letter(submission_id, row.callback_url, row.header, reply, 0)
        return Put.KEPT, None

    # -- results on their way to the LMS ---------------------------------------------------------------------

    def pending(self) -> list[Pending]:
        """The results that are not acknowledged, oldest first."""
        with self._write(self._quick) as db:
            return [Pending(row.id, row.callback_url, row.next_try_at) for row in db.execute(_PENDING)]

    def letter(self, submission_id: int) -> Letter | None:
        """A result to deliver; None if it is not to be delivered any more."""
        with self._write(self._quick) as db:
            row = db.execute(_LETTER, {"of_id": submission_id}).one_or_none()
        return None if row is None else Letter(row.id, row.callback_url, row.header, row.reply, row.failures)

    def delivered(self, submission_ids: Sequence[int]) -> None:
        """The LMS acknowledged.

        Lost in a crash, it is delivered twice: the LMS ignores a key it knows no more.
        """
        with self._write(self._quick) as db:
            at = self._clock()
            db.execute(_DELIVERED, [{"of_id": one, "at": at} for one in submission_ids])

    def refused(self, submission_id: int, error: str, *, failures: int, next_try_at: float | None) -> None:
        """The LMS answered, and did not take it. `next_try_at` None: not to be tried again."""
        values: dict[str, Any] = {"failures": failures, "last_error": error, "changed_at": self._clock()}
        if next_try_at is None:
            values["state"] = State.UNDELIVERABLE.value
        else:
            values["next_try_at"] = next_try_at
        with self._write(self._quick) as db:
            db.execute(update(_SUBMISSIONS).where(_S.id == submission_id).values(**values))

    def unreachable(self, submission_id: int, error: str) -> None:
        """The LMS did not answer: remembered for those who look, counts for nothing."""
        with self._write(self._quick) as db:
            db.execute(update(_SUBMISSIONS).where(_S.id == submission_id).values(last_error=error))

    def retry_undeliverable(self) -> int:
        """Gives every undeliverable result a new chance; returns how many there are."""
        with self._write(self._durable) as db:
            again = update(_SUBMISSIONS).where(_is(State.UNDELIVERABLE))
            count: int = db.execute(
                again.values(state=State.ANSWERED.value, failures=0, next_try_at=0.0)
            ).rowcount
        return count

    # -- housekeeping ----------------------------------------------------------------------------------------

    def expire(self, before: float) -> int:
        """Forgets what has been over since `before` (unix seconds), with its files; returns how many."""
        count = 0
        while batch := self._expire_some(before):
            for files in batch:
                self.remove_files(files.values())
            count += len(batch)
        return count

    def _expire_some(self, before: float) -> list[dict[str, str]]:
        states = [state.value for state in OVER]
        with self._write(self._quick) as db:
            found = db.execute(
                select(_S.id, _S.files)
                .where((_S.changed_at < before) & _S.state.in_(states))
                .order_by(_S.changed_at)
                .limit(EXPIRE_BATCH)
            ).all()
            db.execute(delete(_SUBMISSIONS).where(_S.id.in_([row.id for row in found])))
        return [json.loads(row.files) for row in found]

    def remove_files(self, urls: Iterable[str]) -> None:
        """Removes stored files by their URLs or names."""
        for url in urls:
            (self.files_dir / url.rpartition("/")[2]).unlink(missing_ok=True)

    def sweep_files(self) -> int:
        """Removes files that belong to no submission (a crash between file and row); returns how many."""
        with self._write(self._quick) as db:
            texts = db.execute(select(_S.files).where(_S.files != "{}")).scalars().all()
        known = {url.rpartition("/")[2] for text in texts for url in json.loads(text).values()}
        orphans = [path for path in self.files_dir.iterdir() if path.name not in known]
        for path in orphans:
            path.unlink(missing_ok=True)
        return len(orphans)


def database(data_dir: Path) -> Path:
    """The database's file in a data folder."""
    return data_dir / "xqueue.sqlite3"


class History:
    """Reads a data folder, also while a server uses it."""

    def __init__(self, data_dir: Path) -> None:
        """Raises ServiceError: there is no queue in `data_dir`, or it cannot be read."""
        path = database(data_dir)
        if not path.is_file():
            raise ServiceError(
                f"there is no queue in {data_dir} (no {path.name}); name the folder given to serve"
            )

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)

        self._engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def queues(self) -> list[str]:
        """Every queue that was ever named."""
        return [row.name for row in self._all(select(_QUEUES.c.name).order_by(_QUEUES.c.name))]

    def counts(self) -> dict[tuple[str, State], int]:
        """(queue, state) -> number of submissions."""
        query = select(_S.queue, _S.state, func.count(_S.id).label("n")).group_by(_S.queue, _S.state)
        return {(row.queue, State(row.state)): row.n for row in self._all(query)}

    def rows(self, queue: str, *, state: State | None = None, limit: int = 50) -> list[Row]:
        """The newest `limit` submissions of a queue, newest first."""
        query = select(_SUBMISSIONS).where(_S.queue == queue).order_by(_S.id.desc()).limit(limit)
        if state is not None:
            query = query.where(_S.state == state.value)
        return [
            Row(
                submission_id=row.id,
                queue=row.queue,
                state=State(row.state),
                arrived_at=row.arrived_at,
                pulls=row.pulls,
                pulled_at=row.pulled_at or None,
                changed_at=row.changed_at,
                failures=row.failures,
                next_try_at=row.next_try_at if row.state == State.ANSWERED else None,
                last_error=row.last_error,
                callback_url=row.callback_url,
                lms_key=row.lms_key,
                reply=row.reply,
                files=len(json.loads(row.files)),
            )
            for row in self._all(query)
        ]

    def _all(self, query: Any) -> list[Any]:
        try:
            with self._engine.connect() as db:
                return list(db.execute(query))
        except SQLAlchemyError as problem:
            raise ServiceError(f"the queue's database cannot be read: {problem}") from problem
