"""What an embedded XQueue is told when it starts.

Runs in: queue server. Values only.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

ANY_HOST: Final = "*"

MAX_QUEUE_NAME: Final = 128
"""Characters; the legacy server's own column is as wide."""


class ServiceError(Exception):
    """The embedded queue cannot start or go on; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in, and then do everything, as on the legacy server."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """How results go to the LMS.

    `hosts` are the hosts, besides loopback, that a callback URL may name ("*" for any): a host name or
    address, with or without a port. A submission with any other callback URL is refused.
    """

    hosts: tuple[str, ...] = ()
    username: str = ""  # HTTP Basic auth in front of the LMS, "" for none
    password: str = field(default="", repr=False)
    timeout_s: float = 5.0  # to connect, and again to answer
    verify_tls: bool = True
    ca_file: Path | None = None
    threads: int = 4
    first_retry_s: float = 1.0  # doubled at each failure …
    max_retry_s: float = 600.0  # … up to this
    max_host_retry_s: float = 30.0  # the same for a whole host that does not answer at all
    max_failed_deliveries: int = 50  # answers other than 2xx, for one result; then it is undeliverable


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One embedded XQueue. `users` is the whole list: a user no longer named here can no longer log in."""

    data_dir: Path
    users: tuple[User, ...]
    queues: tuple[str, ...] = ()
    any_queue: bool = False  # submit creates the queue it names
    processing_delay_s: float = 60.0  # a submission pulled and not answered comes again after this
    session_s: float = 14 * 86400.0  # from login, not sliding
    keep_s: float = 30 * 86400.0  # what is over is forgotten after this, with its files
    max_form_bytes: int = (
        2_621_440  # fields of one request; urlencoded as sent, multipart decoded, files apart
    )
    max_upload_bytes: int = 100 * 1024 * 1024  # one whole request
    max_files: int = 100  # in one submission
    retry_undeliverable: bool = False  # at start, give every undeliverable result a new chance
    callback: CallbackSettings = field(default_factory=CallbackSettings)


def callback_problem(url: str, hosts: tuple[str, ...]) -> str:
    """Why `url` may not be called back, or "" if it may: http or https, and a host that was allowed."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "The callback URL has characters that no URL has"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "The callback URL cannot be read"
    if parts.scheme not in ("http", "https") or not host:
        return "The callback URL is neither http:// nor https://"
    if ANY_HOST in hosts or is_loopback(host):
        return ""
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    bracketed = f"[{host}]" if ":" in host else host
    allowed = {one.lower() for one in hosts}
    if allowed & {host, bracketed, f"{bracketed}:{port}"}:
        return ""
    return f"Callbacks to host '{host}' are not allowed"


def origin(url: str) -> str:
    """Scheme, host and port of a callback URL: what is up or down as one."""
    parts: SplitResult = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback. No name but `localhost` is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
