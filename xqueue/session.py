"""A session with one queue server: requests made, sent, judged; logged in when that turns out to be needed.

It speaks without asking which server it has before it: the first call goes out as it is, "not logged in"
comes back as a redirect (legacy XQueue) or as 403 (the LMS's own), then it logs in with a clean cookie jar
and repeats the call, once. What an answer means is decided in xqueue.answer; here is what to do about it.

A login costs the server a third of a second of hashing, so a login that was refused, or one that did not
hold, is not tried again before a pause that doubles; until then the same error is raised without a request.

Runs in: worker, tools. One session per process and server; not for several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import requests

from xqueue import protocol
from xqueue.access import ServerAccess, printable, show
from xqueue.answer import Answer, Dialect, Meaning, judge
from xqueue.errors import (
    LoginRefused,
    Misconfigured,
    NotPermitted,
    QueueError,
    ServerError,
    SessionNotKept,
    Unreachable,
)
from xqueue.transport import ExchangeFailed, HttpAnswer, Stage, Transport

LOGIN_PAUSE_S = 30.0
LOGIN_PAUSE_CEILING_S = 900.0
LOGIN_JITTER = 0.25

MEND_GROUP = "on the LMS the user must be in the group xqueue"

_TOKEN_COOKIES = ("csrftoken", "edx-csrftoken")
_OUTSIDE = (Meaning.NOT_LOGGED_IN, Meaning.CSRF, Meaning.DENIED)


class Session:
    """Cookies, connections and manners of one user at one server.

    `base` is the URL that all verbs stand under, `where` the same fit for a message, `own` the transport that
    carries the cookies. `dialect` is which server it turned out to be. `last` is the newest answer, and
    `login_cookies` are the Set-Cookie lines of the newest login.

    Raises:
        Misconfigured: the URL or the CA file cannot be right.
    """

    def __init__(self, access: ServerAccess, clock: Callable[[], float], dice: Callable[[], float]) -> None:
        self._access = access
        self._clock = clock
        self._dice = dice
        self.base = access.base_url()
        self.where = show(self.base)
        if isinstance(access.verify, str) and not Path(access.verify).exists():
            raise Misconfigured(f"servers.{access.name}.ca_file: no such file: {access.verify}")
        self.own = Transport(
            verify=access.verify, connect_timeout_s=access.connect_timeout_s, basic_auth=access.basic_auth
        )
        self._gets: dict[str, requests.PreparedRequest] = {}  # prepared once, valid while the cookies last
        self._put: requests.PreparedRequest | None = None  # the same, without its body
        self.dialect = Dialect.UNKNOWN
        self.last: HttpAnswer | None = None
        self.login_cookies: tuple[str, ...] = ()
        self._refusal: QueueError | None = None  # why the last login was of no use
        self._refused_until = 0.0
        self._pause_s = LOGIN_PAUSE_S

    def close(self) -> None:
        """Close the connections. The session on the server ends by itself."""
        self.own.close()

    # -- One call --------------------------------------------------------------------------------------------

    def inside(
        self, build: Callable[[], requests.PreparedRequest], timeout_s: float, body: bytes | None = None
    ) -> Answer:
        """Send; if that finds us outside, log in and send again. `body` takes the place of the built one.

        Raises:
            ExchangeFailed: no complete HTTP answer.
            QueueError: still outside.
        """
        self._check_pause()
        answer = self._exchange(build(), timeout_s, body)
        if answer.meaning in _OUTSIDE:
            self.login()
            answer = self._exchange(build(), timeout_s, body)
            if answer.meaning in _OUTSIDE:
                raise self._pausing(self._still_outside(answer))
        if answer.meaning in (Meaning.OK, Meaning.NO):
            self._refusal = None
            self._pause_s = LOGIN_PAUSE_S
        return answer

    def send(self, request: requests.PreparedRequest) -> Answer:
        """One exchange, whatever its answer means. Raises QueueError: there is none."""
        try:
            return self._exchange(request, self._access.pull_timeout_s)
        except ExchangeFailed as error:
            raise self.unreachable(error) from None

    def _exchange(
        self, request: requests.PreparedRequest, timeout_s: float, body: bytes | None = None
    ) -> Answer:
        http = self.own.exchange(
            request, timeout_s=timeout_s, limit_bytes=protocol.MAX_ANSWER_BYTES, body=body
        )
        self.last = http
        if http.set_cookies:
            self._forget_prepared()
        answer = judge(http)
        if answer.dialect is not Dialect.UNKNOWN and self.dialect is Dialect.UNKNOWN:
            self.dialect = answer.dialect
        return answer

    def get(self, verb: str, queue: str | None = None) -> requests.PreparedRequest:
        """A GET of "verb/", about a queue if one is named."""
        name = verb if queue is None else f"{verb}?{queue}"
        request = self._gets.get(name)
        if request is None:
            params = {} if queue is None else {"queue_name": queue}
            request = self.own.prepare(requests.Request("GET", self.base + verb, params=params))
            self._gets[name] = request
        return request

    def put_request(self) -> requests.PreparedRequest:
        """A put_result, whose body is given when it is sent."""
        if self._put is None:
            self._put = self.post("put_result/", {"xqueue_header": ""})
        return self._put

    def _forget_prepared(self) -> None:
        """The cookies have changed, and with them perhaps the CSRF token."""
        self._gets.clear()
        self._put = None

    def post(
        self, verb: str, form: Mapping[str, str], files: Mapping[str, bytes] | None = None
    ) -> requests.PreparedRequest:
        """A POST to "verb/", with the CSRF token of this moment."""
        headers = {"Referer": self.base}  # Django asks for it on https
        token = self._token()
        if token:
            headers["X-CSRFToken"] = token
        # Multipart where there are files; the field's name is the file's, as the LMS sends it.
        parts = {name: (name, content) for name, content in files.items()} if files else None
        return self.own.prepare(
            requests.Request("POST", self.base + verb, headers=headers, data=form, files=parts)
        )

    def _token(self) -> str | None:
        """The CSRF token as the cookies have it now: it changes at login."""
        tokens = {cookie.name: cookie.value for cookie in self.own.cookies}
        for name in _TOKEN_COOKIES:
            if tokens.get(name):
                return tokens[name]
        return None

    # -- Getting in ------------------------------------------------------------------------------------------

    def login(self) -> None:
        """Log in with a clean jar.

        Raises:
            LoginRefused: wrong credentials. Remembered for a while.
            QueueError: whatever came in between.
        """
        self._check_pause()
        self.own.clear_cookies()
        self._forget_prepared()
        form = {"username": self._access.username, "password": self._access.password}
        answer = self.send(self.post("login/", form))
        if answer.meaning is Meaning.CSRF:
            # Without a session no server asked for a token so far; one that does, sets it on GET.
            self.send(self.get("login/"))
            answer = self.send(self.post("login/", form))
        if answer.meaning is Meaning.OK:
            self.login_cookies = self.last.set_cookies if self.last else ()
            return
        if answer.meaning is Meaning.NO and answer.status < 500:
            raise self._pausing(
                LoginRefused(
                    f"{self.where} refuses the login of user {printable(self._access.username)}:"
                    f" {self.said(answer)}",
                    f"check {self.setting('username')} and its password",
                )
            )
        if answer.meaning in _OUTSIDE or answer.meaning is Meaning.NOT_PERMITTED:
            raise self._pausing(
                LoginRefused(f"{self.where} lets nobody log in: {answer.status} {self.said(answer)}".strip())
            )
        raise self.general(answer)

    def _check_pause(self) -> None:
        if self._refusal is not None and self._clock() < self._refused_until:
            raise self._refusal.anew()

    def _pausing(self, refusal: QueueError) -> QueueError:
        """The same, and remembered: why a login was of no use, so that it is not tried again at once."""
        self._refusal = refusal
        # Workers that were refused together do not come back together.
        self._refused_until = self._clock() + self._pause_s * (1.0 - LOGIN_JITTER * self._dice())
        self._pause_s = min(2 * self._pause_s, LOGIN_PAUSE_CEILING_S)
        return refusal

    def _still_outside(self, answer: Answer) -> QueueError:
        """The login said yes, and the next call is refused again: which of the reasons is it?"""
        if answer.meaning is Meaning.DENIED:
            return NotPermitted(
                f"{self.where} lets user {printable(self._access.username)} log in and then refuses"
                f" ({self.said(answer)})",
                MEND_GROUP,
            )
        if answer.meaning is Meaning.CSRF:
            return SessionNotKept(
                f"{self.where} refuses our CSRF token straight after the login ({self.said(answer)})",
                f"the host of {self.setting('url')} must be the server's own or in its CSRF_TRUSTED_ORIGINS",
            )
        why, mend = self._lost_cookie()
        user = printable(self._access.username)
        return SessionNotKept(
            f"{self.where} lets user {user} log in and then does not know the session: {why}", mend
        )

    def _lost_cookie(self) -> tuple[str, str]:
        """(why the session cookie of the login does not come back, what mends it), as far as can be told."""
        url, host = self.setting("url"), urlsplit(self.base).hostname
        sent = [line for line in self.login_cookies if "csrftoken" not in line.split("=", 1)[0].lower()]
        if not sent:
            return "it set no session cookie", "does a proxy remove it?"
        attributes = [part.strip().lower() for part in sent[-1].split(";")[1:]]
        if "secure" in attributes and self.base.startswith("http://"):
            return "its cookie is for https only (SESSION_COOKIE_SECURE)", f"make {url} an https address"
        domains = [a.partition("=")[2].lstrip(".") for a in attributes if a.startswith("domain=")]
        if domains and not f".{host}".endswith(f".{domains[-1]}"):
            domain = printable(domains[-1], 80)
            return (
                f"its cookie is for {domain} (SESSION_COOKIE_DOMAIN), not for {host}",
                f"set {url} to match",
            )
        mend = (
            "are there several servers behind this address that do not share sessions, or is the user not"
            " active or not in the group xqueue?"
        )
        return "the cookie was sent back and is not known", mend

    # -- Saying no -------------------------------------------------------------------------------------------

    def said(self, answer: Answer) -> str:
        """The server's own words for a message: some pages show what was posted, passwords too."""
        text = answer.text
        for secret in (self._access.password, (self._access.basic_auth or ("", ""))[1]):
            if secret:
                text = text.replace(secret, "***")
        return text

    def setting(self, key: str) -> str:
        """The dotted name of one of this server's settings."""
        return f"servers.{self._access.name}.{key}"

    def unreachable(self, error: ExchangeFailed) -> QueueError:
        """The error for an exchange that has no answer."""
        if error.stage is Stage.SIZE:
            return ServerError(f"{self.where}: {error}")
        if error.stage is Stage.TLS:
            return Unreachable(
                f"{self.where}: {error}",
                f"check {self.setting('url')}, or name the right CA in {self.setting('ca_file')}",
            )
        return Unreachable(f"{self.where}: {error}", f"is the server up, and {self.setting('url')} right?")

    def general(self, answer: Answer) -> QueueError:
        """The error for an answer that no verb expects."""
        words = f"{answer.status} {self.said(answer)}".strip()
        match answer.meaning:
            case Meaning.NOT_PERMITTED:
                return NotPermitted(
                    f"{self.where} does not let user {printable(self._access.username)} work on queues (403)",
                    MEND_GROUP,
                )
            case Meaning.BASIC_AUTH if self._access.basic_auth is None:
                return LoginRefused(
                    f"{self.where}: something in front of it wants HTTP Basic auth (401), and none is set",
                    f"set {self.setting('basic_auth_username')} and its password",
                )
            case Meaning.BASIC_AUTH:
                return LoginRefused(
                    f"{self.where}: the HTTP Basic auth in front of it refuses us (401)",
                    f"check {self.setting('basic_auth_username')} and its password",
                )
            case Meaning.MOVED:
                return Misconfigured(
                    f"{self.where} redirects to {answer.where or 'nowhere'} ({answer.status})",
                    f"set {self.setting('url')} to the final address",
                )
            case Meaning.NOT_FOUND:
                return Misconfigured(
                    f"{self.where} has no XQueue at this path (404)", f"check {self.setting('url')}"
                )
            case _:
                return ServerError(f"{self.where} gave no usable answer: {words}", answer.status)
