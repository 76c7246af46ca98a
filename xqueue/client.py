"""The client of a queue server, of either dialect: pull, put, submit, fetch.

It speaks without asking which server it has before it: the first call goes out as it is, "not logged in"
comes back as a redirect (legacy XQueue) or as 403 (the LMS's own), then it logs in with a clean cookie jar
and repeats the call, once. What an answer means is decided in xqueue.answer; here is what to do about it.

A login costs the server a third of a second of hashing, so a login that was refused, or one that did not
hold, is not tried again before a pause that doubles; until then the same error is raised without a request.

Runs in: worker, tools. One client per process and server; not for several threads at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

import requests

from xqueue import protocol
from xqueue.access import ServerAccess, file_url, printable, show
from xqueue.answer import Answer, Dialect, Meaning, judge
from xqueue.errors import (
    FileUnavailable,
    LoginRefused,
    Misconfigured,
    NotPermitted,
    ProtocolError,
    QueueError,
    ReplyRefused,
    ReplyUncertain,
    ServerError,
    SessionNotKept,
    UnknownQueue,
    Unreachable,
)
from xqueue.protocol import Submission, SubmitHeader
from xqueue.transport import ExchangeFailed, HttpAnswer, Stage, Transport

__all__ = ["Dialect", "ServerAccess", "XQueueClient"]

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Largest submitted file that is fetched; the LMS lets a learner upload 4 MB each."""

LOGIN_PAUSE_S = 30.0
LOGIN_PAUSE_CEILING_S = 900.0
AT_ONCE_S = 1.0
MAX_FILE_REDIRECTS = 3

_TOKEN_COOKIES = ("csrftoken", "edx-csrftoken")
_OUTSIDE = (Meaning.NOT_LOGGED_IN, Meaning.CSRF, Meaning.DENIED)


