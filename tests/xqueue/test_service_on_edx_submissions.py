"""The whole service on the LMS's own queue server: submissions in, scores stored, events heard."""

from __future__ import annotations

import pytest

from tests.xqueue.real.lab_process import Lab
from tests.xqueue.service import RIGHT, WRONG, Service

pytestmark = pytest.mark.slow


def test_scores_are_stored_and_the_lms_hears_of_them(lab: Lab, service: Service) -> None:
    service.configure("service").start()
    right = service.enqueue(RIGHT)
    wrong = service.enqueue(WRONG)
    filed = service.enqueue("", files={"../my file.py": RIGHT})
    assert service.settled(right)["scores"] == [[1, 1]]
    assert service.settled(filed)["scores"] == [[1, 1]]
    assert service.settled(wrong)["scores"] == [[0, 1]]
    heard = lab.control("events")
    assert sorted(event["points_earned"] for event in heard) == [0, 1, 1]


def test_a_payload_without_a_grader_is_answered_too(service: Service) -> None:
    """On this server an item that nobody answers blocks the head of its queue for everybody."""
    service.configure("service").start()
    nameless = service.enqueue(RIGHT, grader="")
    missing = service.enqueue(RIGHT, grader="no/such/grader.py")
    assert service.settled(nameless)["scores"] == [[0, 1]]
    assert service.settled(missing)["scores"] == [[0, 1]]


def test_a_killed_service_goes_on_where_it_was(lab: Lab, service: Service) -> None:
    service.configure("service").start()
    ids = [service.enqueue(RIGHT) for _ in range(12)]
    service.settled(ids[0])
    service.kill()
    # A pull that was on its way when the worker died is known to the server only: it hands the submission out
    # again after five minutes. What is in our journal comes again, too, and must not be graded again.
    for submission in ids:
        if service.state(submission)["status"] == "pulled":
            lab.control("age", submission=submission, minutes=6)
    service.start()
    for submission in ids:
        assert service.settled(submission)["scores"] == [[1, 1]]
