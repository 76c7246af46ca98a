"""Real jails for the sandbox's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.jail import Jail
from sandbox.model import Isolation, Limits, Profile

from .host import Canaries

LIMITS = Limits(wall_s=2.0, cpu_s=0.5, memory_mib=128, scratch_mib=8, scratch_files=64, processes=12)
PROFILE = Profile(library={"inside": Path(__file__).parent / "inside.py"}, preload=("inside",))


def slot(number: int) -> int:
    """A slot of this test process's own: its learner's uid, as root, is nobody else's on this host."""
    return 1000 * number + os.getpid() % 1000


@pytest.fixture(scope="session")
def shared_jail() -> Iterator[Jail]:
    with Jail(PROFILE, slot(0)) as jail:
        yield jail


@pytest.fixture
def jail() -> Iterator[Jail]:
    """A jail of the test's own, to be broken."""
    with Jail(PROFILE, slot(1)) as jail:
        yield jail


@pytest.fixture(scope="session")
def tier_jail(request: pytest.FixtureRequest) -> Iterator[Jail]:
    """A jail of the tier that the test is parametrised with (indirectly)."""
    tier = Isolation(request.param)
    number = 2 + list(Isolation).index(tier)
    with Jail(replace(PROFILE, require=tier), slot(number), best=tier) as jail:
        assert jail.isolation is tier
        yield jail


@pytest.fixture(scope="session")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canaries]:
    folder = tmp_path_factory.mktemp("canaries")
    with Canaries(folder) as made:
        yield made
