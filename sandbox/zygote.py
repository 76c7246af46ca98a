"""The zygote: a warm interpreter, process 1 of the jail's pid namespace, that forks one child per task.

Runs in: zygote (standard library only, CPython >= 3.8).

Theory of operation.  It was exec'd by the launcher inside the jail's namespaces and private root, so its
memory holds nothing of the worker's.  It never runs staff or learner code and reads none of it: it forks,
hands on descriptors, reaps, and says how a child died (sandbox/wire.py).  The worker watches.

    worker  --- start frame ---->  zygote      preload, freeze, answer "ready"
    worker  --- FORK, fds ------>  zygote      fork; BORN with a pidfd; wait; END
    worker  --- other frames --->  zygote      lay out a bundle, forget one, collect files, reap a resident
    worker  --- closes --------->  zygote      exit; the namespace dies with process 1

It does as little as it can: every page that it writes between two forks, it copies.  What has to read
contents (laying out a bundle, compiling its modules, collecting files) is done by a process of its own, so
that nothing of them is in the memory that children inherit.

Before a fork it sets the stage, in the jail's own mount namespace: the task's bundle alone in view, an empty
scratch, a pid namespace that nobody has been in; most often while nobody waits.  It wears the filter itself,
but for the calls that this and the lock-down need; each child adds what takes those away.

A child's whole tree is dead when the child is reaped: it is process 1 of its own pid namespace, and the
kernel lets it be reaped only after everything in there is gone.

In a `reduced` jail there are no namespaces and no private root, so there is no stage, and it wears no filter.
The child's tree is then what descends from this process (a subreaper), and is swept after each task; the
scratch is a folder that this process makes, measures and removes; see sandbox/reduced.py.
"""

from __future__ import annotations

import errno
import fnmatch
import gc
import importlib.util
import marshal
import os
import resource
import signal
import socket
import stat
import struct
import sys
import time

from sandbox import child, kernel, reduced, wire

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any, Callable, Iterator


CONTROL_FD = 3
PIDNS_FD = 4
LANDLOCK_FD = 5

MOST_SOURCE = 256 * 1024
COMPILE_S = 5


