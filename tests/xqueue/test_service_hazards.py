"""The service against edx-submissions on a bad day: one result a submission, and nobody waits for ever."""

from __future__ import annotations

import json

import pytest

from supervisor.journal import MOST_ASIDES
from tests.xqueue.real.lab_process import Lab
from tests.xqueue.service import RIGHT, WRONG, Service

pytestmark = pytest.mark.slow

SLOW = "import time\ntime.sleep(2)\n" + RIGHT

# Waits of seconds and minutes, in tenths of a second: what is waited for is the same.
QUICK = """
import supervisor.delivery as delivery
from supervisor.backoff import Backoff
delivery.ROW_BACKOFF = Backoff(first_s=0.05, ceiling_s=0.2)
"""


def test_the_same_key_at_every_poll_while_it_is_in_hand_changes_nothing(lab: Lab, service: Service) -> None:
    service.configure("in-hand").start()
    slow = service.enqueue(SLOW)
    service.until(lambda: service.row(slow), "it was not pulled")
    lab.control("age", submission=slow, minutes=6)
    service.until(lambda: service.row(slow)["stale"] >= 3, "it did not come again")  # type: ignore[index]
    assert service.settled(slow)["scores"] == [[1, 1]]
    assert service.gradings() == 1
    assert lab.control("requests").count("POST /xqueue/put_result/") == 1


def test_a_put_that_was_accepted_and_answered_with_nothing_or_500_is_presumed_so(
    lab: Lab, service: Service
) -> None:
    service.configure("presumed", QUICK, put_timeout_s=1.0).start()
    lab.control("switch", score_sleep_s=1.6)
    number = service.enqueue(RIGHT)
    row = service.until(
        lambda: (row := service.row(number)) and row["closed_at"] is not None and row, "its row stays open"
    )
    assert (row["state"], row["confirmed_at"], row["attempts"]) == ("DELIVERED", None, 1)
    assert service.settled(number)["scores"] == [[1, 1]]
    assert [event["points_earned"] for event in lab.control("events")] == [1]


def test_a_result_that_the_lms_rolls_back_holds_nobody_up_and_ends_in_the_dead_letters(
    lab: Lab, service: Service
) -> None:
    service.configure("rolled-back", QUICK).start()
    stuck = service.enqueue(RIGHT)
    lab.control("switch", score_raises=[stuck])
    service.until(lambda: (row := service.row(stuck)) and row["tries"] > 0, "no put failed")
    others = []
    for failures in range(1, MOST_ASIDES + 1):
        header = service.row(stuck)["header"]  # type: ignore[index]
        lab.control("age", submission=stuck, minutes=6)
        service.until(lambda n=failures: service.state(stuck)["failures"] == n, "it was not set aside")  # type: ignore[misc]
        if failures < MOST_ASIDES:
            service.until(lambda h=header: service.row(stuck)["header"] != h, "it did not come again")  # type: ignore[index, misc]
        others.append(service.enqueue(RIGHT))
        assert service.settled(others[-1])["scores"] == [[1, 1]], "the LMS takes all but one"
    service.until(lambda: service.row(stuck)["state"] == "DEAD", "it is no dead letter")  # type: ignore[index]
    state, row = service.state(stuck), service.row(stuck)
    assert (state["status"], state["scores"]) == ("failed", [])
    assert row is not None
    assert (row["attempts"], row["dead_cause"]) == (1, "QUEUE_ERROR")
    for other in others:
        assert service.settled(other)["scores"] == [[1, 1]]
    assert service.gradings() == 1 + len(others)
    assert len(lab.control("events")) == len(others)


def test_a_result_that_is_rolled_back_for_a_while_arrives(lab: Lab, service: Service) -> None:
    service.configure("for-a-while", QUICK).start()
    number = service.enqueue(RIGHT)
    lab.control("switch", score_raises=[number])
    service.until(lambda: (row := service.row(number)) and row["tries"] > 0, "no put failed")
    lab.control("age", submission=number, minutes=6)
    service.until(lambda: service.state(number)["failures"] == 1, "it was not set aside")
    lab.control("switch")
    assert service.settled(number)["scores"] == [[1, 1]]
    assert service.gradings() == 1


def test_a_grading_that_would_pass_the_processing_delay_is_answered_in_time(
    lab: Lab, service: Service
) -> None:
    """After it, the server would hand out this one and nothing else."""
    service.configure("too-late", processing_delay_s=10).start()
    late = service.enqueue(SLOW.replace("sleep(2)", "sleep(15)"))
    began = service.until(lambda: service.row(late), "it was not pulled")["pulled_at"]
    state = service.settled(late, 20)
    assert state["scores"] == [[0, 1]]
    row = service.until(lambda: (row := service.row(late)) and row["confirmed_at"] and row, "not confirmed")
    assert row["confirmed_at"] - began < 10
    assert row["dead_at"] is not None


def test_attempts_of_one_learner_at_one_problem_arrive_in_their_order(lab: Lab, service: Service) -> None:
    """The gradebook takes the score that was written last, whichever attempt it belongs to."""
    service.configure("order").start()
    first = service.enqueue(SLOW.replace("% 4", "% 5"), student="anna")
    second = service.enqueue(RIGHT, student="anna")
    assert service.settled(second)["scores"] == [[1, 1]]
    assert service.settled(first)["scores"] == [[0, 1]]
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
    service.configure("useless").start()
    status = service.until(lambda: (found := service.status()).get("cause") == "AUTH" and found, "not named")
    assert advice in json.dumps(status)
    service.until(lambda: service.status()["polled"].get("error", 0) >= 4, "it polls no more")
    # Each worker finds out for itself; then its client keeps away for half a minute.
    assert lab.control("requests").count("POST /xqueue/login/") <= 2


def test_sessions_that_end_in_the_middle_cost_one_login_each_and_no_submission(
    lab: Lab, service: Service
) -> None:
    service.configure("sessions").start()
    numbers = [service.enqueue(RIGHT) for _ in range(3)]
    for number in numbers:
        service.settled(number)
    lab.control("requests")
    for _ in range(3):
        lab.control("end_sessions")
        number = service.enqueue(RIGHT)
        assert service.settled(number)["scores"] == [[1, 1]]
    assert lab.control("requests").count("POST /xqueue/login/") <= 3 * 2
    assert service.gradings() == 6


@pytest.mark.parametrize(
    ("credit", "points", "stored"), [("auto", 1, 0), ("none", 10, 0), ("keep", 1, 1), ("keep", 10, 7)]
)
def test_what_becomes_of_partial_credit(
    lab: Lab, service: Service, credit: str, points: int, stored: int
) -> None:
    """The server rounds: two thirds of one point are one point, with a cross beside it."""
    service.configure(f"credit-{credit}-{points}", partial_credit=credit).start()
    number = service.enqueue(WRONG, points=points)
    state = service.settled(number)
    reply = json.loads(str(state["reply"]))
    assert reply["correct"] is False
    if credit == "keep":
        assert 0.5 < reply["score"] < 1
    else:
        assert (reply["score"], type(reply["score"])) == (0, int)
    assert state["scores"] == [[stored, points]]
    assert stored == round(reply["score"] * points)
