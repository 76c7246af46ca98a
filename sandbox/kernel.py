"""The few kernel calls that Python has no name for, by ctypes.

Runs in: launcher, zygote, child (so: standard library only, CPython >= 3.8).

Every function raises OSError on failure. Numbers are those of the generic table (asm-generic/unistd.h),
the same on all architectures from 424 on; the two older ones that are needed stand in OLD_NUMBERS.
"""

from __future__ import annotations

import ctypes
import os
import struct

CLONE_NEWTIME = 0x00000080
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
MS_NOATIME = 0x400
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_RELATIME = 0x200000
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
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_SET_THP_DISABLE = 41
PR_CAP_AMBIENT = 47
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
_libc.syscall.restype = ctypes.c_long
_syscall = _libc.syscall
_long = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))
    return result


def _old(index: int) -> int:
    machine = os.uname().machine
    if machine not in OLD_NUMBERS:
        raise OSError(38, "no system call numbers known for the machine type " + machine)
    return OLD_NUMBERS[machine][index]


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare(%#x)" % flags)


def setns(fd: int, flags: int) -> None:
    _check(_libc.setns(fd, flags), "setns")


def mount(
    source: bytes | None, target: bytes, fstype: bytes | None, flags: int, options: bytes | None = None
) -> None:
    _check(
        _libc.mount(source, target, fstype, ctypes.c_ulong(flags), options), "mount " + os.fsdecode(target)
    )


def umount(target: bytes, flags: int = 0) -> None:
    _check(_libc.umount2(target, flags), "umount " + os.fsdecode(target))


def pivot_root(new: bytes, old: bytes) -> None:
    _check(_syscall(_long(_old(1)), new, old), "pivot_root")


def mount_setattr(path: bytes, attributes: int, recursive: bool = True) -> None:
    """Set mount attributes (never clears one) on a mount and all below it. Linux >= 5.12."""
    attr = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    result = _syscall(_long(SYS_MOUNT_SETATTR), _long(AT_FDCWD), path, _long(flags), attr, _long(len(attr)))
    _check(result, "mount_setattr " + os.fsdecode(path))


def clone_as_sibling() -> int:
    """Fork a child of this process's parent (CLONE_PARENT): 0 in the child, its pid here.

    Skips the interpreter's own fork handlers, so the child must exec soon and start no thread.
    """
    flags = CLONE_PARENT | 17  # SIGCHLD
    zero = _long(0)
    return _check(_syscall(_long(_old(0)), _long(flags), zero, zero, zero, zero), "clone")


def detached_tmpfs(options: dict[str, str]) -> int:
    """A tmpfs mounted nowhere yet, as a descriptor: whoever holds it can attach it and measure it."""
    fs = _check(_syscall(_long(SYS_FSOPEN), b"tmpfs", _long(FSOPEN_CLOEXEC)), "fsopen tmpfs")
    try:
        for key, value in options.items():
            _check(
                _syscall(
                    _long(SYS_FSCONFIG),
                    _long(fs),
                    _long(FSCONFIG_SET_STRING),
                    key.encode(),
                    value.encode(),
                    _long(0),
                ),
                "fsconfig tmpfs " + key,
            )
        _check(
            _syscall(_long(SYS_FSCONFIG), _long(fs), _long(FSCONFIG_CMD_CREATE), None, None, _long(0)),
            "fsconfig tmpfs",
        )
        attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
        return _check(
            _syscall(_long(SYS_FSMOUNT), _long(fs), _long(FSMOUNT_CLOEXEC), _long(attributes)),
            "fsmount tmpfs",
        )
    finally:
        os.close(fs)


def attach_mount(fd: int, target: bytes) -> None:
    result = _syscall(
        _long(SYS_MOVE_MOUNT), _long(fd), b"", _long(AT_FDCWD), target, _long(MOVE_MOUNT_F_EMPTY_PATH)
    )
    _check(result, "move_mount " + os.fsdecode(target))


def pidfd_open(pid: int) -> int:
    return _check(_syscall(_long(SYS_PIDFD_OPEN), _long(pid), _long(0)), "pidfd_open")


def close_range(first: int, last: int) -> None:
    if first <= last:
        _check(_syscall(_long(SYS_CLOSE_RANGE), _long(first), _long(last), _long(0)), "close_range")


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    result = _libc.prctl(
        option, ctypes.c_ulong(arg2), ctypes.c_ulong(arg3), ctypes.c_ulong(arg4), ctypes.c_ulong(arg5)
    )
    return _check(result, "prctl(%d)" % option)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's capability sets (bit masks). See capset(2), _LINUX_CAPABILITY_VERSION_3."""
    header = struct.pack("=Ii", 0x20080522, 0)
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
    _check(_syscall(_long(_old(2)), header, data), "capset")


def set_seccomp_filter(program: bytes) -> None:
    """Install a compiled BPF program (an array of struct sock_filter). Needs no_new_privs."""
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(fprog, len(fprog))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(holder))


def landlock_abi() -> int:
    """The kernel's Landlock ABI version, 0 where it has none."""
    result = _syscall(_long(SYS_LANDLOCK_CREATE_RULESET), None, _long(0), _long(1))
    return result if result > 0 else 0


def landlock_create_ruleset(fs: int, net: int, scoped: int, abi: int) -> int:
    attr = struct.pack("=QQQ", fs, net, scoped)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    return _check(
        _syscall(_long(SYS_LANDLOCK_CREATE_RULESET), attr, _long(size), _long(0)), "landlock_create_ruleset"
    )


def landlock_add_path(ruleset: int, path: str, access: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        attr = struct.pack("=Qi", access, fd)
        _check(
            _syscall(_long(SYS_LANDLOCK_ADD_RULE), _long(ruleset), _long(1), attr, _long(0)),
            "landlock_add_rule " + path,
        )
    finally:
        os.close(fd)


def landlock_restrict_self(ruleset: int) -> None:
    _check(_syscall(_long(SYS_LANDLOCK_RESTRICT_SELF), _long(ruleset), _long(0)), "landlock_restrict_self")
