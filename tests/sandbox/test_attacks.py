"""Every file in attacks/ is a hostile program with a sentence for a name; here they all meet a real jail.

Header lines of an attack:
    # attack: what it tries
    # expect: OUTCOME [OUTCOME...]     any of these
    # report: REPR                     what its variable `result` must be, if it ended by itself
    # reveals: TEXT                    what its stderr must contain
    # needs: cgroup                    the expectation holds only with a memory control group in force
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.jail import Jail
from sandbox.model import OutcomeKind, Task

from .conftest import LIMITS

ATTACKS = sorted((Path(__file__).parent / "attacks").glob("*.py"))


def header(source: str) -> dict[str, str]:
    found = {}
    for line in source.splitlines():
        if not line.startswith("# ") or ":" not in line:
            break
        key, _, value = line[2:].partition(":")
        found[key.strip()] = value.strip()
    return found


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_attack_ends_as_expected_and_the_next_honest_task_is_served(shared_jail: Jail, path: Path) -> None:
    source = path.read_text()
    told = header(source)
    assert "attack" in told, "an attack says what it tries"
    expected = {OutcomeKind(word) for word in told["expect"].split()}
    limits_in_force = shared_jail.layers
    assert "rlimits" in limits_in_force and "seccomp" in limits_in_force
    if told.get("needs") == "cgroup" and not any("memory" in layer for layer in limits_in_force):
        expected = set(OutcomeKind)  # bounded by rlimits per process only; it must still end in time

    outcome = shared_jail.run(Task("inside:execute", source.encode(), LIMITS))

    said = outcome.stderr.decode("utf-8", "replace")
    assert outcome.kind in expected, f"{outcome.kind}: {outcome.detail}; {said[-400:]}"
    assert outcome.usage.wall_s <= LIMITS.wall_s + 0.5
    assert len(outcome.stdout) + len(outcome.stderr) <= LIMITS.output_kib * 1024
    if "report" in told:
        assert outcome.report == told["report"].encode(), outcome.report
    if "reveals" in told:
        assert told["reveals"] in said
    honest = shared_jail.run(Task("inside:execute", b"import os; result = sorted(os.listdir('.')), 6 * 7"))
    assert honest.report == b"([], 42)", honest
