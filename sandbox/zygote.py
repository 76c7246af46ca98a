"""The zygote: a warm interpreter, process 1 of the jail's pid namespace, that forks one child per task.

Runs in: zygote (standard library only, CPython >= 3.8).

Theory of operation.  It was exec'd by the launcher inside the jail's namespaces and private root, so its
memory holds nothing of the worker's.  It never runs staff or learner code; it forks, watches, reports facts.

    worker  --- frame: start  --->  zygote      preload, freeze, answer "ready"
    worker  --- frame: run    --->  zygote      fork; one poll() over three pipes, the child's pidfd, the
                                                worker's socket and the nearest deadline; kill; reap; answer
    worker  --- closes --------->   zygote      kill the child, exit; the namespace dies with process 1

A child's whole tree is dead when its pidfd becomes readable: it is process 1 of its own pid namespace, and
the kernel lets it be reaped only after everything in there is gone.

Residents.  The child of a task that says so (staff code only) is kept after its report, for the next task of
the same module, bundle and limits; see sandbox/child.py for the frames. It is watched like any other child
while it has a request, with clocks and caps of that request. At a limit it is killed. It is ended when it
asks for that, has grown, is used up, is the least recently used of too many, or its bundle goes. What it does
between requests nobody watches; whatever it left in its pipes, or its death, is found before the next one,
and a fresh child is forked. It shares nothing with a learner's child: that is in another pid namespace, has
another scratch, and closes every descriptor that it inherits from here.
"""

from __future__ import annotations

import errno
import gc
import importlib.util
import marshal
import os
import resource
import select
import signal
import struct
import sys
import time

from sandbox import child, kernel, wire

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any, Callable


CONTROL_FD = 3
PIDNS_FD = 4
LANDLOCK_FD = 5
CHUNK = 1 << 16
# The trusted side looks at the CPU clock at the earliest when the limit can have been reached, and not more
# often than this.
CPU_LOOK_S = 0.02

MOST_SOURCE = 256 * 1024
COMPILE_S = 5

# Residents. Each costs its dirty pages; what it may grow by, and what it may have in its scratch, the worker
# adds to the jail's memory limit.
MOST_RESIDENTS = 4
RESIDENT_KIB = 16 * 1024
MOST_REQUESTS = 200
MOST_CPU_S = 60
IDLE_S = 900.0


