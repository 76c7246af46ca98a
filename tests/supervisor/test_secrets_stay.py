"""A real service with real secrets, and everybody who could see them: who does, and who does not."""

from __future__ import annotations

import base64
import http.client
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from tests.supervisor.stage import until
from tests.supervisor.test_service import PAYLOAD, QUEUES, Scene, answer, scene

VARIABLE = "WARDEN_TEST_BASIC_PASSWORD"

SPY = """
import glob, os, sys, time
seen = ["SPIED", repr(sys.argv), repr(dict(os.environ)), os.getcwd()]
for path in glob.glob("/proc/[0-9]*/*") + glob.glob("/proc/self/*") + glob.glob("/*") + glob.glob("/*/*"):
    try:
        with open(path, "rb") as file:
            if not path.endswith(("/mem", "/pagemap", "/clear_refs")):
                seen.append(path + repr(file.read(2000)))
    except (OSError, ValueError):
        pass
while time.process_time() < 1.3:  # so that somebody can look into this process
    pass
raise RuntimeError("".join(seen)[:1500])
"""


@contextmanager
def listening_between(url: str, cookies: set[str]) -> Iterator[str]:
    """A server that passes everything on to `url` and notes the values of the cookies that it sees."""
    host, _, port = url.rpartition("/")[2].partition(":")

    class Between(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            onward = http.client.HTTPConnection(host, int(port), timeout=20)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            onward.request(self.command, self.path, body, headers)
            reply = onward.getresponse()
            content = reply.read()
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() == "set-cookie":
                    cookies.update(re.findall(r"^sessionid=(\w[^;]*)", value))
                if name.lower() not in (
                    "content-length",
                    "connection",
                    "transfer-encoding",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            onward.close()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def memory(pid: int) -> bytes:
    """All that a process holds in memory, as far as it can be read. Root only."""
    parts = []
    with suppress(OSError), open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, access, *_ = line.split()
            low, high = (int(one, 16) for one in place.split("-"))
            if not access.startswith("rw"):  # what is read-only came from a file
                continue
            with suppress(OSError, ValueError, OverflowError):
                mem.seek(low)
                parts.append(mem.read(high - low))
    return b"".join(parts)


def files_of(lab: Scene) -> Iterator[Path]:
    """All that the service has written."""
    yield from (path for path in lab.state_dir.rglob("*") if path.is_file())
    yield lab.folder / "supervisor.log"


@pytest.mark.slow
def test_secrets_are_in_the_workers_memory_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    basic = secrets.token_urlsafe(24)
    monkeypatch.setenv(VARIABLE, basic)
    cookies: set[str] = set()
    overrides = [
        'servers.demo.basic_auth_username="edx"',
        f'servers.demo.basic_auth_password_env="{VARIABLE}"',
        "sandboxes.python.limits.wall_s=20",
        "sandboxes.python.limits.cpu_s=4",
    ]
    with scene(*overrides) as lab, listening_between(lab.url, cookies) as between:
        lab.url = between  # for the supervisor; the lab itself has its client already
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", PAYLOAD, SPY + answer())
        supervisor = lab.supervisor()
        workers = supervisor.children()
        spy = until(lambda: spinning(workers), "the spy to be done")
        inside = [one for worker in workers for one in worker.children(recursive=True)]
        assert spy in inside
        password = lab.password_file.read_text()
        assert cookies
        both = base64.b64encode(f"edx:{basic}".encode()).decode()
        marks = {name.encode() for name in (password, basic, both, *cookies)}
        everyone = [supervisor, *workers, *inside]

        for process in everyone:
            shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            assert not [mark for mark in marks if mark in shown]
        for process in (supervisor, *workers):
            assert Path(f"/proc/{process.pid}/environ").stat().st_uid == 0, "it is not sealed"
        if os.geteuid() == 0:
            for process in inside:
                assert b"WARDEN" not in Path(f"/proc/{process.pid}/environ").read_bytes()
                held = memory(process.pid)
                assert len(held) > 1_000_000
                assert not [mark for mark in marks if mark in held], process.cmdline()
            assert any(password.encode() in memory(worker.pid) for worker in workers), "the search works"
            assert password.encode() not in memory(supervisor.pid)

        assert lab.lms.wait(1, 30) == 1
        reply = lab.lms.delivered["anna"].msg
        assert "SPIED" in reply
        lab.settled(1)
        assert lab.stop("supervisor") == 0
        for path in files_of(lab):
            raw = path.read_bytes()
            assert not [mark for mark in marks if mark in raw], path
        assert {path.name for path in files_of(lab)} >= {"status.json", "metrics.prom", "journal.sqlite3"}
        assert not [mark for mark in marks if mark in reply.encode()]


def spinning(workers: list[psutil.Process]) -> psutil.Process | None:
    """The learner's process: nobody else below a zygote has used so much CPU time."""
    for worker in workers:
        for zygote in worker.children():
            for child in zygote.children():
                with suppress(psutil.Error):
                    used = child.cpu_times()
                    if used.user + used.system > 0.4:
                        return child
    return None
