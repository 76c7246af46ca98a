"""The laboratory itself: what it says when a part of it is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xqueue.real import lab_process
from tests.xqueue.real.lab_process import Lab, LabMissing


def test_a_missing_virtualenv_names_the_line_that_makes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lab_process, "VENV", tmp_path / "none")
    with pytest.raises(LabMissing, match=r"sh tests/xqueue/real/setup\.sh"), Lab():
        pass


def test_the_line_names_a_script_that_is_there() -> None:
    assert (lab_process.ROOT / lab_process.INSTALL_VENV.split()[-1]).is_file()
