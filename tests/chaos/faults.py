"""What can go wrong between a client and its server, each by its name, and which verb gets which.

Runs in: tools. Values only; the proxy does them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Fault(StrEnum):
    """One way to spoil an exchange. "after": the server has acted; the client does not hear of it."""

    RESET_BEFORE = "reset before the server heard of it"
    RESET_AFTER = "reset after"
    CLOSED_BEFORE = "closed without a word"
    LOST = "answer lost, silence after"
    DELAYED = "delayed"
    DRIPPING = "slow body, in time"
    STALLED = "half a body, then silence, after"
    CUT = "half a body, then the end, after"
    TRUNCATED = "half the JSON in a whole body, after"
    GARBAGE = "no HTTP"
    E500 = "500 before"
    E500_AFTER = "500 after"
    E502 = "502 of a proxy"
    E503 = "503 of a proxy"
    E504_AFTER = "504 of a proxy, after"
    REDIRECTED = "302 to the login"
    MOVED = "302 to elsewhere"
    FORBIDDEN_HTML = "403 of a proxy"
    FORBIDDEN_SESSION = "403 no credentials"
    FORBIDDEN_CSRF = "403 CSRF"
    FORBIDDEN_RIGHTS = "403 no permission"
    FORBIDDEN_KEY = "403 wrong key"
    WRONG_KEY = "200 wrong key"
    HTML = "200 with a page"
    EMPTY_BODY = "200 with nothing"
    TWICE = "delivered twice"


_TRANSPORT = (
    Fault.RESET_BEFORE,
    Fault.RESET_AFTER,
    Fault.CLOSED_BEFORE,
    Fault.LOST,
    Fault.DELAYED,
    Fault.DRIPPING,
    Fault.STALLED,
    Fault.CUT,
    Fault.TRUNCATED,
    Fault.GARBAGE,
    Fault.E500,
    Fault.E500_AFTER,
    Fault.E502,
    Fault.E503,
    Fault.E504_AFTER,
    Fault.HTML,
    Fault.EMPTY_BODY,
    Fault.FORBIDDEN_HTML,
    Fault.MOVED,
)
_LOGIN = (
    Fault.RESET_BEFORE,
    Fault.RESET_AFTER,
    Fault.LOST,
    Fault.DELAYED,
    Fault.E500,
    Fault.E502,
    Fault.HTML,
)


def faults_of(server: str) -> Mapping[str, tuple[Fault, ...]]:
    """Verb -> the faults that its requests can meet, on the embedded server or on "edx"."""
    if server == "edx":
        outside: tuple[Fault, ...] = (Fault.FORBIDDEN_SESSION, Fault.FORBIDDEN_CSRF, Fault.FORBIDDEN_RIGHTS)
        key = Fault.FORBIDDEN_KEY
    else:
        outside = (Fault.REDIRECTED,)
        key = Fault.WRONG_KEY
    return {
        "get_submission": (*_TRANSPORT, *outside, Fault.TWICE),
        "put_result": (*_TRANSPORT, *outside, key, Fault.TWICE),
        "login": _LOGIN,
        "other": (Fault.RESET_BEFORE, Fault.E500, Fault.LOST, Fault.HTML),
    }
