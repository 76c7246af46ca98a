"""The service under chaos: its folder, its processes, its queue server, and what can be broken of them.

Runs in: tools. Processes are started by the main thread only: they die with the thread that started them.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sandbox import kernel
from supervisor.journal import FILE_NAME as JOURNAL

START_S: Final = 60.0
DRAIN_S: Final = 30.0
STATE_MIB: Final = 96

BOOT: Final = (
    "import prctl, signal; prctl.set_pdeathsig(signal.SIGKILL); from supervisor.cli import main; main()"
)

CONFIG: Final = """
[warden]
state_dir = {state}
status_file = {status}
drain_s = 20

[servers.chaos]
url = {url}
username = {user}
password_file = {password}
connect_timeout_s = 1
pull_timeout_s = 3
put_timeout_s = 4

[sandboxes.python]
require = "full"

[sandboxes.python.limits]
cpu_s = 2
wall_s = 20

[queues.left]
server = "chaos"
workers = 2
poll_ceiling_s = 1

[[queues.left.handlers]]
kind = "gradelib"
grader_root = {root}
sandbox = "python"

[queues.right]
server = "chaos"
workers = 1
poll_ceiling_s = 1

[[queues.right.handlers]]
kind = "gradelib"
grader_root = {root}
sandbox = "python"
"""


def leave_mounts_alone() -> None:
    """From here on mounts of this process and its children are seen by nobody else. Only for root."""
    kernel.unshare(kernel.CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class Broken(Exception):
    """A part did not come up. The message holds the end of its log."""


class Unavailable(Exception):
    """The journal is not there yet, or busy."""


def until(condition: Callable[[], object], timeout_s: float, every_s: float = 0.05) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], every_s)
    return True


class Service:
    """The folder of a run and the supervisor in it. A context manager; `keep()` leaves the folder behind.

    Args:
        root: the graders.
        small_disk: the state folder shall be a small file system of its own; only root can have that.
    """

    def __init__(self, root: Path, small_disk: bool) -> None:
        self.grader_root = root
        self._small = small_disk and os.geteuid() == 0
        self._kept = False
        self._mounted = False
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def __enter__(self) -> Service:
        self.folder = Path(tempfile.mkdtemp(prefix="warden-chaos-"))
        self.state_dir = self.folder / "state"
        self.state_dir.mkdir(mode=0o700)
        self.tmp = self.folder / "tmp"
        self.tmp.mkdir(mode=0o1777)
        self.status_file = self.folder / "status.json"
        self.config = self.folder / "config.toml"
        if self._small:
            options = f"size={STATE_MIB}m,mode=0700"
            self._mounted = not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "warden-chaos", str(self.state_dir)]
            ).returncode
        return self

    @property
    def small_disk(self) -> bool:
        """Whether the state folder is a small file system of its own, which can be filled."""
        return self._mounted

    def configure(self, url: str, user: str, password: str) -> None:
        """Write the configuration; strings of JSON are strings of TOML."""
        self.password_file = self.folder / "password"
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(password)
        self.config.write_text(
            CONFIG.format(
                state=json.dumps(str(self.state_dir)),
                status=json.dumps(str(self.status_file)),
                url=json.dumps(url),
                user=json.dumps(user),
                password=json.dumps(str(self.password_file)),
                root=json.dumps(str(self.grader_root)),
            )
        )

    def __exit__(self, *_: object) -> None:
        self.end()
        if self._mounted:
            if self._kept:
                shutil.copytree(self.state_dir, self.folder / "state-kept", symlinks=True)
            subprocess.run(["umount", "-l", str(self.state_dir)], check=True)
        if not self._kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self) -> None:
        """Leave the folder where it is: somebody wants to look."""
        self._kept = True

    # -- processes -------------------------------------------------------------------------------------------

    def spawn(
        self, name: str, arguments: Sequence[str], ready: Callable[[], bool]
    ) -> subprocess.Popen[bytes]:
        """Start a `warden` command and wait until it is ready.

        Raises:
            Broken
        """
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", BOOT, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "TMPDIR": str(self.tmp)},
                start_new_session=True,
            )
        if not until(lambda: ready() or process.poll() is not None, START_S, 0.02):
            process.kill()
        if not ready():
            process.wait()
            raise Broken(f"{name} did not start ({process.returncode}):\n{self.log(name)}")
        return process

    def start(self) -> None:
        """`warden run`, until its status says that it runs."""
        began = time.time()

        def ready() -> bool:
            status = self.status()
            return status.get("written_at", 0) >= began and status.get("state") == "RUNNING"

        self._process = self.spawn("supervisor", ["run", "--config", str(self.config)], ready)
        self.starts += 1

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL to the supervisor."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def drain(self) -> int:
        """SIGTERM, and its exit status; SIGKILL if it takes too long (-9)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9

    def end(self) -> None:
        """Whatever is left of it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    # -- looking ---------------------------------------------------------------------------------------------

    def log(self, name: str, lines: int = 25) -> str:
        """The end of a process's log."""
        with contextlib.suppress(OSError):
            text = (self.folder / f"{name}.log").read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def status(self) -> Mapping[str, Any]:
        """The status document as plain JSON; empty while there is none."""
        try:
            document: Mapping[str, Any] = json.loads(self.status_file.read_bytes())
        except (OSError, ValueError):
            return {}
        return document

    def rows(self, columns: str, where: str = "1", *values: object) -> list[sqlite3.Row]:
        """Rows of the journal, read from outside."""
        path = self.state_dir / JOURNAL
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as db:
            db.row_factory = sqlite3.Row
            return db.execute(
                f"SELECT {columns} FROM submission WHERE {where} ORDER BY id", values
            ).fetchall()
