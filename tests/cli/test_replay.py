"""`warden replay`: after a real service has graded, beside it, and after the grader changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from graders.model import Blame, Cause, Judgement, Verdict
from supervisor.archive import Entry
from supervisor.journal import State
from supervisor.replay import compare
from tests.supervisor.stage import ROOT, until
from tests.supervisor.test_service import QUEUES, Scene, answer, scene

WRONG = "def fibonacci(n):\n    return 7\n"
TWICE = json.dumps({"grader": "hw/grader.py"})


def replay(lab: Scene, *words: str) -> subprocess.CompletedProcess[str]:
    settings = [*lab.overrides, f"warden.state_dir={json.dumps(str(lab.state_dir))}"]
    before = [word for setting in settings for word in ("--set", setting)]
    code = "from supervisor.cli import main; main()"
    command = [sys.executable, "-c", code, "replay", "-c", str(ROOT / "config.toml"), *before, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


def test_it_compares_with_what_was_delivered_and_disturbs_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    problem = tmp_path / "course" / "hw"
    problem.mkdir(parents=True)
    for name in ("grader.py", "answer.py"):
        shutil.copy(ROOT / "course/functions/fibonacci" / name, problem)
    course = json.dumps(str(tmp_path / "course"))
    with scene(f"queues.demo-functions.handlers[0].grader_root={course}") as lab:
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", TWICE, answer())
        lab.submit(QUEUES[0], "ben", TWICE, WRONG)
        assert lab.lms.wait(2, 30) == 2
        until(lambda: all(row["state"] == "DELIVERED" for row in lab.rows()), "all rows to be closed")
        before = lab.rows()
        jails = [child.pid for child in lab.supervisor().children(recursive=True)]

        done = replay(lab, "--json")
        assert done.returncode == 0, done.stderr
        found = {record["id"]: record for record in map(json.loads, done.stdout.splitlines())}
        assert len(found) == 2 and "nothing differs" in done.stderr
        same = {"verdict": True, "score": True, "msg": True, "grader": True}
        assert all(record["same"] == same for record in found.values())
        assert {record["now"]["verdict"] for record in found.values()} == {"correct", "incorrect"}
        assert "fibonacci" not in done.stdout  # nothing that a learner wrote

        # A grader that calls every answer right: one verdict differs.
        (problem / "grader.py").write_text(
            "from grader_support import gradelib\ngrader = gradelib.Grader()\n"
            "grader.add_test(gradelib.Test(lambda module: print('x'), 'any'))\n"
        )
        done = replay(lab)
        assert done.returncode == 1, done.stderr
        table = " ".join(done.stdout.split())
        ben = next(row["id"] for row in before if row["student_key"] == "ben")
        assert f"{ben} incorrect" in table and "correct 1" in table
        assert "1 verdicts differ" in done.stderr and "2 were graded by other files" in done.stderr
        assert replay(lab, "--verdict", "correct").returncode == 0

        # A broken one: the reason is told.
        (problem / "grader.py").write_text("raise NotImplementedError('not yet')\n")
        done = replay(lab, "--limit", "1")
        assert done.returncode == 1 and "ungraded" in done.stdout
        assert "NotImplementedError" in "".join(done.stdout.split())

        assert lab.rows() == before
        assert [child.pid for child in lab.supervisor().children(recursive=True)] == jails
        assert replay(lab, "4711").returncode == 2
        assert replay(lab, "--grader", "other/*", "--json").stdout == ""
        assert all(psutil.pid_exists(pid) for pid in jails)


def an_entry(verdict: str) -> Entry:
    times = dict.fromkeys(
        ("submitted_at", "started_at", "graded_at", "delivered_at", "confirmed_at", "closed_at")
    )
    return Entry(
        id=1,
        server="s",
        queue="q",
        submission_id="7",
        body_digest="",
        state=State.DELIVERED,
        owner=None,
        **times,
        pulled_at=0.0,
        handed_at=0.0,
        next_try_at=0.0,
        attempts=1,
        interruptions=0,
        handouts=1,
        tries=0,
        uncertain=False,
        verdict=verdict,
        blame="learner",
        cause="LEARNER",
        grader="g",
        grader_digest="a",
        reason="",
        trouble="",
        layers=(),
        versions={},
        outcome={},
        dead_at=None,
        dead_cause=None,
    )


def body(score: float, msg: str = "<p>x</p>") -> str:
    return json.dumps({"correct": score == 1, "score": score, "msg": msg})


def test_a_score_is_the_same_as_either_form_that_could_have_been_sent() -> None:
    now = Judgement(Verdict.INCORRECT, Blame.LEARNER, Cause.LEARNER, 0.6, grader_digest="b")
    bodies = [body(0.6), body(0)]
    for stored, same in ((0.6, True), (0, True), (0.5, False)):
        found = compare(an_entry("incorrect"), body(stored), now, bodies)
        assert (found.same_verdict, found.same_score, found.same_grader) == (True, same, False)
    found = compare(an_entry("timeout"), body(0, "<p>y</p>"), now, bodies)
    assert (found.same_verdict, found.same_msg, found.why) == (False, False, "")
    found = compare(an_entry("timeout"), "no reply at all", now, bodies)
    assert found.was.msg == "" and found.same_score
