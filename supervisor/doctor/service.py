"""The service's own place on this machine: secrets, graders, state folder, journal, clock and limits.

Runs in: tools. `survey` looks, `of_service` says what it means, pure. Nothing is changed but for one small
file in the state folder, made and removed to see whether that is possible.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from supervisor.config import Config
from supervisor.doctor.findings import Finding, State
from supervisor.journal import FILE_NAME
from supervisor.plain import plain
from supervisor.schema import VERSION
from supervisor.secrets import SecretError, read_secret
from supervisor.settings import Queue, SecretRef

MIB: Final = 1024 * 1024
LITTLE_BYTES: Final = 1024 * MIB
TOO_LITTLE_BYTES: Final = 64 * MIB
FEW_INODES: Final = 10_000
CHECK_S: Final = 5.0
"""So long the journal's quick_check may take; a journal of two weeks takes less than one second."""
MOST_FILES: Final = 20_000
"""Files of a grader root that are looked at."""
FILES_PER_WORKER: Final = 24
"""Descriptors of the supervisor for one worker, with a margin; a worker has its own some 60."""
FILES_AT_LEAST: Final = 256
PROCESSES_PER_WORKER: Final = 6
"""Worker, launcher, zygote, residents; what a child may start in its jail comes on top."""
REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "afs"})
BEFORE_US: Final = 1_704_067_200.0  # 2024: no clock that is right says less


