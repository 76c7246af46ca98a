"""What an HTTP answer of a queue server means, by its status and its body, in both dialects. Pure.

A legacy XQueue says everything with 200 (302 = not logged in); the LMS's own uses status codes, of which 403
has five meanings that only the body tells apart. JSON counts under any content type; HTML is no answer.

Runs in: worker, tools. Values only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from xqueue.access import printable
from xqueue.errors import ProtocolError
from xqueue.protocol import decode_envelope
from xqueue.transport import HttpAnswer


class Meaning(Enum):
    """What the server wants to say."""

    OK = "ok"  # return_code 0
    NO = "no"  # return_code 1, with its reason in words
    NOT_LOGGED_IN = "not logged in"
    CSRF = "csrf"  # the token is missing, stale, or the Referer does not suit
    DENIED = "denied"  # refused in words we do not know (they may be translated)
    NOT_PERMITTED = "not permitted"  # logged in, and not in the group
    BASIC_AUTH = "basic auth"  # refused by the HTTP Basic auth in front of it
    MOVED = "moved"  # a redirect that is not the one to the login page
    NOT_FOUND = "not found"  # nothing at this path (no JSON)
    NO_METHOD = "no method"  # 405 in JSON: the path is known, the method is not
    NONE = "none"  # no answer in the protocol


class Dialect(Enum):
    """Which of the two servers it is."""

    UNKNOWN = "unknown"
    LEGACY = "legacy XQueue"
    LMS = "edx-submissions"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its meaning. `text` is its own words on one line, `where` the target of a redirect."""

    meaning: Meaning
    status: int
    content: object = None
    text: str = ""
    where: str = ""
    dialect: Dialect = Dialect.UNKNOWN  # what this answer gives away


def judge(http: HttpAnswer) -> Answer:
    """The meaning of an answer. Never raises."""
    status = http.status
    if status in (301, 302, 303, 307, 308):
        return _redirect(status, http.headers.get("Location", ""))
    try:
        envelope = decode_envelope(http.body)
    except ProtocolError as error:
        return _no_envelope(http, str(error))
    text = printable(envelope.text)
    if envelope.return_code is not None:
        if envelope.return_code == 0 and status == 200:
            return Answer(Meaning.OK, status, envelope.content, text)
        if status == 200 and envelope.content == "login_required":
            return Answer(Meaning.NOT_LOGGED_IN, status, text=text, dialect=Dialect.LEGACY)
        return Answer(Meaning.NO, status, envelope.content, text)
    return Answer(_detail(status, text), status, text=text, dialect=Dialect.LMS)


def _detail(status: int, text: str) -> Meaning:
    """The meaning of an error of Django REST framework."""
    if status == 405:
        return Meaning.NO_METHOD
    if status not in (401, 403):
        return Meaning.NONE
    if text.startswith("CSRF Failed"):
        return Meaning.CSRF
    if text.startswith("Authentication credentials"):
        return Meaning.NOT_LOGGED_IN
    if text.startswith("You do not have permission"):
        return Meaning.NOT_PERMITTED
    return Meaning.NOT_LOGGED_IN if status == 401 else Meaning.DENIED


def _redirect(status: int, location: str) -> Answer:
    try:
        parts = urlsplit(location)
    except ValueError:
        return Answer(Meaning.MOVED, status)
    if status == 302 and parts.path.rstrip("/").endswith("/xqueue/login"):  # not somebody else's login page
        return Answer(Meaning.NOT_LOGGED_IN, status, dialect=Dialect.LEGACY)
    host = parts.netloc.rpartition("@")[2]
    where = f"{parts.scheme}://{host}{parts.path}" if host else parts.path
    return Answer(Meaning.MOVED, status, where=printable(where))


def _no_envelope(http: HttpAnswer, problem: str) -> Answer:
    status, text = http.status, _excerpt(http.body) or problem
    if status == 401 and http.headers.get("WWW-Authenticate", "").lower().startswith("basic"):
        return Answer(Meaning.BASIC_AUTH, status, text=text)
    if status == 404:
        return Answer(Meaning.NOT_FOUND, status, text=text)
    return Answer(Meaning.NONE, status, text=text)


def _excerpt(body: bytes) -> str:
    """The title of an HTML page, as far as a log wants to know."""
    found = re.search(rb"<title[^>]*>([^<]{1,400})", body[:8192], re.IGNORECASE)
    return printable(found[1].decode("utf-8", "replace"), 100) if found else ""
