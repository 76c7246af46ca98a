"""The service against a legacy XQueue at its most careless: one result a submission, graded once."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from supervisor.journal import FILE_NAME
from supervisor.lab import Lab
from tests.supervisor.stage import ROOT, until
from xqueue.service.store import History, Row

pytestmark = pytest.mark.slow

QUEUE = "hazards"
PAYLOAD = json.dumps({"grader": "functions/fibonacci/grader.py"})
ANSWER = (ROOT / "course/functions/fibonacci/answer.py").read_text()
SLOW = "import time\ntime.sleep(2.5)\n" + ANSWER

CONFIG = """
[warden]
state_dir = "state"

[servers.demo]
url = "http://127.0.0.1:9"
username = "warden"
password_file = "password"
put_timeout_s = {put_timeout_s}

[sandboxes.python]
limits = {{ wall_s = 20 }}

[queues.hazards]
server = "demo"
workers = {workers}
poll_floor_s = 0.05
poll_ceiling_s = 0.2

[[queues.hazards.handlers]]
kind = "gradelib"
grader_root = "{course}"
sandbox = "python"
"""


class Scene(Lab):
    """A lab with a careless XQueue, and as many services as are started."""

    def __init__(self, config: Path, hazards: dict[str, object], delay_s: float) -> None:
        super().__init__(config, [], [QUEUE])
        self._hazards = json.dumps(hazards)
        self._delay_s = delay_s

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        if name != "queue":
            super()._start(name, arguments)
            return
        command = [sys.executable, "-B", "-m", "tests.queue.careless", self._hazards, *arguments]
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*command, "--processing-delay-s", str(self._delay_s)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )

    def start_second(self) -> None:
        """Another service at the same queue, with a journal of its own."""
        first, self.state_dir = self.state_dir, self.folder / "second"
        process = self._processes.pop("supervisor")
        try:
            self.start_supervisor()
        finally:
            self.state_dir = first
            self._processes["second"] = self._processes.pop("supervisor")
            self._processes["supervisor"] = process

    def close(self) -> None:
        if "second" in getattr(self, "_processes", {}):
            self.stop("second")
        super().close()

    def rows(self, state_dir: Path | None = None) -> list[dict[str, object]]:
        file = (state_dir or self.state_dir) / FILE_NAME
        with contextlib.closing(sqlite3.connect(file, timeout=10)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM submission ORDER BY id")]

    def settled_rows(self, state_dir: Path | None = None) -> list[dict[str, object]]:
        """Once none is open."""

        def closed() -> list[dict[str, object]] | None:
            rows = self.rows(state_dir)
            return rows if rows and all(row["closed_at"] is not None for row in rows) else None

        found: list[dict[str, object]] = until(closed, "all rows to be closed")
        return found

    def on_server(self) -> list[Row]:
        with History(self.folder / "queue") as history:
            return history.rows(QUEUE)


@contextlib.contextmanager
def scene(
    folder: Path, workers: int = 2, delay_s: float = 60.0, put_timeout_s: float = 40.0, **hazards: object
) -> Iterator[Scene]:
    config = folder / "config.toml"
    config.write_text(CONFIG.format(workers=workers, put_timeout_s=put_timeout_s, course=ROOT / "course"))
    with Scene(config, hazards, delay_s) as lab:
        lab.start_supervisor()
        yield lab


def test_one_service_never_has_two_pulls_meet(tmp_path: Path) -> None:
    with scene(tmp_path, workers=4, meet_s=0.1) as lab:
        for number in range(8):
            lab.submit(QUEUE, f"k{number}", PAYLOAD, ANSWER)
        assert lab.lms.wait(8, 30) == 8
        assert lab.lms.again == 0
        assert {row.pulls for row in lab.on_server()} == {1}
        assert [(row["state"], row["handouts"]) for row in lab.settled_rows()] == [("DELIVERED", 1)] * 8


def test_two_services_may_be_handed_the_same_and_the_lms_gets_one_result_each(tmp_path: Path) -> None:
    with scene(tmp_path, workers=1, meet_s=1.0) as lab:
        lab.start_second()
        for number in range(4):
            lab.submit(QUEUE, f"k{number}", PAYLOAD, ANSWER)
        assert lab.lms.wait(4, 30) == 4
        twice = [row.submission_id for row in lab.on_server() if row.pulls > 1]
        assert twice, "no two pulls met: nothing was tried"
        both = [*lab.settled_rows(), *lab.settled_rows(lab.folder / "second")]
        states = [str(row["state"]) for row in both]
        assert states.count("DELIVERED") == 4
        assert states.count("DEAD") == len(states) - 4 == len(twice), both
        lost = next(row for row in both if row["state"] == "DEAD")
        assert lost["dead_cause"] == "REPLY_REFUSED"
        assert "Incorrect key" in str(lost["reason"])
        assert lab.lms.again == 0


def test_a_submission_that_comes_again_while_in_hand_is_graded_once_and_answered_under_its_newest_key(
    tmp_path: Path,
) -> None:
    with scene(tmp_path, delay_s=0.8) as lab:
        lab.submit(QUEUE, "anna", PAYLOAD, SLOW)
        assert lab.lms.wait(1, 30) == 1
        (row,) = lab.settled_rows()
        assert (row["state"], row["attempts"]) == ("DELIVERED", 1)
        assert int(str(row["handouts"])) >= 2
        (seen,) = lab.on_server()
        assert seen.pulls == row["handouts"]
        assert lab.lms.delivered["anna"].correct


def test_a_put_that_times_out_though_accepted_is_put_again_and_not_graded_again(tmp_path: Path) -> None:
    with scene(tmp_path, put_timeout_s=1.0, put_s=1.4) as lab:
        lab.submit(QUEUE, "anna", PAYLOAD, ANSWER)
        assert lab.lms.wait(1, 30) == 1
        until(lambda: "may have been accepted" in lab.log("supervisor", 500), "the timeout to be noted")
        assert lab.rows()[0]["attempts"] == 1


def test_an_lms_that_refuses_gets_the_stored_result_again_and_again(tmp_path: Path) -> None:
    """The server says yes to a put whatever the LMS said, and hands the submission out under a new key."""
    with scene(tmp_path, delay_s=0.5, refusals=3) as lab:
        lab.submit(QUEUE, "anna", PAYLOAD, ANSWER)
        assert lab.lms.wait(1, 30) == 1
        (row,) = lab.settled_rows()
        assert (row["state"], row["attempts"], row["handouts"]) == ("DELIVERED", 1, 4)
        assert lab.lms.delivered["anna"].correct


def test_a_graded_submission_that_a_pull_resurrects_is_answered_from_the_journal(tmp_path: Path) -> None:
    with scene(tmp_path, delay_s=0.3, put_s=1.0, resurrect=True) as lab:
        lab.submit(QUEUE, "anna", PAYLOAD, ANSWER)
        assert lab.lms.wait(1, 30) == 1
        until(lambda: lab.rows()[0]["handouts"] == 2, "the resurrection")
        until(lambda: lab.lms.again == 1, "the second delivery, which the LMS ignores")
        (row,) = lab.settled_rows()
        assert (row["state"], row["attempts"]) == ("DELIVERED", 1)
