"""One warm jail for all tests of grading, and small courses written on the spot."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import compat
from graders.model import Judgement, Work
from graders.python import GradelibHandler, profile
from sandbox.jail import Jail
from sandbox.model import Limits, Outcome, Runner, Task

if str(compat.ROOT) not in sys.path:
    sys.path.append(str(compat.ROOT))  # so that tests can `import gradelib`, as graders do

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


class Counting:
    """A runner that also notes which tasks were run."""

    def __init__(self, inner: Runner) -> None:
        self.inner = inner
        self.tasks: list[Task] = []
        self.outcomes: list[Outcome] = []

    def run(self, task: Task) -> Outcome:
        self.tasks.append(task)
        self.outcomes.append(self.inner.run(task))
        return self.outcomes[-1]

    def entries(self) -> list[str]:
        return [task.entry.partition(":")[2] for task in self.tasks]


@pytest.fixture(scope="session")
def jail() -> Iterator[Jail]:
    with Jail(profile(), slot=31) as jail:
        yield jail


@pytest.fixture
def runner(jail: Jail) -> Counting:
    return Counting(jail)


Judge = Callable[..., Judgement]

LIMITS = Limits(cpu_s=1.0, wall_s=6.0)


@pytest.fixture
def judge(tmp_path: Path, runner: Counting) -> Judge:
    """judge(grader, answer, response, **options): the judgement of a response to a problem written for it."""

    def judge(
        grader: str,
        answer: str,
        response: str,
        *,
        payload: str = '{"grader": "p/grader.py"}',
        course: dict[str, str | bytes] | None = None,
        limits: Limits = LIMITS,
        **work: object,
    ) -> Judgement:
        write(tmp_path, {"p/grader.py": grader, "p/answer.py": answer, **(course or {})})
        handler = GradelibHandler(tmp_path, limits=limits)
        return handler.grade(Work(payload, response, **work), runner)  # type: ignore[arg-type]

    return judge


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, contents in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)


GRADELIB = "from grader_support import gradelib\ngrader = gradelib.Grader()\n"
ADD = GRADELIB + (
    "grader.add_test(gradelib.InvokeStudentFunctionTest('add', [2, 3]))\n"
    "grader.add_test(gradelib.InvokeStudentFunctionTest('add', [-1, 1]))\n"
)
ADD_ANSWER = "def add(a, b):\n    return a + b\n"
