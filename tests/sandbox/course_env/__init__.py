"""A course's own virtualenv with numpy, pandas and matplotlib: `.venv-course`, made by setup.sh."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.jail import Jail
from sandbox.model import Limits, Outcome, OutcomeKind, Task

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-course" / "bin" / "python"
INSTALL = "sh tests/sandbox/course_env/setup.sh"
DEFAULT = Limits()


def course_python() -> str:
    """The course's interpreter. Fails the test, never skips it, where it is not installed."""
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON} is not there; run `{INSTALL}`", pytrace=False)
    return str(PYTHON)


def run(jail: Jail, source: str, limits: Limits = DEFAULT) -> Outcome:
    """Execute `source` in a child (tests/sandbox/inside.py)."""
    return jail.run(Task("inside:execute", source.encode(), limits))


def value(jail: Jail, source: str, limits: Limits = DEFAULT) -> str:
    """The repr of `result` after `source` was executed, which must end well."""
    outcome = run(jail, source, limits)
    assert outcome.kind is OutcomeKind.OK, outcome
    assert outcome.report is not None
    return outcome.report.decode()


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
