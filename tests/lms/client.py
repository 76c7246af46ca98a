"""Asks the LMS's own code what it makes of a reply: `judge.py` in `.venv-lms`, over pipes.

Runs in: tools (tests, demo).
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-lms" / "bin" / "python"
INSTALL = "sh tests/lms/setup.sh"


class LmsMissing(Exception):
    """The LMS's judge is not installed; the text is the line that installs it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the LMS did with a reply; the fields are those of judge.py's docstring."""

    valid: bool
    correct: bool | None
    points: float | None
    msg: str | None
    queued: bool
    html: str
    tags: tuple[str, ...]
    text: str
    error: str


class LmsJudge:
    """Context manager around one judge process. Not for several threads at once.

    Starting takes some three seconds (numpy, scipy, Django), a reply a few milliseconds: share one.

    Raises:
        LmsMissing: on entering, when `.venv-lms` is not there.
    """

    def __enter__(self) -> LmsJudge:
        if not PYTHON.exists():
            raise LmsMissing(f"{PYTHON} is missing; install it from the repository's root with: {INSTALL}")
        self._process = subprocess.Popen(
            [PYTHON, "-I", Path(__file__).with_name("judge.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        try:
            self._answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def judge(self, xqueue_body: str, *, current: bool = True) -> Judged:
        """Hand the LMS the text of an xqueue_body, as reply to the pending attempt or to an older one."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"reply": xqueue_body, "current": current}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return Judged(**{**answer, "tags": tuple(answer["tags"])})

    def message(self, msg: str, *, correct: bool = True, score: float = 1) -> Judged:
        """Judge a reply made of these three."""
        return self.judge(json.dumps({"correct": correct, "score": score, "msg": msg}))

    def _answer(self) -> dict:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the LMS's judge ended with status {self._process.wait(timeout=10)}")
        return json.loads(line)
