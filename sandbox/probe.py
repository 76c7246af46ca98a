"""What this machine can give: each layer tried for real, never concluded from a version.

Runs in: tools (`warden doctor`); each probe in a fork of its own, which shuts doors behind itself and dies.

Theory of operation.  `try_all` forks once per probe. The child does, with the jail's own functions where
there are any, what the launcher or a child would do, checks that it had its effect, writes what it found as
JSON to a pipe, and exits. An OSError is an answer (its errno tells who refused), and so is death by a signal:
of the filter's deadly calls it is the right one. A probe that says nothing for TIMEOUT_S is killed with all
that it started. What it all means is for supervisor/doctor.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import json
import mmap
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox import cgroup, kernel, landlock, mounts, namespaces, seccomp

TIMEOUT_S: Final = 10.0
UID: Final = 949_999
"""As root: an id beyond those of any slot (sandbox.jail)."""
STAGING: Final = "/sys"
"""A folder that exists everywhere; what is mounted on it only the probe sees."""
PR_SET_CHILD_SUBREAPER: Final = 36
PR_GET_NO_NEW_PRIVS: Final = 39
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one probe.

    `errno` is that of the call that was refused, 0 if none was; `signal` what the probe died of, 0 if it did
    not; `detail` says it in words; `found` are names of what was found to work.
    """

    name: str
    ok: bool
    errno: int = 0
    signal: int = 0
    detail: str = ""
    found: tuple[str, ...] = ()


class NoEffect(Exception):
    """Nothing was refused, and nothing came of it: the message says what was expected."""


# --- the probes: each returns what it found, or raises ------------------------------------------------


def user() -> None:
    """A user namespace, with this process's own id mapped and a capability that is worth something in it."""
    _user_namespace()
    kernel.unshare(kernel.CLONE_NEWUTS)
    os.uname()


def _user_namespace(flags: int = 0) -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | flags)
    for path, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            Path(f"/proc/self/{path}").write_text(text)
        except OSError as error:
            number = error.errno or 0
            raise OSError(number, f"writing {path}: {os.strerror(number)}") from None


def _namespace(flag: int, name: str) -> Callable[[], None]:
    def probe() -> None:
        before = Path(f"/proc/self/ns/{name}").stat().st_ino
        _user_namespace(flag)
        if Path(f"/proc/self/ns/{name}").stat().st_ino == before:
            raise NoEffect("the namespace is still the old one")

    return probe


_NAMES = {"mount": "mnt", "cgroup-ns": "cgroup"}


def processes() -> None:
    """A pid namespace: its first child is process 1."""
    _user_namespace(kernel.CLONE_NEWPID)
    if os.fork() == 0:
        os._exit(os.getpid())
    if os.waitstatus_to_exitcode(os.wait()[1]) != 1:
        raise NoEffect("the first child is not process 1")


def _enter() -> None:
    """All namespaces at once, as the launcher does it."""
    if namespaces.privileged():
        kernel.unshare(kernel.CLONE_NEWNS)
        namespaces.enter_as_root(namespaces.Ids(UID, UID), "/proc")
    else:
        namespaces.enter_as_user()


def all_together() -> None:
    """As root: whether a user of the slots' range can be mapped; a container may have fewer ids."""
    _enter()


def private_root() -> None:
    """A root of our own, with nothing of the old one left in it."""
    known = Path(__file__)
    if namespaces.privileged():
        kernel.unshare(kernel.CLONE_NEWNS)
    else:
        namespaces.enter_as_user()
    mounts.build_root(STAGING, mounts.system_paths(), mounts.devices(True))
    if known.exists() or Path("/proc/self").exists():
        raise NoEffect("files of the old root are still to be seen")
    try:
        Path("/probe").touch()
    except OSError:
        return
    raise NoEffect("the new root can be written to")


def _own_mounts() -> None:
    _user_namespace(kernel.CLONE_NEWNS)
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)


def detached_tmpfs() -> None:
    """fsopen and its family: the scratch of each child is made that way, with its size capped."""
    _own_mounts()
    fd = kernel.detached_tmpfs(b"65536", b"8")
    kernel.attach_mount(fd, STAGING.encode())
    try:
        (Path(STAGING) / "probe").write_bytes(bytes(1 << 17))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return
        raise
    raise NoEffect("a tmpfs of 64 KiB took 128 KiB")


def mount_setattr() -> None:
    """Attributes of a whole tree of mounts at once: what is shown in a jail is made read-only that way."""
    _own_mounts()
    kernel.mount(b"tmpfs", STAGING.encode(), b"tmpfs", 0, b"size=65536")
    kernel.mount_setattr(STAGING.encode(), kernel.MOUNT_ATTR_RDONLY)
    try:
        (Path(STAGING) / "probe").touch()
    except OSError as error:
        if error.errno == errno.EROFS:
            return
        raise
    raise NoEffect("what was made read-only can be written to")


