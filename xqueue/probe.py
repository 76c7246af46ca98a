"""What stands between us and a queue server, found out step by step without pulling or changing anything.

Runs in: tools (`warden doctor`). Each step is taken with the parts that a worker uses; the first that fails
ends it. Nothing is submitted, pulled or put: access is tried with XQueueClient.knock, queues with their
length.

    URL -> NAME -> CONNECTION -> TLS -> XQUEUE -> LOGIN -> SESSION -> RIGHTS -> CLOCK -> LIFE -> QUEUE ...
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

from xqueue.access import ServerAccess, origin, printable
from xqueue.client import XQueueClient
from xqueue.errors import LoginRefused, Misconfigured, NotPermitted, QueueError, SessionNotKept, UnknownQueue
from xqueue.transport import tls_context

MAX_ADDRESSES = 6
"""Addresses of a name that are tried."""


class Step(StrEnum):
    """What is tried, in this order."""

    URL = "url"
    NAME = "name"
    CONNECTION = "connection"
    TLS = "tls"
    XQUEUE = "xqueue"
    LOGIN = "login"
    SESSION = "session"
    RIGHTS = "rights"
    CLOCK = "clock"
    LIFE = "session life"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a step.

    `seconds`: CLOCK, how far the server's clock is ahead of ours; LIFE, how long a session lasts; TLS, how
    long the certificate is valid; None if it does not say. `length`: QUEUE, how many wait, None if it does
    not say.
    """

    step: Step
    ok: bool
    found: str
    mend: str = ""
    cause: str = ""
    queue: str = ""
    seconds: float | None = None
    length: int | None = None


def examine(
    access: ServerAccess,
    queues: Iterable[str] = (),
    wall: Callable[[], float] = time.time,
    *,
    login: bool = True,
) -> Iterator[Seen]:
    """Try one server, up to XQUEUE or with a `login`. `wall` is our clock (unix seconds). Raises nothing."""
    setting = f"servers.{access.name}"
    try:
        client = XQueueClient(access)
    except Misconfigured as error:
        yield _failed(Step.URL, error)
        return
    try:
        held = True
        for seen in _way_in(access.base_url(), access, setting, wall):
            yield seen
            held = held and seen.ok
        if held:
            yield from _inside(client, access, queues, wall, login)
    finally:
        client.close()


def _failed(step: Step, error: QueueError, queue: str = "") -> Seen:
    return Seen(step, False, error.what, error.mend, error.cause, queue)


# --- the way to it ----------------------------------------------------------------------------------------


def _way_in(base: str, access: ServerAccess, setting: str, wall: Callable[[], float]) -> Iterator[Seen]:
    place = origin(base)
    assert place is not None  # noqa: S101 (base_url has seen to it)
    scheme, host, port = place
    unreachable = "QUEUE_UNREACHABLE"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no such name"
        mend = f"check the host in {setting}.url, and /etc/resolv.conf and /etc/hosts of this machine"
        yield Seen(Step.NAME, False, f"{host} is not known: {reason.lower()}", mend, unreachable)
        return
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    yield Seen(Step.NAME, True, f"{host} is {', '.join(addresses[:MAX_ADDRESSES])}")
    failures: list[str] = []
    for address in addresses[:MAX_ADDRESSES]:
        try:
            sock = socket.create_connection((address, port), access.connect_timeout_s)
        except OSError as error:
            failures.append(f"{address} port {port}: {_reason(error, access.connect_timeout_s)}")
            continue
        break
    else:
        yield Seen(
            Step.CONNECTION, False, "; ".join(failures), _mend_connection(failures[0], setting), unreachable
        )
        return
    with sock:
        spare = f"; not all of its addresses answer: {'; '.join(failures)}" if failures else ""
        yield Seen(Step.CONNECTION, True, f"{address} port {port} takes connections{spare}")
        if scheme == "https":
            yield _tls(sock, host, access, setting, wall)


