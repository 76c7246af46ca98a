"""The service against edx-submissions on a bad day: one result a submission, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.journal import FILE_NAME, MOST_ASIDES
from tests.xqueue.real.lab_process import Lab
from tests.xqueue.test_service_on_edx_submissions import GRADER, RIGHT, WRONG, settled

pytestmark = pytest.mark.slow

COURSE = Path(__file__).resolve().parents[2] / "course"
SLOW = "import time\ntime.sleep(2)\n" + RIGHT

CONFIG = """
[warden]
state_dir = "state"

[servers.lms]
url = "{url}"
username = "grader"
password_file = "password"
put_timeout_s = {put_timeout_s}

[sandboxes.python]
limits = {{ wall_s = 20 }}

[queues.{queue}]
server = "lms"
workers = 2
poll_floor_s = 0.05
poll_ceiling_s = 0.2
partial_credit = "{credit}"
processing_delay_s = {delay_s}

[[queues.{queue}.handlers]]
kind = "gradelib"
grader_root = "{course}"
sandbox = "python"
"""

# Waits of seconds and minutes, in tenths of a second: what is waited for is the same.
QUICK = """
import supervisor.delivery as delivery
from supervisor.backoff import Backoff
delivery.ROW_BACKOFF = Backoff(first_s=0.05, ceiling_s=0.2)
"""


class Service:
    """`warden run` on the laboratory's server, in a folder of its own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.queue = ""
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        queue: str,
        prelude: str = "",
        credit: str = "auto",
        put_timeout_s: float = 40,
        delay_s: float = 300,
    ) -> None:
        self.queue = queue
        config = self.folder / "config.toml"
        values = {"queue": queue, "credit": credit, "put_timeout_s": put_timeout_s, "delay_s": delay_s}
        config.write_text(CONFIG.format(url=self.lab.url, course=COURSE, **values))
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text("grader-password")
        code = f"{prelude}\nfrom supervisor.cli import main\nmain()"
        with (self.folder / "log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", code, "run", "-c", str(config)],
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                )
            )

    def enqueue(self, answer: str, **more: object) -> int:
        return int(self.lab.control("enqueue", queue=self.queue, answer=answer, grader=GRADER, **more))

    def state(self, submission: int) -> dict[str, Any]:
        return dict(self.lab.control("state", submission=submission))

    def row(self, submission: int) -> dict[str, Any] | None:
        """What the journal says of it."""
        with contextlib.suppress(sqlite3.Error):
            file = f"file:{self.folder}/state/{FILE_NAME}?mode=ro"
            with contextlib.closing(sqlite3.connect(file, uri=True, timeout=10)) as db:
                db.row_factory = sqlite3.Row
                found = db.execute(
                    "SELECT * FROM submission WHERE submission_id = ?", (str(submission),)
                ).fetchone()
                return dict(found) if found else None
        return None

    def status(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.folder / "state/status.json").read_text())["queues"][self.queue])
        return {}

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}; {(self.folder / 'log').read_text()[-3000:]}"
            signal.sigtimedwait([], 0.03)
        return found

    def gradings(self) -> int:
        """How often something was graded."""
        return (self.folder / "log").read_text().count("submission graded")


