"""The programs of others that the tests of this folder use."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.supervisor.stage import ROOT


@pytest.fixture(scope="session")
def promtool() -> str:
    """Its path: promtool.sh's, or the machine's own."""
    found = shutil.which("promtool", path=f"{ROOT / '.promtool'}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("this machine has no promtool, and tests/supervisor/promtool.sh could not fetch it")
    return found
