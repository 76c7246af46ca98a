"""Nothing is left behind by many runs of all kinds: the bench's search for leaks, in its short form."""

from __future__ import annotations

import os
import subprocess
import tempfile

import psutil
import pytest

from bench import leak

RUNS = 2000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_that_nothing_grows_over_many_runs() -> None:
    left = leak.measure(RUNS)
    assert not left.wrong
    assert [item for item in left.items if not item.ok] == []
    assert sum(left.outcomes.values()) == RUNS
    assert len(left.outcomes) >= 9, f"the mix has not had its bad ends: {left.outcomes}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_that_what_is_left_behind_is_found() -> None:
    kept: list[object] = []

    def tick(done: int, total: int) -> None:
        if done == total:
            kept.append(open(f"{tempfile.gettempdir()}/left", "w"))  # noqa: SIM115 - left open
            kept.append(b"x" * (psutil.Process().memory_info().rss // 8))
            ended = subprocess.Popen(["true"])
            os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
            kept.append(ended)

    left = leak.measure(1, tick)
    with kept[0], kept[2]:  # type: ignore[attr-defined]
        pass
    assert not left.ok
    assert {item.name for item in left.items if not item.ok} == {
        "worker: RSS",
        "worker: descriptors",
        "processes below the worker",
        "… of them zombies",
        "temporary files",
    }


def test_that_one_thing_more_is_a_leak_and_memory_has_two_percent() -> None:
    assert not leak.Item("descriptors", 30, 31, memory=False, judged=True).ok
    assert leak.Item("descriptors", 30, 29, memory=False, judged=True).ok
    assert leak.Item("RSS", 1000, 1020, memory=True, judged=True).ok
    assert not leak.Item("RSS", 1000, 1021, memory=True, judged=True).ok
