"""Staff code that fails on a learner's text: whose fault it was, tried out in the jail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from graders.feedback import Feedback
from graders.model import Blame, Cause, Judgement, Verdict, Work
from graders.python import GradelibHandler, profile, self_check
from graders.words import english
from sandbox.jail import Jail
from sandbox.model import Limits, OutcomeKind
from tests.graders.conftest import GRADELIB, Counting, write

LIMITS = Limits(cpu_s=0.4, wall_s=4.0, memory_mib=96)
ANSWER = "def f(n):\n    return n / 4\n"
RIGHT = "def f(n):\n    return n * 0.25\n"
WORD = "trigger"

# What staff code does with a text, by how the pass ends then.
DOOMED = {
    "cpu": "while True: pass",
    "wall": "import threading; threading.Event().wait()",
    "memory": "import os; os._exit(71)",  # a MemoryError that nobody could catch
    "output": "import os\n        while True: os.write(1, bytes(65536))",
    "exit": "import os; os._exit(0)",
    "signal": "import ctypes; ctypes.string_at(0)",
    "forbidden": "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)",
}


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with Jail(profile(), slot=5000 + os.getpid() % 1000) as jail:
        yield jail


@pytest.fixture
def runner(jail: Jail) -> Counting:
    return Counting(jail)


def handler(root: Path, grader: str, answer: str = ANSWER, limits: Limits = LIMITS) -> GradelibHandler:
    write(root, {"p/grader.py": GRADELIB + grader, "p/answer.py": answer})
    return GradelibHandler(root, limits=limits)


def judge(course: GradelibHandler, runner: Counting, text: str) -> Judgement:
    return course.grade(Work('{"grader": "p/grader.py"}', text), runner)


def is_learners(found: Judgement, verdict: Verdict) -> bool:
    return (found.verdict, found.blame, found.cause) == (verdict, Blame.LEARNER, Cause.LEARNER)


def is_courses(found: Judgement) -> bool:
    return (found.verdict, found.blame, found.cause) == (Verdict.UNGRADED, Blame.COURSE, Cause.GRADER_BUG)


def residents(runner: Counting, entry: str) -> list[bool]:
    return [task.resident for task in runner.tasks if task.entry == f"harness.run:{entry}"]


def checking(condition: str, doom: str) -> str:
    """A grader whose check does what dooms it if the condition on `text` holds."""
    return (
        f"def check(text):\n    if {condition}:\n        {doom}\n"
        "grader.add_input_check(check)\n"
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [2]))\n"
    )


def comparing(condition: str, doom: str) -> str:
    """One test whose comparison does what dooms it if the condition on `expected` and `actual` holds."""
    return (
        f"def near(expected, actual):\n    if {condition}:\n        {doom}\n"
        "    return abs(float(expected) - float(actual)) < 1e-6\n"
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [2]))\n"
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [3], compare=near))\n"
    )


# -- checks and preprocessors


@pytest.mark.parametrize("kind", DOOMED)
def test_a_text_that_a_check_fails_on_is_the_learners(tmp_path: Path, runner: Counting, kind: str) -> None:
    limits = Limits(wall_s=0.5 if kind == "wall" else 4.0, cpu_s=0.4, memory_mib=96)
    course = handler(tmp_path, checking(f"'{WORD}' in text", DOOMED[kind]), limits=limits)
    found = judge(course, runner, f"{RIGHT}# {WORD}\n")
    assert is_learners(found, Verdict.INPUT_ERROR), found
    assert (found.score, found.errors, found.tests) == (0.0, (english().said.not_checked,), ())
    assert found.detail.startswith(f"prepare: {kind}: ")
    assert "works on an empty text and the staff's answer" in found.detail
    assert "attempt" not in runner.entries()
    assert residents(runner, "prepare") == [True, False, False, False]
    message = Feedback().render(found).msg
    assert english().said.not_checked in message
    assert "prepare" not in message
    assert etree.fromstring(message) is not None
    assert judge(course, runner, RIGHT).correct


@pytest.mark.parametrize("condition", ["True", "not text", "text"])
def test_a_check_that_fails_on_harmless_texts_is_the_courses(
    tmp_path: Path, runner: Counting, condition: str
) -> None:
    course = handler(tmp_path, checking(f"{condition} or '{WORD}' in text", DOOMED["cpu"]))
    found = judge(course, runner, f"{RIGHT}# {WORD}\n")
    assert is_courses(found), found
    assert "killed: CPU limit of 0.4 s; and so on " in found.detail
    assert ("an empty text" in found.detail) == (condition != "text")
    assert "attempt" not in runner.entries()


def test_a_check_that_fails_on_the_answer_does_not_pass_the_self_check(tmp_path: Path, jail: Jail) -> None:
    course = handler(tmp_path, checking("'n / 4' in text", DOOMED["cpu"]))
    assert is_courses(self_check(course, "p/grader.py", jail))


EXPLODING = {
    # A comment of words: where it ends in something else, all ways to cut the words are tried.
    "regular expression": """
