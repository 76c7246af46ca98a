"""Residents: children of staff code that stay for the next task of the same kind.

Runs in: worker, tools.

The child of a task that says so (staff code only) is kept after its report, for the next task of the same
module, bundle and limits; see sandbox/child.py for the frames. It is watched like any other child while it
has a request, with clocks and caps of that request. At a limit it is killed. It is ended when it asks for
that, has grown, is used up, is the least recently used of too many, or its bundle goes. What it does between
requests nobody watches; whatever it left in its pipes, or its death, is found before the next one, and a
fresh child is forked. It shares nothing with a learner's child: that is in another pid namespace, has another
scratch, and closes every descriptor that it inherits.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import replace

from sandbox import child as inside
from sandbox import kernel
from sandbox.line import ANSWER_S, Child, Line
from sandbox.model import Limits, Task
from sandbox.watch import Seen, Watch

# Each costs its dirty pages; what it may grow by, and what it may have in its scratch, the jail adds to its
# memory limit.
MOST_RESIDENTS = 4
RESIDENT_KIB = 16 * 1024
MOST_REQUESTS = 200
MOST_CPU_S = 60
IDLE_S = 900.0


class Residents:
    """Those of one jail. `fork` makes a child for a task."""

    def __init__(self, line: Line, fork: Callable[[Task], Child]) -> None:
        self._line = line
        self._fork = fork
        self._kept: dict[tuple[object, ...], Resident] = {}  # the least recently used first

    def __len__(self) -> int:
        return len(self._kept)

    def run(self, task: Task) -> Seen:
        """Have the task done by one that is there, or by a fresh one.

        Raises:
            SandboxError: see `Watch`.
        """
        key = (task.entry.partition(":")[0], task.bundle.digest if task.bundle else "", task.limits)
        resident = self._kept.pop(key, None)
        if resident is not None and resident.is_fit():
            seen = resident.ask(task)
            if resident.alive:
                self._kept[key] = resident
            # It gave up by itself, and it was not fresh: what an earlier request left behind may be why.
            if not seen.exit_code or seen.killed:
                return seen
        elif resident is not None:
            resident.end()
        while len(self._kept) >= MOST_RESIDENTS:
            self._kept.pop(next(iter(self._kept))).end()
        resident = Resident(self._line, self._fork(task))
        seen = resident.ask(task)
        if resident.alive:
            self._kept[key] = resident
        return seen

    def forget(self, digest: str) -> None:
        """End those of a bundle that goes."""
        for key in [key for key in self._kept if key[1] == digest]:
            self._kept.pop(key).end()

    def end_idle(self, now: float) -> None:
        """End those that had nothing to do for long. Called with each task; an idle jail costs no wake-up."""
        for key in [key for key, one in self._kept.items() if now - one.used_at > IDLE_S]:
            self._kept.pop(key).end()

    def drop(self) -> None:
        """Forget them all without a word: the zygote is gone, and they with it."""
        for resident in self._kept.values():
            resident.drop()
        self._kept.clear()


class Resident:
    """A child that stays. `alive` is False once it was killed and reaped."""

    def __init__(self, line: Line, child: Child) -> None:
        self._line = line
        self._child = child
        self.used_at = child.started
        self.served = 0
        self.alive = True

    def ask(self, task: Task) -> Seen:
        """Give it a request and watch it."""
        name = task.entry.encode()
        frame = inside.REQUEST_HEAD.pack(len(name) + len(task.request), len(name)) + name + task.request
        fresh = not self.served
        if not fresh:
            self.used_at = time.monotonic()
        watch = Watch(self._line, self._child, task.limits, frame, fresh)
        try:
            seen = watch.until_dead()
        except BaseException:
            self.drop()
            raise
        self.served += 1
        if watch.end is not None:
            self.drop()
            return seen
        seen = replace(seen, scratch_full=kernel.is_full(self._child.scratch))
        if watch.retired or self._is_used_up(task.limits, watch.grown_kib):
            self.end()
        return seen

    def _is_used_up(self, limits: Limits, grown_kib: int) -> bool:
        usage = os.statvfs(self._child.scratch)
        written_kib = (usage.f_blocks - usage.f_bfree) * usage.f_frsize // 1024
        return (
            grown_kib + written_kib > RESIDENT_KIB
            or usage.f_ffree < limits.scratch_files // 2
            or self.served >= MOST_REQUESTS
            or self._child.cpu_s() > MOST_CPU_S
        )

    def is_fit(self) -> bool:
        """Alive, and silent since its last report. What it wrote after that belongs to no request."""
        poll = select.poll()
        for fd in (*self._child.reads, self._child.pidfd):
            poll.register(fd, select.POLLIN)
        return not poll.poll(0)

    def end(self) -> None:
        """Kill and reap it."""
        if self.alive:
            self._child.kill()
            self._line.reap(self._child)
            self._line.end(ANSWER_S)
            self.drop()

    def drop(self) -> None:
        """Let go of it; it is dead, or dies with the zygote."""
        if self.alive:
            self.alive = False
            self._child.close()
