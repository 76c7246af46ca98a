"""The CPU of grading alone: one handler, one jail, no queue and no supervisor around them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from graders import manifest
from graders.model import Verdict, Work
from graders.python import GradelibHandler, profile
from sandbox.jail import Jail


@dataclass(frozen=True, slots=True)
class Grading:
    """CPU seconds per submission, by the process that used them. `jail_s` is zygote and children."""

    submissions: int
    worker_s: float
    jail_s: float


def measure(root: Path, laps: int) -> Grading:
    """All right samples of the course at `root`, `laps` times, after laps that warm references and jail."""
    samples = [
        Work(problem.payload, sample.response)
        for problem in manifest.load(root)
        for sample in problem.submissions
        if sample.expected == {Verdict.CORRECT}
    ]
    handler = GradelibHandler(root)
    with Jail(profile()) as jail:

        def lap() -> None:
            for work in samples:
                judgement = handler.grade(work, jail)
                assert judgement.verdict is Verdict.CORRECT, judgement

        for _ in range(2):
            lap()
        zygote = psutil.Process(jail.pid)
        worker, inside = _used(psutil.Process()), _below(zygote)
        for _ in range(laps):
            lap()
        count = laps * len(samples)
        return Grading(
            count,
            (_used(psutil.Process()) - worker) / count,
            (_below(zygote) - inside) / count,
        )


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _below(top: psutil.Process) -> float:
    """Of the zygote, of its children that ended, and of those that live on."""
    ended = top.cpu_times()
    living = sum(_used(child) for child in top.children())
    return _used(top) + ended.children_user + ended.children_system + living
