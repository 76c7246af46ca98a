"""The whole service on the LMS's own queue server: submissions in, scores stored, events heard."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.xqueue.real.lab_process import Lab

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

[queues.service]
server = "lms"
workers = 2
poll_ceiling_s = 0.5

[[queues.service.handlers]]
kind = "gradelib"
grader_root = "{course}"
sandbox = "python"
"""


@pytest.fixture
def start(lab: Lab, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(url=lab.url, course=COURSE))
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("grader-password")
    command = [sys.executable, "-c", "from supervisor.cli import main; main()", "run", "-c", str(config)]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path))
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def settled(lab: Lab, submission: int, seconds: float = 30) -> dict[str, object]:
    """The submission's state once the server has retired it."""
    deadline = time.monotonic() + seconds
    while (state := lab.control("state", submission=submission))["status"] != "retired":
        assert time.monotonic() < deadline, state
    return dict(state)


def test_scores_are_stored_and_the_lms_hears_of_them(
    lab: Lab, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    right = lab.control("enqueue", queue="service", answer=RIGHT, grader=GRADER)
    wrong = lab.control("enqueue", queue="service", answer=WRONG, grader=GRADER)
    filed = lab.control("enqueue", queue="service", answer="", grader=GRADER, files={"../my file.py": RIGHT})
    start()
    assert settled(lab, right)["scores"] == [[1, 1]]
    assert settled(lab, filed)["scores"] == [[1, 1]]
    assert settled(lab, wrong)["scores"] == [[0, 1]]
    heard = lab.control("events")
    assert sorted(event["points_earned"] for event in heard) == [0, 1, 1]


def test_a_payload_without_a_grader_is_answered_too(
    lab: Lab, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """On this server an item that nobody answers blocks the head of its queue for everybody."""
    nameless = lab.control("enqueue", queue="service", answer=RIGHT, grader="")
    missing = lab.control("enqueue", queue="service", answer=RIGHT, grader="no/such/grader.py")
    start()
    assert settled(lab, nameless)["scores"] == [[0, 1]]
    assert settled(lab, missing)["scores"] == [[0, 1]]


def test_a_killed_service_goes_on_where_it_was(
    lab: Lab, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    ids = [lab.control("enqueue", queue="service", answer=RIGHT, grader=GRADER) for _ in range(12)]
    first = start()
    settled(lab, ids[0])
    first.kill()
    first.wait()
    # A pull that was on its way when the worker died is known to the server only: it hands the submission out
    # again after five minutes. What is in our journal comes again, too, and must not be graded again.
    for submission in ids:
        if lab.control("state", submission=submission)["status"] == "pulled":
            lab.control("age", submission=submission, minutes=6)
    start()
    for submission in ids:
        assert settled(lab, submission)["scores"] == [[1, 1]]
