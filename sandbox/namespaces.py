"""Into the jail's namespaces, as root or as an ordinary user.

Runs in: launcher.

Everything is owned by a new user namespace that maps one single id, so whatever is gained inside is worth
nothing outside. The two ways differ only in who may write the map: an ordinary user maps himself; root
maps the slot's own unprivileged uid, with the help of a process that stayed behind in the old namespace.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sandbox import kernel

INSIDE_ID = 1000

OWNED = (
    ("pid", kernel.CLONE_NEWPID),
    ("mount", kernel.CLONE_NEWNS),
    ("net", kernel.CLONE_NEWNET),
    ("ipc", kernel.CLONE_NEWIPC),
    ("uts", kernel.CLONE_NEWUTS),
    ("cgroup-ns", kernel.CLONE_NEWCGROUP),
)
ALL_FLAGS = 0
for _name, _flag in OWNED:
    ALL_FLAGS |= _flag
LAYERS = ("user", *(name for name, _ in OWNED))


@dataclass(frozen=True, slots=True)
class Ids:
    """The uid and gid outside that INSIDE_ID stands for."""

    uid: int
    gid: int


def privileged() -> bool:
    """Whether this process may build the jail as root (uid 0 with CAP_SYS_ADMIN) instead of as itself."""
    if os.geteuid() != 0:
        return False
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & (1 << 21))
    return False


def enter_as_user() -> None:
    """Unshare everything at once; the caller maps himself."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | ALL_FLAGS)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{INSIDE_ID} {uid} 1")
    _write("/proc/self/gid_map", f"{INSIDE_ID} {gid} 1")


def enter_as_root(ids: Ids, proc: str) -> None:
    """Unshare the user namespace, mapped to `ids`, and then the others in it.

    `proc` is a path (through a descriptor) to the host's /proc: the private root has none.
    """
    read_end, write_end = os.pipe()
    done_read, done_write = os.pipe()
    me = os.getpid()
    helper = os.fork()
    if helper == 0:  # stays in the old user namespace, where root may map anybody
        code = 1
        try:
            os.close(write_end)
            if os.read(read_end, 1) == b"u":
                _write(f"{proc}/{me}/uid_map", f"{INSIDE_ID} {ids.uid} 1")
                _write(f"{proc}/{me}/gid_map", f"{INSIDE_ID} {ids.gid} 1")
                os.write(done_write, b"m")
                code = 0
        finally:
            os._exit(code)
    os.close(done_write)
    kernel.unshare(kernel.CLONE_NEWUSER)
    os.write(write_end, b"u")
    mapped = os.read(done_read, 1)
    os.waitpid(helper, 0)
    for fd in (read_end, write_end, done_read):
        os.close(fd)
    if mapped != b"m":
        raise OSError(1, f"could not map uid {ids.uid} into the new user namespace")
    os.setgroups([])
    os.setresgid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
    os.setresuid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
    kernel.unshare(ALL_FLAGS)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
