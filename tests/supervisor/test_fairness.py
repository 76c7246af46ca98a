"""A burst on one queue, with the whole service: it borrows; a lone submission elsewhere hardly notices."""

from __future__ import annotations

import os
import threading
import time

import pytest

from tests.supervisor.stage import ROOT, until
from tests.supervisor.test_service import PAYLOAD, QUEUES, Scene, answer

BURST = 80
APART_S = 0.5
WORK = "sum(i * i for i in range(800_000))\n"
"""A tenth of a second of a core, and more on a slow machine: what is measured is counted in such."""


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one core, and none to borrow")
def test_a_lone_submission_waits_for_a_few_of_a_burst_elsewhere_and_not_for_all() -> None:
    busy, quiet = QUEUES
    overrides = [
        f"queues.{busy}.workers={{ min = 1, max = 8 }}",
        f"queues.{busy}.poll_ceiling_s=0.3",
        f"queues.{quiet}.poll_ceiling_s=0.3",
    ]
    with Scene(ROOT / "config.toml", overrides, QUEUES) as lab:
        lab.start_supervisor()
        lab.submit(quiet, "first", PAYLOAD, answer())  # jails are warm, references are there
        lab.submit(busy, "other", PAYLOAD, WORK + answer())
        assert lab.lms.wait(2, 30) == 2

        def feed() -> None:
            for number in range(BURST):
                lab.submit(busy, f"burst{number}", PAYLOAD, WORK + answer())

        def used() -> int:
            return sum(slot["graded"] > 0 for slot in lab.status()["queues"][busy]["slots"])

        def done() -> int:
            return sum(key.startswith("burst") for key in list(lab.lms.delivered))

        feeder = threading.Thread(target=feed)
        feeder.start()
        borrowed: list[int] = []
        until(lambda: borrowed.append(used()) or borrowed[-1] > 1, "a second worker of the queue in a burst")
        feeder.join()  # the client is not for two threads
        waited: list[int] = []
        while (before := done()) < BURST * 3 // 4:
            lone = f"lone{len(waited)}"
            lab.submit(quiet, lone, PAYLOAD, answer())
            until(lambda key=lone: key in lab.lms.delivered, "the lone one's result")
            waited.append(done() - before)
            borrowed.append(used())
            time.sleep(APART_S)  # one after another at once would be a burst of its own
        assert lab.lms.wait(2 + BURST + len(waited), 60) == 2 + BURST + len(waited)
        assert len(waited) >= 2, "the burst was over too soon to tell"
        # Its own poll, its grading beside theirs: each takes as long as a few of the burst.
        assert max(waited) <= BURST // 4, waited
        assert max(borrowed) <= 1 + len(os.sched_getaffinity(0)), "it has borrowed not more than there is"
        assert all(reply.correct for reply in lab.lms.delivered.values())


def test_a_legacy_server_tells_how_many_wait() -> None:
    with Scene(ROOT / "config.toml", ["queues.demo-functions.workers=1"], QUEUES) as lab:
        for number in range(8):
            lab.submit(QUEUES[0], f"k{number}", PAYLOAD, "import time\ntime.sleep(0.7)\n" + answer())
        lab.start_supervisor()
        lengths: list[int] = []
        until(
            lambda: lengths.append(lab.status()["queues"][QUEUES[0]]["queue_length"] or 0) or any(lengths),
            "the length in the status",
        )
        assert 0 < max(lengths) < 8
        assert lab.lms.wait(8, 60) == 8
        until(lambda: lab.status()["queues"][QUEUES[0]]["queue_length"] == 0, "none to wait")
