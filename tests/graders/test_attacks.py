"""Every file in attacks/ is a submission that wants marks it did not earn, or others' texts; none gets any.

They meet the real grading: catalogue, passes, a warm jail, and a problem whose outputs only the right formula
gives. The staff's answer and a stranger's submission went through the same jail right before.

Header lines of an attack:
    # attack: what it tries
    # expect: VERDICT [VERDICT...]     any of these; never correct, and the blame is always the learner's
    # repeat: COUNT                    the submission is what follows, so often
    # first: TEXT                      before that
    # then: TEXT                       behind it
    # course: careless                 the staff's check and comparison use expressions that can explode
What follows is the whole submission. It may find the answer, the stranger's text or the worker's secret, each
marked with its word below: nothing that comes back may contain one of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from graders.feedback import Feedback
from graders.model import Blame, Judgement, Verdict, Work
from graders.python import GradelibHandler, profile
from sandbox.jail import Jail
from sandbox.model import Limits
from tests.graders.conftest import write

ATTACKS = sorted((Path(__file__).parent / "attacks").glob("*.py"))
LIMITS = Limits(cpu_s=1.0, wall_s=4.0, memory_mib=128)

ANSWER_WORD = "answerword48271"
STRANGER_WORD = "strangerword7919"
SECRET_WORD = "secretword104729"
OTHER_WORD = "othercourseword15485863"

GRADER = """
import ast

from grader_support import gradelib

grader = gradelib.Grader()


def check(text):
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    if any(isinstance(call, ast.Name) and call.id == "forbidden" for call in calls):
        return "Do not call that."


def near(expected, actual):
    return abs(float(expected) - float(actual)) < 1e-6


def whole(module):
    print("begin")
    for n in range(3):
        print(module.code(n), module.share(n))
    if not callable(getattr(module, "share", None)):
        grader.end_test("there is no share")


grader.add_input_check(check)
grader.add_test(gradelib.InvokeStudentFunctionTest("code", [5]))
grader.add_test(gradelib.InvokeStudentFunctionTest("code", [gradelib.rand.randrange(10**6)]))
grader.add_test(gradelib.InvokeStudentFunctionTest("code", [41], output_writer=str))
grader.add_test(gradelib.InvokeStudentFunctionTest("share", [7], compare=near))
grader.add_test(gradelib.InvokeStudentFunctionTest("share", [70], compare=near))
grader.add_test(gradelib.InvokeStudentFunctionTest("share", [700], compare=near))
grader.add_test(gradelib.Test(whole, "both"))
"""

EXPLOSIVE = r"""
import re


def comments(text):
    re.search(r"^#( ?\w+)*$", text, re.M)


def small(expected, actual):
    return re.match(r"(\d+)*\.\d+(e-\d+)?$", actual.strip()) and near(expected, actual)


grader.add_input_check(comments)
"""
CARELESS = GRADER.replace("compare=near", "compare=small").replace(
    "\ngrader.add_input_check(check)\n", EXPLOSIVE + "grader.add_input_check(check)\n"
)

ANSWER = f"""
{ANSWER_WORD} = 48271


def code(n):
    return (n * {ANSWER_WORD} + 11) % 2147483647


def share(n):
    return code(n) / 2147483647
"""

STRANGER = ANSWER.replace(ANSWER_WORD, STRANGER_WORD) + f"# {STRANGER_WORD} {'x' * 5000} {STRANGER_WORD}\n"

OTHER = {
    "q/grader.py": GRADER + f"# {OTHER_WORD} in the grader\n",
    "q/answer.py": ANSWER + f"# {OTHER_WORD} in the answer\n",
    "q/notes.txt": f"{OTHER_WORD} in a data file\n",
}


def header(source: str) -> dict[str, str]:
    found = {}
    for line in source.splitlines():
        if not line.startswith("# ") or ":" not in line:
            break
        key, _, value = line[2:].partition(":")
        found[key.strip()] = value.strip()
    return found


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WARDEN_TEST_SECRET", SECRET_WORD)
        with Jail(profile(), slot=4000 + os.getpid() % 1000) as jail:
            yield jail


@pytest.fixture
def course(tmp_path: Path) -> GradelibHandler:
    write(tmp_path, {"p/grader.py": GRADER, "p/answer.py": ANSWER, **OTHER})
    write(tmp_path, {"careless/grader.py": CARELESS, "careless/answer.py": ANSWER})
    return GradelibHandler(tmp_path, limits=LIMITS)


def grade(course: GradelibHandler, jail: Jail, text: str, problem: str = "p") -> Judgement:
    return course.grade(Work(f'{{"grader": "{problem}/grader.py"}}', text), jail)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_attack_earns_and_learns_nothing_and_an_honest_submission_is_right(
    course: GradelibHandler, jail: Jail, path: Path
) -> None:
    source = path.read_text()
    told = header(source)
    assert "attack" in told, "an attack says what it tries"
    expected = {Verdict(word) for word in told["expect"].split()}
    problem = told.get("course", "p")
    assert grade(course, jail, STRANGER, "q").correct
    assert grade(
        course, jail, STRANGER, problem
    ).correct  # the reference has run just before, in the same jail

    if "repeat" in told:
        source = source.split("\n", len(told))[-1] * int(told["repeat"])
        source = told.get("first", "") + source + told.get("then", "")
    found = grade(course, jail, source, problem)

    said = "\n".join([*found.errors, *(test.actual for test in found.tests), found.detail])
    assert found.verdict in expected, f"{found.verdict}: {found.detail}; {said[-600:]}"
    assert not found.correct
    assert found.score == 0.0
    assert found.blame is Blame.LEARNER
    assert found.usage.wall_s <= LIMITS.wall_s + 0.5
    for word in (ANSWER_WORD, STRANGER_WORD, SECRET_WORD, OTHER_WORD):
        assert word not in said, said
    feedback = Feedback()
    assert etree.fromstring(feedback.render(found).msg) is not None
    assert feedback.faults == 0
    honest = grade(course, jail, STRANGER, problem)
    assert honest.verdict is Verdict.CORRECT, honest


def test_each_attack_is_known_by_a_sentence_of_its_own() -> None:
    sentences = [header(path.read_text()).get("attack", "") for path in ATTACKS]
    assert all(sentences)
    assert len(set(sentences)) == len(sentences) >= 40
