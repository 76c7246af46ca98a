"""What holds for every test: nothing may be left behind."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from sandbox.resident import MOST_RESIDENTS

# How long an example takes says more of the machine than of the code.
settings.register_profile("warden", deadline=None)
settings.load_profile("warden")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaves_behind: this test's leftovers are checked by itself")


def _children() -> set[tuple[int, float]]:
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            found.add((process.pid, process.create_time()))
        except psutil.NoSuchProcess:
            continue
    return found


def _residents(zygotes: set[tuple[int, float]]) -> set[tuple[int, float]]:
    """Resident staff children of jails that are older than the test: theirs to end, with themselves."""
    found = set()
    for pid, _ in zygotes:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if "sandbox.zygote" in " ".join(process.cmdline()):
                below = process.children()
                assert len(below) <= MOST_RESIDENTS, "more residents than a zygote may have"
                found |= {(child.pid, child.create_time()) for child in below}
    return found


def _mounts() -> set[str]:
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a child process, a mount, or a changed working directory behind.

    Fixtures of wider scope are set up before, so what they keep running is not counted.
    """
    children, mounts, folder = _children(), _mounts(), os.getcwd()
    yield
    if request.node.get_closest_marker("leaves_behind"):
        return
    deadline = time.monotonic() + 3
    while (left := _children() - children - _residents(children)) and time.monotonic() < deadline:
        psutil.wait_procs(psutil.Process().children(recursive=True), timeout=0.1)
    assert not left, f"processes left behind: {[_describe(pid) for pid, _ in left]}"
    assert not _mounts() - mounts, "mounts left behind"
    assert os.getcwd() == folder, "the working directory was changed"


def _describe(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline()) or psutil.Process(pid).name()
    except psutil.Error:
        return f"pid {pid}"
