"""Whatever stops, in whatever phase, is found by the promise that it broke; and all is graded."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from graders.model import Cause, Verdict
from supervisor.status import SlotState
from tests.supervisor.gate import Gate, gate
from tests.supervisor.stage import gone, stage, until
from tests.supervisor.test_service import PAYLOAD, QUEUES, Scene, answer, grading, scene

QUEUE = QUEUES[0]
QUICK = [
    "servers.demo.connect_timeout_s=0.3",
    "servers.demo.pull_timeout_s=0.8",
    "servers.demo.put_timeout_s=0.8",
    "sandboxes.python.limits.wall_s=2",
]


def sleepy(seconds: float) -> str:
    return f"import time\ntime.sleep({seconds})\n" + answer()


def slots(lab: Scene) -> list[dict[str, Any]]:
    lab.process("supervisor").send_signal(signal.SIGUSR2)
    found: list[dict[str, Any]] = lab.status()["queues"][QUEUE]["slots"]
    return found


PHASES = {"get_submission": "poll", "put_result": "deliver"}


def held_by(lab: Scene, held: Gate, verb: str) -> psutil.Process:
    """The worker whose answer to this verb is held: the only one in its phase.

    (Whose socket it is, /proc tells root alone.)
    """
    until(lambda: held.held.get(verb), f"a {verb} to be held")

    def found() -> list[psutil.Process]:
        return [psutil.Process(slot["pid"]) for slot in slots(lab) if slot["phase"] == PHASES[verb]]

    (worker,) = until(lambda: len(them := found()) == 1 and them, f"the worker of the {verb}")
    return worker


def at_work(lab: Scene) -> psutil.Process:
    """The worker that grades."""
    found: psutil.Process = until(
        lambda: next((w for s in slots(lab) if (w := grading(lab, s["id"])) is not None), None),
        "a worker that grades",
    )
    return found


@pytest.mark.slow
def test_workers_that_stop_while_they_poll_grade_and_deliver_are_found_and_replaced() -> None:
    with scene("queues.demo-functions.workers=3", *QUICK) as lab, gate(lab.url) as held:
        behind, lab.url = lab.url, held.url
        lab.start_supervisor()
        lab.url = behind
        lab.submit(QUEUE, "anna", PAYLOAD, sleepy(1.2))
        stopped = {"grade": at_work(lab)}
        stopped["grade"].suspend()
        held.hold("put_result")
        lab.submit(QUEUE, "ben", PAYLOAD, answer())
        stopped["deliver"] = held_by(lab, held, "put_result")
        stopped["deliver"].suspend()
        held.hold("get_submission")
        stopped["poll"] = held_by(lab, held, "get_submission")
        stopped["poll"].suspend()
        assert len({process.pid for process in stopped.values()}) == 3
        held.release()

        def causes() -> dict[str, str]:
            slots(lab)
            return {
                phase: alert["cause"]
                for phase in stopped
                for alert in lab.status()["alerts"]
                if f"hung in its phase {phase}," in alert["text"]
            }

        until(lambda: len(causes()) == 3, "three hangs to be found", patience_s=45)
        assert set(causes().values()) == {Cause.HOST}
        assert all(map(gone, stopped.values()))
        lab.submit(QUEUE, "carl", PAYLOAD, answer())
        assert lab.lms.wait(3, 40) == 3
        assert {name: reply.correct for name, reply in lab.lms.delivered.items()} == {
            "anna": True,
            "ben": True,
            "carl": True,
        }
        until(lambda: all(row["state"] == "DELIVERED" for row in lab.rows()), "all rows to be closed")
        attempts = {row["student_key"]: row["attempts"] for row in lab.rows()}
        assert attempts == {"anna": 2, "ben": 1, "carl": 1}, "nothing graded again because of delivery"


@pytest.mark.slow
def test_a_zygote_that_stops_under_a_grading_costs_an_attempt_and_no_marks() -> None:
    with scene("queues.demo-functions.workers=1", *QUICK) as lab:
        lab.start_supervisor()
        lab.submit(QUEUE, "anna", PAYLOAD, sleepy(0.5))
        worker = at_work(lab)
        (zygote,) = until(lambda: [z for z in worker.children() if z.children()], "a child of the zygote")
        zygote.suspend()

        def said() -> bool:
            slots(lab)
            found = lab.status()["queues"][QUEUE]
            return found["cause"] == Cause.HOST and "tried again" in found["message"]

        until(said, "the cause in the status", patience_s=40)
        assert lab.lms.wait(1, 40) == 1
        assert lab.lms.delivered["anna"].correct
        assert lab.rows()[0]["attempts"] == 2
        until(lambda: gone(zygote), "the zygote to be replaced")
        assert worker.is_running() and slots(lab)[0]["crashes"] == 0


def test_a_child_that_stops_is_ended_at_its_limit() -> None:
    with scene("queues.demo-functions.workers=1", *QUICK) as lab:
        lab.start_supervisor()
        lab.submit(QUEUE, "anna", PAYLOAD, sleepy(1.5))
        worker = at_work(lab)

        seen: dict[int, float] = {}

        def newest() -> psutil.Process | None:
            """The youngest child of a zygote, the same for a while: what staff wrote takes milliseconds."""
            children = [child for zygote in worker.children() for child in zygote.children()]
            child = max(children, key=lambda one: one.create_time(), default=None)
            if child is None or time.monotonic() - seen.setdefault(child.pid, time.monotonic()) < 0.4:
                return None
            return child

        child = until(newest, "the learner's child")
        child.suspend()
        assert lab.lms.wait(1, 30) == 1
        verdict = dict(lab.graded())["anna"].verdict
        assert verdict == Verdict.TIMEOUT
        assert gone(child)
        assert slots(lab)[0]["pid"] == worker.pid


def test_a_worker_that_stops_while_it_starts_is_found(tmp_path: Path) -> None:
    with stage(tmp_path, "sluggish", queues={"a": 1}) as running:
        first = until(lambda: running.log("starts"), "the first word")
        psutil.Process(int(first[0][1])).suspend()
        until(lambda: running.log("ready"), "the service not to wait for it for ever")
        found = until(lambda: (s := running.slot("a.0")).crashes and s, "the hang in the status")
        assert found.crashes == 1
        alerts = until(lambda: (s := running.status()) and s.alerts, "an alert")
        assert alerts[0].cause is Cause.HOST and "not ready" in alerts[0].text
        until(lambda: running.slot("a.0").state is SlotState.RUNNING, "a successor that gets ready")
