"""Seats that come and go with real processes: bursts, their CPUs, and what breakers leave of it all."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil

from supervisor.status import BreakerState, BreakerStatus, QueueStatus, SlotState
from tests.supervisor.stage import Stage, stage, until


def submit(folder: Path, queue: str, count: int, grader: str = "sum", comes_of_it: str = "fine") -> None:
    (folder / f"{queue}.grader").write_text(f"{grader} {comes_of_it}")
    (folder / f"{queue}.next").write_text(str(count))
    (folder / f"{queue}.next").rename(folder / queue)


def queue_of(running: Stage, name: str) -> QueueStatus:
    running.at_once()
    found = running.status()
    assert found is not None
    return found.queues[name]


def running_seats(running: Stage, name: str) -> int:
    return sum(slot.state is SlotState.RUNNING for slot in queue_of(running, name).slots)


def breaker_of(running: Stage, unit: str) -> BreakerStatus | None:
    running.at_once()
    found = running.status()
    return next((one for one in found.breakers if one.unit == unit), None) if found else None


def test_a_queue_in_a_burst_borrows_idle_cores_and_gives_them_back(tmp_path: Path) -> None:
    with stage(tmp_path, "busy", queues={"a": [1, 3], "b": 1}) as running:
        until(lambda: running.log("ready"), "ready")
        before = queue_of(running, "a")
        assert [slot.state for slot in before.slots] == [SlotState.RUNNING] + 2 * [SlotState.STOPPED]
        assert (before.slots_min, before.slots_max, before.slots_wanted) == (1, 3, 1)
        submit(tmp_path, "a", 200)
        until(lambda: running_seats(running, "a") == 3, "three seats")
        assert running_seats(running, "b") == 1, "whatever the others do"
        workers = running.children()
        submit(tmp_path, "a", 0)
        given_back = [SlotState.RUNNING] + 2 * [SlotState.STOPPED]
        until(lambda: [slot.state for slot in queue_of(running, "a").slots] == given_back, "them to go")
        after = queue_of(running, "a")
        assert [slot.pid is None for slot in after.slots] == [False, True, True]
        assert sum(slot.crashes for slot in after.slots) == 0
        assert {name for (name,) in running.log("home")} == {"a.1", "a.2"}, "each went by itself"
        assert len(running.children()) == len(workers) - 2


def test_a_reload_changes_how_many_seats_a_queue_may_borrow(tmp_path: Path) -> None:
    with stage(tmp_path, "busy", queues={"a": 1}) as running:
        until(lambda: running.log("ready"), "ready")
        own = queue_of(running, "a").slots[0].pid
        submit(tmp_path, "a", 500)
        (tmp_path / "reload").write_text(json.dumps({"queues": {"a": [1, 3]}}))
        running.process.send_signal(signal.SIGHUP)
        until(lambda: running_seats(running, "a") == 3, "three seats")
        (tmp_path / "reload").write_text(json.dumps({"queues": {"a": 1}}))
        running.process.send_signal(signal.SIGHUP)
        until(lambda: len(queue_of(running, "a").slots) == 1, "the others to go")
        kept = queue_of(running, "a")
        assert (kept.slots[0].pid, kept.slots_max) == (own, 1), "its own worker goes on"


def test_a_queue_that_borrows_no_more_leaves_nothing_to_wait_for(tmp_path: Path) -> None:
    """Its seats were about to be given back; as its own they stay, and that time must not wake the loop."""
    with stage(tmp_path, "busy", queues={"a": [1, 3]}) as running:
        until(lambda: running.log("ready"), "ready")
        submit(tmp_path, "a", 200)
        until(lambda: running_seats(running, "a") == 3, "three seats")
        submit(tmp_path, "a", 0)
        until(lambda: {slot.phase for slot in queue_of(running, "a").slots} == {"idle"}, "nothing to do")
        running.reload(queues={"a": 3})
        assert running_seats(running, "a") == 3
        supervisor = psutil.Process(running.process.pid)
        began, used = time.monotonic(), sum(supervisor.cpu_times()[:2])
        until(lambda: time.monotonic() > began + 2.5, "the seats' time to be over")
        assert sum(supervisor.cpu_times()[:2]) - used < 1.25, "it turns without a pause"
        assert running_seats(running, "a") == 3


def test_borrowed_seats_are_on_the_cpus_with_the_least_to_do(tmp_path: Path) -> None:
    with stage(tmp_path, "busy", queues={"a": [1, 2], "b": 1}) as running:
        until(lambda: running.log("ready"), "ready")
        submit(tmp_path, "b", 500)
        until(lambda: any(seat == "b.0" for seat, *_ in running.log("grades")), "b to be at work")
        submit(tmp_path, "a", 500)
        until(lambda: running_seats(running, "a") == 2, "a second seat")
        cpus = {slot.id: slot.cpu for name in "ab" for slot in queue_of(running, name).slots}
        if len(os.sched_getaffinity(0)) > 2:
            assert len(set(cpus.values())) == 3, cpus
        else:
            assert set(cpus.values()) == os.sched_getaffinity(0), cpus
        borrowed = psutil.Process(queue_of(running, "a").slots[1].pid)
        until(lambda: borrowed.cpu_affinity() == [cpus["a.1"]], "it to be pinned")


def test_a_queue_whose_workers_all_die_at_work_is_left_alone_and_tried_with_one_seat(tmp_path: Path) -> None:
    with stage(tmp_path, "busy", queues={"bad": 2, "good": 1}) as running:
        until(lambda: running.log("ready"), "ready")
        for number in range(4):  # of four graders, so that none of them is to blame
            submit(tmp_path, "bad", number + 1, grader=f"g{number}", comes_of_it="die")
            until(lambda n=number: len(running.log("grades")) > n, "a death")
            submit(tmp_path, "bad", 0)
        found = until(lambda: breaker_of(running, "queue"), "the breaker")
        assert found.queue == "bad"
        fatal = until(
            lambda: (q := queue_of(running, "bad")).state is SlotState.FATAL and q, "it to be FATAL"
        )
        assert fatal.cause is not None
        until(lambda: (b := breaker_of(running, "queue")) and b.state is BreakerState.HALF_OPEN, "a trial")
        until(lambda: running_seats(running, "bad") == 1, "one seat")
        submit(tmp_path, "bad", 1)
        until(lambda: breaker_of(running, "queue") is None, "one grading that ends well to close it")
        until(lambda: running_seats(running, "bad") == 2, "both seats")
        assert queue_of(running, "good").state is SlotState.RUNNING
        document = running.status()
        assert document is not None
        assert any("not served" in alert.text for alert in document.alerts if alert.queue == "bad")


def test_a_grader_that_kills_its_workers_is_held_by_all_and_tried_by_one(tmp_path: Path) -> None:
    with stage(tmp_path, "busy", queues={"a": 2}) as running:
        until(lambda: running.log("ready"), "ready")
        submit(tmp_path, "a", 3, grader="bad.py", comes_of_it="die")
        found = until(lambda: breaker_of(running, "problem"), "the breaker")
        assert (found.queue, found.grader) == ("a", "bad.py")
        until(
            lambda: {line[0] for line in running.log("holds") if "bad.py" in line} == {"a.0", "a.1"}, "both"
        )
        submit(tmp_path, "a", 8, grader="good.py")
        until(lambda: len(running.log("grades")) == 3 + 8, "the others to go on")
        until(lambda: (b := breaker_of(running, "problem")) and b.state is BreakerState.HALF_OPEN, "a trial")
        submit(tmp_path, "a", 30, grader="bad.py")  # mended meanwhile
        until(lambda: breaker_of(running, "problem") is None, "it to work again")
        assert running.log("held"), "the other worker left what it pulled"
        until(
            lambda: {line[0] for line in running.log("holds")[-2:] if len(line) == 2} == {"a.0", "a.1"}, "it"
        )


def test_one_learner_opens_no_breaker(tmp_path: Path) -> None:
    with stage(tmp_path, "busy", queues={"a": 1}) as running:
        until(lambda: running.log("ready"), "ready")
        for number in range(5):  # the worker takes the number of what is left for the learner
            submit(tmp_path, "a", 1, grader="bad.py", comes_of_it="balk")
            until(lambda n=number: len(running.log("grades")) > n, "an attempt")
        assert breaker_of(running, "problem") is None


def test_a_host_that_fails_everything_polls_no_more_but_one_at_a_time_to_see(tmp_path: Path) -> None:
    with stage(tmp_path, "busy", queues={"a": 2, "b": 2}) as running:
        until(lambda: running.log("ready"), "ready")
        submit(tmp_path, "a", 500, grader="a.py", comes_of_it="balk")
        submit(tmp_path, "b", 500, grader="b.py", comes_of_it="balk")
        found = until(lambda: breaker_of(running, "host"), "the breaker")
        assert found.cause is not None
        for name in "ab":
            assert str(queue_of(running, name).cause) == "HOST"
        left = {name: int((tmp_path / name).read_text()) for name in "ab"}
        began = len(running.log("grades"))
        until(lambda: len(running.log("grades")) >= began + 3, "three trials")
        taken = sum(left[name] - int((tmp_path / name).read_text()) for name in "ab")
        assert taken <= 3 + 2, "one at a time, after each pause"
        assert {line[0] for line in running.log("holds") if line[1] == "True"} == {"a.0", "a.1", "b.0", "b.1"}
        for name in "ab":
            (tmp_path / f"{name}.grader").write_text(f"{name}.py fine")
        until(lambda: breaker_of(running, "host") is None, "it to be well again")
        began = len(running.log("grades"))
        until(lambda: len(running.log("grades")) > began + 20, "all to go on")
