"""The sample course's problems with tests in files: staff submissions get what their folders promise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from graders.languages import built_in
from graders.program import ProgramHandler, Toolchains, prove
from graders.testcases import list_problems

from .conftest import ROOT

HOME = ROOT / "stdin"

if not Path("/usr/bin/gcc").exists():
    pytest.skip("this machine has no /usr/bin/gcc", allow_module_level=True)


@pytest.fixture(scope="module")
def handler() -> Iterator[ProgramHandler]:
    toolchains = Toolchains(built_in(), ["c", "python"], 20_000 + os.getpid() % 1000)
    try:
        toolchains.open()
        toolchains.validator("c").open()
        yield ProgramHandler(HOME, toolchains)
    finally:
        toolchains.close()


@pytest.mark.parametrize("name", list_problems(HOME))
def test_a_problem_is_proved_by_its_submissions(name: str, handler: ProgramHandler) -> None:
    if (HOME / name / "problem.yaml").exists():
        pytest.importorskip("yaml", reason="this machine has no PyYAML (xqueue-warden[yaml])")
    proofs = list(prove(handler, name))
    assert {proof.solution.name.split("/")[1] for proof in proofs} >= {"accepted", "wrong_answer"}
    for proof in proofs:
        assert proof.ok, f"{proof.solution.name}: {proof.judgement}"
        assert proof.judgement is not None


def test_there_is_one_of_each_layout() -> None:
    assert list_problems(HOME) == ["change", "temperatures"]
    assert (HOME / "change/problem.yaml").exists()
    assert (HOME / "temperatures/tests.toml").exists()
