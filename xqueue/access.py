"""Where a queue server is, how to get in, and where files may be fetched from: values and pure decisions.

Runs in: worker, supervisor, tools. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from xqueue.errors import FileRefused, Misconfigured

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """One server of the configuration, with its secrets.

    `url` is scheme, host and port; "/xqueue/" is appended unless its path ends with it. `name` is its name in
    the configuration, for messages. `basic_auth` is the (user, password) of HTTP Basic auth in front of it.
    `verify` is False, True (the CA bundle of certifi) or the path of a CA file. `pull_timeout_s` and
    `put_timeout_s` bound a whole answer, not just the silence between two bytes. `file_hosts` are "host" (on
    the ports 80 and 443) or "host:port".
    """

    url: str
    username: str
    password: str = field(repr=False)
    name: str = "server"
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    verify: bool | str = True
    connect_timeout_s: float = 3.05
    pull_timeout_s: float = 10.0
    put_timeout_s: float = 40.0
    file_hosts: tuple[str, ...] = ()

    def base_url(self) -> str:
        """The URL that all verbs stand under, with a slash at the end.

        Raises:
            Misconfigured: not an http(s) URL with a host, or one with a user, a query or a fragment in it.
        """
        setting = f"servers.{self.name}.url"
        parts = _split(self.url)
        if parts is None or parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise Misconfigured(f"{setting} is not a URL like https://lms.example.org")
        if parts.username is not None or parts.password is not None:
            raise Misconfigured(f"{setting} holds a user or a password: use basic_auth_username and its file")
        if parts.query or parts.fragment:
            raise Misconfigured(f"{setting} must end with its path: no query, no fragment")
        path = parts.path.rstrip("/")
        if not path.endswith("/xqueue"):
            path += "/xqueue"
        return f"{parts.scheme}://{parts.netloc}{path}/"


def origin(url: str) -> tuple[str, str, int] | None:
    """(scheme, host, port) of an http(s) URL, None of anything else."""
    parts = _split(url)
    if parts is None or parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]


def show(url: str) -> str:
    """A URL fit for a message: without user, query and fragment, where passwords and signatures stand."""
    parts = _split(url)
    if parts is None or not parts.hostname:
        return "an unreadable URL"
    host = parts.netloc.rpartition("@")[2]
    return printable(f"{parts.scheme}://{host}{parts.path}")


def printable(text: str, limit: int = 200) -> str:
    """Foreign text on one line of a log: control characters gone, cut at `limit` characters."""
    head = text[: 4 * limit]
    if not head.isprintable():
        head = "".join(c if c.isprintable() else " " for c in head)
    line = " ".join(head.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def file_url(url: str, base: str, hosts: tuple[str, ...], name: str) -> tuple[str, bool]:
    """Decide on the URL of a submitted file: (absolute URL, is it the server's own origin).

    `base` is the server's base URL, against which root-relative ones are resolved; `hosts` its file_hosts.

    Raises:
        FileRefused: not http(s), holds credentials, or its host is not allowed.
    """
    try:
        whole = urljoin(base, url)
    except ValueError:
        raise FileRefused("a submitted file has an unreadable URL") from None
    place = origin(whole)
    if place is None:
        raise FileRefused(f"a submitted file's URL is not http or https: {printable(whole.split('?')[0])}")
    if "@" in urlsplit(whole).netloc:
        raise FileRefused(f"a submitted file's URL holds credentials: {show(whole)}")
    own = origin(base)
    if place == own:
        return whole, True
    _, host, port = place
    usual = port in DEFAULT_PORTS.values()
    if usual and own is not None and host == own[1]:
        return whole, False
    for entry in hosts:
        if entry.lower() == f"{host}:{port}" or (usual and entry.lower() == host):
            return whole, False
    wanted = host if usual else f"{host}:{port}"
    raise FileRefused(
        f'{show(whole)}: files are not fetched from there; if it is right, add "{wanted}" to'
        f" servers.{name}.file_hosts"
    )


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return parts
