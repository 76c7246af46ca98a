"""A grader that kills its workers, with the whole service: its submissions wait, the others go on."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil
import pytest

from tests.supervisor.stage import ROOT, gone, until
from tests.supervisor.test_service import PAYLOAD, QUEUES, Scene, answer

DEADLY = json.dumps({"grader": "functions/leap_year/grader.py"})


class Brisk(Scene):
    """A scene whose breakers open and close within seconds."""

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        if name == "queue":
            super()._start(name, arguments)
            return
        _, _, config, *overrides = arguments
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-B", "-m", "tests.supervisor.brisk", config, *overrides],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def breakers(lab: Scene) -> list[dict[str, Any]]:
    return list(lab.status().get("breakers", []))


def attempts(lab: Scene, key: str) -> int:
    return next((int(str(row["attempts"])) for row in lab.rows() if row["student_key"] == key), -1)


def kill_who_grades(lab: Scene, whose: str) -> None:
    """Every worker that has graded a submission of these learners for half a second."""
    for row in lab.rows():
        began = float(str(row["started_at"]))
        if row["state"] != "RECEIVED" or not row["owner"] or not 0.5 < time.time() - began < 3:
            continue
        slot = str(row["owner"]).partition("#")[0]
        for worker in lab.supervisor().children():
            with contextlib.suppress(psutil.Error):  # it has just died
                mine = str(row["student_key"]).startswith(whose)
                if mine and worker.cmdline()[0] == f"warden worker {slot}":
                    worker.kill()
                    until(lambda p=worker: gone(p), "its death")


@pytest.mark.slow
def test_the_submissions_of_a_grader_that_kills_its_workers_wait_and_are_graded_when_it_is_mended() -> None:
    slow = "import time\ntime.sleep(3)\n" + (ROOT / "course/functions/leap_year/answer.py").read_text()
    overrides = ["queues.demo-functions.workers=2", "sandboxes.python.limits.wall_s=20"]
    with Brisk(ROOT / "config.toml", overrides, QUEUES) as lab:
        lab.start_supervisor()
        for number in range(2):  # two learners; each attempt ends its worker
            lab.submit(QUEUES[0], f"anna{number}", DEADLY, slow)
        found = until(lambda: kill_who_grades(lab, "anna") or breakers(lab), "the breaker", 40)
        assert (found[0]["unit"], found[0]["grader"]) == ("problem", "functions/leap_year/grader.py")
        before = {row["student_key"]: row["attempts"] for row in lab.rows()}
        assert lab.health()[0] != 0
        lab.submit(QUEUES[0], "bert", DEADLY, slow)
        lab.submit(QUEUES[0], "carl", PAYLOAD, answer())
        # From now on nobody kills: the trial is graded, then all that was held; so that must be seen at once.
        until(lambda: lab.status()["queues"][QUEUES[0]]["held"] >= 1, "the status to say that some are held")
        until(lambda: "carl" in lab.lms.delivered, "the others to go on")
        assert lab.lms.wait(4, 60) == 4, lab.log("supervisor", 60)
        assert all(reply.correct for reply in lab.lms.delivered.values())
        assert attempts(lab, "bert") == 1, "waiting costs no attempt"
        assert all(attempts(lab, key) <= count + 1 for key, count in before.items())
        until(lambda: not breakers(lab), "the breaker to be closed")
        assert lab.status()["queues"][QUEUES[0]]["dead"] == 0
