"""A proxy on loopback that spoils what passes through it, as planned.

Runs in: tools. One thread a connection; each request goes to the server behind on a connection of its own, so
that what is spoilt is this exchange and no other. Everything that waits ends with the proxy.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from tests.chaos.faults import Fault

BEHIND_S = 60.0
"""How long the server behind may take: more than any client waits."""
HOLD_S = 30.0
"""How long silence lasts, if the client does not give up before."""

_HTML = "text/html; charset=utf-8"
_PAGES: Mapping[Fault, tuple[int, str, str]] = {
    Fault.E500: (500, _HTML, "<html><title>Server Error (500)</title></html>"),
    Fault.E500_AFTER: (500, _HTML, "<html><title>Server Error (500)</title></html>"),
    Fault.E502: (502, _HTML, "<html><title>502 Bad Gateway</title></html>"),
    Fault.E503: (503, _HTML, "<html><title>503 Service Temporarily Unavailable</title></html>"),
    Fault.E504_AFTER: (504, _HTML, "<html><title>504 Gateway Time-out</title></html>"),
    Fault.REDIRECTED: (302, _HTML, ""),
    Fault.MOVED: (302, _HTML, ""),
    Fault.FORBIDDEN_HTML: (403, _HTML, "<html><title>403 Forbidden</title></html>"),
    Fault.FORBIDDEN_SESSION: (
        403,
        "application/json",
        json.dumps({"detail": "Authentication credentials were not provided."}),
    ),
    Fault.FORBIDDEN_CSRF: (
        403,
        "application/json",
        json.dumps({"detail": "CSRF Failed: CSRF token missing."}),
    ),
    Fault.FORBIDDEN_RIGHTS: (
        403,
        "application/json",
        json.dumps({"detail": "You do not have permission to perform this action."}),
    ),
    Fault.FORBIDDEN_KEY: (
        403,
        "application/json",
        json.dumps({"return_code": 1, "content": "Incorrect key for submission"}),
    ),
    Fault.WRONG_KEY: (200, _HTML, json.dumps({"return_code": 1, "content": "Incorrect key for submission"})),
    Fault.HTML: (200, _HTML, "<html><title>We are down for maintenance</title></html>"),
    Fault.EMPTY_BODY: (200, _HTML, ""),
}
_AFTER = frozenset({Fault.E500_AFTER, Fault.E504_AFTER})
_LOCATIONS = {Fault.REDIRECTED: "/xqueue/login/?next=/xqueue/", Fault.MOVED: "https://status.example.org/"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def verb(self) -> str:
        """The last part of the path, if the plan knows it."""
        name = urlsplit(self.path).path.rstrip("/").rpartition("/")[2]
        return name if name in ("get_submission", "put_result", "login") else "other"

    @property
    def submission(self) -> str:
        """The submission that a result is for."""
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
            header = parse_qs(self.body.decode())["xqueue_header"][0]
            return str(json.loads(header)["submission_id"])
        return ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, to be written as it is."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def head(self, length: int | None = None) -> bytes:
        lines = [f"HTTP/1.1 {self.status} X"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(self.body) if length is None else length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def raw(self) -> bytes:
        return self.head() + self.body


@dataclass(slots=True)
class Tally:
    """What has passed."""

    requests: Counter[str] = field(default_factory=Counter)
    faults: Counter[Fault] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)  # made-up "wrong key" by submission


class Proxy:
    """Context manager: listens on 127.0.0.1:`port`, forwards to `behind`, spoils by `fates`.

    Args:
        fates: verb -> the fault of its first, second ... request, round and round.
        pause_s: the length of a delay; a client waits longer than that.
    """

    def __init__(
        self,
        behind: str,
        fates: Mapping[str, Sequence[Fault | None]],
        *,
        pause_s: float = 0.8,
    ) -> None:
        parts = urlsplit(behind)
        self._behind = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._fates = fates
        self._pause_s = pause_s
        self._number: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._live: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._spoils = False
        self.tally = Tally()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._listener = self._bound(0)
        self.port = int(self._listener.getsockname()[1])
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        _wake(self._listener)
        self._hang_up()
        self._listener.close()
        deadline = time.monotonic() + 10
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a connection of the proxy does not end"

    # -- steered ---------------------------------------------------------------------------------------------

    def spoil(self, yes: bool) -> None:
        """Faults from now on, or none."""
        self._spoils = yes

    def open(self) -> None:
        """Listen."""
        self._listener.listen(64)
        self._start(self._accept, self._listener)

    def close(self) -> None:
        """From now on connections are refused, and the live ones are reset."""
        # A socket that is bound and does not listen refuses, and keeps the port for us.
        old = self._listener
        _wake(old)
        old.close()
        self._listener = self._bound(self.port)
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            live = list(self._live)
        for connection in live:
            _reset(connection)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _bound(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deadline = time.monotonic() + 5
        while True:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                if time.monotonic() > deadline:
                    listener.close()
                    raise
                select.select([], [], [], 0.02)
            else:
                return listener

    # -- threads ---------------------------------------------------------------------------------------------

    def _start(self, work: object, *arguments: object) -> None:
        def run() -> None:
            try:
                work(*arguments)  # type: ignore[operator]
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._live.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(BEHIND_S)
            with connection.makefile("rb") as incoming:
                while (request := _next(incoming)) is not None:
                    if not self._exchange(connection, request):
                        return
        except (OSError, http.client.HTTPException, ValueError):
            return
        finally:
            with self._lock:
                self._live.discard(connection)
            connection.close()

    # -- one exchange ----------------------------------------------------------------------------------------

    def _exchange(self, client: socket.socket, request: Request) -> bool:
        """Forward or spoil; False: the connection is of no more use."""
        fault = self._fate(request)
        if fault is None:
            client.sendall(self._forward(request).raw())
            return True
        page = self._page(fault)
        if page is not None:
            if fault in _AFTER:
                self._forward(request)
            client.sendall(page.raw())
            return True
        match fault:
            case Fault.RESET_BEFORE:
                _reset(client)
                return False
            case Fault.RESET_AFTER:
                self._forward(request)
                _reset(client)
                return False
            case Fault.CLOSED_BEFORE:
                return False
            case Fault.LOST:
                self._forward(request)
                self._silence(client)
                return False
            case Fault.DELAYED:
                self._stopping.wait(self._pause_s)
                client.sendall(self._forward(request).raw())
                return True
            case Fault.DRIPPING:
                raw = self._forward(request).raw()
                step = max(1, len(raw) // 8)
                for start in range(0, len(raw), step):
                    client.sendall(raw[start : start + step])
                    if self._stopping.wait(self._pause_s / 9):
                        return False
                return True
            case Fault.STALLED | Fault.CUT:
                answer = self._forward(request)
                client.sendall(answer.head() + answer.body[: len(answer.body) // 2])
                if fault is Fault.STALLED:
                    self._silence(client)
                return False
            case Fault.TRUNCATED:
                answer = self._forward(request)
                half = answer.body[: len(answer.body) // 2]
                client.sendall(answer.head(len(half)) + half)
                return True
            case Fault.GARBAGE:
                client.sendall(b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n")
                return False
            case Fault.TWICE:
                self._forward(request)
                client.sendall(self._forward(request).raw())
                return True
        raise AssertionError(f"nobody does {fault}")

    def _fate(self, request: Request) -> Fault | None:
        with self._lock:
            self.tally.requests[request.verb] += 1
            if not self._spoils:
                return None
            fates = self._fates.get(request.verb)
            if not fates:
                return None
            fault = fates[self._number[request.verb] % len(fates)]
            self._number[request.verb] += 1
            if fault in (Fault.WRONG_KEY, Fault.FORBIDDEN_KEY):
                # Said twice of one submission it is the truth to any client, and the end of that reply.
                self.tally.refusals[request.submission] += 1
                if self.tally.refusals[request.submission] > 1:
                    return None
            if fault is not None:
                self.tally.faults[fault] += 1
            return fault

    def _page(self, fault: Fault) -> Response | None:
        if fault not in _PAGES:
            return None
        status, kind, text = _PAGES[fault]
        headers = [("Content-Type", kind)]
        if fault in _LOCATIONS:
            headers.append(("Location", _LOCATIONS[fault]))
        return Response(status, tuple(headers), text.encode())

    def _forward(self, request: Request) -> Response:
        """What the server behind says; raises OSError or HTTPException where it says nothing."""
        behind = http.client.HTTPConnection(*self._behind, timeout=BEHIND_S)
        try:
            behind.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() != "connection":
                    behind.putheader(name, value)
            behind.putheader("Connection", "close")
            behind.endheaders(request.body)
            answer = behind.getresponse()
            body = answer.read()
            dropped = ("content-length", "transfer-encoding", "connection", "keep-alive")
            headers = tuple((k, v) for k, v in answer.getheaders() if k.lower() not in dropped)
            return Response(answer.status, headers, body)
        finally:
            behind.close()

    def _silence(self, client: socket.socket) -> None:
        """Say nothing until the client gives up."""
        deadline = time.monotonic() + HOLD_S
        while time.monotonic() < deadline and not self._stopping.is_set():
            readable, _, _ = select.select([client], [], [], 0.1)
            if readable:
                return


def _next(incoming: object) -> Request | None:
    """The next request of a connection, None at its end."""
    line = incoming.readline(65537)  # type: ignore[attr-defined]
    if not line.strip():
        return None
    method, path, _ = line.decode("latin-1").split()
    headers = http.client.parse_headers(incoming)  # type: ignore[arg-type]
    body = incoming.read(int(headers.get("Content-Length", 0)))  # type: ignore[attr-defined]
    return Request(method, path, tuple(headers.items()), body)


def _wake(listener: socket.socket) -> None:
    """The thread that accepts on it ends. It is of no use after that, not even if it never listened."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    """Close it with RST when it is closed."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