class Zygote:
    """The state that outlives a task: the filter, the descriptors, which bundles are laid out."""

    def __init__(self, config: dict[str, Any], program: bytes, line: socket.socket) -> None:
        self.line = line
        self.landlock_fd = LANDLOCK_FD if config["landlock"] else -1
        self.reduced = reduced.Ground(config["ground"]) if config["ground"] else None
        self.programs = bool(config["programs"])
        self.environment = dict(os.environ, **config["environment"])
        self.entries: dict[str, Callable[[bytes], bytes]] = {}
        self.kept_scratch = -1  # of the last child, if files shall be collected from it
        self.shown = ""  # the bundle that covers the folder of all bundles
        self.fresh: tuple[int, bytes, bytes] | None = None  # a scratch in its place: descriptor, bytes, files
        self.apart = False  # whether the next fork goes to a new pid namespace
        os.mkdir(os.path.join(child.place.bundles, child.NO_BUNDLE), 0o755)
        self.setup = setup = child.Setup()
        setup.null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        setup.landlock_fd = self.landlock_fd
        setup.seccomp = kernel.SeccompFilter(program)
        setup.ground = self.reduced

    def preload(self, names: list[str]) -> None:
        """Import modules. They find a scratch as a child does: some write a cache when they are imported."""
        if self.reduced:
            os.close(self.reduced.open_scratch())
        else:
            scratch = kernel.detached_tmpfs(b"16m", b"1024")
            kernel.attach_mount(scratch, child.SCRATCH_BYTES)
            os.close(scratch)
        # What modules want done in each fork is for programs with threads and locks; each child pays for it,
        # threading's handlers alone a third of a fork. Nor is `random` seeded anew: its users seed it.
        register, os.register_at_fork = os.register_at_fork, _ignore
        try:
            for name in names:
                importlib.import_module(name)
        finally:
            os.register_at_fork = register
            if self.reduced:
                self.reduced.clear_scratch()
            else:
                kernel.umount(child.SCRATCH_BYTES, kernel.MNT_DETACH)

    # -- the stage ---------------------------------------------------
    # What a learner's child finds is put in place here, by one who has the right to mount; the child has none
    # that it must give up, and needs no mount namespace of its own, whose end costs more than its seccomp.

    def set_stage(self, bundle: str, size: bytes, files: bytes) -> int:
        """This bundle alone in view, an empty scratch, a pid namespace that nobody has been in.

        The scratch's descriptor.
        """
        if self.shown != bundle:
            self.uncover()
            top = (child.BUNDLE + "/" + bundle).encode()
            kernel.mount(top, child.BUNDLE_BYTES, None, kernel.MS_BIND)
            self.shown = bundle
            kernel.mount(None, child.BUNDLE_BYTES, None, child.READ_ONLY)
        if self.fresh is None or self.fresh[1:] != (size, files):
            self.clear_scratch()
            scratch = kernel.detached_tmpfs(size, files)
            self.fresh = (scratch, size, files)
            kernel.attach_mount(scratch, child.SCRATCH_BYTES)
        if not self.apart:
            self.come_home()
            kernel.unshare(kernel.CLONE_NEWPID)
            self.apart = True
        return self.fresh[0]

    def uncover(self) -> None:
        """All bundles in view again."""
        if self.shown:
            kernel.umount(child.BUNDLE_BYTES, kernel.MNT_DETACH)
            self.shown = ""

    def clear_scratch(self) -> None:
        """Take away the one that is in place."""
        if self.fresh:
            scratch, self.fresh = self.fresh[0], None
            os.close(scratch)
            kernel.umount(child.SCRATCH_BYTES, kernel.MNT_DETACH)

    def come_home(self) -> None:
        """Fork into our own pid namespace again. (Without this a second unshare is EINVAL, and a fork into
        the namespace of a child that is dead ENOMEM.)"""
        kernel.setns(PIDNS_FD, kernel.CLONE_NEWPID)
        self.apart = False

    # -- bundles -----------------------------------------------------

    def lay_out(self, digest: str, names: list[str], sizes: list[int], contents: int) -> None:
        """Write a bundle's files into a folder of their own; children of tasks that name it see only that.

        `contents` is a file of all their contents. A process of its own reads it, so that nothing of it is
        ever in the memory that children inherit; it compiles what are modules, too: each child saves 1 ms.
        """
        top = os.path.join(child.place.bundles, digest)
        shown = top if self.reduced else child.BUNDLE
        for name in names:
            if not os.path.normpath(os.path.join(top, name)).startswith(top + "/"):
                raise OSError(errno.EINVAL, "a bundle's file lies outside of it: " + name)
        if not self.reduced:
            self.uncover()
            self.come_home()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                _write_bundle(top, shown, names, sizes, wire.content(contents, sum(sizes)), self.programs)
                code = 0
            except OSError as error:
                code = error.errno or 1
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        if status:
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else errno.EIO
            raise OSError(code, "laying out a bundle: " + os.strerror(code))

    def forget(self, digest: str) -> None:
        import shutil

        if not self.reduced:
            self.uncover()
        shutil.rmtree(os.path.join(child.place.bundles, digest), ignore_errors=True)

    # -- a task ------------------------------------------------------

    def entry(self, name: str) -> Callable[[bytes], bytes]:
        found = self.entries.get(name)
        if found is None:
            module, _, function = name.partition(":")
            found = self.entries[name] = getattr(importlib.import_module(module), function)
        return found

    def fork(self, record: tuple[Any, ...], texts: tuple[str, str, str], fds: list[int]) -> None:
        """A child at work. Says BORN; and END when it is dead, unless it is a resident.

        `fds`: stdout, stderr, report, the request; all closed here.
        """
        flags = record[1]
        entry_name, bundle, command = texts
        scratch = -1
        setup = self.setup
        ground = self.reduced
        if self.kept_scratch >= 0:  # nobody came for the files
            kept, self.kept_scratch = self.kept_scratch, -1
            self.leave(kept)
        try:
            if flags & wire.COMMAND:
                if not self.programs:
                    raise ValueError("this profile executes no programs")
                entry = None
            else:
                entry = self.entry(entry_name)
            setup.limits = record[6:13]
            setup.pipes = fds
            setup.request_bytes = record[5]
            setup.resident = resident = bool(flags & wire.RESIDENT)
            size, files = b"%d" % record[13], b"%d" % record[14]
            if ground:
                setup.scratch_fd = scratch = ground.open_scratch()
                setup.limits = ground.with_others(setup.limits)
            elif resident:
                # It stays while others come and go, so it mounts for itself; and it shall hold on to nothing.
                self.uncover()
                self.clear_scratch()
                setup.scratch_fd = scratch = kernel.detached_tmpfs(size, files)
                self.come_home()
                kernel.unshare(kernel.CLONE_NEWPID)
            else:
                scratch = self.set_stage(bundle or child.NO_BUNDLE, size, files)
            setup.bundle = os.path.join(child.place.bundles, bundle or child.NO_BUNDLE)
            self.apart = False
            started = time.monotonic()
            pid = os.fork()
            if pid == 0:
                if entry:
                    child.run(entry, setup)
                child.execute(command, self.environment, record[16], setup)
            pidfd = kernel.pidfd_open(pid)
            try:
                given = [pidfd, scratch] if resident else [pidfd]
                wire.send_with(self.line, wire.BORN.pack(b"B", pid), given)
                for fd in fds:
                    os.close(fd)
                fds.clear()
                if ground:
                    limits = {"scratch_bytes": record[13], "scratch_files": record[14]}
                    why = ground.wait(pid, pidfd, dict(limits, processes=record[15]))
                    self.reap(pid, started, why, ground.is_full(limits))
                elif not resident:
                    self.reap(pid, started, 0, scratch)
            finally:
                os.close(pidfd)
        finally:
            while fds:
                os.close(fds.pop())
            if scratch >= 0:
                if self.fresh and self.fresh[0] == scratch:  # it has had its child
                    self.fresh = None
                    kernel.umount(child.SCRATCH_BYTES, kernel.MNT_DETACH)
                if flags & wire.COLLECT:
                    self.kept_scratch = scratch
                else:
                    self.leave(scratch)
        if not ground and not resident:
            self.set_stage(self.shown, size, files)  # for the next one, while nobody waits

    def reap(self, pid: int, started: float, why: int, full: bool | int) -> None:
        """Wait for its death, and tell of it. `full` is a fact, or the descriptor of the scratch to ask."""
        _, status, usage = os.wait4(pid, 0)
        if self.reduced:
            reduced.sweep()  # what it started holds its pipes
        cpu_s = usage.ru_utime + usage.ru_stime
        wall_s = time.monotonic() - started
        if full is not True and full is not False:
            full = kernel.is_full(full)
        self.line.sendall(wire.END.pack(b"E", status, cpu_s, wall_s, usage.ru_maxrss, full, why))

    def leave(self, scratch: int) -> None:
        os.close(scratch)
        if self.reduced:
            reduced.sweep()
            self.reduced.clear_scratch()

    def collect(self, patterns: list[str], most_bytes: int, most_files: int) -> None:
        """Send the files that the last child left: their names in a frame, with a file of their contents.

        A process of its own reads them, for the sake of the zygote's memory. It is killed by its own limits.
        """
        read_end, write_end = os.pipe()
        if not self.reduced:
            self.come_home()
        pid = os.fork()
        if pid == 0:
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (COMPILE_S, COMPILE_S))
                found = collect(self.kept_scratch, patterns, most_bytes, most_files)
                head: dict[str, Any] = {"too_much": True}
                contents: list[bytes] = []
                if found is not None:
                    head = {"names": [name for name, _ in found], "sizes": [len(body) for _, body in found]}
                    contents = [body for _, body in found]
                data = wire.encode(head)
                wire.send_with(self.line, data, [wire.sealed_file(contents)])
                os.write(write_end, b".")
            finally:
                os._exit(0)
        os.close(write_end)
        answered = os.read(read_end, 1)
        os.close(read_end)
        os.waitpid(pid, 0)
        kept, self.kept_scratch = self.kept_scratch, -1
        self.leave(kept)
        if not answered:
            raise OSError(errno.EIO, "the files left by a program cannot be read")


