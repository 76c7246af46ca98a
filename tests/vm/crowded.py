"""The service as a whole is short of memory: that is nobody's fault who is graded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.jail import Jail
from sandbox.model import OutcomeKind, SandboxError, Task
from tests.sandbox.conftest import LIMITS, PROFILE


def test_victim_of_the_services_own_limit_is_not_called_greedy() -> None:
    """MemoryMax= of the service is far below what this task may use."""
    limits = replace(LIMITS, wall_s=100.0, cpu_s=60.0, memory_mib=1000)
    source = b"x = bytearray(b'x') * (800 << 20)"
    with Jail(PROFILE, slot=7) as jail:
        assert "cgroup2-memory" in jail.layers
        try:
            outcome = jail.run(Task("inside:execute", source, limits))
        except SandboxError:
            pass
        else:
            pytest.fail(f"blamed on the task: {outcome}")
        assert jail.run(Task("inside:execute", b"result = 1", LIMITS)).report == b"1"


def test_its_own_limit_is_still_its_own_fault() -> None:
    with Jail(PROFILE, slot=7) as jail:
        source = b"import os\nfor _ in range(3): os.fork()\nx = bytearray(b'x') * (60 << 20)\nos.wait()"
        limits = replace(LIMITS, wall_s=100.0, cpu_s=60.0)
        assert jail.run(Task("inside:execute", source, limits)).kind is OutcomeKind.MEMORY