def no_new_privs() -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if kernel.prctl(PR_GET_NO_NEW_PRIVS) != 1:
        raise NoEffect("it is not set")


def _filtered() -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.SeccompFilter(seccomp.program()).install()


def filter_refuses() -> None:
    """The jail's own filter, loaded: no socket any more."""
    create = kernel._function("socket", kernel._int, kernel._int, kernel._int)
    _filtered()
    if create(2, 1, 0) >= 0:
        raise NoEffect("a socket was made with the filter loaded")


def filter_kills() -> None:
    """A deadly call: this must not return."""
    _filtered()
    kernel.unshare(kernel.CLONE_NEWUTS)
    raise NoEffect("a deadly call returned")


# mov eax, 20 (getpid of the 32-bit table); int 0x80; ret
_INT_80 = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"


def foreign_calls() -> None:
    """A call by the table of another architecture, which the filter does not number: this must not return."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_INT_80)
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    _filtered()
    call()
    raise NoEffect("a 32-bit call returned")


def landlock_files() -> tuple[str, ...]:
    """Landlock shuts the file system but for one folder. Finds "landlock-ABI"."""
    abi = kernel.landlock_abi()
    fs = (1 << landlock.FS_BITS[min(max(abi, 1), max(landlock.FS_BITS))]) - 1
    ruleset = kernel.landlock_create_ruleset(fs, 0, 0, max(abi, 1))  # without any ABI this tells the errno
    kernel.landlock_add_path(ruleset, "/usr", landlock.READ_FILE | landlock.READ_DIR)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.landlock_restrict_self(ruleset)
    if not list(Path("/usr").iterdir()):
        raise NoEffect("what is allowed is refused")
    try:
        list(Path("/").iterdir())
    except PermissionError:
        return (f"landlock-{abi}",)
    raise NoEffect("what is not allowed can be read")


def landlock_tcp() -> None:
    """ABI 4."""
    _restricted(0, landlock.NET_TCP, 0, 4)
    import socket

    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", 0))
        except PermissionError:
            return
    raise NoEffect("a TCP port was bound")


def landlock_signals() -> None:
    """ABI 6. The parent is another domain, so it must be out of reach."""
    _restricted(0, 0, landlock.SCOPES, 6)
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return
    raise NoEffect("a process outside could be signalled")


def _restricted(fs: int, net: int, scoped: int, abi: int) -> None:
    if kernel.landlock_abi() < abi:
        raise OSError(errno.ENOSYS, f"the kernel's Landlock is older than ABI {abi}")
    ruleset = kernel.landlock_create_ruleset(fs, net, scoped, abi)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.landlock_restrict_self(ruleset)


def rlimits() -> None:
    """Less address space, and no way back."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * mmap.PAGESIZE + 64 * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        bytes(256 * MIB)
    except MemoryError:
        return
    raise NoEffect("four times the address space allowed was to be had")


PROCESSES: Final = 4


def process_limit() -> tuple[str, ...]:
    """RLIMIT_NPROC as a child has it: how many forks succeed. Finds "own" if no other process counts."""
    _enter()
    if os.fork() == 0:  # process 1 of the namespace: when it dies, so does all that it forked
        code = 100
        try:
            resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
            count = 0
            with contextlib.suppress(BlockingIOError):
                while count < 4 * PROCESSES:
                    if os.fork() == 0:
                        signal.pause()
                    count += 1
            code = count
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.wait()[1])
    if code >= 4 * PROCESSES:
        raise NoEffect(f"{code} processes were forked with a limit of {PROCESSES}")
    return ("own",) if code else ()


def control_group() -> tuple[str, ...]:
    """Control groups as a jail makes them. Finds the layers whose limit was enforced on a process."""
    group = cgroup.make(0)
    if group is None:
        raise NoEffect("no group can be made")
    try:
        group.limit(32 * MIB, PROCESSES)
        found = []
        for layer in group.layers:
            if layer.endswith("-memory"):
                _in_group(group, lambda: bytearray(128 * MIB))
                bites = group.counters().oom_kills > 0
            else:
                _in_group(group, _fork_many)
                bites = group.counters().fork_failures > 0
            if bites:
                found.append(layer)
        if not found:
            raise NoEffect(f"a group was made, and its limits have no effect: {', '.join(group.layers)}")
        return tuple(found)
    finally:
        group.remove()


