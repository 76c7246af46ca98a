"""The host as an attack must leave it: canaries that notice visitors, and a snapshot to compare.

Runs in: tests. What is watched: processes of the jail (its zygote alone may be there), how the zygote may run
(niceness, processors, limits), descriptors of this process, mounts here and in the jail, control groups,
folders where anybody may write, and listeners on every kind of socket that a program could find here.
"""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from sandbox.jail import Jail
from sandbox.model import BUNDLE, SCRATCH

WRITABLE = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/")


@dataclass(frozen=True)
class Snapshot:
    """Everything that shall be equal before and after. Field by field, so that a difference has a name."""

    processes: frozenset[str]
    zygote: tuple[object, ...]
    descriptors: frozenset[str]
    mounts: frozenset[str]
    jail_mounts: frozenset[str]
    groups: frozenset[str]
    files: frozenset[str]
    canary: tuple[object, ...]

    def differences(self, later: Snapshot) -> dict[str, object]:
        """What changed: name of the field -> (before, after), only members that differ where it is a set."""
        found: dict[str, object] = {}
        for name in self.__dataclass_fields__:
            before, after = getattr(self, name), getattr(later, name)
            if before == after:
                continue
            both = isinstance(before, frozenset)
            found[name] = (sorted(before - after), sorted(after - before)) if both else (before, after)
        return found


class Canaries:
    """Listeners and a file, open to everybody on this host. Nobody inside a jail may reach any of them."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o777)
        self.folder = folder
        self.file = folder / "canary"
        self.file.write_text("untouched")
        self.file.chmod(0o666)
        self.path = str(folder / "socket")
        self.datagram_path = str(folder / "datagram")
        self.abstract = f"warden-canary-{os.getpid()}"
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(self.path)
        self.unix.listen()
        self.datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.datagram.bind(self.datagram_path)
        self.nameless = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.nameless.bind("\0" + self.abstract)
        for path in (self.path, self.datagram_path):
            os.chmod(path, 0o777)
        for one in self._sockets():
            one.setblocking(False)

    def _sockets(self) -> tuple[socket.socket, ...]:
        return self.tcp, self.udp, self.unix, self.datagram, self.nameless

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets():
            one.close()

    def visited(self) -> list[str]:
        """Names of the listeners that somebody reached since the last look."""
        found = []
        for name, one in zip(("tcp", "udp", "unix", "datagram", "abstract"), self._sockets(), strict=True):
            try:
                if name in ("tcp", "unix"):
                    one.accept()[0].close()
                else:
                    one.recv(1 << 16)
            except BlockingIOError:
                continue
            found.append(name)
        return found

    def told(self, jail: Jail) -> dict[str, object]:
        """What the attacker gets to know: the worst case, in which he found all of it out."""
        return {
            "port": self.tcp.getsockname()[1],
            "udp_port": self.udp.getsockname()[1],
            "unix": self.path,
            "datagram": self.datagram_path,
            "abstract": self.abstract,
            "file": str(self.file),
            "worker": os.getpid(),
            "zygote": jail.pid,
        }


def snapshot(jail: Jail, canaries: Canaries) -> Snapshot:
    """The host as it is now, as far as `jail` could have changed it."""
    process = psutil.Process(jail.pid)
    status = canaries.file.stat()
    text = canaries.file.read_text()
    return Snapshot(
        processes=frozenset(_processes(jail)),
        zygote=(
            process.nice(),
            process.ionice(),
            tuple(process.cpu_affinity()),
            os.sched_getscheduler(jail.pid),
            *_limits(jail.pid),
        ),
        descriptors=frozenset(_descriptors()),
        mounts=frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
        jail_mounts=frozenset(_jail_mounts(jail.pid)),
        groups=frozenset(_groups(jail)),
        files=frozenset(_files(jail)),
        canary=(
            text,
            status.st_mode,
            status.st_mtime_ns,
            status.st_nlink,
            *sorted(os.listdir(canaries.folder)),
        ),
    )


def _uids(pid: int) -> int:
    return psutil.Process(pid).uids().real


def _processes(jail: Jail) -> list[str]:
    """Processes below the zygote; as root also all others that have the slot's uid, nobody else's."""
    parents: dict[int, int] = {}
    uids: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            lines = Path(f"/proc/{entry}/status").read_text().splitlines()
        except OSError:
            continue  # it ended meanwhile
        fields = dict(line.split(":", 1) for line in lines if line.startswith(("PPid:", "Uid:")))
        parents[int(entry)] = int(fields["PPid"])
        uids[int(entry)] = int(fields["Uid"].split()[0])
    below = {jail.pid}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    own = uids[jail.pid]
    if own != os.getuid():
        below |= {pid for pid, uid in uids.items() if uid == own}
    return [f"{pid} of uid {uids[pid]}" for pid in below if pid in parents]


def _limits(pid: int) -> tuple[object, ...]:
    try:
        return tuple(Path(f"/proc/{pid}/limits").read_text().splitlines())
    except PermissionError:
        return ()


def _descriptors() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue  # the one that this listing was read through
    return found


def _jail_mounts(pid: int) -> list[str]:
    """Mounts that later children find. To be seen by root only: the zygote is not ours to trace.

    Of the scratch and the bundle, which the zygote changes from task to task, only whether they pile up.
    """
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except PermissionError:
        return []
    most = {SCRATCH: 1, BUNDLE: 2}
    points = [line.split()[4] for line in lines]
    others = [line for line in lines if line.split()[4] not in most]
    return others + [f"too many on {point}" for point, count in most.items() if points.count(point) > count]


def _groups(jail: Jail) -> list[str]:
    """The jail's control groups, groups made inside of them, and their members."""
    found = []
    for top in jail._group.folders() if jail._group else ():
        for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
            found.append(str(folder))
            found += [f"{folder}: {pid}" for pid in (folder / "cgroup.procs").read_text().split()]
    return found


def _files(jail: Jail) -> list[str]:
    """Files that belong to the jail's uid, wherever everybody may write."""
    uid = _uids(jail.pid)
    found = []
    for folder in {os.path.realpath(name) for name in (*WRITABLE, tempfile.gettempdir(), os.getcwd())}:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.stat(follow_symlinks=False).st_uid == uid:
                    found.append(entry.path)
            except OSError:
                continue
    return found
