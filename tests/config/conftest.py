"""A small, valid configuration to bend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = """
[servers.main]
url = "https://xqueue.example.org"
username = "warden"
password_file = "secret"

[sandboxes.python]

[queues.one]
server = "main"
[[queues.one.handlers]]
kind = "gradelib"
grader_root = "course"
sandbox = "python"

[queues.two]
server = "main"
[[queues.two.handlers]]
kind = "class"
class = "my.graders:Essay"
sandbox = "python"
options = { depth = 3 }
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a config.toml with the text, beside an empty course, and tells its path."""
    (tmp_path / "course").mkdir()

    def write(text: str = GOOD) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
