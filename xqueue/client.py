"""The client of a queue server, of either dialect: pull, put, submit, fetch. xqueue.session gets it in.

Runs in: worker, tools. One client per process and server; not for several threads at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urljoin

import requests

from xqueue import protocol
from xqueue.access import ServerAccess, file_url, printable, show
from xqueue.answer import Answer, Dialect, Meaning, judge
from xqueue.errors import (
    FileUnavailable,
    Misconfigured,
    ProtocolError,
    ReplyRefused,
    ReplyUncertain,
    ServerError,
    UnknownQueue,
    Unreachable,
)
from xqueue.protocol import Submission, SubmitHeader
from xqueue.session import Session
from xqueue.transport import ExchangeFailed, HttpAnswer, Stage, Transport

__all__ = ["Dialect", "ServerAccess", "XQueueClient"]

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Largest submitted file that is fetched; the LMS lets a learner upload 4 MB each."""

AT_ONCE_S = 1.0
MAX_FILE_REDIRECTS = 3


class XQueueClient:
    """A session with one queue server.

    Args:
        access: where it is and how to get in.
        clock: seconds that never go back; spaces logins out and tells a connection that broke at once.
        dice: random in 0..1, for jitter.

    Raises:
        Misconfigured: the URL or the CA file cannot be right.
    """

    def __init__(
        self,
        access: ServerAccess,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._access = access
        self._clock = clock
        self._session = Session(access, clock, dice)
        self._where = self._session.where
        self._foreign: Transport | None = None  # for files on other hosts: knows no cookie and no password
        self._has_queue_length = True

    def __repr__(self) -> str:
        return f"XQueueClient({self._where}, {self.dialect.value})"

    @property
    def dialect(self) -> Dialect:
        """Which server it turned out to be; UNKNOWN until an answer gave it away."""
        return self._session.dialect

    @property
    def last(self) -> HttpAnswer | None:
        """The newest answer of the server as it came."""
        return self._session.last

    @property
    def login_cookies(self) -> tuple[str, ...]:
        """The Set-Cookie lines of the newest login that was accepted."""
        return self._session.login_cookies

    def close(self) -> None:
        """Close the connections. The session on the server ends by itself."""
        self._session.close()
        if self._foreign is not None:
            self._foreign.close()

    # -- The verbs -------------------------------------------------------------------------------------------

    def ping(self) -> Dialect:
        """Ask for a sign of life, without logging in. Returns the dialect if that showed it.

        Raises:
            QueueError: there is no XQueue at this URL, or none that answers.
        """
        answer = self._session.send(self._session.get("status/"))
        if answer.meaning is Meaning.OK and answer.content == "OK":
            # A legacy XQueue tells anyone; the LMS's own has no working status and says so in JSON.
            self._session.dialect = Dialect.LEGACY
        elif answer.dialect is Dialect.UNKNOWN:
            raise self._session.general(answer)
        return self._session.dialect

    def knock(self) -> None:
        """Find out whether a poll would get in: session, CSRF token and rights, without pulling anything.

        An empty result is put, which both servers refuse only after they have let the user in.

        Raises:
            QueueError: what a poll or a put would raise.
        """
        try:
            answer = self._session.inside(self._session.put_request, self._access.pull_timeout_s, b"")
        except ExchangeFailed as error:
            raise self._session.unreachable(error) from None
        if answer.meaning is not Meaning.NO or answer.status not in (200, 400):
            raise self._session.general(answer)
        if self._session.dialect is Dialect.UNKNOWN:
            self._session.dialect = Dialect.LEGACY if answer.status == 200 else Dialect.LMS

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
        raise self._session.general(answer)

    def queue_length(self, queue: str) -> int | None:
        """How many submissions a pull could get now; None where the server does not tell.

        Raises:
            QueueError: whatever came in between.
        """
        if not self._has_queue_length:
            return None
        answer = self._call("get_queuelen/", queue)
        if answer.meaning is Meaning.OK and isinstance(answer.content, int):
            self._session.dialect = Dialect.LEGACY
            return answer.content
        if answer.meaning in (Meaning.NOT_FOUND, Meaning.NO_METHOD):
            self._has_queue_length = False
            return None
        if answer.meaning is Meaning.NO and answer.text.startswith("Valid queue names"):
            raise self._unknown_queue(queue, answer)
        raise self._session.general(answer)

    def put_result(self, header: str, body: str) -> None:
        """Put a result back: the header as it was pulled, the body of protocol.encode_reply.

        Raises:
            ReplyRefused: final; the server will never take this reply.
            ReplyUncertain: it was sent and may have been accepted.
            QueueError: it was not accepted; deliver it later.
        """
        form = urlencode({"xqueue_header": header, "xqueue_body": body}).encode()
        try:
            answer = self._session.inside(self._session.put_request, self._access.put_timeout_s, form)
        except ExchangeFailed as error:
            if error.stage in (Stage.CONNECT, Stage.TLS):
                raise self._session.unreachable(error) from None
            raise ReplyUncertain(
                f"{self._where} was sent a result and {error}: it may have been accepted, send it again later"
            ) from None
        if answer.meaning is Meaning.OK:
            return
        if answer.meaning is Meaning.NO and answer.status < 500 and answer.status != 409:
            raise ReplyRefused(f"{self._where} refuses the result for good: {self._session.said(answer)}")
        if answer.status in (400, 413, 415):
            raise ReplyRefused(
                f"{self._where} refuses the form of the result ({answer.status}"
                f" {self._session.said(answer)})",
                "is it larger than the server, or a proxy before it, accepts?",
            )
        if answer.status == 409 or answer.status >= 500 or answer.status == 200:
            raise ReplyUncertain(
                f"{self._where} answered a result with {answer.status} {self._session.said(answer)}:"
                " it may have been accepted (the LMS says so to what it has already), or rolled back;"
                " send it again later",
                answer.status,
            )
        raise self._session.general(answer)

    def set_aside(self, header: str) -> None:
        """Have the LMS's own server hand out a submission again under a new key, after all that wait now.

        It is sent a score that it cannot use, which it answers with yes, stores nowhere and does not tell the
        LMS. The fifth time it gives the submission up. For one whose reply it cannot take: it would hand it
        out at every poll, and nothing else.

        Raises:
            QueueError: it was not set aside; a legacy XQueue never is asked.
        """
        if self.dialect is not Dialect.LMS:
            raise ServerError(f"{self._where} is not known to be {Dialect.LMS.value}; only that sets aside")
        self.put_result(header, protocol.UNUSABLE_REPLY)

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
            answer = self._session.inside(
                lambda: self._session.post("submit/", form, files), self._access.put_timeout_s
            )
        except ExchangeFailed as error:
            raise self._session.unreachable(error) from None
        if answer.meaning is Meaning.OK:
            try:
                return int(str(answer.content))
            except ValueError:
                raise ServerError(
                    f"{self._where} took a submission and answered: {self._session.said(answer)}"
                ) from None
        if answer.meaning is Meaning.NO and answer.text.endswith("not found"):
            raise self._unknown_queue(queue, answer)
        if answer.meaning is Meaning.NOT_FOUND:
            raise Misconfigured(
                f"{self._where} takes no submissions over HTTP: on this server the LMS queues them itself"
            )
        raise self._session.general(answer)

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
            url, own = file_url(url, self._session.base, self._access.file_hosts, self._access.name)
            answer = self._fetch(url, own, limit_bytes)
            if own and answer.status in (302, 401, 403) and judge(answer).meaning is Meaning.NOT_LOGGED_IN:
                self._session.login()
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

    def _call(self, verb: str, queue: str) -> Answer:
        """A GET about a queue, once more if the connection broke at once: servers close idle ones."""
        start = self._clock()
        for last in (False, True):
            try:
                return self._session.inside(
                    lambda: self._session.get(verb, queue), self._access.pull_timeout_s
                )
            except ExchangeFailed as error:
                broke_at_once = error.stage is Stage.BROKEN and self._clock() - start < AT_ONCE_S
                if last or not broke_at_once:
                    raise self._session.unreachable(error) from None
        raise AssertionError("unreachable: the second try returns or raises")

    def _fetch(self, url: str, own: bool, limit_bytes: int) -> HttpAnswer:
        if own:
            transport = self._session.own
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

    def _unknown_queue(self, queue: str, answer: Answer) -> UnknownQueue:
        return UnknownQueue(
            f"{self._where} has no queue {printable(queue)} ({self._session.said(answer)})",
            "check the names under [queues]",
        )