def _reason(error: OSError, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    return (error.strerror or type(error).__name__).lower()


def _mend_connection(failure: str, setting: str) -> str:
    if "refused" in failure:
        return f"nothing listens there: start the server, or correct the port in {setting}.url"
    if "no answer" in failure:
        where = f"or the host in {setting}.url is wrong"
        return f"a firewall between here and there drops it, or the host is off; {where}"
    return f"see the network of this machine (ip route); and the host in {setting}.url"


_EXPIRED, _NOT_YET = 10, 9
_ISSUERS = {
    18,
    19,
    20,
    21,
}  # self-signed, or an issuer that is not among the trusted; see X509_verify_cert(3)
_NAMES = {62, 63, 64}


def _tls(
    sock: socket.socket, host: str, access: ServerAccess, setting: str, wall: Callable[[], float]
) -> Seen:
    own = f"{setting}.ca_file"
    try:
        context = tls_context(access.verify)
    except OSError as error:
        found = f"{own} holds no certificate: {error.strerror or 'not in PEM'}"
        return Seen(
            Step.TLS, False, found, "name a file with the CA's certificate in PEM", "QUEUE_UNREACHABLE"
        )
    sock.settimeout(access.connect_timeout_s)
    try:
        with context.wrap_socket(sock, server_hostname=host.rstrip(".")) as wrapped:
            certificate = wrapped.getpeercert() or {}
            version = wrapped.version()
    except ssl.SSLCertVerificationError as error:
        found, mend = _why_not_trusted(error, host, setting)
        return Seen(Step.TLS, False, found, mend, "QUEUE_UNREACHABLE")
    except ssl.SSLError as error:
        found = f"the handshake fails: {(error.reason or 'no reason').lower().replace('_', ' ')}"
        mend = f"does {host} speak https on this port? If not, write http:// in {setting}.url"
        return Seen(Step.TLS, False, found, mend, "QUEUE_UNREACHABLE")
    except OSError as error:
        found = f"the handshake fails: {_reason(error, access.connect_timeout_s)}"
        mend = f"does {host} speak https on this port?"
        return Seen(Step.TLS, False, found, mend, "QUEUE_UNREACHABLE")
    if access.verify is False:
        found = f"{version}, and the certificate is not verified"
        mend = f"write {setting}.verify_tls = true, and name its CA in {own} if it has one of its own"
        return Seen(Step.TLS, True, found, mend)
    ends = certificate.get("notAfter")
    left = ssl.cert_time_to_seconds(ends) - wall() if isinstance(ends, str) else None
    told = "" if left is None else f", valid for {left / 86400:.0f} more days"
    return Seen(Step.TLS, True, f"{version}, the certificate is good{told}", seconds=left)


def _why_not_trusted(error: ssl.SSLCertVerificationError, host: str, setting: str) -> tuple[str, str]:
    code, said = error.verify_code, printable(error.verify_message or "no reason given")
    if code == _EXPIRED:
        return (
            f"the certificate of {host} has expired",
            "renew it there; and is the clock of this machine right?",
        )
    if code == _NOT_YET:
        return (
            f"the certificate of {host} is not valid yet",
            "is the clock of this machine right (timedatectl)? Else wait, or renew it there",
        )
    if code in _NAMES:
        return (
            f"the certificate is for another name: {said}",
            f"write the name that it is for into {setting}.url, or have {host} added to it",
        )
    if code in _ISSUERS:
        found = f"nobody that we trust has signed the certificate of {host}: {said}"
        mend = f"name the file of its CA in {setting}.ca_file"
        return found, f"{mend}; if the CA is a public one, the server leaves out an intermediate certificate"
    return f"the certificate of {host} is not accepted: {said}", f"see {setting}.url and {setting}.ca_file"


# --- inside -----------------------------------------------------------------------------------------------


def _inside(
    client: XQueueClient,
    access: ServerAccess,
    queues: Iterable[str],
    wall: Callable[[], float],
    login: bool,
) -> Iterator[Seen]:
    try:
        asked = wall()
        client.ping()
        ahead = _ahead(client, (asked + wall()) / 2)
    except QueueError as error:
        yield _failed(Step.XQUEUE, error)
        return
    dialect = client.dialect
    yield Seen(Step.XQUEUE, True, f"it is an XQueue ({dialect.value})")
    if not login:
        return
    try:
        client.knock()
    except LoginRefused as error:
        yield _failed(Step.LOGIN, error)
        return
    except (SessionNotKept, NotPermitted) as error:
        yield Seen(Step.LOGIN, True, f"user {printable(access.username)} may log in")
        yield _failed(Step.SESSION if isinstance(error, SessionNotKept) else Step.RIGHTS, error)
        return
    except QueueError as error:
        yield _failed(Step.LOGIN, error)
        return
    yield Seen(Step.LOGIN, True, f"user {printable(access.username)} may log in")
    yield Seen(Step.SESSION, True, "the session holds")
    yield Seen(Step.RIGHTS, True, "the user may pull and put")
    if ahead is not None:
        yield Seen(Step.CLOCK, True, f"its clock is {_apart(ahead)}", seconds=ahead)
    life = session_life_s(client.login_cookies, wall())
    if life is not None:
        yield Seen(Step.LIFE, True, f"a session lasts {_span(life)}", seconds=life)
    for queue in queues:
        yield _queue(client, queue)


def _queue(client: XQueueClient, queue: str) -> Seen:
    try:
        length = client.queue_length(queue)
    except UnknownQueue as error:
        return _failed(Step.QUEUE, error, queue)
    except QueueError as error:
        return _failed(Step.QUEUE, error, queue)
    if length is None:
        found = "whether it exists cannot be known: this server calls an unknown queue empty"
        return Seen(Step.QUEUE, True, found, queue=queue)
    return Seen(Step.QUEUE, True, f"it exists, {length} can be pulled now", queue=queue, length=length)


def _ahead(client: XQueueClient, now: float) -> float | None:
    """How far the server's clock is ahead of ours, by the Date header, which counts whole seconds."""
    text = client.last.headers.get("Date", "") if client.last is not None else ""
    try:
        return parsedate_to_datetime(text).timestamp() + 0.5 - now
    except (TypeError, ValueError, OverflowError):
        return None


def session_life_s(cookies: Iterable[str], now: float) -> float | None:
    """How long the session cookie of a login lasts by its own account, None if it does not say."""
    for line in cookies:
        name, *attributes = line.split(";")
        if "csrftoken" in name.partition("=")[0].lower():
            continue
        words = {
            key.strip().lower(): value.strip() for key, _, value in (a.partition("=") for a in attributes)
        }
        try:
            if "max-age" in words:
                return float(words["max-age"])
            if "expires" in words:
                return parsedate_to_datetime(words["expires"]).timestamp() - now
        except (TypeError, ValueError, OverflowError):
            return None
    return None


def _apart(seconds: float) -> str:
    if abs(seconds) < 2:
        return "the same as ours"
    return f"{_span(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} ours"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
