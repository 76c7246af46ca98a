"""What the files of this machine say of it: kernel, sysctls, swap, control groups, containers.

Runs in: tools (`warden doctor`). It explains the answers of sandbox/probe.py, and concludes nothing.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sandbox import namespaces

SYSCTLS: Final = (
    "kernel.unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns",
    "user.max_user_namespaces",
    "kernel.core_pattern",
)


@dataclass(frozen=True, slots=True)
class Host:
    """What the files of this machine say. None or "" where a file is not there or may not be read."""

    kernel: str = ""
    machine: str = ""
    uid: int = 0
    privileged: bool = False
    filtered: bool = False  # a seccomp filter is on us already: a container's, or systemd's
    container: str = ""  # what kind, "" if none is known of
    initial_ids: bool = True  # we are in the first user namespace
    apparmor: str = ""  # our profile
    modules: str = ""  # security modules in force
    sysctls: Mapping[str, str] = field(default_factory=dict)
    swap_kib: int = 0
    swap_bounded: bool = False  # control groups can bound it
    hierarchy: str = ""  # "2", "1" or "": which control groups there are
    group: str = ""  # ours
    processes_limit: int | None = None  # this user's hard RLIMIT_NPROC
    processes: int = 0  # of this user


def look(root: Path = Path("/")) -> Host:
    """Read all of it: files below `root`, the rest from the system."""
    status = dict(
        line.split(":\t", 1) for line in _text(root / "proc/self/status").splitlines() if ":\t" in line
    )
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    swaps = [line.split() for line in _text(root / "proc/swaps").splitlines()[1:]]
    mount = root / "sys/fs/cgroup"
    hierarchy = "2" if (mount / "cgroup.controllers").exists() else "1" if (mount / "memory").exists() else ""
    uid = os.geteuid()
    return Host(
        kernel=os.uname().release,
        machine=os.uname().machine,
        uid=uid,
        privileged=namespaces.privileged(),
        filtered=status.get("Seccomp", "0").strip() == "2",
        container=_container(root),
        initial_ids=_text(root / "proc/self/uid_map").split() == ["0", "0", "4294967295"],
        apparmor=_text(root / "proc/self/attr/apparmor/current") or _text(root / "proc/self/attr/current"),
        modules=_text(root / "sys/kernel/security/lsm"),
        sysctls={
            name: text for name in SYSCTLS if (text := _text(root / "proc/sys" / name.replace(".", "/")))
        },
        swap_kib=sum(int(words[2]) for words in swaps if len(words) > 2 and words[2].isdigit()),
        swap_bounded=hierarchy == "2" or (mount / "memory/memory.memsw.limit_in_bytes").exists(),
        hierarchy=hierarchy,
        group=_group(_text(root / "proc/self/cgroup"), hierarchy),
        processes_limit=None if hard == resource.RLIM_INFINITY else hard,
        processes=_processes(root / "proc", uid),
    )


def _text(path: Path) -> str:
    """The file's text without the white space around it; "" where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8", "replace").strip(" \n\t\0")
    except OSError:
        return ""


def _container(root: Path) -> str:
    for path, kind in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / path).exists():
            return kind
    for word in _text(root / "proc/1/environ").split("\0"):
        if word.startswith("container="):
            return word.partition("=")[2]
    return _text(root / "run/systemd/container")


def _group(text: str, hierarchy: str) -> str:
    """Our group from /proc/self/cgroup: that of v2, or of v1's memory controller."""
    for line in text.splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" if hierarchy == "2" else "memory" in controllers.split(","):
            return path
    return ""


def _processes(proc: Path, uid: int) -> int:
    """Processes and threads of a user, as far as they can be seen."""
    count = 0
    with contextlib.suppress(OSError):
        for folder in proc.iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    if folder.stat().st_uid == uid:
                        count += max(1, len(list((folder / "task").iterdir())))
    return count