class XQueueClient:
    """A session with one queue server.

    Args:
        access: where it is and how to get in.
        clock: seconds that never go back; spaces logins out and tells a connection that broke at once.

    Raises:
        Misconfigured: the URL or the CA file cannot be right.
    """

    def __init__(self, access: ServerAccess, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._base = access.base_url()
        self._where = show(self._base)
        if isinstance(access.verify, str) and not Path(access.verify).exists():
            raise Misconfigured(f"servers.{access.name}.ca_file: no such file: {access.verify}")
        self._own = Transport(
            verify=access.verify, connect_timeout_s=access.connect_timeout_s, basic_auth=access.basic_auth
        )
        self._foreign: Transport | None = None  # for files on other hosts: knows no cookie and no password
        self._gets: dict[str, requests.PreparedRequest] = {}  # prepared once, valid while the cookies last
        self._put: requests.PreparedRequest | None = None  # the same, without its body
        self._has_queue_length = True
        self._dialect = Dialect.UNKNOWN
        self._set_cookies: tuple[str, ...] = ()  # of the last answer
        self._login_cookies: tuple[str, ...] = ()  # of the last login, to explain a session that is not kept
        self._refusal: QueueError | None = None  # why the last login was of no use
        self._refused_until = 0.0
        self._pause_s = LOGIN_PAUSE_S

    def __repr__(self) -> str:
        return f"XQueueClient({self._where}, {self._dialect.value})"

    @property
    def dialect(self) -> Dialect:
        """Which server it turned out to be; UNKNOWN until an answer gave it away."""
        return self._dialect

    def close(self) -> None:
        """Close the connections. The session on the server ends by itself."""
        self._own.close()
        if self._foreign is not None:
            self._foreign.close()

    # -- The verbs -------------------------------------------------------------------------------------------

    def ping(self) -> Dialect:
        """Ask for a sign of life, without logging in. Returns the dialect if that showed it.

        Raises:
            QueueError: there is no XQueue at this URL, or none that answers.
        """
        answer = self._send(self._get("status/"))
        if answer.meaning is Meaning.OK and answer.content == "OK":
            # A legacy XQueue tells anyone; the LMS's own has no working status and says so in JSON.
            self._dialect = Dialect.LEGACY
        elif answer.dialect is Dialect.UNKNOWN:
            raise self._general(answer)
        return self._dialect

    def get_submission(self, queue: str) -> Submission | None:
        """Pull one submission; None if there is none.

        Raises:
            QueueError: whatever came in between; UnknownQueue only from a legacy XQueue.
        """
        answer = self._call("get_submission/", queue)
        if answer.meaning is Meaning.OK:
            try:
                return protocol.decode_submission(queue, answer.content)
            except ProtocolError as error:
                raise ServerError(
                    f"{self._where} handed out something of queue {queue} that cannot be answered: {error}"
                ) from None
        if answer.meaning is Meaning.NO:
            if answer.text.endswith("is empty"):
                return None
            if answer.text.endswith("not found"):
                raise self._unknown_queue(queue, answer)
        raise self._general(answer)

    def queue_length(self, queue: str) -> int | None:
        """How many submissions a pull could get now; None where the server does not tell.

        Raises:
            QueueError: whatever came in between.
        """
        if not self._has_queue_length:
            return None
        answer = self._call("get_queuelen/", queue)
        if answer.meaning is Meaning.OK and isinstance(answer.content, int):
            self._dialect = Dialect.LEGACY
            return answer.content
        if answer.meaning in (Meaning.NOT_FOUND, Meaning.NO_METHOD):
            self._has_queue_length = False
            return None
        if answer.meaning is Meaning.NO and answer.text.startswith("Valid queue names"):
            raise self._unknown_queue(queue, answer)
        raise self._general(answer)

    def put_result(self, header: str, body: str) -> None:
        """Put a result back: the header as it was pulled, the body of protocol.encode_reply.

        Raises:
            ReplyRefused: final; the server will never take this reply.
            ReplyUncertain: it was sent and may have been accepted.
            QueueError: it was not accepted; deliver it later.
        """
        form = urlencode({"xqueue_header": header, "xqueue_body": body}).encode()
        try:
            answer = self._outside_once(self._put_request, self._access.put_timeout_s, form)
        except ExchangeFailed as error:
            if error.stage in (Stage.CONNECT, Stage.TLS):
                raise self._unreachable(error) from None
            raise ReplyUncertain(
                f"{self._where} was sent a result and {error}: it may have been accepted, send it again later"
            ) from None
        if answer.meaning is Meaning.OK:
            return
        if answer.meaning is Meaning.NO and answer.status < 500 and answer.status != 409:
            raise ReplyRefused(f"{self._where} refuses the result for good: {self._said(answer)}")
        if answer.status in (400, 413, 415):
            raise ReplyRefused(
                f"{self._where} refuses the form of the result ({answer.status} {self._said(answer)}); is it"
                " larger than the server, or a proxy before it, accepts?"
            )
        if answer.status == 409 or answer.status >= 500 or answer.status == 200:
            raise ReplyUncertain(
                f"{self._where} answered a result with {answer.status} {self._said(answer)}: it may have been"
                " accepted (the LMS says so to what it has already), or rolled back; send it again later"
            )
        raise self._general(answer)

    def submit(
        self,
        queue: str,
        body: str,
        *,
        callback_url: str,
        lms_key: str,
        files: Mapping[str, bytes] | None = None,
    ) -> int:
        """Submit as an LMS does; returns the length of the queue, this submission included.

        `body` is the text of protocol.encode_body; `files` maps names to contents.

        Raises:
            Misconfigured: the LMS's own server takes no submissions over HTTP.
            QueueError: it was not taken, or it is not known whether it was.
        """
        form = {
            "xqueue_header": protocol.encode_submit_header(SubmitHeader(callback_url, lms_key, queue)),
            "xqueue_body": body,
        }
        try:
            answer = self._outside_once(
                lambda: self._post("submit/", form, files), self._access.put_timeout_s
            )
        except ExchangeFailed as error:
            raise self._unreachable(error) from None
        if answer.meaning is Meaning.OK:
            try:
                return int(str(answer.content))
            except ValueError:
                raise ServerError(
                    f"{self._where} took a submission and answered: {self._said(answer)}"
                ) from None
        if answer.meaning is Meaning.NO and answer.text.endswith("not found"):
            raise self._unknown_queue(queue, answer)
        if answer.meaning is Meaning.NOT_FOUND:
            raise Misconfigured(
                f"{self._where} takes no submissions over HTTP: on this server the LMS queues them itself"
            )
        raise self._general(answer)

    def fetch_file(self, url: str, limit_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The contents of a submitted file.

        Root-relative URLs are the server's own. Cookies and Basic auth go to the server's own origin only;
        redirects are followed where the file itself could have come from.

        Raises:
            FileRefused: the URL is not one that the configuration allows.
            FileUnavailable: gone, expired, or larger than `limit_bytes`.
            QueueError: whatever came in between.
        """
        for _ in range(MAX_FILE_REDIRECTS + 1):
            url, own = file_url(url, self._base, self._access.file_hosts, self._access.name)
            answer = self._fetch(url, own, limit_bytes)
            if own and answer.status in (302, 401, 403) and judge(answer).meaning is Meaning.NOT_LOGGED_IN:
                self._login()
                answer = self._fetch(url, own, limit_bytes)
            if answer.status == 200:
                return answer.body
            target = answer.headers.get("Location", "")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                break
            try:
                url = urljoin(url, target)
            except ValueError:
                break
        if answer.status < 500 and answer.status != 429:
            raise FileUnavailable(f"{show(url)}: a submitted file cannot be had ({answer.status})")
        raise ServerError(f"{show(url)}: answered {answer.status} for a submitted file", answer.status)

    # -- One call --------------------------------------------------------------------------------------------

    def _call(self, verb: str, queue: str) -> Answer:
        """A GET about a queue, once more if the connection broke at once: servers close idle ones."""
        start = self._clock()
        for last in (False, True):
            try:
                return self._outside_once(lambda: self._get(verb, queue), self._access.pull_timeout_s)
            except ExchangeFailed as error:
                broke_at_once = error.stage is Stage.BROKEN and self._clock() - start < AT_ONCE_S
                if last or not broke_at_once:
                    raise self._unreachable(error) from None
        raise AssertionError("unreachable: the second try returns or raises")

    def _outside_once(
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
            self._login()
            answer = self._exchange(build(), timeout_s, body)
            if answer.meaning in _OUTSIDE:
                raise self._pausing(self._still_outside(answer))
        if answer.meaning in (Meaning.OK, Meaning.NO):
            self._refusal = None
            self._pause_s = LOGIN_PAUSE_S
        return answer

    def _send(self, request: requests.PreparedRequest) -> Answer:
        try:
            return self._exchange(request, self._access.pull_timeout_s)
        except ExchangeFailed as error:
            raise self._unreachable(error) from None

    def _exchange(
        self, request: requests.PreparedRequest, timeout_s: float, body: bytes | None = None
    ) -> Answer:
        http = self._own.exchange(
            request, timeout_s=timeout_s, limit_bytes=protocol.MAX_ANSWER_BYTES, body=body
        )
        self._set_cookies = http.set_cookies
        if http.set_cookies:
            self._forget_prepared()
        answer = judge(http)
        if answer.dialect is not Dialect.UNKNOWN and self._dialect is Dialect.UNKNOWN:
            self._dialect = answer.dialect
        return answer

    def _get(self, verb: str, queue: str | None = None) -> requests.PreparedRequest:
        name = verb if queue is None else f"{verb}?{queue}"
        request = self._gets.get(name)
        if request is None:
            params = {} if queue is None else {"queue_name": queue}
            request = self._own.prepare(requests.Request("GET", self._base + verb, params=params))
            self._gets[name] = request
        return request

    def _put_request(self) -> requests.PreparedRequest:
        if self._put is None:
            self._put = self._post("put_result/", {"xqueue_header": ""})
        return self._put

    def _forget_prepared(self) -> None:
        """The cookies have changed, and with them perhaps the CSRF token."""
        self._gets.clear()
        self._put = None

    def _post(
        self, verb: str, form: Mapping[str, str], files: Mapping[str, bytes] | None = None
    ) -> requests.PreparedRequest:
        headers = {"Referer": self._base}  # Django asks for it on https
        token = self._token()
        if token:
            headers["X-CSRFToken"] = token
        # Multipart where there are files; the field's name is the file's, as the LMS sends it.
        parts = {name: (name, content) for name, content in files.items()} if files else None
        return self._own.prepare(
            requests.Request("POST", self._base + verb, headers=headers, data=form, files=parts)
        )

    def _token(self) -> str | None:
        """The CSRF token as the cookies have it now: it changes at login."""
        tokens = {cookie.name: cookie.value for cookie in self._own.cookies}
        for name in _TOKEN_COOKIES:
            if tokens.get(name):
                return tokens[name]
        return None

    def _fetch(self, url: str, own: bool, limit_bytes: int) -> HttpAnswer:
        if own:
            transport = self._own
        else:
            if self._foreign is None:
                self._foreign = Transport(
                    verify=self._access.verify, connect_timeout_s=self._access.connect_timeout_s
                )
            self._foreign.clear_cookies()
            transport = self._foreign
        try:
            request = transport.prepare(requests.Request("GET", url, headers={"Accept": "*/*"}))
        except (requests.RequestException, ValueError):
            raise FileUnavailable(f"{show(url)}: not a URL that can be fetched") from None
        try:
            return transport.exchange(request, timeout_s=self._access.pull_timeout_s, limit_bytes=limit_bytes)
        except ExchangeFailed as error:
            if error.stage is Stage.SIZE:
                raise FileUnavailable(f"{show(url)}: a submitted file is over {limit_bytes} bytes") from None
            raise Unreachable(f"{show(url)}: a submitted file could not be fetched: {error}") from None

    # -- Getting in ------------------------------------------------------------------------------------------

    def _login(self) -> None:
        """Log in with a clean jar.

        Raises:
            LoginRefused: wrong credentials. Remembered for a while.
            QueueError: whatever came in between.
        """
        self._check_pause()
        self._own.clear_cookies()
        self._forget_prepared()
        form = {"username": self._access.username, "password": self._access.password}
        answer = self._send(self._post("login/", form))
        if answer.meaning is Meaning.CSRF:
            # Without a session no server asked for a token so far; one that does, sets it on GET.
            self._send(self._get("login/"))
            answer = self._send(self._post("login/", form))
        if answer.meaning is Meaning.OK:
            self._login_cookies = self._set_cookies
            return
        if answer.meaning is Meaning.NO and answer.status < 500:
            raise self._pausing(
                LoginRefused(
                    f"{self._where} refuses the login of user {printable(self._access.username)}:"
                    f" {self._said(answer)}; check {self._setting('username')} and its password"
                )
            )
        if answer.meaning in _OUTSIDE or answer.meaning is Meaning.NOT_PERMITTED:
            raise self._pausing(
                LoginRefused(
                    f"{self._where} lets nobody log in: {answer.status} {self._said(answer)}".strip()
                )
            )
        raise self._general(answer)

    def _check_pause(self) -> None:
        if self._refusal is not None and self._clock() < self._refused_until:
            raise type(self._refusal)(str(self._refusal))  # a new one: a raised one drags its traceback along

    def _pausing(self, refusal: QueueError) -> QueueError:
        """The same, and remembered: why a login was of no use, so that it is not tried again at once."""
        self._refusal = refusal
        self._refused_until = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LOGIN_PAUSE_CEILING_S)
        return refusal

    def _still_outside(self, answer: Answer) -> QueueError:
        """The login said yes, and the next call is refused again: which of the reasons is it?"""
        if answer.meaning is Meaning.DENIED:
            return NotPermitted(
                f"{self._where} lets user {printable(self._access.username)} log in and then refuses"
                f" ({self._said(answer)}); on the LMS the user must be in the group xqueue"
            )
        if answer.meaning is Meaning.CSRF:
            return SessionNotKept(
                f"{self._where} refuses our CSRF token straight after the login ({self._said(answer)}); the"
                f" host of {self._setting('url')} must be the server's own or in its CSRF_TRUSTED_ORIGINS"
            )
        return SessionNotKept(
            f"{self._where} lets user {printable(self._access.username)} log in and then does not know the"
            f" session: {self._lost_cookie()}"
        )

    def _lost_cookie(self) -> str:
        """Why the session cookie of the last login does not come back, as far as it can be told."""
        url, host = self._setting("url"), urlsplit(self._base).hostname
        sent = [line for line in self._login_cookies if "csrftoken" not in line.split("=", 1)[0].lower()]
        if not sent:
            return "it set no session cookie; does a proxy remove it?"
        attributes = [part.strip().lower() for part in sent[-1].split(";")[1:]]
        if "secure" in attributes and self._base.startswith("http://"):
            return f"its cookie is for https only (SESSION_COOKIE_SECURE); make {url} an https address"
        domains = [a.partition("=")[2].lstrip(".") for a in attributes if a.startswith("domain=")]
        if domains and not f".{host}".endswith(f".{domains[-1]}"):
            domain = printable(domains[-1], 80)
            return f"its cookie is for {domain} (SESSION_COOKIE_DOMAIN), not for {host}; set {url} to match"
        return (
            "the cookie was sent back and is not known; are there several servers behind this address that"
            " do not share sessions, or is the user not active or not in the group xqueue?"
        )

    # -- Saying no -------------------------------------------------------------------------------------------

    def _said(self, answer: Answer) -> str:
        """The server's own words for a message: some pages show what was posted, passwords too."""
        text = answer.text
        for secret in (self._access.password, (self._access.basic_auth or ("", ""))[1]):
            if secret:
                text = text.replace(secret, "***")
        return text

    def _setting(self, key: str) -> str:
        return f"servers.{self._access.name}.{key}"

    def _unknown_queue(self, queue: str, answer: Answer) -> UnknownQueue:
        return UnknownQueue(
            f"{self._where} has no queue {printable(queue)} ({self._said(answer)}); check the names"
            " under [queues]"
        )

    def _unreachable(self, error: ExchangeFailed) -> QueueError:
        if error.stage is Stage.SIZE:
            return ServerError(f"{self._where}: {error}")
        if error.stage is Stage.TLS:
            return Unreachable(
                f"{self._where}: {error}; check {self._setting('url')}, or name the right CA in"
                f" {self._setting('ca_file')}"
            )
        return Unreachable(f"{self._where}: {error}; is the server up, and {self._setting('url')} right?")

    def _general(self, answer: Answer) -> QueueError:
        """The error for an answer that no verb expects."""
        words = f"{answer.status} {self._said(answer)}".strip()
        match answer.meaning:
            case Meaning.NOT_PERMITTED:
                return NotPermitted(
                    f"{self._where} does not let user {printable(self._access.username)} work on queues"
                    " (403); on the LMS the user must be in the group xqueue"
                )
            case Meaning.BASIC_AUTH:
                return LoginRefused(
                    f"{self._where}: the HTTP Basic auth in front of it refuses us (401); check"
                    f" {self._setting('basic_auth_username')} and its password"
                )
            case Meaning.MOVED:
                return Misconfigured(
                    f"{self._where} redirects to {answer.where or 'nowhere'} ({answer.status}); set"
                    f" {self._setting('url')} to the final address"
                )
            case Meaning.NOT_FOUND:
                return Misconfigured(
                    f"{self._where} has no XQueue at this path (404); check {self._setting('url')}"
                )
            case _:
                return ServerError(f"{self._where} gave no usable answer: {words}", answer.status)
