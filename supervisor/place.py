"""A seat with the process that sits in it, as the arbiter holds it, and what the end of that process means.

Runs in: supervisor.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from graders.model import Cause
from supervisor import slot, spawn
from supervisor.events import Hold, Phase, Trouble
from supervisor.recycling import Life
from supervisor.slot import Slot
from supervisor.spawn import Child
from supervisor.status import SlotState, SlotStatus

PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True, eq=False)
class Place:
    """A slot, its machine, its worker.

    `wanted`: somebody shall sit here; `retired`: the seat itself goes when it is empty. `until` is the
    worker's promise (monotonic seconds).
    """

    id: str
    index: int
    queue: str
    cpu: int | None
    wanted: bool = True
    retired: bool = False
    machine: Slot = field(default_factory=Slot)
    child: Child | None = None
    owner: str = ""
    phase: Phase | None = None
    until: float | None = None
    graded: int = 0
    spared: bool = False  # what the last worker here was grading when it died has no part in that
    told: Hold = Hold()  # noqa: RUF009 (frozen); what its worker has been told to leave
    life: Life | None = None  # of the worker that sits here now
    trouble: Trouble | None = None  # the last word of a worker that then died explains its death

    def status(self, now: float, wall: float) -> SlotStatus:
        """Its part of the document; `now` monotonic, `wall` unix seconds of the same moment."""
        machine = self.machine
        return SlotStatus(
            id=self.id,
            state=machine.state,
            since=round(wall - (now - machine.since), 3),
            pid=self.child.pid if self.child else None,
            cpu=self.cpu,
            phase=self.phase.value if self.phase else "",
            until=round(wall + (self.until - now), 3) if self.until is not None else None,
            graded=self.graded,
            crashes=machine.crashes,
            memory_bytes=resident_bytes(self.child.pid) if self.child else None,
            cause=machine.cause,
            message=machine.message,
        )


def how_it_ended(code: int, trouble: Trouble | None) -> slot.Exited:
    """What a worker's exit code (minus its signal) means; its last trouble is the better explanation."""
    said = trouble.message if trouble else ""
    if code == spawn.EXIT_ORDERLY:
        return slot.Exited(orderly=True, cause=Cause.HOST, message="")
    if code in (spawn.EXIT_UNAVAILABLE, spawn.EXIT_CONFIG):
        cause = Cause.CONFIG if code == spawn.EXIT_CONFIG else Cause.SANDBOX_UNAVAILABLE
        return slot.Exited(orderly=False, cause=cause, message=said or "it gave no reason", hopeless=True)
    if code == -signal.SIGKILL:
        message = "killed by somebody else with SIGKILL: the kernel for want of memory, or a person"
        return slot.Exited(orderly=False, cause=Cause.RESOURCE, message=message)
    if code < 0:
        message = f"died of signal {-code} ({signal.strsignal(-code)})"
        return slot.Exited(orderly=False, cause=Cause.HOST, message=message)
    cause = trouble.cause if trouble else Cause.HOST
    return slot.Exited(orderly=False, cause=cause, message=said or f"ended with code {code}; see the log")


def spares(code: int, machine: Slot) -> bool:
    """Whether what a worker was grading has no part in its end.

    `code` is its exit code, `machine` its slot before that. It has no part where the worker meant to go, or
    we ended it because its time to drain was over. A worker that hung, draining or not, was killed by us,
    too; what it graded may be why.
    """
    meant = (
        spawn.EXIT_ORDERLY,
        spawn.EXIT_ORPHAN,
        spawn.EXIT_UNAVAILABLE,
        spawn.EXIT_CONFIG,
        spawn.EXIT_JOURNAL,
    )
    return code in meant or (machine.state is SlotState.DRAINING and not machine.patient)


def resident_bytes(pid: int) -> int | None:
    """The resident set of a process, None if it has just ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - of each worker, time and again
            return int(file.read().split()[1]) * PAGE
    except (OSError, IndexError):  # it ended, and is not reaped yet
        return None


def memory_bytes(pid: int) -> int | None:
    """The resident sets of a worker and its zygotes (or their keepers) together, None if it has just ended.

    Learners' programs are children of those, and not counted. Shared pages count in each.
    """
    own = resident_bytes(pid)
    if own is None:
        return None
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return own + sum(resident_bytes(int(child)) or 0 for child in children)
