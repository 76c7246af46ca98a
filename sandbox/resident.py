"""Residents: children of staff code that stay for the next task of the same kind.

Runs in: zygote (standard library only, CPython >= 3.8).

The child of a task that says so (staff code only) is kept after its report, for the next task of the same
module, bundle and limits; see sandbox/child.py for the frames. It is watched like any other child while it
has a request, with clocks and caps of that request. At a limit it is killed. It is ended when it asks for
that, has grown, is used up, is the least recently used of too many, or its bundle goes. What it does between
requests nobody watches; whatever it left in its pipes, or its death, is found before the next one, and a
fresh child is forked. It shares nothing with a learner's child: that is in another pid namespace, has another
scratch, and closes every descriptor that it inherits from here.
"""

from __future__ import annotations

import os
import select
import signal
import time

from sandbox import child, kernel
from sandbox.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any, Callable

# Each costs its dirty pages; what it may grow by, and what it may have in its scratch, the worker adds to the
# jail's memory limit.
MOST_RESIDENTS = 4
RESIDENT_KIB = 16 * 1024
MOST_REQUESTS = 200
MOST_CPU_S = 60
IDLE_S = 900.0


class Residents:
    """Those of one zygote. `fork` makes a child: pid, scratch, three pipes to read, one to write, when."""

    def __init__(
        self, fork: Callable[[dict[str, Any], bytes], tuple[int, int, list[int], int, float]]
    ) -> None:
        self.fork = fork
        self.kept: dict[tuple[object, ...], Resident] = {}  # the least recently used first

    def __len__(self) -> int:
        return len(self.kept)

    def run(self, task: dict[str, Any], request: bytes) -> tuple[dict[str, object], list[bytes]]:
        """Have the task done by one that is there, or by a fresh one: facts and what came out."""
        limits = task["limits"]
        name = task["entry"]
        key = (name.partition(":")[0], task.get("bundle"), *limits.values())
        resident = self.kept.pop(key, None)
        if resident is not None and resident.is_fit():
            facts, data = resident.ask(name, request, limits)
            if resident.alive:
                self.kept[key] = resident
            # It gave up by itself, and it was not fresh: what an earlier request left behind may be why.
            if not facts["exit_code"] or facts["killed"]:
                return facts, data
        elif resident is not None:
            resident.end()
        while len(self.kept) >= MOST_RESIDENTS:
            self.kept.pop(next(iter(self.kept))).end()
        resident = Resident(*self.fork(task, request))
        facts, data = resident.first(limits)
        if resident.alive:
            self.kept[key] = resident
        return facts, data

    def forget(self, digest: str) -> None:
        """End those of a bundle that goes."""
        for key in [key for key in self.kept if key[1] == digest]:
            self.kept.pop(key).end()

    def end_idle(self, now: float) -> None:
        """End those that had nothing to do for long. Called with each task; an idle jail costs no wake-up."""
        for key in [key for key, one in self.kept.items() if now - one.used_at > IDLE_S]:
            self.kept.pop(key).end()


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
        cpu_s = time.clock_gettime(kernel.cpu_clock(self.pid))
        watch = Watch(self.pid, self.reads, limits, self.used_at, True, cpu_s, self.requests, frame)
        return self._watch(watch, limits)

    def _watch(self, watch: Watch, limits: dict[str, Any]) -> tuple[dict[str, object], list[bytes]]:
        try:
            facts = watch.until_dead()
        except BaseException:
            self.end()
            raise
        self.served += 1
        facts["scratch_full"] = kernel.is_full(self.scratch)
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
            or time.clock_gettime(kernel.cpu_clock(self.pid)) > MOST_CPU_S
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
