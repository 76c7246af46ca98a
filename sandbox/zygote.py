"""The zygote: a warm interpreter, process 1 of the jail's pid namespace, that forks one child per task.

Runs in: zygote (standard library only, CPython >= 3.8).

Theory of operation.  It was exec'd by the launcher inside the jail's namespaces and private root, so its
memory holds nothing of the worker's.  It never runs staff or learner code; it forks, watches, reports facts.

    worker  --- frame: start  --->  zygote      preload, freeze, answer "ready"
    worker  --- frame: run    --->  zygote      fork; watch (sandbox/watch.py); kill; reap; answer
    worker  --- closes --------->   zygote      kill the child, exit; the namespace dies with process 1

A child's whole tree is dead when its pidfd becomes readable: it is process 1 of its own pid namespace, and
the kernel lets it be reaped only after everything in there is gone.

In a `reduced` jail there are no namespaces and no private root.  The child's tree is then what descends from
this process (a subreaper), and is swept after each task; the scratch is a folder that this process makes and
removes; see sandbox/reduced.py.
"""

from __future__ import annotations

import errno
import fcntl
import fnmatch
import gc
import importlib.util
import marshal
import os
import resource
import signal
import stat
import struct
import sys
import time

from sandbox import child, kernel, reduced, wire
from sandbox.resident import MOST_CPU_S, MOST_RESIDENTS, Residents
from sandbox.watch import CONTROL_FD, Watch, split_report

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any, Callable, Iterator


PIDNS_FD = 4
LANDLOCK_FD = 5

MOST_SOURCE = 256 * 1024
COMPILE_S = 5


