"""Workers are replaced when they have served long enough, one of a queue at a time, and nothing is lost."""

from __future__ import annotations

import itertools
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import recycling
from supervisor.place import Place, memory_bytes
from supervisor.recycler import leaving
from supervisor.recycling import Bounds, Life
from supervisor.spawn import Child
from supervisor.status import SlotState
from tests.supervisor.stage import stage, until

MIB = 1 << 20
ALL = Bounds(submissions=100, age_s=1000.0, memory_bytes=500 * MIB)


@pytest.mark.parametrize(
    ("life", "now", "memory", "why"),
    [
        (Life(0.0, 0.0, graded=99, memory_bytes=MIB), 999, 499 * MIB, ""),
        (Life(0.0, 0.0, graded=100), 0, None, "100 submissions"),
        (Life(0.0, 1.0, graded=80), 0, None, "80 submissions"),
        (Life(5.0, 0.0), 1005, None, "1000 s of age"),
        (Life(5.0, 0.5), 905, None, "900 s of age"),
        (Life(0.0, 0.0, memory_bytes=MIB), 0, 500 * MIB, "500 MiB of memory"),
        (Life(0.0, 0.0, memory_bytes=450 * MIB), 0, 900 * MIB, ""),
    ],
)
def test_the_bounds(life: Life, now: float, memory: int | None, why: str) -> None:
    assert recycling.due(life, ALL, now, memory) == why


@given(
    st.builds(
        Life, st.floats(0, 1e6), st.floats(0, 1), st.integers(0, 10**9), st.none() | st.integers(0, 2**40)
    ),
    st.floats(0, 1e9),
    st.none() | st.integers(0, 2**40),
)
def test_zero_switches_off(life: Life, now: float, memory: int | None) -> None:
    assert recycling.due(life, Bounds(), now, memory) == ""


def test_memory_counts_the_worker_and_its_children() -> None:
    alone = memory_bytes(os.getpid())
    assert alone is not None and alone > MIB
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.read(read, 1)
        os._exit(0)
    try:
        both = memory_bytes(os.getpid())
        assert both is not None and both > alone
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


def test_workers_are_replaced_one_at_a_time_and_polling_goes_on(tmp_path: Path) -> None:
    with stage(tmp_path, "tireless", queues={"hit": 3}, submissions=5) as running:
        until(lambda: len(running.log("home")) >= 7, "workers to be recycled")
        running.process.send_signal(signal.SIGUSR2)
        found = until(running.status, "the status").queues["hit"]
        assert {place.crashes for place in found.slots} == {0}
        assert found.graded >= 7 * 4
        running.process.terminate()
        assert running.process.wait(10) == 0
        # From its farewell to the first word of its successor a seat is empty: never two at once.
        births = sorted((float(at), slot) for slot, at in running.log("born"))
        away: list[tuple[float, float]] = []
        for slot, at in running.log("home"):
            back = next((born for born, who in births if who == slot and born > float(at)), None)
            if back is not None:
                away.append((float(at), back))
        assert len(away) >= 4
        away.sort()
        for (_, back), (left, _) in itertools.pairwise(away):
            assert left > back
        served = [int(count) for _, count in running.log("served")]
        assert max(served) < 100, "asked every two seconds, and none was forgotten"


def test_the_only_worker_of_a_queue_is_replaced_too(tmp_path: Path) -> None:
    with stage(tmp_path, "tireless", queues={"hit": 1}, submissions=3) as running:
        until(lambda: running.log("ready"), "readiness")
        pid = running.slot("hit.0").pid
        until(lambda: (s := running.slot("hit.0")).state is SlotState.RUNNING and s.pid != pid, "a successor")
        assert "worker recycled" in running.err()


def test_of_workers_that_are_all_due_the_oldest_leaves() -> None:
    """Else the first seat, due again whenever somebody looks, keeps the second from its turn for ever."""

    def place(index: int, born_at: float) -> Place:
        life = Life(born_at, 0.0, graded=100)
        child = Child(os.getpid(), -1, socket.socket())
        child.channel.close()
        found = Place(f"q.{index}", index, "q", None, child=child, life=life)
        found.machine = replace(found.machine, state=SlotState.RUNNING)
        return found

    young, old = place(0, 50.0), place(1, 10.0)
    first = next(leaving([young, old], ALL, 60.0))
    assert first == (old, "100 submissions")
