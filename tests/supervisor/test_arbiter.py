"""The loop with real processes: births, deaths, hangs, drains, grants."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from graders.model import Cause
from supervisor.notify import Notifier
from supervisor.status import ServiceState, SlotState
from tests.supervisor.stage import POLICY, Stage, gone, stage, until


def ready(running: Stage) -> None:
    until(lambda: running.log("ready"), "the supervisor to be ready")


def test_a_term_drains_and_every_worker_goes_home(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"a": 2, "b": 1}) as running:
        ready(running)
        running.process.terminate()
        assert running.process.wait(10) == 0
        assert sorted(running.log("home")) == [["a.0"], ["a.1"], ["b.0"]]
        final = running.status()
        assert final is not None and final.state is ServiceState.STOPPED
        assert {slot.state for queue in final.queues.values() for slot in queue.slots} == {SlotState.STOPPED}


def test_one_poll_of_a_queue_is_in_flight_however_many_workers(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"hit": 3}) as running:
        until(lambda: len(running.log("poll")) > 60, "thirty polls")
        running.process.terminate()
        running.process.wait(10)
        polls = sorted((int(at), mark, slot) for slot, at, mark in running.log("poll"))
        inside = [mark for _, mark, _ in polls]
        assert inside[::2] == ["begin"] * len(inside[::2])
        assert inside[1::2] == ["end"] * len(inside[1::2])
        assert {slot for *_, slot in polls} == {"hit.0", "hit.1", "hit.2"}, (
            "after a hit the next one has its turn"
        )


def test_a_killed_worker_is_replaced_and_its_rows_are_bequeathed(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"a": 2}) as running:
        ready(running)
        pid = until(lambda: running.slot("a.0").pid, "a worker")
        os.kill(pid, signal.SIGKILL)
        until(lambda: ["a.1", "a.0#1"] in running.log("inherits"), "the sibling to hear of it")
        replaced = until(
            lambda: (s := running.slot("a.0")).state is SlotState.RUNNING and s.pid != pid and s,
            "a successor",
        )
        assert replaced.crashes == 1


def test_a_grant_does_not_die_with_its_holder(tmp_path: Path) -> None:
    with stage(tmp_path, "greedy", queues={"a": 2}) as running:
        until(lambda: running.log("greedy"), "the greedy one to take its grant")
        died = len(running.log("poll"))
        until(lambda: len(running.log("poll")) > died + 4, "the other one to be granted polls")


def test_a_stopped_worker_is_found_and_replaced(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"a": 1}) as running:
        ready(running)
        pid = until(lambda: running.slot("a.0").pid, "a worker")
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        hung = until(lambda: (s := running.slot("a.0")).crashes and s, "the hang to be found")
        assert time.monotonic() - began < POLICY.answer_s + 5, "asked, and given no longer than for an answer"
        until(lambda: (s := running.slot("a.0")).state is SlotState.RUNNING and s.pid != pid, "a successor")
        assert not psutil.pid_exists(pid)
        assert hung.crashes == 1
        alerts = until(lambda: (s := running.status()) and s.alerts, "an alert")
        assert alerts[0].cause is Cause.HOST and "hung" in alerts[0].text


def test_a_crashing_queue_is_given_up_and_the_others_run(tmp_path: Path) -> None:
    with stage(tmp_path, "crashing", queues={"bad": 1, "good": 1}) as running:
        until(lambda: running.log("ready"), "ready in spite of it")
        fatal = until(lambda: (s := running.slot("bad.0")).state is SlotState.FATAL and s, "the breaker")
        assert fatal.crashes == POLICY.boot_deaths == len(running.log("crash"))
        assert running.slot("good.0").state is SlotState.RUNNING
        assert "worker crashed: RuntimeError > " in running.err()


def test_a_worker_that_cannot_isolate_is_fatal_with_its_reason(tmp_path: Path) -> None:
    with stage(tmp_path, "unable", queues={"a": 1}) as running:
        fatal = until(
            lambda: (
                (s := running.status()) and s.queues["a"].state is SlotState.FATAL and s.queues["a"].slots[0]
            ),
            "the slot to be FATAL",
        )
        assert (fatal.cause, fatal.message) == (Cause.SANDBOX_UNAVAILABLE, "no user namespaces")
        assert len(running.log("unable")) == 1


def test_a_damaged_journal_ends_the_run_when_everybody_has_let_go_of_it(tmp_path: Path) -> None:
    queues = {"bad": 1, "good": 2, "stubborn": 1}
    with stage(tmp_path, "damaged", queues=queues, drain_s=600, mends=True) as running:
        ready(running)
        workers = running.children()
        (tmp_path / "damage").touch()
        assert running.process.wait(20) == 0
        assert all(map(gone, workers))
        assert running.log("mend") == [["it", "is", "malformed"]]
        assert sorted(running.log("home")) == [["good.0"], ["good.1"]], "who could, went in order"
        last = running.status()
        assert last is not None and last.state is ServiceState.DRAINING, "it is not over yet"


def test_a_term_while_workers_let_go_of_a_damaged_journal_is_a_term(tmp_path: Path) -> None:
    with stage(tmp_path, "damaged", queues={"bad": 1, "stubborn": 1}, drain_s=0.5, mends=True) as running:
        ready(running)
        (tmp_path / "damage").touch()
        until(lambda: running.log("damaged"), "the damage to be found")
        until(lambda: (s := running.status()) and s.state is ServiceState.DRAINING, "the drain")
        running.process.terminate()
        assert running.process.wait(10) == 1, "the stubborn one was killed"
        assert not running.log("mend")
        last = running.status()
        assert last is not None and last.state is ServiceState.STOPPED


def test_a_journal_that_has_just_been_mended_is_not_mended_again(tmp_path: Path) -> None:
    """Its workers come and go, and others do what they can."""
    with stage(tmp_path, "damaged", queues={"bad": 1, "good": 1}) as running:
        ready(running)
        (tmp_path / "damage").touch()
        until(lambda: len(running.log("damaged")) >= 3, "a successor, and his")
        found = until(lambda: (s := running.slot("bad.0")).cause and s, "the cause")
        assert (found.cause, found.message) == (Cause.HOST, "it is malformed")
        assert running.slot("good.0").state is SlotState.RUNNING
        assert not running.log("home")


def test_a_refused_queue_is_fatal_in_the_status_and_the_others_run(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"refused": 0, "good": 1}) as running:
        ready(running)
        found = until(lambda: (s := running.status()) and s.state is ServiceState.RUNNING and s, "the status")
        refused = found.queues["refused"]
        assert (refused.state, refused.cause) == (SlotState.FATAL, Cause.CONFIG)
        assert "no such folder" in refused.message
        assert running.slot("good.0").state is SlotState.RUNNING


def test_who_does_not_go_home_is_killed_at_the_deadline(tmp_path: Path) -> None:
    with stage(tmp_path, "stubborn", queues={"a": 2}, drain_s=0.5) as running:
        ready(running)
        began = time.monotonic()
        running.process.terminate()
        assert running.process.wait(10) == 1
        assert time.monotonic() - began > 0.5


def test_a_second_term_ends_at_once(tmp_path: Path) -> None:
    with stage(tmp_path, "stubborn", queues={"a": 1}, drain_s=600) as running:
        ready(running)
        running.process.terminate()
        until(lambda: running.slot("a.0").state is SlotState.DRAINING, "draining")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(10) == 1


def test_a_quit_ends_at_once(tmp_path: Path) -> None:
    with stage(tmp_path, "stubborn", queues={"a": 2}, drain_s=600) as running:
        ready(running)
        workers = running.children()
        running.process.send_signal(signal.SIGQUIT)
        assert running.process.wait(5) == 1
        assert all(map(gone, workers))
        final = running.status()
        assert final is not None and final.state is ServiceState.STOPPED, "in order, not by a core dump"


def test_words_for_the_supervisor_do_nothing_to_a_worker(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"a": 1}) as running:
        ready(running)
        (pid,) = pids(running, "a.0")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(pid, number)
        polls = len(running.log("poll"))
        until(lambda: len(running.log("poll")) > polls + 3, "the worker to work on")
        assert running.slot("a.0").pid == pid


def test_no_worker_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    with stage(tmp_path, "stubborn", queues={"a": 3}) as running:
        ready(running)
        workers = running.children()
        assert len(workers) == 3
        running.process.kill()
        until(lambda: all(map(gone, workers)), "the workers to die", patience_s=1.0)


def test_a_second_supervisor_is_refused_and_told_who_runs(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"a": 1}) as first:
        ready(first)
        with stage(tmp_path, "polite", queues={"a": 1}) as second:
            assert second.process.wait(10) == 1
            assert f"pid {first.process.pid} " in second.err()
        assert first.slot("a.0").state is SlotState.RUNNING


def test_the_lock_does_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"a": 1}) as first:
        ready(first)
        first.process.kill()
        first.process.wait()
    (tmp_path / "log").unlink()
    with stage(tmp_path, "polite", queues={"a": 1}) as second:
        ready(second)


def test_nonsense_from_a_worker_costs_only_that_worker(tmp_path: Path) -> None:
    with stage(tmp_path, "babbling", queues={"a": 1}) as running:
        until(lambda: len(running.log("babble")) > 1, "a successor")
        assert running.process.poll() is None


def test_a_worker_has_nothing_of_its_parent_but_its_channel(tmp_path: Path) -> None:
    with stage(tmp_path, "curious", queues={"a": 2}) as running:
        lines = until(lambda: len(found := running.log("facts")) == 2 and found, "both workers")
        for words in lines:
            facts = json.loads(" ".join(words))
            assert facts["fds"] == []
            assert facts["cpus"] == [facts["cpu"]]
            assert facts["title"].startswith("warden worker a.")
            assert facts["group"] and facts["term"] and facts["blocked"] == 0
        cpus = {json.loads(" ".join(words))["cpu"] for words in lines}
        assert len(cpus) == min(2, len(os.sched_getaffinity(0))), "round robin"


def test_a_stopped_and_continued_supervisor_kills_nobody(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"a": 2}) as running:
        ready(running)
        pids = {running.slot(name).pid for name in ("a.0", "a.1")}
        everyone = [psutil.Process(running.process.pid), *running.children()]
        for process in everyone:
            process.suspend()
        resume_at = time.monotonic() + 7  # longer than every promise
        until(lambda: time.monotonic() > resume_at, "time to pass")
        for process in everyone:
            process.resume()
        polls = len(running.log("poll"))
        until(lambda: len(running.log("poll")) > polls + 6, "work to go on")
        assert {running.slot(name).pid for name in ("a.0", "a.1")} == pids, running.err()


def test_systemd_is_told_and_its_watchdog_fed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        notifier = Notifier.of(
            {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 7
        )
        assert notifier.watchdog_s == 1.5
        notifier.tell(READY="1", STATUS="2 workers")
        assert manager.recv(100) == b"READY=1\nSTATUS=2 workers"


@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "x"}]
)
def test_without_systemd_nobody_is_told(environ: dict[str, str]) -> None:
    notifier = Notifier.of(environ, 7)
    assert notifier.watchdog_s is None
    notifier.tell(READY="1")


def pids(running: Stage, *slots: str) -> list[int]:
    """Of the workers in these slots, once they are there."""
    return [until(lambda n=name: running.slot(n).pid, f"a worker in {name}") for name in slots]


def replaced(running: Stage, slot: str, pid: int | None) -> bool:
    found = running.slot(slot)
    return found.state is SlotState.RUNNING and found.pid not in (None, pid)


def test_a_reload_replaces_the_workers_of_what_changed_and_no_others(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"a": 2, "b": 1, "gone": 1}) as running:
        ready(running)
        a0, a1, b0 = pids(running, "a.0", "a.1", "b.0")
        told = running.reload(queues={"a": 2, "b": 2, "new": 1, "bad": 0}, renew=["a"])
        assert (told.ok, told.message) == (True, "so")
        until(lambda: replaced(running, "a.0", a0) and replaced(running, "a.1", a1), "a's new workers")
        until(lambda: "gone" not in running.status().queues, "the queue that is gone to leave the status")
        until(lambda: running.slot("new.0").state is SlotState.RUNNING, "the new queue")
        assert running.slot("b.1").state is SlotState.RUNNING
        assert running.slot("b.0").pid == b0 and running.slot("a.0").crashes == 0
        found = running.status()
        assert found is not None and found.queues["bad"].cause is Cause.CONFIG
        assert sorted(slot for (slot,) in running.log("home")) == ["a.0", "a.1", "gone.0"]
        polled = len([slot for slot, *_ in running.log("poll") if slot in ("a.0", "a.1")])
        until(
            lambda: len([slot for slot, *_ in running.log("poll") if slot in ("a.0", "a.1")]) > polled + 4,
            "polls to go on: no grant was lost",
        )
        told = running.reload(queues={"a": 1, "gone": 1})
        until(lambda: [slot.id for slot in running.status().queues["a"].slots] == ["a.0"], "one seat less")
        until(lambda: running.slot("gone.0").state is SlotState.RUNNING, "what was gone to be back")
        assert list(running.status().queues) == ["a", "gone"]


def test_a_bad_reload_changes_nothing_and_says_why(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"a": 1}) as running:
        ready(running)
        (pid,) = pids(running, "a.0")
        told = running.reload(bad=["queues.a.workers: is out of range", "warden.logg: unknown key"])
        assert not told.ok and "queues.a.workers" in told.message and "warden.logg" in told.message
        assert "unknown key" in running.err() and "out of range" in running.err()
        found = running.status()
        assert found is not None and found.alerts[-1].cause is Cause.CONFIG
        assert pids(running, "a.0") == [pid]
        assert running.reload(queues={"a": 1}).ok
        assert pids(running, "a.0") == [pid]


def test_a_reload_tries_at_once_what_was_given_up(tmp_path: Path) -> None:
    with stage(tmp_path, "unable", queues={"a": 1}) as running:
        until(lambda: len(running.log("unable")) == 1 and running.log("ready"), "the seat to be FATAL")
        running.reload(queues={"a": 1}, renew=["a"])
        until(lambda: len(running.log("unable")) == 2, "another try")


def test_a_worker_that_cannot_be_replaced_in_time_is_not_killed_for_it(tmp_path: Path) -> None:
    with stage(tmp_path, "stubborn", queues={"a": 1}, drain_s=0.1) as running:
        ready(running)
        (pid,) = pids(running, "a.0")
        running.reload(queues={"a": 1}, renew=["a"])
        patience = time.monotonic() + 1.0
        until(lambda: time.monotonic() > patience, "ten drain deadlines")
        found = running.slot("a.0")
        assert (found.state, found.pid, found.crashes) == (SlotState.DRAINING, pid, 0)
        running.process.terminate()
        assert running.process.wait(10) == 1


def test_systemd_hears_of_readiness_of_a_reload_and_of_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")

        def hear(word: str) -> dict[str, str]:
            while True:
                told = dict(line.partition("=")[::2] for line in manager.recv(4096).decode().splitlines())
                if word in told:
                    return told

        with stage(tmp_path, "polite", queues={"a": 2}) as running:
            assert int(hear("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]) > 300_000, "a slow start goes on"
            hear("READY")
            assert running.slot("a.0").state is running.slot("a.1").state is SlotState.RUNNING
            hear("WATCHDOG")
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            running.reload(queues={"a": 1})
            assert int(hear("RELOADING")["MONOTONIC_USEC"]) >= before
            assert "STATUS" in hear("READY")
            assert "EXTEND_TIMEOUT_USEC" not in hear("WATCHDOG")
            running.process.send_signal(signal.SIGSTOP)
            manager.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    manager.recv(4096)
            manager.settimeout(0.6)
            with pytest.raises(TimeoutError):
                manager.recv(4096)
            running.process.send_signal(signal.SIGCONT)
            manager.settimeout(10)
            hear("WATCHDOG")
            running.process.terminate()
            hear("STOPPING")
