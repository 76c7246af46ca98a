"""Control groups of the host that the tests run on, v1 or v2; and where they go, decided on paper."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import cgroup

MIB = 1 << 20
TREE = Path("/sys/fs/cgroup")


@pytest.fixture
def group() -> Iterator[cgroup.Group]:
    made = cgroup.make(77, "test")
    if made is None:
        assert os.geteuid() != 0, "root must be able to make control groups on the machines that we test on"
        pytest.skip("this user may not make control groups here")
    yield made
    made.remove()


def started(group: cgroup.Group, source: str) -> subprocess.Popen[str]:
    """A process in the group that runs `source` once it is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"input()\n{source}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    group.join(process.pid)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=20)
    return process.returncode


def test_group_is_named_after_its_maker_and_the_jail(group: cgroup.Group) -> None:
    assert {folder.name for folder in group.folders()} == {f"warden-{os.getpid()}-77-test"}
    assert set(group.layers) <= {f"cgroup{2 if group.unified else 1}-{name}" for name in cgroup.WANTED}
    assert group.layers


def test_kernel_has_the_limits_that_were_set_and_each_may_be_raised_and_lowered(group: cgroup.Group) -> None:
    for memory_bytes, processes in ((64 * MIB, 10), (256 * MIB, 3), (32 * MIB, 20)):
        group.limit(memory_bytes, processes)
        if group.memory:
            name = "memory.max" if group.unified else "memory.limit_in_bytes"
            assert int((group.memory / name).read_text()) == memory_bytes
        if group.pids:
            assert int((group.pids / "pids.max").read_text()) == processes


def test_memory_beyond_the_limit_kills_and_is_counted(group: cgroup.Group) -> None:
    if group.memory is None:
        pytest.skip("this machine has no memory controller that this user may use")
    group.limit(32 * MIB, 10)
    assert group.counters().oom_kills == 0
    assert ended(started(group, "x = bytearray(b'x') * (100 << 20)")) == -9
    assert group.counters().oom_kills == 1


def test_files_read_again_for_want_of_memory_are_counted(group: cgroup.Group, tmp_path: Path) -> None:
    if group.memory is None:
        pytest.skip("this machine has no memory controller that this user may use")
    large = tmp_path / "large"
    with large.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if "tmpfs" in subprocess.run(["stat", "-f", "-c", "%T", large], capture_output=True, text=True).stdout:
        pytest.skip("temporary files of this machine lie in a tmpfs, whose pages no disk gives back")
    group.limit(32 * MIB, 10)
    source = (
        f"for _ in range({{}}):\n    with open({str(large)!r}, 'rb') as file:\n"
        "        while file.read(1 << 20): pass"
    )
    assert ended(started(group, source.format(1))) == 0
    once = group.counters()
    assert ended(started(group, source.format(3))) == 0
    assert (group.counters() - once).refaulted_bytes > 32 * MIB
    assert group.counters().oom_kills == 0


def test_fork_beyond_the_limit_fails_and_is_counted(group: cgroup.Group) -> None:
    if group.pids is None:
        pytest.skip("this machine has no pids controller that this user may use")
    group.limit(256 * MIB, 1)
    assert group.counters().fork_failures == 0
    source = "import os\ntry:\n    os.fork()\nexcept BlockingIOError:\n    os._exit(42)"
    assert ended(started(group, source)) == 42
    assert group.counters().fork_failures == 1


def test_removal_kills_what_is_left_in_it_descendants_of_the_dead_as_well(group: cgroup.Group) -> None:
    source = (
        "import os, signal\n"
        "for _ in range(3): os.fork()\n"
        "if os.fork(): os._exit(0)\n"
        "os.write(1, b'on\\n')\nsignal.pause()"
    )
    process = started(group, source)
    assert process.stdout is not None
    for _ in range(8):
        assert process.stdout.readline() == "on\n"
    process.wait(10)
    deadline = time.monotonic() + 10
    while len(group.members()) > 8 and time.monotonic() < deadline:  # parents are ending, or not reaped
        select.select([], [], [], 0.01)
    assert len(group.members()) == 8
    group.remove()
    assert not any(folder.exists() for folder in group.folders())
    process.communicate(timeout=10)  # the last to hold its end of the pipe is gone


def test_kill_empties_a_group_that_forks_as_fast_as_it_can(group: cgroup.Group) -> None:
    group.limit(512 * MIB, 40)
    source = (
        "import os\nos.fork() and os._exit(0)\n"
        "os.write(1, b'on\\n')\n"
        "while True:\n"
        "    try:\n        os.fork() and os._exit(0)\n"
        "    except OSError:\n        pass"
    )
    process = started(group, source)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.wait(10)
    assert group.kill(timeout_s=10)
    assert group.members() == set()
    process.communicate(timeout=10)


def test_sweep_takes_away_groups_of_the_dead_and_leaves_those_of_the_living(group: cgroup.Group) -> None:
    code = "import os\nfrom sandbox import cgroup\nmade = cgroup.make(5)\nprint(*made.folders())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    orphans = {Path(word) for word in done.stdout.split()}
    assert orphans, done.stderr
    cgroup.sweep()
    assert not any(folder.exists() for folder in orphans)
    assert all(folder.is_dir() for folder in group.folders())


@pytest.mark.usefixtures("group")  # there must be the right to make some
def test_sweep_takes_away_the_group_of_a_dead_one_whom_nobody_has_reaped() -> None:
    """Whoever adopts the workers of a killed supervisor may be slow to reap them, or never do."""
    code = "import os\nfrom sandbox import cgroup\nmade = cgroup.make(5)\nprint(*made.folders())"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    orphans = {Path(word) for word in process.stdout.read().split()}
    assert orphans
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        cgroup.sweep()
        assert not any(folder.exists() for folder in orphans)
    finally:
        process.wait(10)
        process.stdout.close()


def test_part_cannot_lead_elsewhere() -> None:
    if (made := cgroup.make(78, "../c/../../x")) is not None:
        try:
            assert {folder.name for folder in made.folders()} == {f"warden-{os.getpid()}-78-.._c_.._.._x"}
        finally:
            made.remove()


def test_memberships_of_both_hierarchies() -> None:
    assert cgroup.memberships("0::/system.slice/x.service\n") == {"": "/system.slice/x.service"}
    assert cgroup.memberships("5:cpu,cpuacct:/a\n4:memory:/b:c\n1:name=systemd:/\n0::/\n") == {
        "cpu": "/a",
        "cpuacct": "/a",
        "memory": "/b:c",
        "name=systemd": "/",
        "": "/",
    }


def test_nearest_group_that_hands_down_both_is_chosen() -> None:
    unit, slice_ = TREE / "a.slice/x.service", TREE / "a.slice"
    both = ["cpu", "memory", "pids"]
    assert cgroup.choose([(unit / "main", []), (unit, both), (slice_, both)]) == dict.fromkeys(
        cgroup.WANTED, unit
    )


def test_a_process_is_in_one_group_so_controllers_of_two_are_not_mixed() -> None:
    near, far = TREE / "a/b", TREE / "a"
    assert cgroup.choose([(near, ["pids"]), (far, ["memory", "pids"])]) == {"memory": far, "pids": far}
    assert cgroup.choose([(near, ["pids"]), (far, ["memory"])]) == {"pids": near}


def test_nothing_handed_down_is_no_group() -> None:
    assert cgroup.choose([]) == {}
    assert cgroup.choose([(TREE, []), (TREE / "x", ["cpu", "io"])]) == {}
