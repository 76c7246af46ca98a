"""Small HTTP servers for what a real one does on a bad day: real sockets, one thread per connection."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import parse_qs

COOKIES = ("sessionid=s3ss10n; HttpOnly; Path=/; SameSite=Lax", "csrftoken=t0ken; Path=/")


@dataclass(frozen=True)
class Seen:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    wire: Wire = field(repr=False, compare=False)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), True).items()}

    @property
    def logged_in(self) -> bool:
        return "sessionid=s3ss10n" in self.headers.get("cookie", "")


class Wire:
    """The way back: what a handler sends, piece by piece if it likes."""

    def __init__(self, connection: socket.socket, stopping: threading.Event) -> None:
        self._connection = connection
        self.stopping = stopping
        self.keep = True

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def end(self) -> None:
        """Close after this, in order."""
        self.keep = False

    def reset(self) -> None:
        """Close with RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.keep = False

    def drip(self, data: bytes, every_s: float) -> None:
        """One byte at a time, until the other side or the test ends."""
        for byte in data:
            try:
                self._connection.sendall(bytes([byte]))
            except OSError:
                break
            if self.stopping.wait(every_s):
                break
        self.keep = False


def answer(
    body: str | bytes, status: int = 200, *headers: str, kind: str = "text/html; charset=utf-8"
) -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(raw)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + raw


def ok(content: object) -> bytes:
    return answer(json.dumps({"return_code": 0, "content": content}))


def no(content: object, status: int = 200) -> bytes:
    return answer(json.dumps({"return_code": 1, "content": content}), status)


def detail(text: str, status: int) -> bytes:
    return answer(json.dumps({"detail": text}), status, kind="application/json")


def to_login(path: str = "/") -> bytes:
    return answer("", 302, f"Location: /xqueue/login/?next={path}")


Handler = Callable[[Seen], bytes | None]


class Server:
    """Context manager: serves `handler` on 127.0.0.1. It returns an answer, or None when it used the wire."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self.seen: list[Seen] = []
        self.connections = 0
        self._stopping = threading.Event()
        self._closed = 0
        self._change = threading.Condition()

    def wait_closed(self, connections: int) -> None:
        """Wait until so many connections have been closed from this side."""
        with self._change:
            assert self._change.wait_for(lambda: self._closed >= connections, timeout=10)

    def __enter__(self) -> Server:
        outer = self

        class Http(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.connection.settimeout(20)
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                outer.connections += 1
                self.number = outer.connections

            def handle_one_request(self) -> None:
                try:
                    self.raw_requestline = self.rfile.readline(65537)
                    if not self.raw_requestline or not self.parse_request():
                        self.close_connection = True
                        return
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    wire = Wire(self.connection, outer._stopping)
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    seen = Seen(self.command, self.path, headers, body, self.number, wire)
                    outer.seen.append(seen)
                    data = outer._handler(seen)
                    if data is not None:
                        wire.send(data)
                    self.close_connection = self.close_connection or not wire.keep
                except OSError:
                    self.close_connection = True

        class Threads(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> tuple[socket.socket, object]:
                connection, where = super().get_request()
                if outer._tls is not None:
                    connection.settimeout(5)
                    connection = outer._tls.wrap_socket(connection, server_side=True)
                return connection, where

            def handle_error(self, request: object, client_address: object) -> None:
                """Broken connections are what is played here."""

            def shutdown_request(self, request: socket.socket) -> None:
                # Without the polite shutdown() of the standard library, so that a reset stays one.
                request.close()
                with outer._change:
                    outer._closed += 1
                    outer._change.notify_all()

        self._server = Threads(("127.0.0.1", 0), Http)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def paths(self) -> list[str]:
        """ "METHOD verb" of what came in."""
        return [f"{seen.method} {seen.path.split('?')[0]}" for seen in self.seen]


def legacy(then: Handler, cookies: tuple[str, ...] = COOKIES) -> Handler:
    """A legacy XQueue's door: 302 until the right login, `then` behind it."""

    def handler(seen: Seen) -> bytes | None:
        if seen.path == "/xqueue/login/":
            if seen.method == "GET":
                return no("login_required")
            if seen.form != {"username": "grader", "password": "grader-password"}:
                return no("Incorrect login credentials")
            body = json.dumps({"return_code": 0, "content": "Logged in"})
            return answer(body, 200, *(f"Set-Cookie: {cookie}" for cookie in cookies))
        if not seen.logged_in:
            return to_login(seen.path)
        return then(seen)

    return handler
