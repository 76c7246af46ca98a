"""The canary: what a child tries against its own jail before any submission is let in.

Runs in: child (standard library only, CPython >= 3.8). Imported by the zygote, so it imports little.

`attempt` makes each escape below, in this order, and says of each whether it was held, or what got through.
It judges nothing: which of them must be held by this jail is for sandbox/selftest.py, outside. Calls that the
filter answers with death are made in a child of its own, whose wait status is the answer; where there can be
none, by `alone`, in a task of its own, whose outcome is the answer.

Each escape aims at one layer where it can: a socket that the empty network namespace would make harmless is
a hole in the filter all the same. It leaves nothing behind and harms nothing if it gets through.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import sys

from sandbox import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any, Callable

PR_GET_DUMPABLE = 3
PR_GET_SECCOMP = 21
PR_GET_NO_NEW_PRIVS = 39
PTRACE_TRACEME = 0
FIRST_CLOSED = 4
"""Descriptors that a child may have: 0, 1, 2 and the report."""
MOST_DESCRIPTORS = 128
MARK = ".warden-canary"
FAMILIES = (("unix", 1, 1), ("inet", 2, 1), ("inet udp", 2, 2), ("inet6", 10, 1), ("netlink", 16, 3))
LIMITED = (
    ("address space", resource.RLIMIT_AS, False),
    ("data", resource.RLIMIT_DATA, False),
    ("CPU time", resource.RLIMIT_CPU, True),
    ("file size", resource.RLIMIT_FSIZE, True),
    ("processes", resource.RLIMIT_NPROC, True),
    ("open files", resource.RLIMIT_NOFILE, True),
    ("core", resource.RLIMIT_CORE, True),
)
"""Name, resource, whether it is bounded in every jail (memory is, one way or another: see take_memory)."""


def attempt(request: bytes) -> bytes:
    """Try every escape.

    `request` is JSON: secret (path of a file on the host), token (what stands in it), pids (of processes
    outside), names (of environment variables outside), memory_bytes (more than the limit allows).
    The report is a JSON list of {"attempt", "held", "detail"}; detail says what got through. `held` is null
    of a call that has to be made by `alone`.
    """
    asked = json.loads(request.decode())
    found = []
    for name in (*ESCAPES, *CALLS):
        through: str | None
        try:
            through = ESCAPES[name](asked) if name in ESCAPES else _deadly(CALLS[name])
        except Exception as error:  # it could not be tried, so nobody knows: that is not held
            through = "could not be tried: %s: %s" % (type(error).__name__, error)
        held = None if through is None else not through
        found.append({"attempt": name, "held": held, "detail": through or ""})
    return json.dumps(found).encode()


def alone(request: bytes) -> bytes:
    """Make one deadly call, named by the request, in this process. The report says what became of it."""
    try:
        CALLS[request.decode()]()
    except OSError as error:
        return b"" if error.errno == errno.ENOSYS else ("refused: " + os.strerror(error.errno or 0)).encode()
    return b"the call succeeded"


# Each takes what was asked and returns what got through, "" if nothing did.


def read_host_file(asked: dict[str, Any]) -> str:
    """By its name, by ways around it, from every descriptor, by links."""
    path = asked["secret"]
    token = asked["token"].encode()
    bare = path.lstrip("/")
    ways = [path, "../" * 40 + bare, "/proc/self/root" + path, "/proc/1/root" + path]
    ways += ["/proc/%d/root%s" % (pid, path) for pid in asked["pids"]]
    through = []
    for make, name in ((os.symlink, MARK + "-soft"), (os.link, MARK + "-hard")):
        try:
            make(path, name)
            ways.append(name)
        except OSError:
            pass
    for way in ways:
        try:
            if token in _read(way, None):
                through.append(way)
        except OSError:
            pass
    for fd in range(MOST_DESCRIPTORS):
        try:
            if token in _read(bare, fd):
                through.append("descriptor %d" % fd)
        except OSError:
            pass
    try:
        if os.path.basename(path) in os.listdir(os.path.dirname(path)):
            through.append("the folder's list")
    except OSError:
        pass
    for name in (MARK + "-soft", MARK + "-hard"):
        try:
            os.unlink(name)
        except OSError:
            pass
    return "a file of the host was read: " + ", ".join(through) if through else ""


def _read(path: str, folder: int | None) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def write_outside(asked: dict[str, Any]) -> str:
    """A new file anywhere but in the scratch; the interpreter opened for writing."""
    here = os.path.realpath(".")
    places = ["/", "/course", "/warden", "/etc", "/dev", "/usr", "/home", "/var/tmp", "/tmp", ".."]
    places += [os.path.dirname(asked["secret"]), os.path.dirname(sys.executable)]
    through = []
    for place in places:
        path = os.path.join(place, MARK)
        if os.path.realpath(place) == here:
            continue
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError:
            continue
        os.unlink(path)
        through.append(path)
    for path in (asked["secret"], sys.executable, kernel.__file__):
        try:
            os.close(os.open(path, os.O_WRONLY))
            through.append(path)
        except OSError:
            pass
    return "opened for writing: " + ", ".join(through) if through else ""


def signal_outside(asked: dict[str, Any]) -> str:
    """Signal 0 asks whether a signal would be delivered. Parent 0 is one that this namespace cannot name."""
    through = []
    for pid in sorted({os.getppid(), *asked["pids"]} - {0, os.getpid()}):
        try:
            os.kill(pid, 0)
            through.append(str(pid))
        except OSError:
            pass
    return "could be signalled: process " + ", ".join(through) if through else ""


def see_parent(_asked: dict[str, Any]) -> str:
    """A child is process 1 of a namespace of its own, so that nothing in it outlives it."""
    pid, parent = os.getpid(), os.getppid()
    return "" if (pid, parent) == (1, 0) else "is process %d, child of %d" % (pid, parent)


def make_socket(_asked: dict[str, Any]) -> str:
    create = kernel._function("socket", kernel._int, kernel._int, kernel._int)
    through = []
    for name, family, kind in FAMILIES:
        fd = create(family, kind, 0)
        if fd >= 0:
            os.close(fd)
            through.append(name)
    return "a socket was made: " + ", ".join(through) if through else ""


def _unshare() -> None:
    kernel.unshare(kernel.CLONE_NEWUSER)


def _mount() -> None:
    """Of a kind that does not exist: who may mount is refused for that."""
    kernel.mount(b"none", b"/", b"no-such-kind", 0)


def _ptrace() -> None:
    trace = kernel._function("ptrace", kernel._long, kernel._long, kernel._long, kernel._long)
    kernel._check(trace(PTRACE_TRACEME, 0, 0, 0), "ptrace")


CALLS: dict[str, Callable[[], None]] = {"unshare": _unshare, "mount": _mount, "ptrace": _ptrace}


def _deadly(call: Callable[[], None]) -> str | None:
    """What becomes of a process that makes `call`. Death by the filter, or its default answer, is right."""
    try:
        pid = os.fork()
    except PermissionError:
        return None  # children may not fork here
    if pid == 0:
        code = 0
        try:
            call()
        except OSError as error:
            code = error.errno or 255
        except BaseException:
            code = 255
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "" if number == signal.SIGSYS else "died of signal %d, not of the filter" % number
    code = os.WEXITSTATUS(status)
    if code == errno.ENOSYS:
        return ""
    return "the call succeeded" if code == 0 else "the filter let the call through: " + os.strerror(code)


def execute(_asked: dict[str, Any]) -> str:
    """A program that does not exist: a filter that refuses says so before the kernel looks for it."""
    try:
        os.execv("/no-such-program", ["x"])  # noqa: S606
    except OSError as error:
        return "" if error.errno == errno.EACCES else "let through: " + os.strerror(error.errno or 0)
    return "it was executed"


def see_filter(_asked: dict[str, Any]) -> str:
    mode = kernel.prctl(PR_GET_SECCOMP)
    return "" if mode == kernel.SECCOMP_MODE_FILTER else "no filter is loaded: mode %d" % mode


def see_new_privileges(_asked: dict[str, Any]) -> str:
    return "" if kernel.prctl(PR_GET_NO_NEW_PRIVS) == 1 else "no_new_privs is not set"


def see_dumpable(_asked: dict[str, Any]) -> str:
    return "" if kernel.prctl(PR_GET_DUMPABLE) == 0 else "the process may be attached to, and dump core"


def use_capability(_asked: dict[str, Any]) -> str:
    """Read what nobody may read: only CAP_DAC_OVERRIDE opens a file without any permission."""
    os.close(os.open(MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0))
    try:
        os.close(os.open(MARK, os.O_RDONLY))
    except OSError:
        return ""
    finally:
        os.unlink(MARK)
    return "a file without permissions was opened: there are capabilities"


def see_descriptors(_asked: dict[str, Any]) -> str:
    """Nothing but /dev/null and three pipes to write."""
    through = []
    for fd in range(MOST_DESCRIPTORS):
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        right = stat.S_ISCHR(mode) if fd == 0 else stat.S_ISFIFO(mode)
        if fd >= FIRST_CLOSED or not right:
            through.append("%d (%s)" % (fd, stat.filemode(mode)))
    return "descriptors came along: " + ", ".join(through) if through else ""


def see_environment(asked: dict[str, Any]) -> str:
    through = sorted(set(os.environ) & set(asked["names"]))
    return "environment variables came along: " + ", ".join(through) if through else ""


def take_memory(asked: dict[str, Any]) -> str:
    """More address space than the limit. Never touched, so it costs nothing if it is to be had."""
    try:
        size = len(bytes(asked["memory_bytes"]))
    except MemoryError:
        return ""
    return "%d MiB of memory were to be had" % (size >> 20)


def raise_limits(_asked: dict[str, Any]) -> str:
    through = []
    for name, which, bounded in LIMITED:
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY:
            if bounded:
                through.append(name + " is unlimited")
            continue
        try:
            resource.setrlimit(which, (hard + 1, hard + 1))
            through.append(name + " was raised")
        except (OSError, ValueError):
            pass
    return ", ".join(through)


def device_control(_asked: dict[str, Any]) -> str:
    """An ioctl that the filter lets pass: a device that is asked says that it is no terminal."""
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        os.get_terminal_size(fd)
    except OSError as error:
        if error.errno == errno.EACCES:
            return ""
        return "a device was asked: " + os.strerror(error.errno or 0)
    finally:
        os.close(fd)
    return "a device answered"


ESCAPES: dict[str, Callable[[dict[str, Any]], str]] = {
    "read-host-file": read_host_file,
    "write-outside": write_outside,
    "signal-outside": signal_outside,
    "see-parent": see_parent,
    "make-socket": make_socket,
    "execute": execute,
    "see-filter": see_filter,
    "see-new-privileges": see_new_privileges,
    "see-dumpable": see_dumpable,
    "use-capability": use_capability,
    "see-descriptors": see_descriptors,
    "see-environment": see_environment,
    "take-memory": take_memory,
    "raise-limits": raise_limits,
    "device-control": device_control,
}
