"""Every row of real student code gets the verdict that the data set says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from graders.model import Verdict, Work
from graders.python import GradelibHandler, list_graders, profile, self_check
from sandbox.jail import Jail
from tests.graders.conftest import DATA, Counting, write

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="this machine has no data folder beside the checkout"
)

EXPECT = {Verdict.CORRECT: "correct", Verdict.TIMEOUT: "timeout", Verdict.UNGRADED: "ungraded"}


def rows(name: str) -> list[dict[str, Any]]:
    with open(DATA / name, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("course")
    for row in rows("python_problems.jsonl"):
        write(root, {f"{row['set']}/{row['problem']}/{name}": text for name, text in row["files"].items()})
    return root


def test_every_answer_earns_full_marks(course: Path, runner: Counting) -> None:
    handler = GradelibHandler(course)
    names = list_graders(course)
    assert len(names) == 42
    found = {name: self_check(handler, name, runner) for name in names}
    assert {name: each.detail for name, each in found.items() if not each.correct} == {}


@pytest.mark.slow
@pytest.mark.timeout(400)  # 50 s on two idle cores
def test_every_submission_gets_the_verdict_it_should(course: Path) -> None:
    submissions = rows("python_submissions.jsonl")

    def grade(part: Sequence[dict[str, Any]], slot: int) -> list[str]:
        handler = GradelibHandler(course, seeds=1)
        wrong = []
        with Jail(profile(), slot=slot) as jail:
            for row in part:
                payload = json.dumps({"grader": f"{row['set']}/{row['problem']}/grader.py"})
                found = handler.grade(Work(payload, row["student_response"]), jail)
                if EXPECT.get(found.verdict, "incorrect") != row["expect"]:
                    wrong.append(f"{row['id']}: {found.verdict} instead of {row['expect']} {found.detail}")
        return wrong

    with ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(grade, submissions[start::2], 32 + start) for start in (0, 1)]
        assert [line for part in parts for line in part.result()] == []
