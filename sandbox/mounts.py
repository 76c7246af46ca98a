"""The jail's private root: a small read-only tree that shows the interpreter, its libraries and the harness.

Runs in: launcher.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import kernel

LIBRARY = "/warden"
"""Inside the jail: where the profile's library folders appear; first on the zygote's import path."""


FOLDERS = ("home/learner", "course", "warden", "dev", "etc")
LINKS = {"box": "home/learner", "tmp": "home/learner", "dev/random": "urandom"}
FILES = {
    "etc/passwd": "learner:x:1000:1000:learner:/home/learner:/nonexistent\n",
    "etc/group": "learner:x:1000:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}
# What every dynamically linked program needs; what is not there on this system is passed over.
SYSTEM_PATHS = (
    "/lib64",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/usr/lib/locale",
)
COPIED_PATHS = ("/etc/ld.so.cache",)
MULTIARCH = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
}


@dataclass(frozen=True, slots=True)
class Show:
    """A host path to be seen, read-only, at `target` in the jail.

    A child copies the list of mounts and gives it back, so what is small is not bound but copied (`copy`).
    """

    source: str
    target: str
    copy: bool = False


def devices(programs: bool) -> tuple[str, ...]:
    """Device files of the jail. Shared mappings of /dev/zero are memory that only an address-space limit
    counts, so jails whose programs may have none do not show it."""
    return ("/dev/null", "/dev/urandom") if programs else ("/dev/null", "/dev/urandom", "/dev/zero")


def without_parts(shown: Sequence[Show]) -> list[Show]:
    """Without those that lie in a folder that is shown at its own place: each mount costs each child."""
    whole = {show.source for show in shown if show.source == show.target and not show.copy}
    found: list[Show] = []
    for show in shown:
        inside = show.source == show.target and any(str(up) in whole for up in Path(show.source).parents)
        if not inside and show not in found:
            found.append(show)
    return found


def system_paths() -> list[Show]:
    """The shared libraries of this system and what goes with them, as far as they exist."""
    machine = MULTIARCH.get(os.uname().machine, "")
    candidates = [*SYSTEM_PATHS, f"/usr/lib/{machine}", f"/lib/{machine}"]
    found = [Show(path, path) for path in candidates]
    found += [Show(path, path, copy=True) for path in COPIED_PATHS]
    return [show for show in found if Path(show.source).exists()]


def build_root(staging: str, shown: Sequence[Show], devices: Sequence[str]) -> None:
    """Mount a fresh tree at `staging` (any folder; only this mount namespace sees it) and move into it.

    Afterwards nothing of the old tree can be reached. Needs CAP_SYS_ADMIN in a private mount namespace.

    Raises:
        OSError: a mount failed; its message names it.
    """
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount(
        b"tmpfs", staging.encode(), b"tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, b"size=16m,mode=0755"
    )
    root = Path(staging)
    old_mask = os.umask(0o022)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    for name, text in FILES.items():
        (root / name).write_text(text)
    for show in shown:
        _show(root, show)
    for name, target in LINKS.items():
        if not (root / name).exists():  # an interpreter below /tmp has taken its place
            (root / name).symlink_to(target)
    for device in devices:
        _bind(Path(device), root / device[1:], device=True)
    os.umask(old_mask)
    os.chdir(staging)
    kernel.pivot_root(b".", b".")
    kernel.umount(b".", kernel.MNT_DETACH)
    os.chdir("/")
    flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount(None, b"/", None, flags)


def _show(root: Path, show: Show) -> None:
    """Bind `show`; symbolic links among the target's parents are recreated as links (/lib -> usr/lib)."""
    source = Path(show.source)
    target = Path(show.target)
    if show.source == show.target:
        for parent in reversed(target.parents):
            if parent.is_symlink():
                link = root / str(parent)[1:]
                if not link.is_symlink():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(parent.readlink())
                resolved = source.resolve()
                return _show(root, Show(str(resolved), str(resolved)))
        if source.is_symlink():
            link = root / show.target[1:]
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(source.readlink())
            resolved = source.resolve()
            return _show(root, Show(str(resolved), str(resolved)))
    inside = root / show.target[1:]
    if show.copy:
        copy(source, inside)
    elif not (inside.exists() and os.path.ismount(inside)):
        _bind(source, inside)
    return None


def copy(source: Path, target: Path) -> None:
    """A file, or a folder of Python modules with its sub-folders; links and caches are left out."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir()):
            if not entry.is_symlink() and entry.name != "__pycache__":
                copy(entry, target / entry.name)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())


def _bind(source: Path, target: Path, device: bool = False) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    # Recursive: in a user namespace, what is mounted below the source must come along or the bind is refused.
    kernel.mount(os.fsencode(source), os.fsencode(target), None, kernel.MS_BIND | kernel.MS_REC)
    # A device on a read-only mount can be written to; its timestamps, which are the host's, cannot be set.
    attributes = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID
    attributes |= kernel.MOUNT_ATTR_NOEXEC if device else kernel.MOUNT_ATTR_NODEV
    kernel.mount_setattr(os.fsencode(target), attributes)
