"""Classes of the operator's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import graders
from graders.base import ClassHandler
from graders.errors import CourseError
from graders.model import Blame, Cause, Judgement, Verdict, Work
from sandbox.model import Outcome, SandboxError, Task

ME = f"{__name__}:"
GOOD = {"correct": True, "score": 1, "tests": [("s", "l", True, "e", "a")], "errors": ["e"]}


class NoRunner:
    def run(self, task: Task) -> Outcome:
        raise SandboxError("the sandbox failed")


class Echo(graders.Grader):
    def grade(self, grader_path: Path, grader_config: Mapping[str, Any], student_response: str) -> Any:
        assert grader_path.is_relative_to(self.grader_root)
        if student_response == "raise":
            raise ValueError("my bug")
        if student_response == "run":
            self.runner.run(Task("m:f", b""))
        if student_response == "judgement":
            return Judgement(Verdict.TIMEOUT, Blame.LEARNER, Cause.LEARNER, 0.0)
        return grader_config["answer"]


class Unwritten(graders.Grader):
    pass


def grade(answer: object, response: str = "", payload: str = "") -> Judgement:
    import json

    payload = payload or json.dumps({"grader": "p/x", "answer": answer})
    return ClassHandler(ME + "Echo", Path("/nonexistent")).grade(Work(payload, response), NoRunner())


def test_a_mapping_becomes_a_judgement() -> None:
    found = grade(GOOD)
    assert (found.verdict, found.blame, found.score) == (Verdict.CORRECT, Blame.LEARNER, 1.0)
    assert (found.errors, found.grader) == (("e",), "p/x")
    assert (found.tests[0].short, found.tests[0].actual) == ("s", "a")
    assert grade({"correct": False}).score == 0.0
    assert grade({"correct": False, "score": 0.5}).verdict is Verdict.INCORRECT
    assert grade(None, "judgement").verdict is Verdict.TIMEOUT


@pytest.mark.parametrize(
    "answer",
    [
        *(None, [], "yes", {}, {"correct": 1}, {"correct": "true"}, {**GOOD, "extra": 1}),
        *(
            {**GOOD, "score": 2},
            {**GOOD, "score": "1"},
            {**GOOD, "score": float("nan")},
            {**GOOD, "score": -1},
        ),
        *({**GOOD, "tests": "x"}, {**GOOD, "tests": [("s", "l", True, "e")]}, {**GOOD, "errors": "no"}),
        *({**GOOD, "tests": [("s", "l", 1, "e", "a")]}, {**GOOD, "tests": [("s", None, True, "e", "a")]}),
        {**GOOD, "errors": [1]},
    ],
)
def test_another_shape_is_the_courses_fault(answer: object) -> None:
    found = grade(answer)
    assert (found.verdict, found.blame, found.cause) == (Verdict.UNGRADED, Blame.COURSE, Cause.GRADER_BUG)
    assert "grade returned" in found.detail


def test_an_exception_is_the_courses_fault_with_its_traceback() -> None:
    found = grade(None, "raise")
    assert (found.verdict, found.blame) == (Verdict.UNGRADED, Blame.COURSE)
    assert "my bug" in found.detail
    assert "Traceback" in found.detail


def test_a_failing_sandbox_is_not() -> None:
    with pytest.raises(SandboxError):
        grade(None, "run")


@pytest.mark.parametrize("payload", ["", "[]", '{"grader": "/etc/passwd"}', "../x"])
def test_payloads_and_paths_are_checked(payload: str) -> None:
    found = grade(GOOD, payload=payload or " ")
    assert (found.verdict, found.cause) == (Verdict.UNGRADED, Cause.CONFIG)


def test_options_of_the_payload() -> None:
    assert grade(None, payload='{"grader": "x", "skip_grader": true}').correct
    hidden = (
        '{"grader": "x", "hide_output": true, "answer": {"correct": true, "tests": [["s","l",true,"e","a"]]}}'
    )
    assert grade(None, payload=hidden).tests[0].hide_output


@pytest.mark.parametrize("target", ["nope:Echo", ME + "Nope", ME + "NoRunner", "nodots", ""])
def test_a_class_that_cannot_be_loaded_is_said_at_once(target: str) -> None:
    with pytest.raises(CourseError):
        ClassHandler(target, Path("/nonexistent"))


def test_a_class_without_grade_says_what_to_write() -> None:
    found = ClassHandler(ME + "Unwritten", Path("/x")).grade(Work("p", ""), NoRunner())
    assert "must have a method grade" in found.detail


def test_a_class_may_be_named_with_dots_only() -> None:
    assert ClassHandler(ME.replace(":", ".") + "Unwritten", Path("/x"))


def test_importing_graders_is_light() -> None:
    code = "import sys, graders; print([m for m in ('graders.base', 'msgspec', 'json') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
