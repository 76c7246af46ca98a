"""An ordinary user's service that was given no groups: all else is in force, and no group is claimed."""

from __future__ import annotations

import os
from pathlib import Path

from sandbox import cgroup
from sandbox.jail import REQUIRED, Jail
from sandbox.model import Isolation, Task
from tests.sandbox.conftest import LIMITS, PROFILE


def test_no_group_is_made_nor_claimed() -> None:
    assert os.geteuid() != 0
    assert cgroup.make(1) is None
    with Jail(PROFILE, slot=7) as jail:
        outcome = jail.run(Task("inside:execute", b"result = 1", LIMITS))
    assert outcome.report == b"1"
    assert REQUIRED[Isolation.FULL] <= set(outcome.isolation)
    assert not [layer for layer in outcome.isolation if layer.startswith("cgroup2")]


def test_group_of_the_service_was_left_alone() -> None:
    own = cgroup.memberships(Path("/proc/self/cgroup").read_text())[""]
    assert not own.endswith(f"/{cgroup.LEAF}")
