"""Staff passes in a process that stays: the same judgement as in a fresh one, whatever came before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from graders.model import Cause, Judgement, Verdict, Work
from graders.python import GradelibHandler, profile
from sandbox.jail import Jail
from sandbox.model import Outcome, Task

from .conftest import ADD_ANSWER, GRADELIB, LIMITS, write

TEST = "grader.add_test(gradelib.InvokeStudentFunctionTest('add', [2, 3]{more}))\n"
CHECK = GRADELIB + TEST.format(more="") + "grader.add_input_check(check)\n"
RIGHT = ADD_ANSWER
WRONG = "def add(a, b):\n    return a * b\n"


@pytest.fixture
def jail() -> Iterator[Jail]:
    with Jail(profile(), slot=3000 + os.getpid() % 1000) as jail:
        yield jail


class Fresh:
    """A runner that keeps nobody."""

    def __init__(self, jail: Jail) -> None:
        self.jail = jail

    def run(self, task: Task) -> Outcome:
        return self.jail.run(replace(task, resident=False))


def handler(root: Path, grader: str, **files: str) -> GradelibHandler:
    write(root, {"p/grader.py": grader, "p/answer.py": RIGHT})
    write(root, {f"p/{name}.py": text for name, text in files.items()})
    return GradelibHandler(root, limits=LIMITS)


def judge(handler: GradelibHandler, runner: Jail | Fresh, text: str, student: str = "") -> Judgement:
    return handler.grade(Work('{"grader": "p/grader.py"}', text, student_key=student), runner)


def residents(jail: Jail) -> list[int]:
    return [process.pid for process in psutil.Process(jail.pid).children()]


def test_checks_of_one_problem_are_made_by_one_process(jail: Jail, tmp_path: Path) -> None:
    course = handler(tmp_path, "def check(text): return 'No times.' if '*' in text else None\n" + CHECK)
    seen = []
    for text in (RIGHT, WRONG, RIGHT):
        seen.append((judge(course, jail, text).verdict, *residents(jail)))
    pid = seen[0][1]
    assert seen == [(Verdict.CORRECT, pid), (Verdict.INPUT_ERROR, pid), (Verdict.CORRECT, pid)]


LOOK = """
import os, random, sys
import helper

def check(text):
    seen = [random.random(), gradelib.rand.random(), os.getcwd(), list(sys.path), sys.getrecursionlimit()]
    seen += [sorted(name for name in sys.modules if 'helper' in name), 'found' in sys.modules]
    random.seed()
    gradelib.rand.seed()
    os.chdir('/')
    sys.path.append('/x')
    sys.setrecursionlimit(200)
    sys.modules['found'] = sys.modules.pop('helper')
    sys.stdout = open(os.devnull, 'w')
    return repr(seen)
"""


def test_a_check_finds_everything_as_the_first_one_did(jail: Jail, tmp_path: Path) -> None:
    course = handler(tmp_path, LOOK + CHECK, helper="x = 1\n")
    first, second = (judge(course, jail, RIGHT).errors for _ in range(2))
    assert len(residents(jail)) == 1
    assert first == second == judge(course, Fresh(jail), RIGHT).errors


def test_learners_of_other_seeds_find_the_grader_of_their_own(jail: Jail, tmp_path: Path) -> None:
    draw = (
        "import helper\nfrom grader_support import gradelib\n"
        "def check(text):\n    import helper\n    return '%s %s' % (helper.number, gradelib.rand.random())\n"
    )
    course = handler(tmp_path, draw + CHECK, helper="from gradelib import rand\nnumber = rand.random()\n")
    students = [str(number) for number in range(12)] * 2
    staying = [judge(course, jail, RIGHT, student).errors for student in students]
    assert len(residents(jail)) == 1
    assert staying == [judge(course, Fresh(jail), RIGHT, student).errors for student in students]
    assert len(set(staying)) > 2


def test_comparisons_are_made_there_too(jail: Jail, tmp_path: Path) -> None:
    near = "def near(expected, actual): return abs(float(expected) - float(actual)) < 0.1\n"
    course = handler(tmp_path, near + GRADELIB + TEST.format(more=", compare=near"))
    pids = set()
    for number in range(4):
        text = f"def add(a, b):\n    return a + b + {number}e-2\n"
        assert judge(course, jail, text).verdict is Verdict.CORRECT
        assert judge(course, jail, f"def add(a, b):\n    return {number}\n").verdict is Verdict.INCORRECT
        pids |= set(residents(jail))
    assert len(pids) == 1


EVAL = "import ast\ndef same(expected, actual): return {evaluate}(actual) == int(expected)\n"
# What it prints, executed by the comparison, makes the harness call everything the same from now on.
PATCH = """
class Patch:
    def __repr__(self):
        right = "dict(same=True, message='', trace='')"
        harness = "__import__('sys').modules['harness.run']"
        return f"setattr({harness}, '_compare_one', lambda *_: {right}) or 5"

def add(a, b):
    return Patch()
"""


def test_a_comparison_that_executes_a_learners_text_does_so_for_him_alone(jail: Jail, tmp_path: Path) -> None:
    course = handler(tmp_path, EVAL.format(evaluate="eval") + GRADELIB + TEST.format(more=", compare=same"))
    assert judge(course, jail, RIGHT).verdict is Verdict.CORRECT
    assert residents(jail) == []
    assert judge(course, jail, PATCH).verdict is Verdict.CORRECT  # his grader asked for it
    assert residents(jail) == []
    assert judge(course, jail, WRONG).verdict is Verdict.INCORRECT


def test_reading_a_text_as_a_literal_is_no_execution(jail: Jail, tmp_path: Path) -> None:
    source = EVAL.format(evaluate="ast.literal_eval")
    course = handler(tmp_path, source + GRADELIB + TEST.format(more=", compare=same"))
    assert judge(course, jail, RIGHT).verdict is Verdict.CORRECT
    assert len(residents(jail)) == 1


def test_a_check_may_import_what_it_needs_when_it_needs_it(jail: Jail, tmp_path: Path) -> None:
    late = "def check(text):\n    import helper, colorsys\n    return helper.said\n"
    course = handler(tmp_path, late + CHECK, helper="said = 'no'\n")
    for _ in range(2):
        assert judge(course, jail, RIGHT).errors == ("no",)
        assert len(residents(jail)) == 1


def test_a_check_that_fails_only_the_second_time_does_not_fail(jail: Jail, tmp_path: Path) -> None:
    stateful = "count = []\ndef check(text):\n    count.append(1)\n    assert len(count) == 1\n"
    course = handler(tmp_path, stateful + CHECK)
    for _ in range(3):
        assert judge(course, jail, RIGHT).verdict is Verdict.CORRECT


def test_a_check_that_fails_is_the_courses_fault_each_time(jail: Jail, tmp_path: Path) -> None:
    course = handler(tmp_path, "def check(text): assert 'times' not in text, 'broken'\n" + CHECK)
    for _ in range(2):
        found = judge(course, jail, RIGHT + "# times")
        assert (found.verdict, found.cause) == (Verdict.UNGRADED, Cause.GRADER_BUG)
        assert "broken" in found.detail
        assert residents(jail) == []
        assert judge(course, jail, RIGHT).verdict is Verdict.CORRECT
