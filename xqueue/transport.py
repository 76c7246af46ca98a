"""HTTP as this client needs it: every answer bounded in time and in size, no redirects.

requests prepares what is sent and keeps the cookies; the exchange itself is http.client's, on connections
kept here. Through the sessions, adapters and pools of requests and urllib3 an empty poll took three times the
CPU, and these are missing there:

- *A deadline for a whole answer.* A read timeout that restarts with every byte lets a server that drips hold
  a worker for ever. Here the response reads through `_Deadlined`, which gives each recv only what is left of
  the time; status line, headers and body count alike.
- *A limit in size*, counted after decoding, while reading.
- *Time to send* of its own: megabytes do not go out under a connect timeout.

The environment has no say: no ~/.netrc, no proxy, no CA bundle of a variable.

Runs in: worker, tools. Not for use by several threads at once.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from requests.auth import HTTPBasicAuth
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar
from requests.structures import CaseInsensitiveDict

HEADERS = {
    "User-Agent": "xqueue-warden",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # the answers are small, and what is not unpacked is no bomb
    "Accept-Language": "en",  # the LMS translates the sentences by which its 403s are told apart
}
CHUNK_BYTES = 64 * 1024
SEND_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 4
"""So many origins keep a connection; the one that was opened first gives way."""

_Place = tuple[str, str, int]  # scheme, host, port


class Stage(Enum):
    """How far an exchange got that failed."""

    CONNECT = "connect"  # nothing was sent
    TLS = "tls"  # nothing was sent
    TIMEOUT = "timeout"  # sent, and no complete answer in time
    BROKEN = "broken"  # sent at least in part, and the connection ended or the answer was no HTTP
    SIZE = "size"  # the answer is larger than the limit


class ExchangeFailed(Exception):
    """There is no complete HTTP answer. Its text is one phrase without secrets."""

    def __init__(self, stage: Stage, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete HTTP answer; header names are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    set_cookies: tuple[str, ...] = ()


class _Deadlined(io.RawIOBase):
    """A socket's reading end on which all reads together have until `deadline` (monotonic seconds)."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that has until `deadline` (monotonic seconds) to arrive as a whole."""

    def __init__(self, sock: socket.socket, method: str, deadline: float) -> None:
        super().__init__(sock, method=method)
        self.fp.close()
        self.fp = io.BufferedReader(_Deadlined(sock, deadline))


class Transport:
    """One cookie jar and the connections that go with it; a connection per host is kept alive."""

    def __init__(
        self, *, verify: bool | str, connect_timeout_s: float, basic_auth: tuple[str, str] | None = None
    ) -> None:
        self._verify = verify
        self._connect_timeout_s = connect_timeout_s
        self._connections: dict[_Place, socket.socket] = {}
        self._tls: ssl.SSLContext | None = None
        self._cookies = RequestsCookieJar()
        self._auth = None
        if basic_auth is not None:
            self._auth = HTTPBasicAuth(basic_auth[0].encode(), basic_auth[1].encode())

    @property
    def cookies(self) -> RequestsCookieJar:
        """The jar, with the rules of http.cookiejar: domains, paths and Secure are kept."""
        return self._cookies

    def clear_cookies(self) -> None:
        """A jar as new. A dead or foreign cookie makes some servers refuse even a login."""
        self._cookies = RequestsCookieJar()

    def prepare(self, request: requests.Request) -> requests.PreparedRequest:
        """The request with this jar's cookies and Basic auth; may be sent many times while they last."""
        request.headers = {**HEADERS, **request.headers}
        request.cookies = self._cookies
        request.auth = self._auth
        return request.prepare()

    def exchange(
        self,
        request: requests.PreparedRequest,
        *,
        timeout_s: float,
        limit_bytes: int,
        body: bytes | None = None,
    ) -> HttpAnswer:
        """Send, and read all of the answer within `timeout_s` seconds and `limit_bytes` bytes.

        `body` goes out in the place of the request's own.

        Raises:
            ExchangeFailed: there is no complete answer.
        """
        place, message = _message(request, body)
        try:
            connection = self._connection(place)
        except (OSError, ValueError) as error:  # ValueError: a host that IDNA cannot spell
            raise _failed(error, connecting=True) from None
        keep = False
        try:
            connection.settimeout(SEND_TIMEOUT_S)
            connection.sendall(message)
            response = _Response(connection, request.method or "GET", time.monotonic() + timeout_s)
            try:
                response.begin()
                content = _read(response, limit_bytes)
                keep = not response.will_close
            finally:
                response.close()
        except (http.client.HTTPException, OSError, zlib.error) as error:
            raise _failed(error, connecting=False) from None
        finally:
            if not keep:  # of no use: something of this answer may still come
                self._connections.pop(place).close()
        cookies = tuple(response.msg.get_all("set-cookie", ()))
        if cookies:
            reply = SimpleNamespace(_original_response=response)
            extract_cookies_to_jar(self._cookies, request, reply)  # type: ignore[no-untyped-call]
        return HttpAnswer(response.status, CaseInsensitiveDict(response.msg.items()), content, cookies)

    def _connection(self, place: _Place) -> socket.socket:
        """The connection that was kept, unless the server has closed it; else a new one."""
        kept = self._connections.get(place)
        if kept is not None:
            if not _readable(kept):
                return kept
            # Its end, or an answer that nobody asked for.
            self._connections.pop(place).close()
        elif len(self._connections) >= MAX_CONNECTIONS:
            self._connections.pop(next(iter(self._connections))).close()
        scheme, host, port = place
        connection = socket.create_connection((host, port), self._connect_timeout_s)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if scheme == "https":
                if self._tls is None:
                    self._tls = tls_context(self._verify)
                connection = self._tls.wrap_socket(connection, server_hostname=host.rstrip("."))
        except BaseException:
            connection.close()
            raise
        self._connections[place] = connection
        return connection

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """The trust of a `ServerAccess.verify`. A bundle is a megabyte and takes tens of milliseconds.

    Raises:
        OSError: the file holds no certificates.
    """
    bundle = verify if isinstance(verify, str) else certifi.where()
    folder = Path(bundle).is_dir()
    context = ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
    context.set_alpn_protocols(["http/1.1"])
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _message(request: requests.PreparedRequest, body: bytes | None) -> tuple[_Place, bytes]:
    """Where the request goes, and its bytes; requests has quoted the URL and checked the headers."""
    parts = urlsplit(request.url or "")
    if body is None:
        own = request.body or b""
        body = own.encode() if isinstance(own, str) else own
    scheme, host = str(parts.scheme), parts.hostname or ""
    usual = 443 if scheme == "https" else 80
    port = parts.port or usual
    name = f"[{host}]" if ":" in host else host
    lines = [
        f"{request.method} {request.path_url} HTTP/1.1",
        f"Host: {name}{'' if port == usual else f':{port}'}",
    ]
    for key, value in request.headers.items():
        if key.lower() != "content-length":
            lines.append(f"{key}: {value if isinstance(value, str) else value.decode('latin-1')}")
    if body or request.method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return (scheme, host, port), head.encode("latin-1") + body


