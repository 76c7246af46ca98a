"""On the LMS's own queue server: attempts arrive in their order, and no late answer holds up others."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.journal import FILE_NAME
from tests.supervisor.stage import until
from tests.xqueue.real.lab_process import Lab

pytestmark = pytest.mark.slow

COURSE = Path(__file__).resolve().parents[2] / "course"
RIGHT = (COURSE / "submissions/functions/leap_year/correct-one-line.py").read_text()
WRONG = (COURSE / "submissions/functions/leap_year/incorrect-julian.py").read_text()
GRADER = "functions/leap_year/grader.py"

CONFIG = """
[warden]
state_dir = "state"

[servers.lms]
url = "{url}"
username = "grader"
password_file = "password"

[sandboxes.python]
require = "full"
[sandboxes.python.limits]
wall_s = 40

[queues.{queue}]
server = "lms"
workers = 3
poll_ceiling_s = 0.3
{more}

[[queues.{queue}.handlers]]
kind = "gradelib"
grader_root = "{course}"
sandbox = "python"
"""


class Service:
    """`warden run` in a folder of its own."""

    def __init__(self, folder: Path, lab: Lab, queue: str, more: str) -> None:
        self.folder = folder
        self.queue = queue
        (folder / "config.toml").write_text(CONFIG.format(url=lab.url, course=COURSE, queue=queue, more=more))
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_text("grader-password")
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-c",
            "from supervisor.cli import main; main()",
            "run",
            "-c",
            "config.toml",
        ]
        with (self.folder / "log").open("ab") as log:
            self.running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder))
        return self.running[-1]

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)

    def rows(self) -> list[dict[str, object]]:
        file = self.folder / "state" / FILE_NAME
        if not file.exists():
            return []
        with contextlib.closing(sqlite3.connect(file, timeout=10)) as db:
            db.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in db.execute("SELECT * FROM submission ORDER BY id")]
            except sqlite3.OperationalError:  # being made
                return []


@pytest.fixture
def service(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(queue: str, more: str = "") -> Service:
        made.append(Service(tmp_path, lab, queue, more))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def retired(lab: Lab, submission: int) -> dict[str, object] | None:
    state = dict(lab.control("state", submission=submission))
    return state if state["status"] == "retired" else None


def asleep(seconds: float, answer: str) -> str:
    return f"import time\ntime.sleep({seconds})\n{answer}"


def test_a_quick_second_attempt_waits_for_the_slow_first_one_and_the_gradebook_shows_the_second(
    lab: Lab, service: Callable[..., Service]
) -> None:
    slow = lab.control("enqueue", queue="order", answer=asleep(2, WRONG), grader=GRADER, student="anna")
    quick = lab.control("enqueue", queue="order", answer=RIGHT, grader=GRADER, student="anna")
    other = lab.control("enqueue", queue="order", answer=RIGHT, grader=GRADER, student="berta")
    run = service("order")
    until(lambda: retired(lab, other), "the other learner's result")
    assert not retired(lab, quick), "it is graded and waits"
    until(lambda: retired(lab, quick), "the second attempt's result")
    first = retired(lab, slow)
    assert first is not None and first["scores"] == [[0, 1]]
    assert lab.control("gradebook", learner="anna") == [1, 1]
    assert [event["points_earned"] for event in lab.control("events")] == [1, 0, 1]
    until(lambda: all(row["state"] == "DELIVERED" for row in run.rows()), "the rows to be closed")
    graded = {row["submission_id"]: row for row in run.rows()}
    times = [float(str(graded[str(one)]["graded_at"])) for one in (quick, slow)]
    assert times == sorted(times), "they were graded side by side"


def test_a_first_attempt_that_cannot_be_graded_in_time_does_not_hold_the_second_for_ever(
    lab: Lab, service: Callable[..., Service]
) -> None:
    """It is given up at its own deadline; the second then goes at once."""
    slow = lab.control("enqueue", queue="stuck", answer=asleep(30, WRONG), grader=GRADER, student="carla")
    quick = lab.control("enqueue", queue="stuck", answer=RIGHT, grader=GRADER, student="carla")
    began = time.monotonic()
    service("stuck", "processing_delay_s = 6\ndeadline_margin_s = 2")
    until(lambda: retired(lab, quick), "the second attempt's result")
    assert time.monotonic() - began < 12
    first = retired(lab, slow)
    assert first is not None and first["scores"] == [[0, 1]]
    assert lab.control("gradebook", learner="carla") == [1, 1]


def test_what_cannot_be_graded_in_time_is_answered_in_time_and_is_a_dead_letter(
    lab: Lab, service: Callable[..., Service]
) -> None:
    run = service("late", "processing_delay_s = 6\ndeadline_margin_s = 2")
    late = lab.control("enqueue", queue="late", answer=asleep(30, RIGHT), grader=GRADER)
    state = until(lambda: retired(lab, late), "the answer")
    assert "could not" in str(state["reply"]) and "time limit" not in str(state["reply"])
    row = until(
        lambda: (rows := run.rows()) and rows[0]["state"] == "DELIVERED" and rows[0], "the row to be closed"
    )
    assert (row["verdict"], row["blame"], row["dead_cause"]) == ("ungraded", "service", "RESOURCE")
    assert "processing delay is 6 s" in str(row["reason"])
    assert float(str(row["confirmed_at"])) - float(str(row["pulled_at"])) < 6


def test_what_waited_because_the_service_was_down_is_graded_all_the_same(
    lab: Lab, service: Callable[..., Service]
) -> None:
    """It is past its deadline already; a late result is better than a late neutral answer."""
    run = service("down", "processing_delay_s = 3\ndeadline_margin_s = 1")
    late = lab.control("enqueue", queue="down", answer=asleep(1, RIGHT), grader=GRADER)
    until(lambda: run.rows(), "the submission to be in hand")
    run.running[0].kill()
    run.running[0].wait()
    with contextlib.closing(sqlite3.connect(run.folder / "state" / FILE_NAME, timeout=10)) as db, db:
        db.execute("UPDATE submission SET pulled_at = pulled_at - 900, handed_at = handed_at - 900")
    run.start()
    state = until(lambda: retired(lab, late), "the result")
    assert state["scores"] == [[1, 1]]
    row = run.rows()[0]
    assert (row["attempts"], row["interruptions"]) == (1, 1), "that it was interrupted is not its fault"
