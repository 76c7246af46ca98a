"""On the LMS's own queue server: attempts arrive in their order, and no late answer holds up others."""

from __future__ import annotations

import contextlib
import sqlite3
import time

import pytest

from tests.xqueue.real.lab_process import Lab
from tests.xqueue.service import RIGHT, WRONG, Service

pytestmark = pytest.mark.slow


def asleep(seconds: float, answer: str) -> str:
    return f"import time\ntime.sleep({seconds})\n{answer}"


def test_a_quick_second_attempt_waits_for_the_slow_first_one_and_the_gradebook_shows_the_second(
    lab: Lab, service: Service
) -> None:
    service.configure("order", workers=3)
    slow = service.enqueue(asleep(2, WRONG), student="anna")
    quick = service.enqueue(RIGHT, student="anna")
    other = service.enqueue(RIGHT, student="berta")
    service.start()
    service.until(lambda: service.retired(other), "the other learner's result")
    assert not service.retired(quick), "it is graded and waits"
    service.until(lambda: service.retired(quick), "the second attempt's result")
    first = service.retired(slow)
    assert first is not None and first["scores"] == [[0, 1]]
    assert lab.control("gradebook", learner="anna") == [1, 1]
    assert [event["points_earned"] for event in lab.control("events")] == [1, 0, 1]
    service.until(lambda: all(row["state"] == "DELIVERED" for row in service.rows()), "the rows to be closed")
    graded = {row["submission_id"]: row for row in service.rows()}
    times = [float(str(graded[str(one)]["graded_at"])) for one in (quick, slow)]
    assert times == sorted(times), "they were graded side by side"


def test_a_first_attempt_that_cannot_be_graded_in_time_does_not_hold_the_second_for_ever(
    lab: Lab, service: Service
) -> None:
    """It is given up at its own deadline; the second then goes at once."""
    service.configure("stuck", workers=3, processing_delay_s=6, deadline_margin_s=2)
    slow = service.enqueue(asleep(30, WRONG), student="carla")
    quick = service.enqueue(RIGHT, student="carla")
    began = time.monotonic()
    service.start()
    service.until(lambda: service.retired(quick), "the second attempt's result")
    assert time.monotonic() - began < 12
    first = service.retired(slow)
    assert first is not None and first["scores"] == [[0, 1]]
    assert lab.control("gradebook", learner="carla") == [1, 1]


def test_what_cannot_be_graded_in_time_is_answered_in_time_and_is_a_dead_letter(
    lab: Lab, service: Service
) -> None:
    service.configure("late", processing_delay_s=6, deadline_margin_s=2).start()
    late = service.enqueue(asleep(30, RIGHT))
    state = service.until(lambda: service.retired(late), "the answer")
    assert "could not" in str(state["reply"]) and "time limit" not in str(state["reply"])
    row = service.until(
        lambda: (rows := service.rows()) and rows[0]["state"] == "DELIVERED" and rows[0],
        "the row to be closed",
    )
    assert (row["verdict"], row["blame"], row["dead_cause"]) == ("ungraded", "service", "RESOURCE")
    assert "processing delay is 6 s" in str(row["reason"])
    assert float(str(row["confirmed_at"])) - float(str(row["pulled_at"])) < 6


def test_what_waited_because_the_service_was_down_is_graded_all_the_same(lab: Lab, service: Service) -> None:
    """It is past its deadline already; a late result is better than a late neutral answer."""
    service.configure("down", processing_delay_s=3, deadline_margin_s=1).start()
    late = service.enqueue(asleep(1, RIGHT))
    service.until(lambda: service.rows(), "the submission to be in hand")
    service.kill()
    with contextlib.closing(sqlite3.connect(service.journal, timeout=10)) as db, db:
        db.execute("UPDATE submission SET pulled_at = pulled_at - 900, handed_at = handed_at - 900")
    service.start()
    state = service.until(lambda: service.retired(late), "the result")
    assert state["scores"] == [[1, 1]]
    row = service.rows()[0]
    assert (row["attempts"], row["interruptions"]) == (1, 1), "that it was interrupted is not its fault"
