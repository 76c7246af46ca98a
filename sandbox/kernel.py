"""The few kernel calls that Python has no name for, by ctypes.

Runs in: launcher, zygote, child (so: standard library only, CPython >= 3.8).

Every function raises OSError on failure. Numbers are those of the generic table (asm-generic/unistd.h),
the same on all architectures from 424 on; the two older ones that are needed stand in OLD_NUMBERS.
"""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x00008000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
AT_RECURSIVE = 0x8000
AT_FDCWD = -100
MOVE_MOUNT_F_EMPTY_PATH = 0x4
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_SET_THP_DISABLE = 41
PR_CAP_AMBIENT = 47
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT_RAISE = 2
SECCOMP_MODE_FILTER = 2
LAST_CAP = 63

# NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE, each with its lock (linux/securebits.h)
SECUREBITS_LOCKED = 0x3 | 0xC | 0xC0

SYS_MOVE_MOUNT = 429
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
SYS_PIDFD_OPEN = 434
SYS_CLOSE_RANGE = 436
SYS_MOUNT_SETATTR = 442
SYS_LANDLOCK_CREATE_RULESET = 444
SYS_LANDLOCK_ADD_RULE = 445
SYS_LANDLOCK_RESTRICT_SELF = 446

# machine -> (clone, pivot_root, capset)
OLD_NUMBERS = {"x86_64": (56, 155, 126), "aarch64": (220, 41, 91), "riscv64": (220, 41, 91)}

# PyDLL keeps the interpreter lock: every caller is a single-threaded process, and these calls do not block.
_libc = ctypes.PyDLL(None, use_errno=True)
_int, _long, _ulong, _bytes = ctypes.c_int, ctypes.c_long, ctypes.c_ulong, ctypes.c_char_p


def _function(name: str, *types: Any) -> Any:
    """A libc function with its argument types; a fresh object each time, so that `syscall` can have many.

    Declared once, here: what ctypes would otherwise find out at each call is pages that each child copies.
    Only syscall() returns a long. The others return an int, the upper half of whose register means nothing:
    read as a long, their -1 may be 4294967295, which is no failure.
    """
    function = _libc[name]
    function.restype = _long if name in ("syscall", "ptrace") else _int
    function.argtypes = types
    return function


_unshare = _function("unshare", _int)
_setns = _function("setns", _int, _int)
_mount = _function("mount", _bytes, _bytes, _bytes, _ulong, _bytes)
_umount2 = _function("umount2", _bytes, _int)
_prctl = _function("prctl", _int, _ulong, _ulong, _ulong, _ulong)
_plain = _function("syscall", _long, _long, _long, _long, _long, _long)
_two_paths = _function("syscall", _long, _bytes, _bytes)
_fsopen = _function("syscall", _long, _bytes, _int)
_fsconfig = _function("syscall", _long, _int, _int, _bytes, _bytes, _int)
_move_mount = _function("syscall", _long, _int, _bytes, _int, _bytes, _int)
_mount_setattr = _function("syscall", _long, _int, _bytes, _int, _bytes, _long)
_capset = _function("syscall", _long, _bytes, _bytes)
_create_ruleset = _function("syscall", _long, _bytes, _long, _int)
_add_rule = _function("syscall", _long, _int, _int, _bytes, _int)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))
    return result


_MACHINE = os.uname().machine


def _old(index: int) -> int:
    if _MACHINE not in OLD_NUMBERS:
        raise OSError(38, "no system call numbers known for the machine type " + _MACHINE)
    return OLD_NUMBERS[_MACHINE][index]


def unshare(flags: int) -> None:
    _check(_unshare(flags), "unshare(%#x)" % flags)


def setns(fd: int, flags: int) -> None:
    _check(_setns(fd, flags), "setns")


def mount(
    source: bytes | None, target: bytes, fstype: bytes | None, flags: int, options: bytes | None = None
) -> None:
    _check(_mount(source, target, fstype, flags, options), "mount " + os.fsdecode(target))


def umount(target: bytes, flags: int = 0) -> None:
    _check(_umount2(target, flags), "umount " + os.fsdecode(target))


def pivot_root(new: bytes, old: bytes) -> None:
    _check(_two_paths(_old(1), new, old), "pivot_root")


def mount_setattr(path: bytes, attributes: int, recursive: bool = True) -> None:
    """Set mount attributes (never clears one) on a mount and all below it. Linux >= 5.12."""
    attr = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    result = _mount_setattr(SYS_MOUNT_SETATTR, AT_FDCWD, path, flags, attr, len(attr))
    _check(result, "mount_setattr " + os.fsdecode(path))


def clone_as_sibling() -> int:
    """Fork a child of this process's parent (CLONE_PARENT): 0 in the child, its pid here.

    Skips the interpreter's own fork handlers, so the child must exec soon and start no thread.
    """
    flags = CLONE_PARENT | 17  # SIGCHLD
    return _check(_plain(_old(0), flags, 0, 0, 0, 0), "clone")


