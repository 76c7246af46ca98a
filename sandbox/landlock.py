"""Landlock rules of a jail: which files its children may read, write and execute.

Runs in: launcher.

In a private root one ruleset serves all children, made before the zygote starts. A rule holds for a folder
and all below it, through mounts too. The scratch of each child is another tmpfs, always mounted on the same
folder, so a rule on that folder would be one on the covered directory; the kernel walks up from the mount to
the mount point's *parent* instead. Hence the scratch hangs below a folder that holds nothing else, and the
rule is on that.

In a reduced jail the rules are all that hides the host's files; each child makes its own ruleset from
`rules` (sandbox/reduced.py), as its bundle is its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox import kernel

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
MAKE_CHAR = 1 << 6
MAKE_BLOCK = 1 << 11
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15
# how many access rights each ABI knows (landlock.h)
FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
NET_TCP = 0x3  # bind, connect
SCOPES = 0x3  # abstract unix sockets, signals
ABI_TRUNCATE = 3
ABI_NETWORK = 4
ABI_SCOPES = 6


def handled(abi: int) -> tuple[int, int, int]:
    """(files, network, scopes): all that this ABI can restrict."""
    files = (1 << FS_BITS[min(abi, 5)]) - 1
    return files, NET_TCP if abi >= ABI_NETWORK else 0, SCOPES if abi >= ABI_SCOPES else 0


def rights(abi: int, programs: bool) -> dict[str, int]:
    """Rights for what is shown, for the scratch and for a device, within what this ABI knows.

    Executing is for profiles that run programs; in the scratch it is never allowed.
    """
    every = handled(abi)[0]
    execute = EXECUTE if programs else 0
    return {
        "shown": READ_FILE | READ_DIR | execute,
        "shown_file": READ_FILE | execute,
        "scratch": every & ~(EXECUTE | MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV),
        "device": (READ_FILE | WRITE_FILE | TRUNCATE) & every,
    }


def ruleset(readable: str, writable: str, devices: Iterable[str], programs: bool) -> tuple[int, int]:
    """(descriptor, ABI) of a ruleset: read below `readable`, everything sane below `writable`.

    (-1, 0) where the kernel has no Landlock.
    """
    abi = kernel.landlock_abi()
    if not abi:
        return -1, 0
    fd = kernel.landlock_create_ruleset(*handled(abi), abi)
    right = rights(abi, programs)
    kernel.landlock_add_path(fd, readable, right["shown"])
    kernel.landlock_add_path(fd, writable, right["scratch"])
    for device in devices:
        kernel.landlock_add_path(fd, device, right["device"])
    return fd, abi


def rules(
    abi: int, folders: Iterable[str], files: Iterable[str], devices: Iterable[str], programs: bool
) -> dict[str, Any]:
    """For a reduced jail's children (`landlock` of sandbox.reduced.Ground)."""
    on_files, on_network, scopes = handled(abi)
    right = rights(abi, programs)
    return {
        "abi": abi,
        "files": on_files,
        "network": on_network,
        "scopes": scopes,
        "rules": [
            *([path, right["shown"]] for path in folders),
            *([path, right["shown_file"]] for path in files),
            *([path, right["device"]] for path in devices),
        ],
        "bundle": right["shown"],
        "scratch": right["scratch"],
    }