class Zygote:
    """The state that outlives a task: the seccomp program, the descriptors, which bundles are laid out."""

    def __init__(self, program: bytes, landlock_fd: int) -> None:
        self.seccomp = kernel.SeccompFilter(program)
        self.landlock_fd = landlock_fd
        self.null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        os.mkdir(os.path.join(child.BUNDLE, child.NO_BUNDLE), 0o755)
        self.entries: dict[str, Callable[[bytes], bytes]] = {}
        self.residents: dict[tuple[object, ...], Resident] = {}  # the least recently used first

    # -- bundles -----------------------------------------------------

    def lay_out(self, digest: str, names: list[str], contents: list[bytes]) -> None:
        """Write a bundle's files into a folder of their own; children of tasks that name it see only that."""
        top = os.path.join(child.BUNDLE, digest)
        os.mkdir(top, 0o700)
        for name, content in zip(names, contents):
            path = os.path.normpath(os.path.join(top, name))
            if not path.startswith(top + "/"):
                raise OSError(errno.EINVAL, "a bundle's file lies outside of it: " + name)
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
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
        kernel.setns(PIDNS_FD, kernel.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (COMPILE_S, COMPILE_S))
                for name, content in sources:
                    _compile_file(top, name, content)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    def forget(self, digest: str) -> None:
        import shutil

        for key in [key for key in self.residents if key[1] == digest]:
            self.residents.pop(key).end()
        shutil.rmtree(os.path.join(child.BUNDLE, digest), ignore_errors=True)

    # -- a task ------------------------------------------------------

    def entry(self, name: str) -> Callable[[bytes], bytes]:
        found = self.entries.get(name)
        if found is None:
            module, _, function = name.partition(":")
            found = self.entries[name] = getattr(importlib.import_module(module), function)
        return found

    def run(self, task: dict[str, Any], request: bytes) -> tuple[dict[str, object], list[bytes]]:
        """Have a child do the task and watch it: the facts, and what came out (stdout, stderr, report)."""
        if task.get("resident"):
            return self.run_resident(task, request)
        limits = task["limits"]
        pid, scratch, reads, _requests, started = self.fork(task, request, False)
        try:
            watch = Watch(pid, reads, limits, started)
            facts = watch.until_dead()
            facts["scratch_full"] = _is_full(scratch)
            return facts, [bytes(data) for data in watch.data]
        finally:
            for fd in [*reads, scratch]:
                os.close(fd)

    def fork(
        self, task: dict[str, Any], request: bytes, resident: bool
    ) -> tuple[int, int, list[int], int, float]:
        """A child at work: its pid, its scratch, three pipes to read, one to write (or -1), when it began."""
        entry = self.entry(task["entry"])
        limits = task["limits"]
        scratch = kernel.detached_tmpfs(
            {"size": str(limits["scratch_bytes"]), "nr_inodes": str(limits["scratch_files"]), "mode": "0700"}
        )
        reads = []
        writes = []
        requests = -1
        try:
            for _ in range(3):
                read_end, write_end = os.pipe()
                reads.append(read_end)
                writes.append(write_end)
            if resident:
                read_end, requests = os.pipe()
                writes.append(read_end)
                os.set_blocking(requests, False)
            rlimits = {
                "cpu_s": int(limits["cpu_s"]) + 2 + (MOST_CPU_S if resident else 0),
                "memory_bytes": limits["address_space_bytes"],
                "file_bytes": limits["scratch_bytes"],
                # They count against the same user.
                "processes": limits["rlimit_processes"]
                + (MOST_RESIDENTS if resident else len(self.residents)),
                "open_files": limits["open_files"],
            }
            setup = (
                scratch,
                os.fsencode(os.path.join(child.BUNDLE, task.get("bundle") or child.NO_BUNDLE)),
                rlimits,
                tuple(writes),
                self.null_fd,
                self.landlock_fd,
                self.seccomp,
            )
            # "pid_for_children" still points at the namespace of the last child, which is dead: come home,
            # then ask for a new one. (A second unshare without this is EINVAL.)
            kernel.setns(PIDNS_FD, kernel.CLONE_NEWPID)
            kernel.unshare(kernel.CLONE_NEWPID)
            started = time.monotonic()
            pid = os.fork()
            if pid == 0:
                child.run(entry, request, setup)
        except BaseException:
            for fd in [*reads, scratch, requests]:
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in writes:
                os.close(fd)
        return pid, scratch, reads, requests, started

    # -- residents ---------------------------------------------------

    def run_resident(self, task: dict[str, Any], request: bytes) -> tuple[dict[str, object], list[bytes]]:
        limits = task["limits"]
        name = task["entry"]
        key = (name.partition(":")[0], task.get("bundle"), *limits.values())
        resident = self.residents.pop(key, None)
        if resident is not None and resident.is_fit():
            facts, data = resident.ask(name, request, limits)
            if resident.alive:
                self.residents[key] = resident
            # It gave up by itself, and it was not fresh: what an earlier request left behind may be why.
            if not facts["exit_code"] or facts["killed"]:
                return facts, data
        elif resident is not None:
            resident.end()
        while len(self.residents) >= MOST_RESIDENTS:
            self.residents.pop(next(iter(self.residents))).end()
        resident = Resident(*self.fork(task, request, True))
        facts, data = resident.first(limits)
        if resident.alive:
            self.residents[key] = resident
        return facts, data

    def end_idle(self, now: float) -> None:
        """End those that had nothing to do for long. Called with each task; an idle jail costs no wake-up."""
        for key in [key for key, one in self.residents.items() if now - one.used_at > IDLE_S]:
            self.residents.pop(key).end()