import re
def check(text):
    re.search(r"^#( ?[a-z]+)*$", text, re.M)
""",
    "every pair of lines": """
def check(text):
    lines = text.split("\\n")
    any(a is b for i, a in enumerate(lines) for b in lines[:i])
""",
    "every part of a word": """
def check(text):
    for word in text.split():
        found = {word[a:b] for a in range(len(word)) for b in range(a, len(word))}
""",
    "a parser that may go as deep as it likes": """
import ast, sys
def check(text):
    sys.setrecursionlimit(10**9)
    ast.dump(ast.parse(text))
""",
    "a message that repeats the text": """
def check(text):
    return text * 4 if len(text) > 9999 else ""
""",
}
EXPLOSIVE = {
    "regular expression": "# " + "a" * 60 + "!\n",
    "every pair of lines": "\n".join(f"# {number}" for number in range(40_000)),
    "every part of a word": "#" + "".join(chr(0x4E00 + number % 20_000) for number in range(100_000)) + "\n",
    "a parser that may go as deep as it likes": "x = " + "1+" * 90_000 + "1\n",
    "a message that repeats the text": "#" * 400_000,
}


@pytest.mark.parametrize("what", EXPLODING)
def test_real_checks_that_explode_blame_nobody_else(tmp_path: Path, runner: Counting, what: str) -> None:
    rest = "grader.add_input_check(check)\ngrader.add_test(gradelib.InvokeStudentFunctionTest('f', [2]))\n"
    course = handler(tmp_path, EXPLODING[what] + rest)
    assert judge(course, runner, RIGHT).correct
    found = judge(course, runner, RIGHT + EXPLOSIVE[what])
    assert is_learners(found, Verdict.INPUT_ERROR), found
    assert found.score == 0.0
    assert judge(course, runner, RIGHT).correct


def test_a_preprocessor_that_makes_too_much_of_a_text_is_the_learners_too(
    tmp_path: Path, runner: Counting
) -> None:
    course = handler(
        tmp_path,
        "grader.add_preprocessor(lambda text: text.replace('#', '#' * 100))\n"
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [2]))\n",
    )
    found = judge(course, runner, RIGHT + "#" * 20_000)
    assert is_learners(found, Verdict.INPUT_ERROR), found
    assert found.errors == (english().said.not_checked,)


def test_what_an_earlier_text_left_behind_is_held_against_nobody(tmp_path: Path, runner: Counting) -> None:
    """The second text that a resident gets finds a grader that is stuck; it is done in a fresh process."""
    course = handler(
        tmp_path, "seen = []\n" + checking("seen.append(text) or len(seen) > 1", "while 1: pass")
    )
    for _ in range(3):
        assert judge(course, runner, RIGHT).verdict is Verdict.CORRECT
    ends = [outcome.kind for outcome in runner.outcomes]
    assert ends.count(OutcomeKind.CPU) == 1  # the second's; the third found nobody there


# -- comparisons


@pytest.mark.parametrize("kind", DOOMED)
def test_an_output_that_a_comparison_fails_on_is_the_learners(
    tmp_path: Path, runner: Counting, kind: str
) -> None:
    limits = Limits(wall_s=0.5 if kind == "wall" else 4.0, cpu_s=0.4, memory_mib=96)
    course = handler(tmp_path, comparing(f"'{WORD}' in actual", DOOMED[kind]), limits=limits)
    found = judge(course, runner, f"def f(n):\n    return n / 4 if n == 2 else '{WORD}'\n")
    assert is_learners(found, Verdict.INCORRECT), found
    assert found.score == 0.5
    assert [test.correct for test in found.tests] == [True, False]
    assert found.tests[1].actual.endswith(english().said.not_compared)
    assert f"compare: {kind}: " in found.detail
    assert "works on empty outputs and the outputs of the staff's answer" in found.detail
    assert residents(runner, "compare") == [True, False, False, False]
    message = Feedback().render(found).msg
    assert english().said.not_compared in message
    assert "compare:" not in message
    assert judge(course, runner, RIGHT).correct


@pytest.mark.parametrize("condition", ["True", "not actual", "actual == expected"])
def test_a_comparison_that_fails_on_harmless_outputs_is_the_courses(
    tmp_path: Path, runner: Counting, condition: str
) -> None:
    course = handler(tmp_path, comparing(f"{condition} or '{WORD}' in actual", DOOMED["cpu"]))
    found = judge(course, runner, f"def f(n):\n    return '{WORD}'\n")
    assert is_courses(found), found
    assert "compare: cpu: " in found.detail


def test_a_comparison_that_fails_on_all_but_the_same_text_is_the_courses(
    tmp_path: Path, runner: Counting
) -> None:
    course = handler(tmp_path, comparing("actual != expected", DOOMED["cpu"]))
    assert judge(course, runner, RIGHT).correct
    assert is_courses(judge(course, runner, "def f(n):\n    return n / 4 + 1e-9\n"))


BLOWN = {
    "regular expression": """
