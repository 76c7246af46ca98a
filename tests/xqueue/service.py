"""`warden run` on the LMS's own queue server, in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.journal import FILE_NAME
from tests.xqueue.real.lab_process import Lab

COURSE = Path(__file__).resolve().parents[2] / "course"
RIGHT = (COURSE / "submissions/functions/leap_year/correct-one-line.py").read_text()
WRONG = (COURSE / "submissions/functions/leap_year/incorrect-julian.py").read_text()
GRADER = "functions/leap_year/grader.py"

CONFIG = """
[warden]
state_dir = "state"

[servers.lms]
url = "{url}"
username = "grader"
password_file = "password"
put_timeout_s = {put_timeout_s}

[sandboxes.python]
require = "full"
limits = {{ wall_s = 40 }}

[queues.{queue}]
server = "lms"
{settings}

[[queues.{queue}.handlers]]
kind = "gradelib"
grader_root = "{course}"
sandbox = "python"
"""
SETTINGS = {"workers": 2, "poll_floor_s": 0.05, "poll_ceiling_s": 0.2}


class Service:
    """`configure()`, then `start()`, again after `kill()` if that is wanted."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.queue = ""
        self._prelude = ""
        self._processes: list[subprocess.Popen[bytes]] = []

    def configure(
        self, queue: str, prelude: str = "", put_timeout_s: float = 40, **settings: object
    ) -> Service:
        """For one queue, with these settings of it; `prelude` is Python that the service runs first."""
        self.queue = queue
        self._prelude = prelude
        lines = [f"{key} = {json.dumps(value)}" for key, value in {**SETTINGS, **settings}.items()]
        config = CONFIG.format(
            url=self.lab.url,
            course=COURSE,
            queue=queue,
            put_timeout_s=put_timeout_s,
            settings="\n".join(lines),
        )
        (self.folder / "config.toml").write_text(config)
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text("grader-password")
        return self

    def start(self) -> None:
        """A supervisor, with the configuration that is there."""
        code = f"{self._prelude}\nfrom supervisor.cli import main\nmain()"
        command = [sys.executable, "-c", code, "run", "-c", "config.toml"]
        with (self.folder / "log").open("ab") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder))

    def kill(self) -> None:
        """SIGKILL for the supervisor."""
        self._processes[-1].kill()
        self._processes[-1].wait()

    def stop(self) -> None:
        """In order, if it runs."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)

    # --- the server's side --------------------------------------------------------------------------------

    def enqueue(self, answer: str, grader: str = GRADER, **more: object) -> int:
        """The number of a new submission of the LMS."""
        return int(self.lab.control("enqueue", queue=self.queue, answer=answer, grader=grader, **more))

    def state(self, submission: int) -> dict[str, Any]:
        """What the server says of it."""
        return dict(self.lab.control("state", submission=submission))

    def retired(self, submission: int) -> dict[str, Any] | None:
        """The same, once the server has its result."""
        state = self.state(submission)
        return state if state["status"] == "retired" else None

    def settled(self, submission: int, seconds: float = 30.0) -> dict[str, Any]:
        """Wait for that."""
        state: dict[str, Any] = self.until(
            lambda: self.retired(submission), f"{submission} has no result", seconds
        )
        return state

    # --- our side -----------------------------------------------------------------------------------------

    @property
    def journal(self) -> Path:
        return self.folder / "state" / FILE_NAME

    def rows(self) -> list[dict[str, Any]]:
        """The journal's, the first first."""
        with contextlib.suppress(sqlite3.Error):  # it is being made
            uri = f"file:{self.journal}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as db:
                db.row_factory = sqlite3.Row
                return [dict(row) for row in db.execute("SELECT * FROM submission ORDER BY id")]
        return []

    def row(self, submission: int) -> dict[str, Any] | None:
        """What the journal says of it."""
        return next((row for row in self.rows() if row["submission_id"] == str(submission)), None)

    def status(self) -> dict[str, Any]:
        """The queue's part of the status file."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.folder / "state/status.json").read_text())["queues"][self.queue])
        return {}

    def gradings(self) -> int:
        """How often something was graded."""
        return (self.folder / "log").read_text().count("submission graded")

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
        """What `condition` returns, once that is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}; {(self.folder / 'log').read_text()[-3000:]}"
            signal.sigtimedwait([], 0.03)
        return found
