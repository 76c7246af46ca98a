"""The processes of a running service, by what they are.

Runs in: tools. Everything is looked up below the supervisor, so nothing of another service is ever hit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from tests.chaos.script import Target


@dataclass(frozen=True, slots=True)
class Found:
    """One process. `slot` is the seat of the worker that it is or belongs to; "" is the supervisor's."""

    target: Target
    slot: str
    process: psutil.Process

    @property
    def age_s(self) -> float:
        """Since it was born; 0 if it is gone."""
        try:
            return time.time() - self.process.create_time()
        except psutil.NoSuchProcess:
            return 0.0


def below(supervisor: int) -> Mapping[Target, list[Found]]:
    """The processes of the service of this supervisor, itself included. Some may be gone by now."""
    found: dict[Target, list[Found]] = {target: [] for target in Target}
    try:
        top = psutil.Process(supervisor)
        workers = top.children()
    except psutil.Error:
        return found
    found[Target.SUPERVISOR].append(Found(Target.SUPERVISOR, "", top))
    for worker in workers:
        with contextlib.suppress(psutil.Error):
            title = " ".join(worker.cmdline())
            if not title.startswith("warden worker "):
                continue
            slot = title.removeprefix("warden worker ").strip()
            found[Target.WORKER].append(Found(Target.WORKER, slot, worker))
            for process in worker.children():
                with contextlib.suppress(psutil.Error):
                    _inside(found, slot, process)
    return found


def _inside(found: dict[Target, list[Found]], slot: str, process: psutil.Process) -> None:
    words = " ".join(process.cmdline())
    if "sandbox.launch" in words:
        found[Target.LAUNCHER].append(Found(Target.LAUNCHER, slot, process))
        # In tier reduced it stays, and is the zygote's parent.
        for zygote in process.children():
            _inside(found, slot, zygote)
    elif "sandbox.zygote" in words:
        found[Target.ZYGOTE].append(Found(Target.ZYGOTE, slot, process))
        for child in process.children():
            found[Target.CHILD].append(Found(Target.CHILD, slot, child))


def gone(process: psutil.Process) -> bool:
    """Dead, whether or not whoever inherited it has reaped it by now."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
