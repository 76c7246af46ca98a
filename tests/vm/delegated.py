"""In a delegated service under the unified hierarchy: the layers are in force and the limits bite."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import cgroup
from sandbox.jail import MIB, ZYGOTE_MIB, Jail
from sandbox.model import Limits, OutcomeKind, Task
from tests.sandbox.conftest import LIMITS, PROFILE
from tests.vm.plugin import PATIENCE

PATIENT = replace(LIMITS, wall_s=100.0, cpu_s=60.0)
"""For an emulated processor: what is tested here is not time."""


@pytest.fixture
def jail() -> Iterator[Jail]:
    with Jail(PROFILE, slot=7) as jail:
        yield jail


KEPT = 4
"""So many of the course's problems are graded."""


def unit() -> Path:
    """The delegated group: we were moved to its leaf."""
    own = cgroup.memberships(Path("/proc/self/cgroup").read_text())[""]
    assert own.endswith(f".service/{cgroup.LEAF}"), own
    return cgroup.MOUNT / own.strip("/").removesuffix(f"/{cgroup.LEAF}")


def groups() -> list[Path]:
    return sorted(unit().glob(f"{cgroup.PREFIX}*"))


def run(jail: Jail, source: str, limits: Limits = PATIENT):
    return jail.run(Task("inside:execute", source.encode(), limits))


def test_hierarchy_is_the_unified_one_and_there_is_no_other() -> None:
    assert "cgroup2" in Path("/proc/self/mountinfo").read_text()
    assert list(cgroup.memberships(Path("/proc/self/cgroup").read_text())) == [""]


def test_both_layers_are_in_force_and_the_jail_is_in_its_group(jail: Jail) -> None:
    outcome = run(jail, "result = 1")
    assert outcome.report == b"1"
    assert {"cgroup2-memory", "cgroup2-pids"} <= set(outcome.isolation)
    (folder,) = groups()
    assert str(jail.pid) in (folder / "cgroup.procs").read_text().split()
    assert int((folder / "memory.max").read_text()) == (128 + 8 + ZYGOTE_MIB) * MIB
    assert (folder / "pids.max").read_text().strip() == str(LIMITS.processes + 1)
    if (folder / "memory.swap.max").exists():
        assert (folder / "memory.swap.max").read_text().strip() == "0"


def test_we_are_in_the_leaf_and_the_group_above_holds_nobody() -> None:
    assert (unit() / "cgroup.procs").read_text() == ""
    assert {"memory", "pids"} <= set((unit() / "cgroup.subtree_control").read_text().split())


def test_memory_shared_out_among_many_processes_ends_as_memory_and_the_zygote_lives(jail: Jail) -> None:
    zygote = jail.pid
    source = (
        "import os, time\n"
        "for _ in range(6):\n"
        "    if os.fork() == 0:\n"
        "        x = bytearray(b'x') * (60 << 20)\n"
        "        time.sleep(3); os._exit(0)\n"
        "for _ in range(6): os.wait()\n"
    )
    assert run(jail, source).kind is OutcomeKind.MEMORY
    assert jail.pid == zygote
    assert run(jail, "result = 2").report == b"2"


def test_memory_in_the_page_cache_of_the_scratch_folder_counts(jail: Jail) -> None:
    limits = replace(PATIENT, memory_mib=32, scratch_mib=64)
    source = (
        "data = b'x' * (1 << 20)\n"
        "with open('big', 'wb') as file:\n"
        "    for _ in range(60): file.write(data)\n"
        "import os, time\n"
        "for _ in range(6):\n"
        "    if os.fork() == 0:\n"
        "        x = bytearray(b'x') * (20 << 20)\n"
        "        time.sleep(3); os._exit(0)\n"
        "for _ in range(6): os.wait()\n"
    )
    assert run(jail, source, limits).kind is OutcomeKind.MEMORY


def test_fork_bomb_ends_as_processes(jail: Jail) -> None:
    outcome = run(jail, "import os, signal\nwhile True:\n    os.fork() or signal.pause()\n")
    assert outcome.kind is OutcomeKind.PROCESSES, outcome
    assert run(jail, "result = 3").report == b"3"


def test_threads_count_as_processes(jail: Jail) -> None:
    source = (
        "import threading\nevent = threading.Event()\n"
        "for _ in range(50): threading.Thread(target=event.wait, daemon=True).start()\n"
    )
    assert run(jail, source).kind is OutcomeKind.PROCESSES


def test_no_group_is_left_after_close_even_with_a_child_at_work(jail: Jail) -> None:
    assert len(groups()) == 1
    jail.close()
    assert groups() == []


def test_two_jails_have_two_groups_and_one_does_not_pay_for_the_other() -> None:
    with Jail(PROFILE, slot=8) as one, Jail(PROFILE, slot=9) as two:
        assert len(groups()) == 2
        greedy = "import os\nfor _ in range(3): os.fork()\nx = bytearray(b'x') * (60 << 20)\nos.wait()"
        assert run(one, greedy).kind is OutcomeKind.MEMORY
        assert run(two, "x = bytearray(b'x') * (60 << 20)\nresult = len(x) >> 20").report == b"60"
    assert groups() == []


def test_group_without_swap_accounting_is_limited_all_the_same() -> None:
    """As on a kernel that does not account for swap: there is no memory.swap.max, nor can one be made."""
    folder = unit() / "without-memory"
    folder.mkdir()
    deeper = folder / "deeper"
    try:
        deeper.mkdir()  # below a group that hands nothing down
        assert not (deeper / "memory.swap.max").exists()
        group = cgroup.Group(memory=deeper, pids=None, unified=True)
        group._write(deeper / "memory.swap.max", 0, optional=True)
        with pytest.raises(OSError):
            group._write(deeper / "memory.max", 0)
    finally:
        if deeper.exists():
            deeper.rmdir()
        folder.rmdir()


@pytest.mark.timeout(1800)
def test_service_grades_the_sample_course_with_these_layers(tmp_path: Path) -> None:
    """`warden demo`: supervisor, workers, queue and jails, all below the delegated group.

    Of a few problems, with much time: what is tried is limits of memory and processes, and an emulated
    processor is slow.
    """
    config = Path("config.toml").read_text()
    for name, factor in (("wall_s", PATIENCE), ("cpu_s", 2 * PATIENCE)):
        config = re.sub(
            rf"\b{name} = ([0-9.]+)",
            lambda found, name=name, factor=factor: f"{name} = {float(found[1]) * factor}",
            config,
        )
    (tmp_path / "config.toml").write_text(config)
    course = tmp_path / "course"
    shutil.copytree("course", course)
    for manifest in sorted((course / "submissions").glob("*/*/manifest.toml"))[KEPT:]:
        shutil.rmtree(manifest.parent)
    code = (
        "from supervisor import lab\nfrom supervisor.cli import demo\n"
        f"demo.STALLED_S *= {PATIENCE}\nlab.START_S *= {PATIENCE}\nlab.DRAIN_S *= {PATIENCE}\n"
        "from supervisor.cli import main\nmain()"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "demo",
            "--config",
            str(tmp_path / "config.toml"),
            "--course",
            str(course),
        ],
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    text = " ".join(done.stdout.split())
    assert "isolation of " in text, done.stdout
    assert text.count("isolation of ") == text.count("cgroup2-memory") == text.count("cgroup2-pids"), (
        done.stdout
    )
    assert groups() == []
