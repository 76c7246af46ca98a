"""A control group per jail: memory and process count of zygote and child together, where we may make one.

Runs in: worker. Both hierarchies: v2 (one tree) and v1 (one tree per controller; memory and pids are used).

The zygote lives in its jail's group for good and children inherit it, so a task costs no move; limits are
written only when they change. Groups are named warden-<pid>-<slot>[-<part>]; one whose pid is gone is swept
at the next start.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
PREFIX = "warden-"


@dataclass(frozen=True, slots=True)
class Counters:
    oom_kills: int = 0
    fork_failures: int = 0


@dataclass(slots=True)
class Group:
    """One jail's control group(s). `memory` and `pids` are folders, None where not to be had."""

    memory: Path | None
    pids: Path | None
    unified: bool
    _written: dict[Path, str] = field(default_factory=dict)
    _watched: dict[Path, int] = field(default_factory=dict)

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

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Bound memory (no swap) and the number of processes and threads."""
        if self.memory and self.unified:
            self._write(self.memory / "memory.max", memory_bytes)
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
        kills = failures = 0
        if self.memory:
            name = "memory.events" if self.unified else "memory.oom_control"
            kills = self._field(self.memory / name, b"oom_kill")
        if self.pids:
            failures = self._field(self.pids / "pids.events", b"max")
        return Counters(kills, failures)

    def _field(self, file: Path, name: bytes) -> int:
        """A line's number. The file stays open: it is read after every task."""
        fd = self._watched.get(file)
        if fd is None:
            fd = self._watched[file] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        for line in os.pread(fd, 4096, 0).splitlines():
            key, _, value = line.partition(b" ")
            if key == name:
                return int(value)
        return 0

    def remove(self) -> None:
        for fd in self._watched.values():
            os.close(fd)
        self._watched.clear()
        for folder in self.folders():
            with contextlib.suppress(OSError):
                folder.rmdir()


def make(slot: int, part: str = "") -> Group | None:
    """A group for this process's jail number `slot`, below the one we are in; None where none can be made.

    `part` tells apart several jails of one slot.
    """
    parents = _parents()
    made: dict[str, Path] = {}
    for controller, parent in parents.items():
        folder = parent / f"{PREFIX}{os.getpid()}-{slot}{part and '-' + part}"
        try:
            folder.mkdir(exist_ok=True)
            probe = "memory.max" if controller == "memory" else "pids.max"
            if not _unified() and controller == "memory":
                probe = "memory.limit_in_bytes"
            if not os.access(folder / probe, os.W_OK):
                raise PermissionError(folder)
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        made[controller] = folder
    if not made:
        return None
    return Group(made.get("memory"), made.get("pids"), _unified())


def sweep() -> list[Path]:
    """Remove groups whose maker is dead; returns those removed."""
    removed = []
    for parent in set(_parents().values()):
        for folder in parent.glob(f"{PREFIX}*-*"):
            pid = folder.name[len(PREFIX) :].partition("-")[0]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    removed.append(folder)
    return removed


def _unified() -> bool:
    return (MOUNT / "cgroup.controllers").exists()


def _parents() -> dict[str, Path]:
    """controller -> the folder in which we may make groups."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if _unified() and number == "0":
            # No group but the root may both hold processes and hand controllers down: a delegated service
            # keeps its own processes in a leaf called "main", and jails go beside it.
            folder = MOUNT / path.lstrip("/")
            if folder.name == "main":
                folder = folder.parent
            with contextlib.suppress(OSError):
                for name in (folder / "cgroup.subtree_control").read_text().split():
                    if name in ("memory", "pids"):
                        found[name] = folder
        elif not _unified():
            for name in controllers.split(","):
                if name in ("memory", "pids") and (MOUNT / name).is_dir():
                    found[name] = MOUNT / name / path.lstrip("/")
    return found


def delegate() -> None:
    """v2 only: move this process to the leaf "main" and hand memory and pids down to the jails.

    For the supervisor, once, before it forks. Does nothing where the group is not ours: not writable (no
    Delegate=), or shared with processes that are not ours to move (a login session).
    """
    if not _unified():
        return
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, _, path = line.split(":", 2)
        folder = MOUNT / path.lstrip("/")
        if number != "0" or folder == MOUNT or folder.name == "main" or not os.access(folder, os.W_OK):
            continue
        with contextlib.suppress(OSError):
            if (folder / "cgroup.procs").read_text().split() != [str(os.getpid())]:
                continue
            leaf = folder / "main"
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))
            (folder / "cgroup.subtree_control").write_text("+memory +pids")