def _ignore(**_handlers: object) -> None:
    """In place of os.register_at_fork."""


def _write_bundle(
    top: str, shown: str, names: list[str], sizes: list[int], contents: bytes, programs: bool
) -> None:
    os.mkdir(top, 0o700)
    offset = 0
    resource.setrlimit(resource.RLIMIT_CPU, (COMPILE_S, COMPILE_S))
    for name, size in zip(names, sizes):
        path = os.path.join(top, name)
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        with open(path, "wb") as file:
            file.write(contents[offset : offset + size])
        if programs:
            os.chmod(path, 0o755)
        offset += size
    os.chmod(top, 0o755)
    offset = 0
    for name, size in zip(names, sizes):
        if name.endswith(".py") and size <= MOST_SOURCE and not programs:
            _compile_file(top, shown, name, contents[offset : offset + size])
        offset += size


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
    # Python's own handler would let a program interrupt the process above it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    line = socket.socket(fileno=CONTROL_FD)
    data, fds = wire.receive_with(line, 4)
    if not data:
        return
    config = wire.decode(wire.read(CONTROL_FD, wire.size_of(data)))
    own = config["filters"][:-1]  # the last is what each child adds
    programs = wire.content(fds[0], sum(config["filters"]))
    os.close(fds[0])
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
        for which, value in child.FIXED_LIMITS:
            resource.setrlimit(which, (value, value))  # for all children: they inherit them
        zygote = Zygote(config, programs[sum(own) :], line)
        zygote.preload(config["preload"])
        if own:
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            kernel.SeccompFilter(programs[: sum(own)]).install()
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
    while serve(zygote, line):
        pass