def detached_tmpfs(size: bytes, inodes: bytes) -> int:
    """A tmpfs mounted nowhere yet, as a descriptor: whoever holds it can attach it and measure it.

    `size` in bytes and `inodes` are decimal numbers.
    """
    fs = _check(_fsopen(SYS_FSOPEN, b"tmpfs", FSOPEN_CLOEXEC), "fsopen tmpfs")
    try:
        for key, value in ((b"size", size), (b"nr_inodes", inodes), (b"mode", b"0700")):
            result = _fsconfig(SYS_FSCONFIG, fs, FSCONFIG_SET_STRING, key, value, 0)
            if result < 0:
                _check(result, "fsconfig tmpfs " + key.decode())
        _check(_fsconfig(SYS_FSCONFIG, fs, FSCONFIG_CMD_CREATE, None, None, 0), "fsconfig tmpfs")
        attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
        return _check(_plain(SYS_FSMOUNT, fs, FSMOUNT_CLOEXEC, attributes, 0, 0), "fsmount tmpfs")
    finally:
        os.close(fs)


def attach_mount(fd: int, target: bytes) -> None:
    result = _move_mount(SYS_MOVE_MOUNT, fd, b"", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)
    _check(result, "move_mount")


def pidfd_open(pid: int) -> int:
    return _check(_plain(SYS_PIDFD_OPEN, pid, 0, 0, 0, 0), "pidfd_open")


def close_range(first: int, last: int) -> None:
    if first <= last:
        _check(_plain(SYS_CLOSE_RANGE, first, last, 0, 0, 0), "close_range")


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    return _check(_prctl(option, arg2, arg3, arg4, arg5), "prctl(%d)" % option)


_CAPSET_HEADER = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
_CAPSET_NOTHING = bytes(24)


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets, and with them the ambient one."""
    _check(_capset(_old(2), _CAPSET_HEADER, _CAPSET_NOTHING), "capset")


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's capability sets (bit masks). See capset(2), _LINUX_CAPABILITY_VERSION_3."""
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "=6I",
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
    _check(_capset(_old(2), _CAPSET_HEADER, data), "capset")


OWN_ID = 0x5E1F1D01
"""In a filter: stands for the process id of whoever installs it."""


class SeccompFilter:
    """A compiled BPF program (an array of struct sock_filter), laid out in memory as the kernel wants it.

    Made before the fork: what ctypes needs for it (a new array type) costs a child more than the call itself.
    """

    def __init__(self, program: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(program, len(program))
        # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
        fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(self._buffer))
        self._fprog = ctypes.create_string_buffer(fprog, len(fprog))
        self._address = ctypes.addressof(self._fprog)
        # Where the program compares with OWN_ID, to be replaced by the id of the process that installs it.
        place = program.find(struct.pack("=I", OWN_ID))
        self._own_ids = []
        while place >= 0:
            self._own_ids.append(ctypes.addressof(self._buffer) + place)
            place = program.find(struct.pack("=I", OWN_ID), place + 1)

    def install(self) -> None:
        """For this thread and all that it starts; for good. Needs no_new_privs."""
        for address in self._own_ids:
            ctypes.memmove(address, struct.pack("=I", os.getpid()), 4)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self._address)


def landlock_abi() -> int:
    """The kernel's Landlock ABI version, 0 where it has none."""
    result: int = _create_ruleset(SYS_LANDLOCK_CREATE_RULESET, None, 0, 1)
    return result if result > 0 else 0


def landlock_create_ruleset(fs: int, net: int, scoped: int, abi: int) -> int:
    attr = struct.pack("=QQQ", fs, net, scoped)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    result = _create_ruleset(SYS_LANDLOCK_CREATE_RULESET, attr, size, 0)
    return _check(result, "landlock_create_ruleset")


def landlock_add_path(ruleset: int, path: str, access: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        attr = struct.pack("=Qi", access, fd)
        _check(_add_rule(SYS_LANDLOCK_ADD_RULE, ruleset, 1, attr, 0), "landlock_add_rule " + path)
    finally:
        os.close(fd)


def landlock_restrict_self(ruleset: int) -> None:
    _check(_plain(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0, 0, 0), "landlock_restrict_self")


def cpu_clock(pid: int) -> int:
    """The process CPU clock of another process: MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)."""
    return ((~pid) << 3) | 2


def is_full(fd: int) -> bool:
    """Whether the file system that `fd` lies on has no byte or no file left."""
    usage = os.statvfs(fd)
    return usage.f_bfree == 0 or usage.f_ffree == 0


def is_dead(pid: int) -> bool:
    """Whether it has ended. Who adopted it may be slow to reap it, or never do: a zombie is dead, too."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return True


def parent_is_gone() -> bool:
    """Whether this process has been handed to another parent than the one that started it."""
    return os.getppid() != _PARENT


_PARENT = os.getppid()
