"""The sample course, a handler for it, and one jail for all of its submissions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from graders.python import GradelibHandler, profile
from sandbox.jail import UID_BASE, Jail
from sandbox.model import Limits

ROOT = Path(__file__).parents[2] / "course"
DATA = Path(__file__).parents[3] / "shared" / "data"

LIMITS = Limits(wall_s=4.0, cpu_s=1.0)
SLOT = 1000 + os.getpid() % 1000


@pytest.fixture(scope="session")
def course_jail() -> Iterator[Jail]:
    with Jail(profile(), slot=SLOT) as jail:
        yield jail
    # As root, the learners' code of a slot has a uid of its own: nobody may still have it.
    left = [p.pid for p in psutil.process_iter() if os.geteuid() == 0 and _uid(p) == UID_BASE + SLOT]
    assert not left, f"submissions outlived their jail: {left}"


@pytest.fixture(scope="session")
def handler() -> GradelibHandler:
    return GradelibHandler(ROOT, limits=LIMITS)


def _uid(process: psutil.Process) -> int:
    try:
        return process.uids().real
    except psutil.NoSuchProcess:
        return -1
