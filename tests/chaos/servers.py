"""The queue server under chaos, of either dialect: started, killed, stopped, and fed as the LMS does.

Runs in: tools. Processes are started by the main thread only: they die with the thread that started them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import psutil

from tests.chaos.lms import Callback, Lms, Results
from tests.chaos.script import QUEUES, Item
from tests.xqueue.real.lab_process import Lab
from xqueue import protocol
from xqueue.access import ServerAccess
from xqueue.client import XQueueClient
from xqueue.errors import QueueError

AGAIN_S: Final = 8.0
"""A submission pulled and not answered comes again after this; the real servers take one minute, and five."""
LMS_FAILS_EVERY: Final = 97


class QueueServer(Protocol):
    """What a run needs of the queue server."""

    url: str
    user: str
    password: str
    results: Results

    def start(self) -> None:
        """Start it again, where it was."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        ...

    def pids(self) -> set[int]:
        """Its processes."""
        ...

    def submit(self, item: Item) -> str:
        """Queue it as the LMS does. Returns the name under which its result arrives, and of its learner.

        Raises:
            QueueError, OSError: it is not known to be queued; submit it again.
        """
        ...

    def set_password(self, password: str) -> None:
        """The password of the service's user, from now on."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class EmbeddedQueue:
    """`warden queue serve`: the legacy dialect, with callbacks to an LMS that sometimes fails."""

    user = "warden"

    def __init__(self, folder: Path, spawn: Callable[..., Any]) -> None:
        self._folder = folder
        self._lms = Lms(every=LMS_FAILS_EVERY)
        self.results: Results = self._lms
        self._spawn = spawn
        self._submits: dict[str, int] = {}
        self._client: XQueueClient | None = None
        self._password_file = folder / "password-of-queue"
        self.password = secrets.token_urlsafe(24)
        self._write_password(self.password)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        try:
            self.start()
        except BaseException:
            self._lms.close()
            raise

    def start(self) -> None:
        port_file = self._folder / "port"
        port_file.unlink(missing_ok=True)
        named = [word for queue in QUEUES for word in ("--queue", queue)]
        self._process = self._spawn(
            "queue",
            [
                *("queue", "serve", "--data", str(self._folder / "queue"), "--port", str(self._port)),
                *("--user", self.user, "--password-file", str(self._password_file)),
                *("--port-file", str(port_file), "--processing-delay-s", str(AGAIN_S), *named),
            ],
            port_file.exists,
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def pids(self) -> set[int]:
        return {self._process.pid}

    def set_password(self, password: str) -> None:
        self.kill()
        self._write_password(password)
        self.start()

    def _write_password(self, password: str) -> None:
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(password)

    def submit(self, item: Item) -> str:
        # An attempt of which it is not known whether it arrived is followed by another, under another key.
        number = self._submits[item.key] = self._submits.get(item.key, -1) + 1
        key = f"{item.key}.{number}"
        if self._client is None:
            access = ServerAccess(self.url, self.user, self.password, connect_timeout_s=1)
            self._client = XQueueClient(access)
        body = protocol.encode_body(
            payload=item.payload,
            response=item.response,
            student_id=key,
            submission_time=time.strftime("%Y%m%d%H%M%S", time.gmtime()),
        )
        try:
            self._client.submit(item.queue, body, callback_url=self._lms.url(item.key), lms_key=key)
        except QueueError:
            self._client.close()
            self._client = None  # a login that was refused would be remembered
            raise
        return key

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._lms.close()


class _Scores:
    """The scores that edx-submissions has stored, looked at now and then."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.standing: list[dict[str, Any]] = []

    def _done(self) -> list[dict[str, Any]]:
        with self.lock:
            return [one for one in self.standing if one["scores"]]

    @property
    def arrived(self) -> int:
        return len(self._done())

    def keys(self) -> set[str]:
        return {one["student"] for one in self._done()}

    def everything(self) -> Sequence[Callback]:
        return [Callback(one["student"], one["reply"], at) for one in self._done() for _, at in one["scores"]]

    def wrong(self) -> Sequence[str]:
        """On this server a second score is a second result, even if it is the same."""
        found = []
        for one in self._done():
            scores = [earned for earned, _ in one["scores"]]
            if len(scores) != 1 or one["status"] != "retired" or one["failures"]:
                found.append(f"{one['student']}: {scores}, {one['status']}, {one['failures']} failures")
            elif scores[0] != json.loads(one["reply"])["score"]:
                found.append(
                    f"{one['student']}: stored as {scores[0]}, but the reply is {one['reply'][:200]}"
                )
        return found


class EdxQueue:
    """edx-submissions on PostgreSQL. A thread looks at the scores, and lets the five minutes be seconds."""

    user = "grader"
    password = "grader-password"

    def __init__(self) -> None:
        self._scores = _Scores()
        self.results: Results = self._scores
        self._unsure: set[str] = set()
        self._lab = Lab()
        self._lab.__enter__()
        self.url = self._lab.url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopping.wait(1.0):
            with contextlib.suppress(OSError):
                self._lab.control("expire", after_s=AGAIN_S)
                self._look()

    def _look(self) -> None:
        standing = self._lab.control("standing")
        with self._scores.lock:
            self._scores.standing = standing

    def start(self) -> None:
        self._lab.start_server()

    def kill(self) -> None:
        self._lab.kill_server()

    def signal(self, number: signal.Signals) -> None:
        for process in self._lab.server_processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def pids(self) -> set[int]:
        return {p.pid for p in psutil.Process(os.getpid()).children(recursive=True) if _is_of_lab(p)}

    def set_password(self, password: str) -> None:
        self._lab.control("set_password", user=self.user, password=password)

    def submit(self, item: Item) -> str:
        if item.key in self._unsure:
            known = {one["student"] for one in self._lab.control("standing")}
            if item.key in known:
                return item.key
        self._unsure.add(item.key)
        order = {"queue": item.queue, "answer": item.response, "grader": item.grader, "student": item.key}
        self._lab.control("enqueue", **order)
        return item.key

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._lab.__exit__(None, None, None)


def _is_of_lab(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        words = " ".join(process.cmdline())
        return "gunicorn" in words or "postgres" in words
    return False


def server_of(name: str, folder: Path, spawn: Callable[..., Any]) -> QueueServer:
    """The server of this name: "embedded" or "edx"."""
    return EdxQueue() if name == "edx" else EmbeddedQueue(folder, spawn)