def _in_group(group: cgroup.Group, act: Callable[[], object]) -> None:
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(go_read, 1)
            act()
        finally:
            os._exit(0)
    try:
        group.join(pid)
    finally:
        os.write(go_write, b"g")
        os.waitpid(pid, 0)


def _fork_many() -> None:
    pids = []
    with contextlib.suppress(BlockingIOError):
        for _ in range(2 * PROCESSES):
            pid = os.fork()
            if pid == 0:
                signal.pause()
            pids.append(pid)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def subreaper() -> None:
    """Where there is no pid namespace, what a child leaves behind comes to its zygote."""
    kernel.prctl(PR_SET_CHILD_SUBREAPER, 1)


def handles() -> None:
    """Processes as descriptors, and all descriptors closed at once."""
    os.close(kernel.pidfd_open(os.getpid()))
    kernel.close_range(1000, 1001)


PROBES: Final[dict[str, Callable[[], tuple[str, ...] | None]]] = {
    "user": user,
    **{name: _namespace(flag, _NAMES.get(name, name)) for name, flag in namespaces.OWNED if name != "pid"},
    "pid": processes,
    "all-together": all_together,
    "private-root": private_root,
    "detached-tmpfs": detached_tmpfs,
    "mount-setattr": mount_setattr,
    "no-new-privs": no_new_privs,
    "filter-refuses": filter_refuses,
    "filter-kills": filter_kills,
    "foreign-calls": foreign_calls,
    "landlock-files": landlock_files,
    "landlock-tcp": landlock_tcp,
    "landlock-signals": landlock_signals,
    "rlimits": rlimits,
    "process-limit": process_limit,
    "control-group": control_group,
    "subreaper": subreaper,
    "handles": handles,
}

DEADLY: Final[dict[str, frozenset[int]]] = {
    "filter-kills": frozenset({signal.SIGSYS}),
    # A kernel without any 32-bit calls answers the instruction itself.
    "foreign-calls": frozenset({signal.SIGSYS, signal.SIGSEGV}),
}
"""Probes that must die, and of what."""

MACHINES: Final = {"foreign-calls": "x86_64"}
"""Probes that make sense on one machine type only."""


# --- trying -------------------------------------------------------------------------------------------


def try_all() -> dict[str, Tried]:
    """Every probe that makes sense here, one after another; a fraction of a second. By its name."""
    machine = os.uname().machine
    with contextlib.suppress(OSError):
        seccomp.program()  # compiled once; each probe that needs it and has none says why
    names = [name for name in PROBES if MACHINES.get(name, machine) == machine]
    return {name: attempt(name, PROBES[name]) for name in names}


def attempt(name: str, probe: Callable[[], tuple[str, ...] | None], timeout_s: float = TIMEOUT_S) -> Tried:
    """Run one probe in a fork and say what came of it. Never raises for what the probe does."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _probe(probe, write_end)
    os.close(write_end)
    try:
        data, in_time = _read(read_end, time.monotonic() + timeout_s)
    finally:
        os.close(read_end)
    if not in_time:
        for kill in (os.killpg, os.kill):  # its session, or itself if it had none yet
            with contextlib.suppress(OSError):
                kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not in_time:
        return Tried(name, False, detail=f"no answer within {timeout_s:g} s")
    if code < 0:
        right = -code in DEADLY.get(name, ())
        return Tried(name, right, signal=-code, detail=f"died of {signal.Signals(-code).name}")
    try:
        told = json.loads(data)
        found = tuple(str(one) for one in told["found"])
        return Tried(name, bool(told["ok"]), int(told["errno"]), 0, str(told["detail"]), found)
    except (ValueError, TypeError, KeyError):
        return Tried(name, False, detail=f"it ended with code {code} and said nothing")


def _probe(probe: Callable[[], tuple[str, ...] | None], pipe: int) -> None:
    """In the fork: one probe, one answer. Never returns."""
    ok, number, detail = False, 0, ""
    found: tuple[str, ...] = ()
    try:
        os.setsid()
        faulthandler.disable()  # a probe's death is an answer, and no news for stderr
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        found = tuple(probe() or ())
        ok = True
    except OSError as error:
        number, detail = error.errno or 0, error.strerror or str(error)
    except NoEffect as error:
        detail = str(error)
    except BaseException as error:
        detail = f"{type(error).__name__}: {error}"
    finally:
        with contextlib.suppress(BaseException):
            told = {"ok": ok, "errno": number, "detail": detail, "found": list(found)}
            os.write(pipe, json.dumps(told).encode()[:4096])
        os._exit(0)


def _read(fd: int, deadline: float) -> tuple[bytes, bool]:
    """(all that is written, whether the end came before the deadline)."""
    data = b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            piece = os.read(fd, 4096)
            if not piece:
                return data, True
            data += piece
    return data, False
