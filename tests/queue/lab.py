"""A real embedded XQueue in a process of its own, a session with it, and an LMS to call back."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import requests

USER = "warden"
PASSWORD = "open sesame"
START_S = 30.0
REPLY = json.dumps({"correct": True, "score": 1, "msg": "<p>well done &lt;3 ü</p>"})


def wait_until(condition: Callable[[], Any], deadline_s: float = 20.0) -> Any:
    """What `condition` says as soon as it says anything; fails after the deadline."""
    end = time.monotonic() + deadline_s
    pause = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < end, "the condition was not met in time"
        pause.wait(0.02)
    return found


class Server:
    """`warden queue serve` on a free port."""

    def __init__(self, folder: Path, *options: str, **popen: Any) -> None:
        self.data = folder / "data"
        password = folder / "password"
        if not password.exists():
            password.write_text(PASSWORD + "\n")
            password.chmod(0o600)
        if "user" in popen:
            os.chown(password, popen["user"], popen["group"])
        entry = "from supervisor.cli import main; main()"
        command = [sys.executable, "-c", entry, "queue", "serve", "--data", str(self.data), "--port", "0"]
        command += ["--user", USER, "--password-file", str(password), "--die-with-parent", *options]
        if not any(option in ("--queue", "--any-queue") for option in options):
            command += ["--queue", "a", "--queue", "b"]
        self.log = folder / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, **popen)
        try:
            assert self.process.stdout is not None
            assert select.select([self.process.stdout], [], [], START_S)[0], "not ready in time"
            line = self.process.stdout.readline()
            assert line, f"it did not start: {self.log.read_text()}"
            self.ready = json.loads(line)
        except BaseException:
            self.end(signal.SIGKILL)
            raise
        self.url: str = self.ready["url"]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()
        return code

    def session(self, *, login: bool = True) -> Session:
        return Session(self.url, login=login)


class Session:
    """One client's cookies and its calls. Redirects are shown, not followed."""

    def __init__(self, url: str, *, login: bool = True) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        if login:
            answer = self.post("/xqueue/login/", {"username": USER, "password": PASSWORD})
            assert answer.json() == {"return_code": 0, "content": "Logged in"}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.http.request(method, self.url + path, allow_redirects=False, timeout=30, **options)

    def get(self, path: str) -> requests.Response:
        return self.send("GET", path)

    def post(self, path: str, form: Any, files: Any = None) -> requests.Response:
        return self.send("POST", path, data=form, files=files)

    def submit(
        self, queue: str = "a", callback: str = "", body: str = "{}", key: str = "k", files: Any = None
    ) -> Any:
        """Submits; the envelope."""
        header = {"lms_callback_url": callback, "lms_key": key, "queue_name": queue}
        form = {"xqueue_header": json.dumps(header), "xqueue_body": body}
        return self.post("/xqueue/submit/", form, files).json()

    def pull(self, queue: str = "a") -> dict[str, Any] | None:
        """The pulled object, its header decoded as `id` and `key`; None if the queue is empty."""
        answer = self.get(f"/xqueue/get_submission/?queue_name={queue}").json()
        if answer["return_code"]:
            assert answer["content"] == f"Queue '{queue}' is empty"
            return None
        pulled: dict[str, Any] = json.loads(answer["content"])
        header = json.loads(pulled["xqueue_header"])
        return pulled | {"id": header["submission_id"], "key": header["submission_key"]}

    def put(self, header: str, reply: str = REPLY) -> Any:
        """Puts a result; the envelope."""
        return self.post("/xqueue/put_result/", {"xqueue_header": header, "xqueue_body": reply}).json()

    def length(self, queue: str = "a") -> Any:
        return self.get(f"/xqueue/get_queuelen/?queue_name={queue}").json()["content"]


class Lms:
    """Takes callbacks on a loopback port; `answer` (path, number of the call) -> status says how it answers.

    Status 0: says nothing for as long as the test runs.
    """

    def __init__(self, answer: Callable[[str, int], int] = lambda path, number: 200, port: int = 0) -> None:
        self.calls: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
        self._released = threading.Event()
        lms = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                form = parse_qs(raw.decode(), keep_blank_values=True, strict_parsing=True)
                lms.calls.append((self.path, dict(self.headers), form))
                status = answer(self.path, len(lms.calls))
                if not status:
                    lms._released.wait(60)
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Set-Cookie", "csrftoken=x")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.calls]


@contextmanager
def an_lms(answer: Callable[[str, int], int] = lambda path, number: 200, port: int = 0) -> Iterator[Lms]:
    lms = Lms(answer, port)
    try:
        yield lms
    finally:
        lms.close()


@contextmanager
def a_server(folder: Path, *options: str, **popen: Any) -> Iterator[Server]:
    server = Server(folder, *options, **popen)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end()
