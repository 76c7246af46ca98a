"""A grading that uses numpy, in a course's own virtualenv, against a plain one: interleaved, on warm jails.

`.venv-course` (tests/sandbox/course_env/setup.sh makes it) is the interpreter of both. What differs is numpy:
imported in the zygote of one jail, and used by the grader, the answer and the submission of its problem.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from graders.model import Verdict, Work
from graders.python import GradelibHandler, profile
from sandbox.jail import Jail

PYTHON = Path(__file__).resolve().parent.parent / ".venv-course" / "bin" / "python"
HEAVY = ("numpy", "pandas")

GRADER = """
{imports}
from grader_support import gradelib
grader = gradelib.Grader()
for count in (10, 100, 1000):
    values = [float(number % 7) for number in range(count)]
    grader.add_test(gradelib.InvokeStudentFunctionTest("total", [{values}], short_desc=str(count)))
"""
PLAIN = "def total(values):\n    return sum(values) / len(values)\n"
NUMPY = "import numpy as np\n\ndef total(values):\n    return float(np.mean(values))\n"


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians of one grading with its reference cached, in seconds, and the size of the warm zygote."""

    wall_s: float
    child_cpu_s: float
    zygote_pss_bytes: int


@dataclass(frozen=True, slots=True)
class NumpyGrading:
    """A plain problem; one with numpy in a zygote that has preloaded it; the same with HEAVY preloaded."""

    plain: Cost
    numpy: Cost
    heavy: Cost


def measure(rounds: int) -> NumpyGrading | None:
    """`rounds` gradings of each kind, in turns. None where the virtualenv is not there."""
    if not PYTHON.exists():
        return None
    with TemporaryDirectory(prefix="warden-bench-") as folder:
        for name, answer in (("plain", PLAIN), ("numpy", NUMPY)):
            problem = Path(folder) / name
            problem.mkdir()
            imports, values = (
                ("import numpy as np", "np.array(values)") if name == "numpy" else ("", "values")
            )
            (problem / "grader.py").write_text(GRADER.format(imports=imports, values=values))
            (problem / "answer.py").write_text(answer)
        handler = GradelibHandler(Path(folder), seeds=1, interpreter=str(PYTHON))
        with _jail((), 0) as bare, _jail(("numpy",), 1) as warm, _jail(HEAVY, 2) as heavy:
            kinds = [
                _Series(handler, bare, "plain", PLAIN),
                _Series(handler, warm, "numpy", NUMPY),
                _Series(handler, heavy, "numpy", NUMPY),
            ]
            for number in range(rounds + 3):
                for series in kinds:
                    series.once(counts=number >= 3)  # references and jails warm before it counts
            return NumpyGrading(*[series.cost() for series in kinds])


def _jail(preload: Sequence[str], slot: int) -> Jail:
    return Jail(profile(str(PYTHON), preload), 20_000 + slot)


class _Series:
    """Gradings of one right submission in one jail."""

    def __init__(self, handler: GradelibHandler, jail: Jail, problem: str, text: str) -> None:
        self.handler = handler
        self.jail = jail
        self.work = Work(problem, text)
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def once(self, counts: bool) -> None:
        started = time.perf_counter()
        judgement = self.handler.grade(self.work, self.jail)
        took = time.perf_counter() - started
        assert judgement.verdict is Verdict.CORRECT, judgement
        if counts:
            self.wall.append(took)
            self.cpu.append(judgement.usage.cpu_s)

    def cost(self) -> Cost:
        size = psutil.Process(self.jail.pid).memory_full_info().pss
        return Cost(statistics.median(self.wall), statistics.median(self.cpu), size)