class Zygote:
    """The state that outlives a task: the filter, the descriptors, which bundles are laid out."""

    def __init__(self, config: dict[str, Any], program: bytes) -> None:
        self.seccomp = kernel.SeccompFilter(program)
        self.landlock_fd = LANDLOCK_FD if config["landlock"] else -1
        self.reduced = reduced.Ground(config["ground"]) if config["ground"] else None
        self.programs = bool(config["programs"])
        self.environment = dict(os.environ, **config["environment"])
        self.null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        os.mkdir(os.path.join(child.place.bundles, child.NO_BUNDLE), 0o755)
        self.entries: dict[str, Callable[[bytes], bytes]] = {}
        self.residents = Residents(lambda task, request: self.fork(task, request, True))

    # -- bundles -----------------------------------------------------

    def lay_out(self, digest: str, names: list[str], contents: list[bytes]) -> None:
        """Write a bundle's files into a folder of their own; children of tasks that name it see only that."""
        top = os.path.join(child.place.bundles, digest)
        os.mkdir(top, 0o700)
        for name, content in zip(names, contents):
            path = os.path.normpath(os.path.join(top, name))
            if not path.startswith(top + "/"):
                raise OSError(errno.EINVAL, "a bundle's file lies outside of it: " + name)
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
            if self.programs:
                os.chmod(path, 0o755)
        if not self.programs:
            self.compile_ahead(top, names, contents)
        os.chmod(top, 0o755)

    def compile_ahead(self, top: str, names: list[str], contents: list[bytes]) -> None:
        """Put compiled files beside a bundle's modules, where imports look for them: each child saves 1 ms.

        A process of its own compiles, and executes nothing: what a source does to the compiler (or what is
        left of it in memory) is no matter of the zygote's. What cannot be compiled the child will report.
        """
        sources = [
            (name, content)
            for name, content in zip(names, contents)
            if name.endswith(".py") and len(content) <= MOST_SOURCE
        ]
        if not sources:
            return
        shown = top if self.reduced else child.BUNDLE
        if not self.reduced:
            kernel.setns(PIDNS_FD, kernel.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (COMPILE_S, COMPILE_S))
                for name, content in sources:
                    _compile_file(top, shown, name, content)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    def forget(self, digest: str) -> None:
        import shutil

        self.residents.forget(digest)
        shutil.rmtree(os.path.join(child.place.bundles, digest), ignore_errors=True)

    # -- a task ------------------------------------------------------

    def entry(self, name: str) -> Callable[[bytes], bytes]:
        found = self.entries.get(name)
        if found is None:
            module, _, function = name.partition(":")
            found = self.entries[name] = getattr(importlib.import_module(module), function)
        return found

    def run(self, task: dict[str, Any], request: bytes) -> tuple[dict[str, object], list[bytes]]:
        """Have a child do the task and watch it: the facts, and what came out (stdout, stderr, report).

        The contents of collected files follow, in the order of facts["files"].
        """
        if task.get("resident") and not self.reduced:
            return self.residents.run(task, request)
        limits = task["limits"]
        pid, scratch, reads, _requests, started = self.fork(task, request, False)
        try:
            look = reduced.Look(self.reduced, pid, limits) if self.reduced else None
            watch = Watch(pid, reads, limits, started, look=look)
            facts = watch.until_dead()
            if self.reduced:
                facts["scratch_full"] = self.reduced.is_full(limits)
            else:
                facts["scratch_full"] = kernel.is_full(scratch)
            data = [bytes(piece) for piece in watch.data]
            if task.get("collect"):
                found = collect(scratch, task["collect"], limits["report_bytes"], limits["scratch_files"])
                if found is None:
                    facts["killed"] = facts["killed"] or "files"
                else:
                    facts["files"] = [name for name, _ in found]
                    data += [content for _, content in found]
            return facts, data
        finally:
            for fd in [*reads, scratch]:
                os.close(fd)
            if self.reduced:
                reduced.sweep()
                self.reduced.clear_scratch()

    def fork(
        self, task: dict[str, Any], request: bytes, resident: bool
    ) -> tuple[int, int, list[int], int, float]:
        """A child at work: its pid, its scratch, three pipes to read, one to write (or -1), when it began."""
        command = task.get("command")
        if command and not self.programs:
            raise ValueError("this profile executes no programs")
        entry = None if command else self.entry(task["entry"])
        limits = task["limits"]
        if self.reduced:
            scratch = self.reduced.open_scratch()
        else:
            sizes = {"size": limits["scratch_bytes"], "nr_inodes": limits["scratch_files"], "mode": "0700"}
            scratch = kernel.detached_tmpfs({key: str(value) for key, value in sizes.items()})
        reads = []
        writes = []
        requests = -1
        stdin_fd = -1
        try:
            for _ in range(3):
                read_end, write_end = os.pipe()
                reads.append(read_end)
                writes.append(write_end)
            if resident:
                read_end, requests = os.pipe()
                writes.append(read_end)
                os.set_blocking(requests, False)
            if command:
                stdin_fd = sealed_file(request)
            setup = child.Setup()
            setup.scratch_fd = scratch
            setup.bundle = os.path.join(child.place.bundles, task.get("bundle") or child.NO_BUNDLE)
            setup.limits = self.rlimits(limits, resident)
            setup.pipes = tuple(writes)
            setup.stdin_fd = stdin_fd if command else self.null_fd
            setup.null_fd = self.null_fd
            setup.landlock_fd = self.landlock_fd
            setup.seccomp = self.seccomp
            setup.ground = self.reduced
            if not self.reduced:
                # "pid_for_children" still points at the namespace of the last child, which is dead: come
                # home, then ask for a new one. (A second unshare without this is EINVAL.)
                kernel.setns(PIDNS_FD, kernel.CLONE_NEWPID)
                kernel.unshare(kernel.CLONE_NEWPID)
            started = time.monotonic()
            pid = os.fork()
            if pid == 0:
                if command:
                    child.execute(command, self.environment, limits["cpu_s"], setup)
                elif entry:
                    child.run(entry, request, setup)
        except BaseException:
            for fd in [*reads, scratch, requests]:
                if fd >= 0:
                    os.close(fd)
            if self.reduced:
                self.reduced.clear_scratch()
            raise
        finally:
            for fd in [*writes, stdin_fd]:
                if fd >= 0:
                    os.close(fd)
        return pid, scratch, reads, requests, started

    def rlimits(self, limits: dict[str, Any], resident: bool) -> dict[str, int]:
        # Residents count against the same user.
        processes = limits["rlimit_processes"] + (MOST_RESIDENTS if resident else len(self.residents))
        if self.reduced:
            processes += self.reduced.others()
        return {
            "cpu_s": int(limits["cpu_s"]) + 2 + (MOST_CPU_S if resident else 0),
            "address_space": limits["address_space_bytes"],
            "data": limits["data_bytes"],
            "file_bytes": limits["scratch_bytes"],
            "processes": processes,
            "open_files": limits["open_files"],
            "stack": limits["stack_bytes"],
        }


