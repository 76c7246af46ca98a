"""The real C programs of real students, through the real handler, compiler and jails: verdicts as labelled.

The data (see its README) lies beside the repository: ../shared/data. A checkout without it, or a machine
without gcc, reports this as skipped, with the reason.

The labels were made line by line: two programs that print the right words on the wrong lines are labelled
incorrect. One row has no verdict of its own, see UNDEFINED.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from graders.languages import built_in
from graders.model import Blame, Judgement, Verdict, Work
from graders.program import ProgramHandler, Toolchains

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LIMITS = {"cpu_s": 2.0, "wall_s": 12.0}
SETTINGS = """
ignore_exit_status = true   # what students of a first course return from main is not judged
stop = true
comparison = { line_change_sensitive = true }
"""
UNDEFINED = {"itsp/lab-7_3075/295450_correct.c"}
"""It prints an array that has no end: what follows it on the stack differs from run to run, so its label
(correct) holds by chance, sandbox or not. All that can be asked is that it is judged."""


def rows(name: str) -> list[dict[str, Any]]:
    with (DATA / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The problems as folders of N.in and N.out, with the staff's solution among the accepted submissions."""
    if not DATA.is_dir():
        pytest.skip(f"this machine has no folder {DATA.name} beside the checkout")
    if not shutil.which("gcc", path="/usr/bin"):
        pytest.skip("this machine has no /usr/bin/gcc")
    for row in rows("c_problems.jsonl"):
        folder = tmp_path / row["set"] / row["problem"]
        (folder / "submissions/accepted").mkdir(parents=True)
        (folder / "submissions/accepted/main.c").write_text(row["reference"], encoding="utf-8")
        (folder / "tests.toml").write_text(SETTINGS)
        for number, test in enumerate(row["tests"], 1):
            (folder / f"{number}.in").write_text(test["in"], encoding="utf-8")
            (folder / f"{number}.out").write_text(test["out"], encoding="utf-8")
    return tmp_path


def expected(found: Judgement) -> str:
    """The word of the data's labels for a judgement."""
    if found.verdict is Verdict.CORRECT:
        return "correct"
    return "timeout" if found.verdict is Verdict.TIMEOUT else "incorrect"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_row_gets_the_verdict_of_its_label(root: Path) -> None:
    own = threading.local()
    everything: list[Toolchains] = []
    lock = threading.Lock()

    def grade(row: dict[str, Any]) -> Judgement:
        if not hasattr(own, "handler"):
            with lock:
                toolchains = Toolchains(built_in(), ["c"], 3000 + 4 * len(everything))
                everything.append(toolchains)
            own.handler = ProgramHandler(root, toolchains, limits=LIMITS)
        found = own.handler.grade(Work(f"{row['set']}/{row['problem']}", row["student_response"]))
        assert isinstance(found, Judgement)
        return found

    submissions = rows("c_submissions.jsonl")
    references = [
        {
            **row,
            "student_response": row["reference"],
            "expect": "correct",
            "id": f"reference {row['problem']}",
        }
        for row in rows("c_problems.jsonl")
    ]
    try:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            found = list(threads.map(grade, [*references, *submissions]))
    finally:
        for toolchains in everything:
            toolchains.close()
    wrong = [
        f"{row['id']}: {one.verdict} for {row['expect']}: {one.errors} {one.detail}"
        for row, one in zip([*references, *submissions], found, strict=True)
        if one.blame is not Blame.LEARNER or (expected(one) != row["expect"] and row["id"] not in UNDEFINED)
    ]
    assert not wrong, "\n".join(wrong)
    assert len(found) == len(references) + len(submissions)