@pytest.fixture
def service(lab: Lab, tmp_path: Path) -> Iterator[Service]:
    made = Service(lab, tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def test_the_same_key_at_every_poll_while_it_is_in_hand_changes_nothing(lab: Lab, service: Service) -> None:
    service.start("in-hand")
    slow = service.enqueue(SLOW)
    service.until(lambda: service.row(slow), "it was not pulled")
    lab.control("age", submission=slow, minutes=6)
    service.until(lambda: service.row(slow)["stale"] >= 3, "it did not come again")  # type: ignore[index]
    assert settled(lab, slow)["scores"] == [[1, 1]]
    assert service.gradings() == 1
    assert lab.control("requests").count("POST /xqueue/put_result/") == 1


def test_a_put_that_was_accepted_and_answered_with_nothing_or_500_is_presumed_so(
    lab: Lab, service: Service
) -> None:
    service.start("presumed", QUICK, put_timeout_s=1.0)
    lab.control("switch", score_sleep_s=1.6)
    number = service.enqueue(RIGHT)
    row = service.until(
        lambda: (row := service.row(number)) and row["closed_at"] is not None and row, "its row stays open"
    )
    assert (row["state"], row["confirmed_at"], row["attempts"]) == ("DELIVERED", None, 1)
    assert settled(lab, number)["scores"] == [[1, 1]]
    assert [event["points_earned"] for event in lab.control("events")] == [1]


def test_a_result_that_the_lms_rolls_back_holds_nobody_up_and_ends_in_the_dead_letters(
    lab: Lab, service: Service
) -> None:
    service.start("rolled-back", QUICK)
    stuck = service.enqueue(RIGHT)
    lab.control("switch", score_raises=[stuck])
    service.until(lambda: (row := service.row(stuck)) and row["tries"] > 0, "no put failed")
    lab.control("age", submission=stuck, minutes=6)
    others = [service.enqueue(RIGHT)]
    assert settled(lab, others[0])["scores"] == [[1, 1]]
    for failures in range(1, MOST_ASIDES + 1):
        others.append(service.enqueue(RIGHT))  # the LMS takes all but one
        service.until(lambda n=failures: failed_so_often(service, stuck, n), "it was not set aside")  # type: ignore[misc]
    service.until(lambda: service.row(stuck)["state"] == "DEAD", "it is no dead letter")  # type: ignore[index]
    state, row = service.state(stuck), service.row(stuck)
    assert (state["status"], state["scores"]) == ("failed", [])
    assert row is not None
    assert (row["attempts"], row["dead_cause"]) == (1, "QUEUE_ERROR")
    for other in others:
        assert settled(lab, other)["scores"] == [[1, 1]]
    assert service.gradings() == 1 + len(others)
    assert len(lab.control("events")) == len(others)


def failed_so_often(service: Service, number: int, failures: int) -> bool:
    """Whether it was set aside so often by now; five minutes pass for it whenever it is pulled again."""
    state = service.state(number)
    if state["status"] == "pulled":
        service.lab.control("age", submission=number, minutes=6)
    return int(state["failures"]) >= failures


def test_a_result_that_is_rolled_back_for_a_while_arrives(lab: Lab, service: Service) -> None:
    service.start("for-a-while", QUICK)
    number = service.enqueue(RIGHT)
    lab.control("switch", score_raises=[number])
    service.until(lambda: (row := service.row(number)) and row["tries"] > 0, "no put failed")
    lab.control("age", submission=number, minutes=6)
    service.until(lambda: service.state(number)["failures"] == 1, "it was not set aside")
    lab.control("switch")
    assert settled(lab, number)["scores"] == [[1, 1]]
    assert service.gradings() == 1


def test_a_grading_that_would_pass_the_processing_delay_is_answered_in_time(
    lab: Lab, service: Service
) -> None:
    """After it, the server would hand out this one and nothing else."""
    service.start("too-late", delay_s=10)
    late = service.enqueue(SLOW.replace("sleep(2)", "sleep(15)"))
    began = service.until(lambda: service.row(late), "it was not pulled")["pulled_at"]
    state = settled(lab, late, 20)
    assert state["scores"] == [[0, 1]]
    row = service.until(lambda: (row := service.row(late)) and row["confirmed_at"] and row, "not confirmed")
    assert row["confirmed_at"] - began < 10
    assert row["dead_at"] is not None


def test_attempts_of_one_learner_at_one_problem_arrive_in_their_order(lab: Lab, service: Service) -> None:
    """The gradebook takes the score that was written last, whichever attempt it belongs to."""
    service.start("order")
    first = service.enqueue(SLOW.replace("% 4", "% 5"), student="anna")
    second = service.enqueue(RIGHT, student="anna")
    assert settled(lab, second)["scores"] == [[1, 1]]
    assert settled(lab, first)["scores"] == [[0, 1]]
    assert [event["points_earned"] for event in lab.control("events")] == [0, 1]


@pytest.mark.parametrize(
    ("switch", "advice"),
    [
        ({"cookie_secure": True}, "SESSION_COOKIE_SECURE"),
        ({"cookie_domain": "lms.example.com"}, "SESSION_COOKIE_DOMAIN"),
        ({}, "group xqueue"),
    ],
    ids=["secure cookie", "cookie domain", "group"],
)
def test_a_login_that_is_of_no_use_is_named_and_not_repeated_at_every_poll(
    lab: Lab, service: Service, switch: dict[str, object], advice: str
) -> None:
    lab.control("switch", **switch)
    if not switch:
        lab.control("group", user="grader", member=False)
    service.start("useless")
    status = service.until(lambda: (found := service.status()).get("cause") == "AUTH" and found, "not named")
    assert advice in json.dumps(status)
    service.until(lambda: service.status()["polled"].get("error", 0) >= 4, "it polls no more")
    # Each worker finds out for itself; then its client keeps away for half a minute.
    assert lab.control("requests").count("POST /xqueue/login/") <= 2


def test_sessions_that_end_in_the_middle_cost_one_login_each_and_no_submission(
    lab: Lab, service: Service
) -> None:
    service.start("sessions")
    numbers = [service.enqueue(RIGHT) for _ in range(3)]
    for number in numbers:
        settled(lab, number)
    lab.control("requests")
    for _ in range(3):
        lab.control("end_sessions")
        number = service.enqueue(RIGHT)
        assert settled(lab, number)["scores"] == [[1, 1]]
    assert lab.control("requests").count("POST /xqueue/login/") <= 3 * 2
    assert service.gradings() == 6


@pytest.mark.parametrize(
    ("credit", "points", "stored"), [("auto", 1, 0), ("none", 10, 0), ("keep", 1, 1), ("keep", 10, 7)]
)
def test_what_becomes_of_partial_credit(
    lab: Lab, service: Service, credit: str, points: int, stored: int
) -> None:
    """The server rounds: two thirds of one point are one point, with a cross beside it."""
    service.start(f"credit-{credit}-{points}", credit=credit)
    number = service.enqueue(WRONG, points=points)
    state = settled(lab, number)
    reply = json.loads(str(state["reply"]))
    assert reply["correct"] is False
    if credit == "keep":
        assert 0.5 < reply["score"] < 1
    else:
        assert (reply["score"], type(reply["score"])) == (0, int)
    assert state["scores"] == [[stored, points]]
    assert stored == round(reply["score"] * points)
