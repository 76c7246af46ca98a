"""The Landlock ruleset of a jail: one for all its children, made before the zygote starts.

Runs in: launcher.

A rule holds for a folder and all below it, through mounts too. The scratch of each child is another tmpfs,
always mounted on the same folder, so a rule on that folder would be one on the covered directory; the kernel
walks up from the mount to the mount point's *parent* instead. Hence the scratch hangs below a folder that
holds nothing else, and the rule is on that.
"""

from __future__ import annotations

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


def ruleset(readable: str, writable: str, devices: tuple[str, ...]) -> tuple[int, int]:
    """(descriptor, ABI) of a ruleset: read below `readable`, everything sane below `writable`.

    (-1, 0) where the kernel has no Landlock. Executing programs is allowed nowhere: a child is a fork of an
    interpreter and has nothing to exec.
    """
    abi = kernel.landlock_abi()
    if not abi:
        return -1, 0
    every = (1 << FS_BITS[min(abi, 5)]) - 1
    fd = kernel.landlock_create_ruleset(every, NET_TCP if abi >= 4 else 0, SCOPES if abi >= 6 else 0, abi)
    kernel.landlock_add_path(fd, readable, READ_FILE | READ_DIR)
    kernel.landlock_add_path(fd, writable, every & ~(EXECUTE | MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV))
    for device in devices:
        kernel.landlock_add_path(fd, device, (READ_FILE | WRITE_FILE | TRUNCATE) & every)
    return fd, abi