import re
def same(expected, actual):
    return bool(re.match(r"(\\d+)*[.]75$", actual.strip()))
""",
    "a row for each character": """
def same(expected, actual):
    row = list(range(len(actual) + 1))
    for _ in actual:
        row = [min(row[i], row[i - 1]) for i in range(len(row))]
    return expected == actual
""",
    "all orders of the words": """
import itertools
def same(expected, actual):
    return expected.split() in [list(words) for words in itertools.permutations(actual.split())]
""",
}
BLOWING = {
    "regular expression": "int('1' * 60)",
    "a row for each character": "'x' * 100_000",
    "all orders of the words": "' '.join('abcdefghijklmn')",
}


@pytest.mark.parametrize("what", BLOWN)
def test_real_comparisons_that_explode_blame_nobody_else(tmp_path: Path, runner: Counting, what: str) -> None:
    test = "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [3], output_writer=str, compare=same))\n"
    course = handler(tmp_path, BLOWN[what] + test)
    assert judge(course, runner, RIGHT).correct
    found = judge(course, runner, f"def f(n):\n    return {BLOWING[what]}\n")
    assert is_learners(found, Verdict.INCORRECT), found
    assert found.score == 0.0
    assert judge(course, runner, "def f(n):\n    return '.75'\n").blame is Blame.LEARNER
    assert judge(course, runner, RIGHT).correct


def test_what_could_not_be_compared_is_not_remembered_against_others(
    tmp_path: Path, runner: Counting
) -> None:
    course = handler(
        tmp_path,
        comparing(f"'{WORD}' in actual", DOOMED["cpu"])
        + "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [4], compare=near))\n",
    )
    found = judge(course, runner, f"def f(n):\n    return '1.00' if n == 4 else '{WORD}'\n")
    assert [test.correct for test in found.tests] == [False, False, False]
    other = "class One(float):\n    def __repr__(self):\n        return '1.00'\n"
    assert judge(course, runner, f"{other}def f(n):\n    return One(1) if n == 4 else n / 4\n").correct


def test_where_nothing_fails_no_pass_is_run_twice(tmp_path: Path, runner: Counting) -> None:
    checked = checking(f"'{WORD}' in text", DOOMED["cpu"])
    course = handler(tmp_path, checked + comparing(f"'{WORD}' in actual", DOOMED["cpu"]))
    assert judge(course, runner, RIGHT).correct
    assert runner.entries() == ["reference", "prepare", "attempt", "compare"]
