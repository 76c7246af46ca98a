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
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
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


class Zygote:
    """The state that outlives a task: the seccomp program, the descriptors, which bundles are laid out."""

    def __init__(self, program: bytes, landlock_fd: int) -> None:
        self.seccomp = kernel.SeccompFilter(program)
        self.landlock_fd = landlock_fd
        self.null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        os.mkdir(os.path.join(child.BUNDLE, child.NO_BUNDLE), 0o755)
        self.entries: dict[str, Callable[[bytes], bytes]] = {}

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
        os.chmod(top, 0o755)

    def forget(self, digest: str) -> None:
        import shutil

        shutil.rmtree(os.path.join(child.BUNDLE, digest), ignore_errors=True)

    # -- a task ------------------------------------------------------

    def entry(self, name: str) -> Callable[[bytes], bytes]:
        found = self.entries.get(name)
        if found is None:
            module, _, function = name.partition(":")
            found = self.entries[name] = getattr(importlib.import_module(module), function)
        return found

    def run(self, task: dict[str, Any], request: bytes) -> tuple[dict[str, object], list[bytes]]:
        """Fork a child for the task and watch it: the facts, and what came out (stdout, stderr, report)."""
        entry = self.entry(task["entry"])
        limits = task["limits"]
        scratch = kernel.detached_tmpfs(
            {"size": str(limits["scratch_bytes"]), "nr_inodes": str(limits["scratch_files"]), "mode": "0700"}
        )
        reads = []
        writes = []
        try:
            for _ in range(3):
                read_end, write_end = os.pipe()
                reads.append(read_end)
                writes.append(write_end)
            rlimits = {
                "cpu_s": int(limits["cpu_s"]) + 2,
                "memory_bytes": limits["address_space_bytes"],
                "file_bytes": limits["scratch_bytes"],
                "processes": limits["rlimit_processes"],
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
            while writes:
                os.close(writes.pop())
            watch = Watch(pid, reads, limits, started)
            facts = watch.until_dead()
            usage = os.statvfs(scratch)
            facts["scratch_full"] = usage.f_bfree == 0 or usage.f_ffree == 0
            return facts, [bytes(data) for data in watch.data]
        finally:
            for fd in reads + writes + [scratch]:
                os.close(fd)


class Watch:
    """One child under observation: reads what it writes, up to the caps, and kills it at its limits."""

    def __init__(self, pid: int, reads: list[int], limits: dict[str, Any], started: float) -> None:
        self.pid = pid
        self.started = started
        self.wall_at = started + limits["wall_s"]
        self.cpu_s = limits["cpu_s"]
        self.output_left = limits["output_bytes"]
        self.report_left = limits["report_bytes"] + 5  # READY and the length
        self.killed = ""
        self.truncated = False
        self.open = dict((fd, index) for index, fd in enumerate(reads))
        self.data = [bytearray(), bytearray(), bytearray()]  # stdout, stderr, report

    def kill(self, why: str) -> None:
        if not self.killed:
            self.killed = why
            os.kill(self.pid, signal.SIGKILL)

    def until_dead(self) -> dict[str, object]:
        poll = select.poll()
        for fd in self.open:
            poll.register(fd, select.POLLIN)
        pidfd = kernel.pidfd_open(self.pid)
        poll.register(pidfd, select.POLLIN)
        poll.register(CONTROL_FD, select.POLLRDHUP if hasattr(select, "POLLRDHUP") else 0)
        look_at = self.started + self.cpu_s
        dead = False
        try:
            while not (dead and not self.open):
                timeout = None
                if not dead and not self.killed:
                    now = time.monotonic()
                    if now >= self.wall_at:
                        self.kill("wall")
                    elif now >= look_at:
                        # The process CPU clock of another process: MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
                        left = self.cpu_s - time.clock_gettime(((~self.pid) << 3) | 2)
                        if left <= 0:
                            self.kill("cpu")
                        look_at = now + max(left, CPU_LOOK_S)
                    timeout = max(0.0, min(self.wall_at, look_at) - now) * 1000 + 1
                for fd, _events in poll.poll(timeout):
                    if fd == pidfd:
                        dead = True
                        poll.unregister(pidfd)
                    elif fd == CONTROL_FD:  # the worker is gone: so are we, and the kernel takes the rest
                        os._exit(0)
                    elif not self.read(fd):
                        poll.unregister(fd)
                        del self.open[fd]
        finally:
            os.close(pidfd)
        _, status, usage = os.wait4(self.pid, 0)
        signalled = os.WIFSIGNALED(status)
        return {
            "killed": self.killed,
            "truncated": self.truncated,
            "exit_code": None if signalled else os.WEXITSTATUS(status),
            "signal": os.WTERMSIG(status) if signalled else None,
            "wall_s": time.monotonic() - self.started,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "memory_bytes": usage.ru_maxrss * 1024,
        }

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
        else:
            keep = data[: max(0, self.output_left)]
            self.output_left -= len(data)
            self.data[index] += keep
            if self.output_left < 0:
                self.truncated = True
                self.kill("output")
        return True


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
            for digest in task["forget"]:
                zygote.forget(digest)
            names = task.get("files")
            if names is not None:
                zygote.lay_out(task["bundle"], names, parts[1:])
            facts, (stdout, stderr, raw) = zygote.run(task, parts[0])
            failure, report = split_report(raw)
            if failure is not None and not facts["killed"]:
                wire.send(CONTROL_FD, {"error": "lock-down: " + failure})
                continue
            facts["complete"] = report is not None
            wire.send(CONTROL_FD, facts, [report or b"", stdout, stderr])
        except (OSError, ValueError, ImportError, AttributeError) as error:
            wire.send(CONTROL_FD, {"error": "zygote: %s: %s" % (type(error).__name__, error)})
