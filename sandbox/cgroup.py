"""A control group per jail: memory and process count of zygote and child together, where we may make one.

Runs in: worker; delegate() in the supervisor. Both hierarchies: v2 (one tree) and v1 (one tree per
controller; memory and pids are used).

Theory of operation.  The zygote lives in its jail's group for good and children inherit it, so a task costs
no move; limits are written only when they change. Groups are named warden-<pid>-<slot>[-<part>]; one whose
pid is gone is swept at the next start.

Where they go, in v1: below the group that we are in. In v2 no group but the root may both hold processes and
hand controllers down, so they go below the nearest group above us that hands them down and lets us in:

    xqueue-warden.service        delegated to us (systemd: Delegate=yes); hands memory and pids down
    |-- main                     supervisor and workers: delegate() moved them here
    |-- warden-812-0             a jail
    `-- warden-813-1

An ordinary user's desktop terminal has such a group above it, an ssh session has none. As root there always
is one: the slice above the session or above the service that was not delegated. The group of a service that
was not delegated is left alone, as systemd may take its controllers away again.

memory.oom.group stays off: the kernel shall kill the child, which stands first in line, not the zygote too.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sandbox import kernel

MOUNT = Path("/sys/fs/cgroup")
PREFIX = "warden-"
LEAF = "main"
WANTED = ("memory", "pids")
PAGE = os.sysconf("SC_PAGE_SIZE")
EMPTY_S = 2.0
"""How long those who are killed may take to be gone."""


@dataclass(frozen=True, slots=True)
class Counters:
    oom_kills: int = 0  # because this group was at its limit; not when the host or a slice was
    fork_failures: int = 0
    refaulted_bytes: int = 0  # of files, read again because there was no memory to keep them

    def __sub__(self, earlier: Counters) -> Counters:
        """What was counted since."""
        return Counters(
            self.oom_kills - earlier.oom_kills,
            self.fork_failures - earlier.fork_failures,
            self.refaulted_bytes - earlier.refaulted_bytes,
        )


@dataclass(slots=True)
class Group:
    """One jail's control group(s). `memory` and `pids` are folders, None where not to be had."""

    memory: Path | None
    pids: Path | None
    unified: bool
    _written: dict[Path, str] = field(default_factory=dict)
    _watched: dict[Path, int] = field(default_factory=dict)
    _killed: int = 0  # as the kernel counts, at the last look
    _pressed: int = 0
    _own_kills: int = 0

    @property
    def layers(self) -> tuple[str, ...]:
        version = "2" if self.unified else "1"
        names = []
        if self.memory:
            names.append(f"cgroup{version}-memory")
        if self.pids:
            names.append(f"cgroup{version}-pids")
        return tuple(names)

    def folders(self) -> list[Path]:
        return sorted({folder for folder in (self.memory, self.pids) if folder})

    def join(self, pid: int) -> None:
        for folder in self.folders():
            (folder / "cgroup.procs").write_text(str(pid))

    def members(self) -> set[int]:
        """The processes in it, as seen from our pid namespace."""
        found: set[int] = set()
        for folder in self.folders():
            with contextlib.suppress(FileNotFoundError):
                found.update(map(int, (folder / "cgroup.procs").read_text().split()))
        return found

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Bound memory (no swap) and the number of processes and threads."""
        if self.memory and self.unified:
            self._write(self.memory / "memory.max", memory_bytes)
            # Not there on a kernel that does not account for swap.
            self._write(self.memory / "memory.swap.max", 0, optional=True)
        elif self.memory:
            # memsw (memory and swap) may never be below memory: lower one first, raise the other first
            low, high = self.memory / "memory.limit_in_bytes", self.memory / "memory.memsw.limit_in_bytes"
            if high.exists():
                with contextlib.suppress(OSError):
                    self._write(high, memory_bytes)
                self._write(low, memory_bytes)
                self._write(high, memory_bytes)
            else:
                self._write(low, memory_bytes)
                self._write(self.memory / "memory.swappiness", 0, optional=True)
        if self.pids:
            self._write(self.pids / "pids.max", processes)

    def _write(self, file: Path, value: int, optional: bool = False) -> None:
        if self._written.get(file) == str(value):
            return
        try:
            file.write_text(str(value))
        except OSError:
            if not optional:
                raise
        self._written[file] = str(value)

    def counters(self) -> Counters:
        """Totals since the group was made."""
        failures = 0
        if self.memory and self.unified:
            # "oom" counts how often *this* group was at its limit and nothing could be reclaimed; a victim of
            # the host's or a slice's shortage is in "oom_kill" only, and is no learner's fault.
            kills, pressed = self._fields(self.memory / "memory.events", b"oom_kill", b"oom")
            if pressed != self._pressed:
                self._own_kills += kills - self._killed
            self._killed, self._pressed = kills, pressed
        elif self.memory:
            (self._own_kills,) = self._fields(self.memory / "memory.oom_control", b"oom_kill")
        refaults = 0
        if self.memory:
            (refaults,) = self._fields(self.memory / "memory.stat", b"workingset_refault_file")
        if self.pids:
            (failures,) = self._fields(self.pids / "pids.events", b"max")
        return Counters(self._own_kills, failures, refaults * PAGE)

    def _fields(self, file: Path, *names: bytes) -> list[int]:
        """Numbers of the lines so named. The file stays open: it is read after every task."""
        fd = self._watched.get(file)
        if fd is None:
            fd = self._watched[file] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        found = dict.fromkeys(names, 0)
        for line in os.pread(fd, 16384, 0).splitlines():
            key, _, value = line.partition(b" ")
            if key in found:
                found[key] = int(value)
        return [found[name] for name in names]

    def kill(self, timeout_s: float = EMPTY_S) -> bool:
        """Kill all that is in it, however fast it forks, and wait; True if it is empty then."""
        deadline = time.monotonic() + timeout_s
        if self.pids:
            self._write(self.pids / "pids.max", 0, optional=True)  # no more are born
        if self.unified:
            for folder in self.folders():
                with contextlib.suppress(OSError):  # before Linux 5.14: one by one, below
                    (folder / "cgroup.kill").write_text("1")
        while pids := self.members() - {0, os.getpid()}:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    pidfd = os.pidfd_open(pid)
                    try:
                        if pid not in self.members():  # another one has its number already
                            continue
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                        left_s = deadline - time.monotonic()
                        if left_s <= 0 or not select.select([pidfd], [], [], left_s)[0]:
                            return False
                    finally:
                        os.close(pidfd)
        return True

    def remove(self) -> None:
        """Kill what is left in it, and take it away."""
        for fd in self._watched.values():
            os.close(fd)
        self._watched.clear()
        self.kill()
        for folder in self.folders():
            with contextlib.suppress(OSError):
                folder.rmdir()


def make(slot: int, part: str = "") -> Group | None:
    """A group for this process's jail number `slot`; None where none can be made.

    `part` tells apart several jails of one slot.
    """
    name = f"{PREFIX}{os.getpid()}-{slot}{part and '-' + part}".replace("/", "_")
    unified = _unified()
    made: dict[str, Path] = {}
    for controller, home in _homes().items():
        folder = home / name
        limit = "pids.max" if controller == "pids" else "memory.max" if unified else "memory.limit_in_bytes"
        try:
            folder.mkdir(exist_ok=True)
            usable = os.access(folder / limit, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
        except OSError:
            continue
        if usable:
            made[controller] = folder
        elif folder not in made.values():
            with contextlib.suppress(OSError):
                folder.rmdir()
    if not made:
        return None
    return Group(made.get("memory"), made.get("pids"), unified)


def sweep() -> list[Path]:
    """Remove groups whose maker is dead; returns those removed."""
    removed = []
    for home in set(_homes().values()):
        for folder in home.glob(f"{PREFIX}*-*"):
            pid = folder.name[len(PREFIX) :].partition("-")[0]
            if pid.isdigit() and kernel.is_dead(int(pid)):
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    removed.append(folder)
    return removed


@contextlib.contextmanager
def delegated() -> Iterator[None]:
    """As delegate(), and all as before at the end. For commands that open jails and end.

    Where such a command is run before the service itself (ExecStartPre=), systemd could start nothing more in
    a group that still hands controllers down.
    """
    folder = delegate()
    try:
        yield
    finally:
        if folder:
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(" ".join(f"-{name}" for name in WANTED))
                (folder / "cgroup.procs").write_text(str(os.getpid()))
                (folder / LEAF).rmdir()


def delegate() -> Path | None:
    """v2 only: make the group that is ours hand memory and pids down to jails; we move to its leaf "main".

    For the supervisor, once, before it forks. Does nothing where the group is not ours (not writable: no
    Delegate=), is shared with processes that are not ours to move, or hands them down already.

    Returns:
        The group that we left for its leaf, None if we did not move.
    """
    if not _unified():
        return None
    own = _own_unified()
    if own is None:
        return None
    # With DelegateSubgroup= systemd puts us into a leaf, and the group above it is the delegated one; so it
    # is when we have moved before.
    near = [folder for folder in (own.parent, own) if folder.is_relative_to(MOUNT) and _is_writable(folder)]
    near.sort(key=lambda folder: not _is_marked(folder))
    for folder in near:
        if not (_is_marked(folder) or _is_ours_anyway()):
            continue
        with contextlib.suppress(OSError):
            if set(WANTED) <= set((folder / "cgroup.subtree_control").read_text().split()):
                return None
            moved = None
            inside = (folder / "cgroup.procs").read_text().split()
            if folder == own and _is_root(folder):
                inside = []  # the only group that may hold processes, too
            elif inside == [str(os.getpid())]:
                (folder / LEAF).mkdir(exist_ok=True)
                (folder / LEAF / "cgroup.procs").write_text(str(os.getpid()))
                moved, inside = folder, []
            if not inside:
                for name in WANTED:
                    with contextlib.suppress(OSError):  # each for itself: one may not be there
                        (folder / "cgroup.subtree_control").write_text(f"+{name}")
                return moved
    return None


def choose(offers: Iterable[tuple[Path, Iterable[str]]]) -> dict[str, Path]:
    """v2: controller -> the group to make ours in, from (group, controllers it hands down), nearest first.

    One group for all, as a process is in one only; the first that offers most.
    """
    best: tuple[Path, list[str]] | None = None
    for folder, handed_down in offers:
        useful = [name for name in WANTED if name in handed_down]
        if useful and (best is None or len(useful) > len(best[1])):
            best = folder, useful
    return dict.fromkeys(best[1], best[0]) if best else {}


def memberships(text: str) -> dict[str, str]:
    """controller -> path of the group we are in, from /proc/self/cgroup; the key of v2's is ""."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _unified() -> bool:
    return (MOUNT / "cgroup.controllers").exists()


