"""HTTP as this client needs it, over requests: every answer bounded in time and in size, no redirects.

Three things requests does not do by itself:

- *A deadline for a whole answer.* Its read timeout restarts with every byte, so a server that drips holds a
  worker for ever. Here the connection's response class reads through `_Deadlined`, which gives each recv only
  what is left of the time; status line, headers and body count alike.
- *A limit in size*, counted after decoding, while reading.
- *Time to send.* urllib3 sends under the connect timeout, three seconds for megabytes; here sending may take
  as long as the answer.

The environment has no say (trust_env is off): no ~/.netrc, no proxy, no CA bundle of a variable.

Runs in: worker, tools. Not for use by several threads at once.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.cookies import RequestsCookieJar
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

USER_AGENT = "xqueue-warden"
CHUNK_BYTES = 64 * 1024
SEND_TIMEOUT_S = 30.0


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
    """Takes the read timeout that urllib3 has put on the socket as the time for all of the answer."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        allowed = sock.gettimeout()
        if allowed is not None:
            self.fp.close()
            self.fp = io.BufferedReader(_Deadlined(sock, time.monotonic() + allowed))


class _Connection(HTTPConnection):
    response_class = _Response

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(SEND_TIMEOUT_S)
        super().send(data)


class _TlsConnection(HTTPSConnection):
    response_class = _Response

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(SEND_TIMEOUT_S)
        super().send(data)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None is followed: requests would read the whole body of a redirect, however long, to find out."""
        return


class Transport:
    """One cookie jar and the connections that go with it; a connection per host is kept alive."""

    def __init__(
        self, *, verify: bool | str, connect_timeout_s: float, basic_auth: tuple[str, str] | None = None
    ) -> None:
        self._verify = verify
        self._connect_timeout_s = connect_timeout_s
        self._session = session = _Session()
        session.trust_env = False
        session.verify = verify
        if basic_auth is not None:
            session.auth = HTTPBasicAuth(basic_auth[0].encode(), basic_auth[1].encode())
        session.headers.clear()
        session.headers.update(
            {
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # the answers are small, and what is not unpacked is no bomb
                "Accept-Language": "en",  # the LMS translates the sentences by which its 403s are told apart
            }
        )
        session.mount("http://", _Adapter(pool_connections=4, pool_maxsize=1))
        session.mount("https://", _Adapter(pool_connections=4, pool_maxsize=1))

    @property
    def cookies(self) -> RequestsCookieJar:
        """The jar, with the rules of http.cookiejar: domains, paths and Secure are kept."""
        return self._session.cookies

    def clear_cookies(self) -> None:
        """A jar as new. A dead or foreign cookie makes some servers refuse even a login."""
        self._session.cookies = RequestsCookieJar()

    def prepare(self, request: requests.Request) -> requests.PreparedRequest:
        """The request with this jar's cookies and Basic auth; may be sent many times while they last."""
        return self._session.prepare_request(request)

    def exchange(
        self, request: requests.PreparedRequest, *, timeout_s: float, limit_bytes: int
    ) -> HttpAnswer:
        """Send, and read all of the answer within `timeout_s` seconds and `limit_bytes` bytes.

        Raises:
            ExchangeFailed: there is no complete answer.
        """
        try:
            response = self._session.send(
                request,
                timeout=(self._connect_timeout_s, timeout_s),
                verify=self._verify,
                proxies={},
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _failed(error) from None
        raw = response.raw
        parts: list[bytes] = []
        size = 0
        try:
            # Up to the empty read: only that finds out that a body is shorter than announced.
            while part := raw.read(CHUNK_BYTES, decode_content=True):
                size += len(part)
                if size > limit_bytes:
                    raise ExchangeFailed(Stage.SIZE, f"its answer is longer than {limit_bytes} bytes")
                parts.append(part)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _failed(error) from None
        finally:
            # A connection read to its end is in the pool already; any other is of no use.
            raw.close() if not raw.closed else raw.release_conn()
        cookies = tuple(raw.headers.getlist("set-cookie"))
        return HttpAnswer(response.status_code, response.headers, b"".join(parts), cookies)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _failed(error: BaseException) -> ExchangeFailed:
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ExchangeFailed(Stage.TLS, f"its certificate does not verify: {cause.verify_message}")
    for cause in chain:
        if isinstance(cause, ssl.SSLError | requests.exceptions.SSLError | urllib3.exceptions.SSLError):
            detail = getattr(cause, "reason", None)
            return ExchangeFailed(
                Stage.TLS, f"TLS failed: {detail if isinstance(detail, str) else 'handshake'}"
            )
    connecting = any(
        isinstance(c, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)
        for c in chain
    )
    stage = Stage.CONNECT if connecting else Stage.BROKEN
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            return ExchangeFailed(Stage.CONNECT, "its name is not known")
    if any(isinstance(c, TimeoutError | requests.ReadTimeout | requests.ConnectTimeout) for c in chain):
        if connecting:
            return ExchangeFailed(stage, "no connection in time")
        return ExchangeFailed(Stage.TIMEOUT, "no complete answer in time")
    for cause in reversed(chain):
        if isinstance(cause, OSError) and cause.strerror:
            return ExchangeFailed(stage, cause.strerror.lower())
    if any(isinstance(c, http.client.RemoteDisconnected) for c in chain):
        return ExchangeFailed(stage, "the connection was closed without an answer")
    if any(isinstance(c, urllib3.exceptions.IncompleteRead | http.client.IncompleteRead) for c in chain):
        return ExchangeFailed(stage, "the answer ends in its middle")
    return ExchangeFailed(stage, f"the answer is no HTTP ({type(chain[-1]).__name__})")


def _causes(error: BaseException) -> list[BaseException]:
    """An error and all that it wraps, in attributes, arguments and causes, outermost first."""
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        if not isinstance(item, BaseException) or any(item is seen for seen in found):
            continue
        found.append(item)
        queue += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found