@dataclass(frozen=True, slots=True)
class Root:
    """A folder of graders: why it cannot be used, or which of its files cannot be read (the first few)."""

    path: str
    error: str = ""
    files: int = 0
    unreadable: tuple[str, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Folder:
    """The state folder. `error`: why nothing can be written there; bytes and inodes are those left."""

    path: str
    error: str = ""
    read_only: bool = False
    free_bytes: int = 0
    free_inodes: int | None = None  # None: this file system does not count them
    kind: str = ""
    mode: int = 0o700
    absent: bool = False


@dataclass(frozen=True, slots=True)
class JournalSeen:
    """The journal. `known`: (server, queue) -> (submissions, unix seconds of the newest)."""

    path: str
    absent: bool = False
    error: str = ""
    unfinished: bool = False
    size_bytes: int = 0
    open_rows: int = 0
    newest_at: float | None = None
    known: Mapping[tuple[str, str], tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Everything that was looked at. `secrets`: setting -> why it cannot be had, "" if it can."""

    secrets: Mapping[str, str]
    roots: tuple[Root, ...]
    folder: Folder
    journal: JournalSeen
    now: float
    synchronised: bool | None  # None: the kernel does not say
    open_files: int
    processes: int | None  # this user's limit, None if there is none
    cpus: int
    always: int  # workers that are there at all times
    workers: int  # the most that there may be
    children: int  # processes that all their children at once may be


# --- looking ----------------------------------------------------------------------------------------------


def survey(config: Config, wall: Callable[[], float] = time.time) -> Place:
    """Look at all of it. Raises nothing."""
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    workers = {queue.name: most_workers(queue) for queue in config.queues.values()}
    return Place(
        secrets={ref.setting: _secret(ref) for ref in _secrets(config)},
        roots=tuple(_root(path) for path in _roots(config)),
        folder=_folder(config.warden.state_dir),
        journal=_journal(config.warden.state_dir / FILE_NAME),
        now=wall(),
        synchronised=_synchronised(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        processes=None if hard == resource.RLIM_INFINITY or os.geteuid() == 0 else hard,
        cpus=len(os.sched_getaffinity(0)),
        always=sum(queue.workers.min for queue in config.queues.values()),
        workers=sum(workers.values()),
        children=sum(workers[queue.name] * _children(config, queue) for queue in config.queues.values()),
    )


def most_workers(queue: Queue) -> int:
    """How many workers a queue may have at most, in a burst."""
    return queue.workers.max


def _children(config: Config, queue: Queue) -> int:
    """Processes that a child of this queue may start at most."""
    sandboxes = [config.sandboxes[name].limits.processes for name in config.sandboxes_of(queue)]
    return max(sandboxes, default=16)


def _secrets(config: Config) -> Iterator[SecretRef]:
    for server in config.servers.values():
        yield server.password
        if server.basic_auth is not None:
            yield server.basic_auth[1]


def _secret(ref: SecretRef) -> str:
    try:
        read_secret(ref)
    except SecretError as error:
        return str(error).removeprefix(f"{ref.setting}: ")
    return ""


def _roots(config: Config) -> list[Path]:
    found = [handler.grader_root for queue in config.queues.values() for handler in queue.handlers]
    return list(dict.fromkeys(found))


def _root(path: Path) -> Root:
    try:
        next(path.iterdir(), None)
    except OSError as error:
        return Root(str(path), error=(error.strerror or "cannot be read").lower())
    files, unreadable = 0, []
    for folder, folders, names in os.walk(path, onerror=lambda error: unreadable.append(str(error.filename))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            files += 1
            one = f"{folder}/{name}"
            if not os.access(one, os.R_OK, effective_ids=True):
                unreadable.append(one)
        if files > MOST_FILES:
            break
    return Root(str(path), "", files, tuple(sorted(unreadable)[:3]), max(0, len(unreadable) - 3))


def _folder(path: Path) -> Folder:
    """Where the journal lives, or where it will."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    absent = there != path
    try:
        space = os.statvfs(there)
        mode = stat.S_IMODE(there.stat().st_mode)
    except OSError as error:
        return Folder(str(path), error=(error.strerror or "cannot be looked at").lower(), absent=absent)
    refused = ""
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
    except OSError as failed:
        refused = (failed.strerror or "cannot be written").lower()
    return Folder(
        str(path),
        refused,
        bool(space.f_flag & os.ST_RDONLY),
        space.f_bavail * space.f_frsize,
        space.f_favail if space.f_files else None,
        _kind(there),
        mode,
        absent,
    )


def _kind(path: Path) -> str:
    """The kind of the file system that a folder is on."""
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            point = before.split()[4].encode().decode("unicode_escape")
            if Path(point) in (path, *path.parents) and len(point) >= len(best):
                best, kind = point, after.split()[0]
    return kind


def _journal(path: Path) -> JournalSeen:
    """Its health and what it knows, read only, while the service may be using it."""
    if not path.exists():
        return JournalSeen(str(path), absent=True)
    deadline = time.monotonic() + CHECK_S
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        ) as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version > VERSION:
                return JournalSeen(str(path), error=f"it has version {version}, this warden knows {VERSION}")
            rows = []
            if version == VERSION:  # an older one is brought up to date at the next start
                rows = db.execute(
                    "SELECT server, queue, count(*), max(pulled_at), sum(closed_at IS NULL)"
                    " FROM submission GROUP BY server, queue"
                ).fetchall()
            db.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            unfinished, said = False, "ok"
            try:
                said = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
            except sqlite3.OperationalError as error:
                if "interrupted" not in str(error):
                    raise
                unfinished = True
            size = path.stat().st_size
    except (sqlite3.Error, OSError) as error:
        return JournalSeen(str(path), error=plain(error))
    return JournalSeen(
        str(path),
        error="" if said == "ok" else said,
        unfinished=unfinished,
        size_bytes=size,
        open_rows=sum(row[4] for row in rows),
        newest_at=max((row[3] for row in rows), default=None),
        known={(row[0], row[1]): (row[2], row[3]) for row in rows},
    )


def _synchronised() -> bool | None:
    """Whether something keeps the kernel's clock, by adjtimex(2)."""
    buffer = ctypes.create_string_buffer(256)  # struct timex; modes 0: nothing is set
    try:
        state = int(ctypes.CDLL(None, use_errno=True).adjtimex(buffer))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != 5  # TIME_ERROR


# --- what it means ----------------------------------------------------------------------------------------


def of_service(place: Place) -> Iterator[Finding]:
    """The findings."""
    yield from _of_secrets(place)
    yield from _of_roots(place)
    yield from _of_folder(place)
    yield from _of_journal(place)
    yield from _of_clock(place)
    yield from _of_limits(place)


def known_queues(place: Place, server: str) -> dict[str, str]:
    """What the journal says of the queues of a server, in words."""
    told = {}
    for (of, queue), (count, newest) in place.journal.known.items():
        if of == server:
            when = datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%d %H:%M UTC")
            told[queue] = f"{count} of its submissions are in the journal, the last of {when}"
    return told


def _of_secrets(place: Place) -> Iterator[Finding]:
    for setting, error in place.secrets.items():
        if not error:
            yield Finding("secrets", setting, State.OK, "can be read, by nobody else")
            continue
        what, _, mend = error.rpartition("; ")
        follows = "its workers do not start (CONFIG)"
        yield Finding("secrets", setting, State.BAD, what, follows, mend)


def _of_roots(place: Place) -> Iterator[Finding]:
    for root in place.roots:
        if root.error:
            follows = "every submission to its queues gets an apology instead of a grade (CONFIG)"
            mend = "correct grader_root, or make it readable for the service's user: chmod -R u=rwX,go=rX"
            yield Finding("graders", root.path, State.BAD, root.error, follows, mend)
        elif root.unreadable:
            names = ", ".join(root.unreadable) + (f" and {root.more} more" if root.more else "")
            follows = "who submits to one of these gets an apology instead of a grade (GRADER_BUG)"
            mend = f"chmod -R go+rX {root.path}, or run it as the user that owns it"
            yield Finding("graders", root.path, State.BAD, f"cannot be read: {names}", follows, mend)
        else:
            yield Finding("graders", root.path, State.OK, f"{root.files} files, all of them can be read")


def _of_folder(place: Place) -> Iterator[Finding]:
    folder = place.folder
    area, stops = "state folder", "the service pulls nothing (HOST)"
    where = f"{folder.path} {'(not there yet)' if folder.absent else ''}".strip()
    if folder.read_only:
        mend = "mount -o remount,rw; see dmesg, since a damaged disk is made read-only by the kernel"
        yield Finding(area, "written", State.BAD, f"{where} is on a read-only file system", stops, mend)
    elif folder.error:
        mend = f"make it, owned by the service's user: install -d -m 700 -o USER {folder.path}"
        yield Finding(area, "written", State.BAD, f"{where} cannot be written: {folder.error}", stops, mend)
    else:
        yield Finding(area, "written", State.OK, f"{where} can be written")
    if not folder.absent and not folder.error and folder.mode & 0o077:
        follows = "others on this machine can read learners' answers"
        found = f"{where} is open to others (mode {folder.mode:04o})"
        yield Finding(area, "mode", State.WARNING, found, follows, f"chmod 700 {folder.path}")
    free = f"{folder.free_bytes / MIB:,.0f} MiB are free"
    if folder.free_bytes < TOO_LITTLE_BYTES:
        yield Finding(area, "space", State.BAD, free, stops, "make room, or lower journal_keep_days")
    elif folder.free_bytes < LITTLE_BYTES:
        follows = "when it is full, the service pulls nothing (HOST)"
        yield Finding(area, "space", State.WARNING, free, follows, "make room, or lower journal_keep_days")
    else:
        yield Finding(area, "space", State.OK, free)
    if folder.free_inodes is not None:
        inodes = f"{folder.free_inodes:,} inodes are free"
        if folder.free_inodes < FEW_INODES:
            mend = "remove small files there (df -i, then find); only a new file system has more"
            yield Finding(area, "inodes", State.WARNING, inodes, "when there are none left, " + stops, mend)
        else:
            yield Finding(area, "inodes", State.OK, inodes)
    if folder.kind in REMOTE:
        follows = "locks and the write-ahead log of the journal are not safe there: it may be damaged"
        mend = "put warden.state_dir on a disk of this machine"
        yield Finding(area, "file system", State.BAD, f"{where} is on {folder.kind}", follows, mend)


def _of_journal(place: Place) -> Iterator[Finding]:
    seen = place.journal
    if seen.absent:
        yield Finding("journal", "health", State.OK, "there is none yet; it is made at the first start")
    elif seen.error:
        mend = (
            f"stop the service, move {seen.path} and its -wal and -shm away, and start it: what was not"
            " delivered comes again from the server; keep the file, `sqlite3 FILE .recover` may still read it"
        )
        yield Finding("journal", "health", State.BAD, seen.error, "the service pulls nothing (HOST)", mend)
    elif seen.unfinished:
        found = f"a check of {seen.size_bytes / MIB:,.0f} MiB was not through after {CHECK_S:.0f} s"
        mend = "lower journal_keep_days; or check it by hand: sqlite3 FILE 'PRAGMA quick_check'"
        yield Finding("journal", "health", State.UNKNOWN, found, "", mend)
    else:
        rows = sum(count for count, _ in seen.known.values())
        found = f"no damage, {rows:,} submissions, {seen.open_rows:,} not delivered yet"
        yield Finding("journal", "health", State.OK, found)


def _of_clock(place: Place) -> Iterator[Finding]:
    mend = "timedatectl set-ntp true, or chrony"
    newest = place.journal.newest_at
    if place.now < BEFORE_US:
        found = f"it says {datetime.fromtimestamp(place.now, UTC):%Y-%m-%d}"
        follows = "certificates count as not valid yet, waits are told wrongly"
        yield Finding("clock", "time", State.BAD, found, follows, mend)
    elif newest is not None and newest > place.now + 60:
        found = (
            f"the journal has a submission from {newest - place.now:,.0f} s in the future: it was set back"
        )
        yield Finding("clock", "time", State.WARNING, found, "waits are told wrongly until then", mend)
    elif place.synchronised is False:
        follows = "it drifts apart from the servers', and waits are told wrongly"
        yield Finding("clock", "time", State.WARNING, "nothing keeps it right (adjtimex)", follows, mend)
    else:
        kept = "kept by NTP" if place.synchronised else "the kernel does not say whether it is kept"
        yield Finding("clock", "time", State.OK, kept)


def _of_limits(place: Place) -> Iterator[Finding]:
    area = "limits"
    need = FILES_AT_LEAST + FILES_PER_WORKER * place.workers
    found = f"{place.open_files} open files, {place.workers} workers need about {need}"
    if place.open_files < need:
        mend = f"LimitNOFILE={need} in the unit, or ulimit -n {need}"
        yield Finding(area, "open files", State.WARNING, found, "workers fail to start (HOST)", mend)
    else:
        yield Finding(area, "open files", State.OK, found)
    need = PROCESSES_PER_WORKER * place.workers + place.children
    if place.processes is not None:
        found = f"{place.processes} processes, {place.workers} workers with their children may be {need}"
        if place.processes < need:
            follows = "children fail to start at a bad moment, and gradings are tried again (RESOURCE)"
            mend = f"LimitNPROC={2 * need} in the unit, or fewer workers"
            yield Finding(area, "processes of all workers", State.WARNING, found, follows, mend)
        else:
            yield Finding(area, "processes of all workers", State.OK, found)
    found = f"{place.cpus} for {place.always} workers"
    if place.always > place.cpus:
        follows = "under load gradings share a processor: wall times grow, and limits of wall time hit sooner"
        mend = "fewer workers, more processors, or wall_s well above cpu_s"
        yield Finding(area, "processors", State.WARNING, found, follows, mend)
    else:
        yield Finding(area, "processors", State.OK, found)
