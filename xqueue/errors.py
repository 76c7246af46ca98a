"""What can go wrong between a worker and a queue server: one tree, each class a different next step.

Every error says what happened, where (the server's URL without credentials) and what to do. No message and
no repr holds a password, a cookie, a token or the query of a signed URL.

Runs in: worker, supervisor, tools. Values only.
"""

from __future__ import annotations

from typing import ClassVar, Self


class ProtocolError(ValueError):
    """A text is not what the protocol says it is. The codec raises nothing else."""


class QueueError(Exception):
    """Anything that a queue server, or the way to it, did not do.

    `cause` is the code of graders.model.Cause as plain text. `retry` says whether the same call may succeed
    later with nothing changed on our side; where it is False somebody has to mend something first. Only
    ReplyRefused closes a reply: every other error of put_result leaves it to be delivered later.
    """

    cause: ClassVar[str] = "QUEUE_ERROR"
    retry: ClassVar[bool] = True

    def __init__(self, what: str, mend: str = "") -> None:
        """`what` happened, and where; `mend` is what to do about it, "" if there is nothing but to wait."""
        super().__init__(f"{what}; {mend}" if mend else what)
        self.what = what
        self.mend = mend

    def anew(self) -> Self:
        """The same without the traceback that a raised one drags along."""
        return type(self)(self.what, self.mend)


class Unreachable(QueueError):
    """No answer: name, connection, TLS or time. Nothing was asked, or nothing that matters was done."""

    cause = "QUEUE_UNREACHABLE"


class ServerError(QueueError):
    """It answered, but not in the protocol: 500, an HTML page, garbage, too much."""

    def __init__(self, what: str, status: int | None = None) -> None:
        super().__init__(what)
        self.status = status

    def anew(self) -> Self:
        return type(self)(self.what, self.status)


class Misconfigured(QueueError):
    """The URL, the CA file or the path is not that of an XQueue (redirect elsewhere, 404, bad file)."""

    cause = "CONFIG"
    retry = False


class UnknownQueue(QueueError):
    """The server has no queue of that name. Only a legacy XQueue says so; the LMS's own calls it empty."""

    cause = "CONFIG"
    retry = False


class LoginRefused(QueueError):
    """Wrong user name or password, for the XQueue itself or for the HTTP Basic auth in front of it."""

    cause = "AUTH"
    retry = False


class NotPermitted(QueueError):
    """Logged in, but the user may not work on queues: on the LMS it must be in the group `xqueue`."""

    cause = "AUTH"
    retry = False


class SessionNotKept(QueueError):
    """The login succeeded and the next call was anonymous again: the cookies do not come back."""

    cause = "AUTH"
    retry = False


class ReplyRefused(QueueError):
    """The server will never take this reply: key no longer ours, submission unknown, form or size refused."""

    cause = "REPLY_REFUSED"
    retry = False


class ReplyUncertain(QueueError):
    """The reply was sent, and whether it was accepted is not known (timeout, reset, 500, 409).

    Sending it again with the same key is safe on a legacy XQueue. On the LMS a reply that was accepted
    answers 500 for ever after, and the submission is never handed out again.
    """

    def __init__(self, what: str, status: int | None = None) -> None:
        """`status`: what it answered, None if there is no answer."""
        super().__init__(what)
        self.status = status

    def anew(self) -> Self:
        return type(self)(self.what, self.status)


class FileRefused(QueueError):
    """A submitted file lies where the configuration does not let us fetch from."""

    cause = "CONFIG"
    retry = False


class FileUnavailable(QueueError):
    """A submitted file is gone (404, 410), its signature has expired (403), or it is too large."""

    retry = False
