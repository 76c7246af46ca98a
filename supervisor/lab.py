"""A whole installation in a scratch folder: embedded XQueue, supervisor, and somebody who plays the LMS.

Runs in: tools. `warden demo`, the bench and the tests show and measure the real thing with it: real
processes, real HTTP, the configuration that is given.

    LMS stand-in (threads of this process)  --submit-->  embedded XQueue (process)
             ^                                              |  ^
             +--------------- callback ---------------------+  |  poll, put_result
                                                            supervisor and workers (processes)

Both processes die with this one, however it dies.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs

import msgspec

from supervisor.journal import FILE_NAME as JOURNAL
from xqueue import protocol
from xqueue.access import ServerAccess
from xqueue.client import XQueueClient

USER: Final = "warden"
START_S: Final = 30.0
DRAIN_S: Final = 5.0

# PDEATHSIG first, so that nothing survives a lab that was killed; then the ordinary command line.
_BOOT: Final = (
    "import prctl, signal; prctl.set_pdeathsig(signal.SIGTERM); from supervisor.cli import main; main()"
)


class LabError(Exception):
    """The installation did not come up, or broke. The message holds the end of the process's log."""


class _Reply(msgspec.Struct, frozen=True):
    """What the LMS reads of an xqueue_body."""

    correct: bool
    score: float
    msg: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """One callback: the reply and when it came (unix seconds)."""

    correct: bool
    score: float
    msg: str
    at: float


@dataclass(frozen=True, slots=True)
class Graded:
    """What the journal says of one learner's submission."""

    verdict: str
    grading_s: float
    reason: str