def _homes() -> dict[str, Path]:
    """controller -> the folder in which we may make groups."""
    if _unified():
        own = _own_unified()
        return choose(_offers(own)) if own else {}
    found = {}
    for name, path in memberships(Path("/proc/self/cgroup").read_text()).items():
        folder = MOUNT / name / path.lstrip("/")
        if name in WANTED and folder.is_dir():
            found[name] = folder
    return found


def _own_unified() -> Path | None:
    path = memberships(Path("/proc/self/cgroup").read_text()).get("")
    # A path that begins with /.. is outside of what our cgroup namespace shows.
    return None if path is None or ".." in path.split("/") else MOUNT / path.lstrip("/")


def _offers(own: Path) -> list[tuple[Path, list[str]]]:
    """(group, controllers that it hands down), nearest first, of those in which we may make groups."""
    offers = []
    for folder in (own, *own.parents):
        if not folder.is_relative_to(MOUNT):
            break
        # To move a process takes the right to write to the nearest group above both places: this one.
        if os.access(folder, os.W_OK | os.X_OK) and os.access(folder / "cgroup.procs", os.W_OK):
            with contextlib.suppress(OSError):
                offers.append((folder, (folder / "cgroup.subtree_control").read_text().split()))
    return offers


def _is_writable(folder: Path) -> bool:
    names = ("", "cgroup.procs", "cgroup.subtree_control")
    return all(os.access(folder / name, os.W_OK) for name in names)


def _is_marked(folder: Path) -> bool:
    """systemd marks the groups that it has given away."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _is_ours_anyway() -> bool:
    """Given to us without a mark? An ordinary user may write to no other; root, where there is no systemd."""
    return os.geteuid() != 0 or not Path("/run/systemd/system").exists()


def _is_root(folder: Path) -> bool:
    """The root of all groups, not only of our cgroup namespace: that one has a type."""
    return folder == MOUNT and not (folder / "cgroup.type").exists()