def serve(zygote: Zygote, line: socket.socket) -> bool:
    """Do what the next message asks for; False when there will be none."""
    data, fds = wire.receive_with(line, wire.FORK.size)
    if not data:
        return False
    try:
        if data[:1] == b"F":
            missing = wire.FORK.size - len(data)
            if missing:
                data += wire.read(CONTROL_FD, missing)
            record = wire.FORK.unpack(data)
            text = wire.read(CONTROL_FD, record[2] + record[3] + record[4])
            entry = text[: record[2]].decode()
            bundle = text[record[2] : record[2] + record[3]].decode()
            zygote.fork(record, (entry, bundle, text[record[2] + record[3] :].decode()), fds)
            return True
        missing = 4 + wire.size_of(data[:4]) - len(data)
        if missing:
            data += wire.read(CONTROL_FD, missing)
        _obey(zygote, wire.decode(data[4:]), fds)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except (OSError, ValueError, ImportError, AttributeError) as error:
        wire.send(CONTROL_FD, {"error": "zygote: %s: %s" % (type(error).__name__, error)})
    finally:
        for fd in fds:
            os.close(fd)
    return True


def _obey(zygote: Zygote, head: dict[str, Any], fds: list[int]) -> None:
    """A frame with an order that is no FORK. Each but "reap" is answered with a frame."""
    order = head["order"]
    if order == "bundle":
        for digest in head["forget"]:
            zygote.forget(digest)
        zygote.lay_out(head["digest"], head["names"], head["sizes"], fds[0])
        wire.send(CONTROL_FD, {})
    elif order == "collect":
        zygote.collect(head["patterns"], head["bytes"], head["files"])
    elif order == "reap":
        zygote.reap(head["pid"], 0.0, 0, False)
    else:
        raise ValueError("unknown order " + order)
