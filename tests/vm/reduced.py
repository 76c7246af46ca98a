"""The tier `reduced` on a host that grants no user namespaces, with the groups of a delegated service."""

from __future__ import annotations

from dataclasses import replace

from sandbox.jail import REQUIRED, Jail
from sandbox.model import Isolation, OutcomeKind, Task
from tests.sandbox.conftest import LIMITS, PROFILE

REDUCED = replace(PROFILE, require=Isolation("reduced"))
PROGRAMS = replace(REDUCED, programs=True)
"""Python alone may not fork there; programs may."""
PATIENT = replace(LIMITS, wall_s=100.0, cpu_s=60.0)


def test_layers_of_reduced_and_the_groups_are_in_force() -> None:
    with Jail(REDUCED, slot=7) as jail:
        outcome = jail.run(Task("inside:execute", b"result = 1", PATIENT))
    assert outcome.report == b"1"
    names = {layer.split("-")[0] if layer.startswith("landlock") else layer for layer in outcome.isolation}
    assert REQUIRED[Isolation("reduced")] | {"cgroup2-memory", "cgroup2-pids"} <= names
    assert not {"user", "pid", "mount"} & set(outcome.isolation)


def test_memory_in_many_processes_is_bounded_by_the_group() -> None:
    source = b"import os\nfor _ in range(3): os.fork()\nx = bytearray(b'x') * (60 << 20)\nos.wait()"
    with Jail(PROGRAMS, slot=7) as jail:
        assert jail.run(Task("inside:execute", source, PATIENT)).kind is OutcomeKind.MEMORY
        assert jail.run(Task("inside:execute", b"result = 1", PATIENT)).report == b"1"


def test_fork_bomb_is_swept() -> None:
    source = b"import os, signal\nwhile True:\n    os.fork() or signal.pause()"
    with Jail(PROGRAMS, slot=7) as jail:
        outcome = jail.run(Task("inside:execute", source, PATIENT))
        assert outcome.kind is OutcomeKind.PROCESSES, outcome
        assert jail.run(Task("inside:execute", b"result = 1", PATIENT)).report == b"1"
