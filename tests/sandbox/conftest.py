"""Real jails for the sandbox's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.jail import Jail
from sandbox.model import Limits, Profile

LIMITS = Limits(wall_s=2.0, cpu_s=0.5, memory_mib=128, scratch_mib=8, scratch_files=64, processes=12)
PROFILE = Profile(library={"inside": Path(__file__).parent / "inside.py"}, preload=("inside",))


@pytest.fixture(scope="session")
def shared_jail() -> Iterator[Jail]:
    with Jail(PROFILE, slot=os.getpid() % 1000) as jail:
        yield jail


@pytest.fixture
def jail() -> Iterator[Jail]:
    """A jail of the test's own, to be broken."""
    with Jail(PROFILE, slot=1000 + os.getpid() % 1000) as jail:
        yield jail