def _compile_file(top: str, name: str, content: bytes) -> None:
    try:
        code = compile(content, os.path.join(child.BUNDLE, name), "exec", dont_inherit=True)
        data = marshal.dumps(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return
    path = importlib.util.cache_from_source(os.path.join(top, name))
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    with open(path + "~", "wb") as file:
        # PEP 552, hash-based and unchecked: the files of a bundle never change.
        file.write(importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + bytes(8) + data)
    os.rename(path + "~", path)  # whole or not at all: there may be no room, or no time


def _is_full(scratch: int) -> bool:
    usage = os.statvfs(scratch)
    return usage.f_bfree == 0 or usage.f_ffree == 0


def _cpu_clock(pid: int) -> int:
    """The process CPU clock of another process: MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)."""
    return ((~pid) << 3) | 2


class Resident:
    """A child that stays. `alive` is False once it was killed and reaped."""

    def __init__(self, pid: int, scratch: int, reads: list[int], requests: int, started: float) -> None:
        self.pid = pid
        self.scratch = scratch
        self.reads = reads
        self.requests = requests
        self.used_at = started
        self.served = 0
        self.alive = True

    def first(self, limits: dict[str, Any]) -> tuple[dict[str, object], list[bytes]]:
        """Watch it answer the request that it was born with."""
        return self._watch(Watch(self.pid, self.reads, limits, self.used_at, resident=True), limits)

    def ask(self, name: str, request: bytes, limits: dict[str, Any]) -> tuple[dict[str, object], list[bytes]]:
        """Give it another request and watch it."""
        named = name.encode()
        frame = child.REQUEST_HEAD.pack(len(named) + len(request), len(named)) + named + request
        self.used_at = time.monotonic()
        cpu_s = time.clock_gettime(_cpu_clock(self.pid))
        watch = Watch(self.pid, self.reads, limits, self.used_at, True, cpu_s, self.requests, frame)
        return self._watch(watch, limits)

    def _watch(self, watch: Watch, limits: dict[str, Any]) -> tuple[dict[str, object], list[bytes]]:
        try:
            facts = watch.until_dead()
        except BaseException:
            self.end()
            raise
        self.served += 1
        facts["scratch_full"] = _is_full(self.scratch)
        if watch.dead:
            self.alive = False
            self._close()
            return facts, [bytes(data) for data in watch.data]
        usage = os.statvfs(self.scratch)
        written_kib = (usage.f_blocks - usage.f_bfree) * usage.f_frsize // 1024
        if (
            watch.retired
            or watch.grown_kib + written_kib > RESIDENT_KIB
            or usage.f_ffree < limits["scratch_files"] // 2
            or self.served >= MOST_REQUESTS
            or time.clock_gettime(_cpu_clock(self.pid)) > MOST_CPU_S
        ):
            self.end()
        return facts, [bytes(data) for data in watch.data]

    def is_fit(self) -> bool:
        """Alive, and silent since its last report. What it wrote after that belongs to no request."""
        poll = select.poll()
        for fd in self.reads:
            poll.register(fd, select.POLLIN)
        return not poll.poll(0)

    def end(self) -> None:
        """Kill and reap it."""
        if self.alive:
            self.alive = False
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._close()

    def _close(self) -> None:
        for fd in [*self.reads, self.requests, self.scratch]:
            os.close(fd)


class Watch:
    """One child under observation: reads what it writes, up to the caps, and kills it at its limits.

    Of a resident one request is watched: `cpu_s` is what it had used before, `frame` the request, to be
    written to `requests`.
    """

    def __init__(
        self,
        pid: int,
        reads: list[int],
        limits: dict[str, Any],
        started: float,
        resident: bool = False,
        cpu_s: float = 0.0,
        requests: int = -1,
        frame: bytes = b"",
    ) -> None:
        self.pid = pid
        self.started = started
        self.wall_at = started + limits["wall_s"]
        self.cpu_s = limits["cpu_s"]
        self.cpu_before_s = cpu_s
        self.output_left = limits["output_bytes"]
        # READY and the length; a resident's frame has a larger head
        self.report_left = limits["report_bytes"] + (2 + child.REPORT_HEAD.size if resident else 5)
        self.killed = ""
        self.truncated = False
        self.open = dict((fd, index) for index, fd in enumerate(reads))
        self.data = [bytearray(), bytearray(), bytearray()]  # stdout, stderr, report
        self.dead = False
        self.resident = resident
        self.requests = requests
        self.frame = memoryview(frame)
        self.fresh = not frame
        self.answered = False
        self.retired = False
        self.grown_kib = 0
        self.peak_kib = 0

    def kill(self, why: str) -> None:
        if not self.killed:
            self.killed = why
            os.kill(self.pid, signal.SIGKILL)

    def until_dead(self) -> dict[str, object]:
        """Until it is dead and all is read; or, a resident, until its report is complete."""
        poll = select.poll()
        for fd in self.open:
            poll.register(fd, select.POLLIN)
        pidfd = kernel.pidfd_open(self.pid)
        poll.register(pidfd, select.POLLIN)
        poll.register(CONTROL_FD, select.POLLRDHUP if hasattr(select, "POLLRDHUP") else 0)
        if self.frame and not self.ask():
            poll.register(self.requests, select.POLLOUT)
        look_at = self.started + self.cpu_s
        try:
            while not (self.dead and not self.open):
                timeout = None
                if not self.dead and not self.killed:
                    now = time.monotonic()
                    if now >= self.wall_at:
                        self.kill("wall")
                    elif now >= look_at:
                        used = time.clock_gettime(_cpu_clock(self.pid)) - self.cpu_before_s
                        left = self.cpu_s - used
                        if left <= 0:
                            self.kill("cpu")
                        look_at = now + max(left, CPU_LOOK_S)
                    timeout = max(0.0, min(self.wall_at, look_at) - now) * 1000 + 1
                if self.answered and not self.killed:
                    timeout = 0  # what it printed before the report is in the pipes
                events = poll.poll(timeout)
                if self.answered and not events and not self.killed:
                    return self.facts_of_the_living()
                for fd, _events in events:
                    if fd == pidfd:
                        self.dead = True
                        poll.unregister(pidfd)
                    elif fd == CONTROL_FD:  # the worker is gone: so are we, and the kernel takes the rest
                        os._exit(0)
                    elif fd == self.requests:
                        if self.ask():
                            poll.unregister(fd)
                    elif not self.read(fd):
                        poll.unregister(fd)
                        del self.open[fd]
        finally:
            os.close(pidfd)
        _, status, usage = os.wait4(self.pid, 0)
        if self.resident and not self.answered and (not self.fresh or self.data[2][:1] == child.READY):
            self.data[2] = bytearray(child.READY)  # locked down, nothing reported
        signalled = os.WIFSIGNALED(status)
        return {
            "killed": self.killed,
            "truncated": self.truncated,
            "exit_code": None if signalled else os.WEXITSTATUS(status),
            "signal": os.WTERMSIG(status) if signalled else None,
            "wall_s": time.monotonic() - self.started,
            "cpu_s": usage.ru_utime + usage.ru_stime - self.cpu_before_s,
            "memory_bytes": usage.ru_maxrss * 1024,
        }

    def facts_of_the_living(self) -> dict[str, object]:
        return {
            "killed": "",
            "truncated": False,
            "exit_code": 0,
            "signal": None,
            "wall_s": time.monotonic() - self.started,
            "cpu_s": time.clock_gettime(_cpu_clock(self.pid)) - self.cpu_before_s,
            "memory_bytes": self.peak_kib * 1024,
        }

    def ask(self) -> bool:
        """Write some more of the request. True when nothing is left to write."""
        try:
            self.frame = self.frame[os.write(self.requests, self.frame) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it closed its end, or it is dead, which the pidfd tells
            self.frame = self.frame[:0]
        return not self.frame

    def read(self, fd: int) -> bool:
        """Read once. False at the end of the pipe."""
        data = os.read(fd, CHUNK)
        if not data:
            return False
        index = self.open[fd]
        if index == 2:
            self.report_left -= len(data)
            if self.report_left < 0:
                self.kill("report")
            else:
                self.data[2] += data
                if self.resident:
                    self.look()
        else:
            keep = data[: max(0, self.output_left)]
            self.output_left -= len(data)
            self.data[index] += keep
            if self.output_left < 0:
                self.truncated = True
                self.kill("output")
        return True

    def look(self) -> None:
        """Of a resident: whether its report is complete. More than one report is none."""
        data = self.data[2]
        if self.answered:
            self.answered = False
            self.kill("frame")
            return
        if self.fresh:
            if data[:1] != child.READY:
                return  # it says what failed, and dies
            start = 1
        else:
            start = 0
        if data[start : start + 1] == child.RETIRE:
            self.retired = True
            start += 1
        head = data[start + 1 : start + 1 + child.REPORT_HEAD.size]
        if data[start : start + 1] not in (child.REPORT, b""):
            self.kill("frame")
        elif len(head) == child.REPORT_HEAD.size:
            size, grown_kib, peak_kib = child.REPORT_HEAD.unpack(head)
            end = start + 1 + len(head) + size
            if len(data) > end:
                self.kill("frame")
            elif len(data) == end:
                self.answered = True
                self.grown_kib, self.peak_kib = grown_kib, peak_kib
                # In the form that an ordinary child reports in.
                self.data[2] = bytearray(child.READY + struct.pack("!I", size)) + data[end - size :]


def split_report(raw: bytes) -> tuple[str | None, bytes | None]:
    """(set-up failure or None, complete report or None) of what came through the report pipe."""
    if raw[:1] == child.FAILED:
        return raw[1:].decode("utf-8", "replace"), None
    if raw[:1] != child.READY:
        return "the child died before it was locked down", None
    if len(raw) >= 5:
        (size,) = struct.unpack_from("!I", raw, 1)
        if len(raw) == 5 + size:
            return None, raw[5:]
    return None, None


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
        for cap in range(kernel.LAST_CAP + 1):
            try:
                kernel.prctl(kernel.PR_CAPBSET_DROP, cap)
            except OSError:
                break
        kernel.prctl(kernel.PR_SET_SECUREBITS, kernel.SECUREBITS_LOCKED)
        for name in config["preload"]:
            importlib.import_module(name)
        landlock_fd = LANDLOCK_FD if config["landlock"] else -1
        zygote = Zygote(parts[0], landlock_fd)
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
            zygote.end_idle(time.monotonic())
            for digest in task["forget"]:
                zygote.forget(digest)
            names = task.get("files")
            if names is not None:
                zygote.lay_out(task["bundle"], names, parts[1:])
            facts, (stdout, stderr, raw) = zygote.run(task, parts[0])
            facts["residents"] = len(zygote.residents)
            failure, report = split_report(raw)
            if failure is not None and not facts["killed"]:
                wire.send(CONTROL_FD, {"error": "lock-down: " + failure})
                continue
            facts["complete"] = report is not None
            wire.send(CONTROL_FD, facts, [report or b"", stdout, stderr])
        except (BrokenPipeError, ConnectionResetError):
            raise
        except (OSError, ValueError, ImportError, AttributeError) as error:
            wire.send(CONTROL_FD, {"error": "zygote: %s: %s" % (type(error).__name__, error)})