def _readable(sock: socket.socket) -> bool:
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _read(response: http.client.HTTPResponse, limit_bytes: int) -> bytes:
    """All of the body, decoded.

    Raises:
        ExchangeFailed: too large.
        http.client.HTTPException, OSError, zlib.error
    """
    too_long = ExchangeFailed(Stage.SIZE, f"its answer is longer than {limit_bytes} bytes")
    if response.length is not None:
        if response.length > limit_bytes:
            raise too_long
        content = response.read()  # complains if it is shorter than announced
    else:
        parts: list[bytes] = []
        size = 0
        while part := response.read(CHUNK_BYTES):
            size += len(part)
            if size > limit_bytes:
                raise too_long
            parts.append(part)
        content = b"".join(parts)
    if response.getheader("content-encoding", "identity").lower() in ("gzip", "x-gzip", "deflate"):
        # Not asked for. 32 + 15: gzip or zlib, whichever its first bytes say.
        unpacker = zlib.decompressobj(32 + zlib.MAX_WBITS)
        content = unpacker.decompress(content, limit_bytes + 1)
        if len(content) > limit_bytes:
            raise too_long
        if not unpacker.eof:
            raise http.client.IncompleteRead(content)
    return content


def _failed(error: Exception, *, connecting: bool) -> ExchangeFailed:
    """The error of an exchange from the one of a library."""
    if isinstance(error, ssl.SSLError):
        stage = Stage.TLS if connecting else Stage.BROKEN
        if isinstance(error, ssl.SSLCertVerificationError):
            return ExchangeFailed(stage, f"its certificate does not verify: {error.verify_message}")
        return ExchangeFailed(stage, f"TLS failed: {error.reason or 'handshake'}")
    if isinstance(error, TimeoutError):
        if connecting:
            return ExchangeFailed(Stage.CONNECT, "no connection in time")
        return ExchangeFailed(Stage.TIMEOUT, "no complete answer in time")
    stage = Stage.CONNECT if connecting else Stage.BROKEN
    if isinstance(error, socket.gaierror | UnicodeError):
        return ExchangeFailed(stage, "its name is not known")
    if isinstance(error, OSError) and error.strerror:
        return ExchangeFailed(stage, error.strerror.lower())
    if isinstance(error, http.client.RemoteDisconnected):
        return ExchangeFailed(stage, "the connection was closed without an answer")
    if isinstance(error, http.client.IncompleteRead):
        return ExchangeFailed(stage, "the answer ends in its middle")
    return ExchangeFailed(stage, f"the answer is no HTTP ({type(error).__name__})")