def sealed_file(content: bytes) -> int:
    """A file in memory that nobody can change any more, to be somebody's standard input."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        # F_ADD_SEALS: F_SEAL_SEAL, _SHRINK, _GROW, _WRITE
        fcntl.fcntl(fd, 1033, 0x1 | 0x2 | 0x4 | 0x8)
    except BaseException:
        os.close(fd)
        raise
    return fd


def collect(
    scratch: int, patterns: list[str], most_bytes: int, most_files: int
) -> list[tuple[str, bytes]] | None:
    """Name and content of the regular files that fit a pattern; None if they are more than may be.

    Whoever made them is dead, but he chose what lies there: nothing is followed, nothing is waited for.
    """
    found: list[tuple[str, bytes]] = []
    # A descriptor to read by: that of a detached mount is none.
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=scratch)
    try:
        for name, fd in _regular_files(folder, "", patterns):
            with os.fdopen(fd, "rb") as file:
                content = file.read(most_bytes + 1)
            most_bytes -= len(content)
            if most_bytes < 0 or len(found) == most_files:
                return None
            found.append((name, content))
    finally:
        os.close(folder)
    return found


def _regular_files(folder: int, prefix: str, patterns: list[str]) -> Iterator[tuple[str, int]]:
    """Open descriptors; only folders that a pattern names are entered."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    for name in sorted(os.listdir(folder)):
        inner = []
        wanted = False
        for pattern in patterns:
            head, slash, rest = pattern.partition("/")
            if fnmatch.fnmatchcase(name, head):
                if slash:
                    inner.append(rest)
                else:
                    wanted = True
        try:
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if wanted and stat.S_ISREG(mode):
                yield prefix + name, os.open(name, flags, dir_fd=folder)
            elif inner and stat.S_ISDIR(mode):
                below = os.open(name, flags | os.O_DIRECTORY, dir_fd=folder)
                try:
                    yield from _regular_files(below, prefix + name + "/", inner)
                finally:
                    os.close(below)
        except OSError:
            continue  # not to be opened: what it is, is the learner's affair


def _compile_file(top: str, shown: str, name: str, content: bytes) -> None:
    try:
        code = compile(content, os.path.join(shown, name), "exec", dont_inherit=True)
        data = marshal.dumps(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return
    path = importlib.util.cache_from_source(os.path.join(top, name))
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    with open(path + "~", "wb") as file:
        # PEP 552, hash-based and unchecked: the files of a bundle never change.
        file.write(importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + bytes(8) + data)
    os.rename(path + "~", path)  # whole or not at all: there may be no room, or no time


def main() -> None:
    try:
        live()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the worker went away in the middle of a word: that is our end, and nobody's news


def live() -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_THP_DISABLE, 1)
    start = wire.receive(CONTROL_FD)
    if start is None:
        return
    config, parts = start
    try:
        if config["ground"]:
            child.place.move(config["ground"]["home"])
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        else:
            for cap in range(kernel.LAST_CAP + 1):
                try:
                    kernel.prctl(kernel.PR_CAPBSET_DROP, cap)
                except OSError:
                    break
            kernel.prctl(kernel.PR_SET_SECUREBITS, kernel.SECUREBITS_LOCKED)
        for name in config["preload"]:
            importlib.import_module(name)
        zygote = Zygote(config, parts[0])
    except BaseException as error:
        import traceback

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        wire.send(CONTROL_FD, {"error": "zygote: " + text[-2000:]})
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    version = "%d.%d.%d" % sys.version_info[:3]
    wire.send(CONTROL_FD, {"ready": True, "version": version})
    serve(zygote)


def serve(zygote: Zygote) -> None:
    while True:
        frame = wire.receive(CONTROL_FD)
        if frame is None:
            return
        task, parts = frame
        try:
            zygote.residents.end_idle(time.monotonic())
            for digest in task["forget"]:
                zygote.forget(digest)
            names = task.get("files")
            if names is not None:
                zygote.lay_out(task["bundle"], names, parts[1:])
            facts, (stdout, stderr, raw, *files) = zygote.run(task, parts[0])
            facts["residents"] = len(zygote.residents)
            failure, report = split_report(raw)
            if failure is not None and not facts["killed"]:
                wire.send(CONTROL_FD, {"error": "lock-down: " + failure})
                continue
            facts["complete"] = report is not None
            wire.send(CONTROL_FD, facts, [report or b"", stdout, stderr, *files])
        except (BrokenPipeError, ConnectionResetError):
            raise
        except (OSError, ValueError, ImportError, AttributeError) as error:
            wire.send(CONTROL_FD, {"error": "zygote: %s: %s" % (type(error).__name__, error)})