class LmsStandIn:
    """Takes callbacks as the LMS does and keeps the first valid reply for each key; counts the others."""

    def __init__(self) -> None:
        self.delivered: dict[str, Delivered] = {}
        self.again = 0
        self.invalid: list[str] = []
        self._arrived = threading.Condition()
        lms = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                lms._take(self.rfile.read(length))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def callback_url(self, key: str) -> str:
        """One URL a problem and learner: submitting again under the same one retires what came before."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/xqueue/{key}/score_update"

    def _take(self, form: bytes) -> None:
        fields = parse_qs(form.decode("utf-8", "replace"))
        try:
            key = str(json.loads(fields["xqueue_header"][0])["lms_key"])
            reply = msgspec.json.decode(fields["xqueue_body"][0], type=_Reply)
        except (KeyError, ValueError, TypeError, msgspec.DecodeError) as error:
            with self._arrived:
                self.invalid.append(repr(error))
            return
        with self._arrived:
            if key in self.delivered:
                self.again += 1
            else:
                self.delivered[key] = Delivered(reply.correct, reply.score, reply.msg, time.time())
            self._arrived.notify_all()

    def wait(self, count: int, timeout_s: float) -> int:
        """How many keys have their reply, once there are `count` or the time is over."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.delivered) >= count, timeout_s)
            return len(self.delivered)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Lab:
    """See the module's docstring. A context manager: nothing of it is left afterwards."""

    def __init__(
        self, config: Path, overrides: Sequence[str], queues: Sequence[str], server: str = "demo"
    ) -> None:
        self.config = config.absolute()
        self.overrides = list(overrides)
        self.queues = tuple(queues)
        self.server = server
        self.url = ""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="warden-lab-"))
        try:
            self.password_file = self.folder / "password"
            self.password_file.touch(mode=0o600)
            self.password_file.write_text(secrets.token_urlsafe(24))
            self.state_dir = self.folder / "state"
            self.lms = LmsStandIn()
            self.start_queue()
            self._client = XQueueClient(ServerAccess(self.url, USER, self.password_file.read_text()))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- Processes -------------------------------------------------------------------------------------------

    def start_queue(self) -> None:
        """Start the embedded XQueue, on the port that it had before if it had one.

        Raises:
            LabError
        """
        port_file = self.folder / "port"
        port = self.url.rpartition(":")[2] if self.url else "0"
        port_file.unlink(missing_ok=True)
        named = [word for queue in self.queues for word in ("--queue", queue)]
        self._start(
            "queue",
            [
                *("queue", "serve", "--data", str(self.folder / "queue"), "--port", port),
                *("--user", USER, "--password-file", str(self.password_file)),
                *("--port-file", str(port_file), *named),
            ],
        )
        self._until("queue", port_file.exists)
        self.url = f"http://127.0.0.1:{port_file.read_text().strip()}"

    def start_supervisor(self) -> None:
        """Start `warden run` and wait until its status says that it runs.

        Raises:
            LabError
        """
        # JSON strings are TOML strings, too.
        settings = {
            "warden.state_dir": str(self.state_dir),
            f"servers.{self.server}.url": self.url,
            f"servers.{self.server}.username": USER,
            f"servers.{self.server}.password_file": str(self.password_file),
        }
        before = [word for override in self.overrides for word in ("--set", override)]
        ours = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        started = time.time()
        self._start("supervisor", ["run", "--config", str(self.config), *before, *ours])
        self._until("supervisor", lambda: self.status(since=started).get("state") == "RUNNING")

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """`queue` or `supervisor`."""
        return self._processes[name]

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", _BOOT, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we end it in order
            )

    def _until(self, name: str, ready: Callable[[], bool]) -> None:
        process = self._processes[name]
        deadline = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None:
                raise LabError(f"the {name} ended with exit status {process.returncode}:\n{self.log(name)}")
            if time.monotonic() > deadline:
                raise LabError(f"the {name} was not ready after {START_S:.0f} s:\n{self.log(name)}")
            select.select([], [], [], 0.02)

    def log(self, name: str, lines: int = 15) -> str:
        """The end of a process's log."""
        with contextlib.suppress(OSError):
            text = (self.folder / f"{name}.log").read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def stop(self, name: str) -> int:
        """SIGTERM, a while, SIGKILL: the exit status."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def close(self) -> None:
        for name in ("supervisor", "queue"):
            if name in self._processes:
                self.stop(name)
        if hasattr(self, "_client"):
            self._client.close()
        if hasattr(self, "lms"):
            self.lms.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- As the LMS, and as an onlooker ----------------------------------------------------------------------

    def submit(self, queue: str, key: str, payload: str, response: str) -> None:
        """Submit as the LMS does for a learner of the name `key`.

        Raises:
            xqueue.errors.QueueError
        """
        body = protocol.encode_body(
            payload=payload,
            response=response,
            student_id=key,
            submission_time=time.strftime("%Y%m%d%H%M%S", time.gmtime()),
        )
        self._client.submit(queue, body, callback_url=self.lms.callback_url(key), lms_key=key)

    def status(self, since: float = 0.0) -> Mapping[str, Any]:
        """The status document as plain JSON; empty while there is none written after `since`."""
        try:
            document = json.loads((self.state_dir / "status.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return document if document.get("written_at", 0) >= since else {}

    def settled(self, delivered: int, timeout_s: float = 8.0) -> Mapping[str, Any]:
        """The first status that counts so many deliveries, or the one that there is when the time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.status()
            if status.get("totals", {}).get("delivered", 0) >= delivered or time.monotonic() > deadline:
                return status
            select.select([], [], [], 0.05)

    def health(self) -> tuple[int, str]:
        """What `warden health` says: exit status and line."""
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "-c",
                _BOOT,
                "health",
                "--status-file",
                str(self.state_dir / "status.json"),
            ],
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.returncode, done.stdout.strip()

    def graded(self) -> Iterator[tuple[str, Graded]]:
        """(key, what the journal says) of every submission that was judged."""
        file = self.state_dir / JOURNAL
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as journal:
            rows = journal.execute(
                "SELECT student_key, verdict, graded_at - started_at, reason FROM submission"
                " WHERE verdict IS NOT NULL"
            ).fetchall()
        for key, verdict, grading_s, reason in rows:
            yield key, Graded(verdict, grading_s or 0.0, reason)
