"""The outbox: graded replies go back to the server, each until the server has it or refuses it for good.

Runs in: worker. What an answer of the server means for a row is decided in `decide`, pure.

A reply that may have been accepted (a timeout, a 500) is sent again under the same key: a legacy XQueue takes
it twice without harm. The LMS's own server answers 500 for ever to what it has accepted; after enough of
those the row is closed as delivered. Should it not have been, the server hands the submission out again,
and the journal opens the row again.

A submission that comes again under the same key was not accepted for certain: only the LMS's own server does
that, after five minutes and then at every poll, so that nobody else's comes out of the queue. If the reply
fails once more, the LMS cannot take it (its course or problem is gone, say); then it is set aside, so that
the queue goes on. It is tried again when it comes under its new key, and given up when the server gives the
submission up (decision 22).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol, assert_never

from graders.model import Cause
from supervisor.backoff import Backoff
from supervisor.events import Dead, Delivered, Phase, Trouble, short
from supervisor.heartbeat import Voice
from supervisor.journal import Journal, Row, State
from xqueue.errors import QueueError, ReplyRefused, ReplyUncertain, ServerError

log = logging.getLogger(__name__)

ROW_BACKOFF: Final = Backoff(first_s=1.0, ceiling_s=120.0, factor=3.0)
SERVER_BACKOFF: Final = Backoff(first_s=1.0, ceiling_s=30.0)
ASIDE_S: Final = 600.0
"""How long a reply that was set aside waits for its submission to come again; it comes within minutes."""
UNCERTAIN_TRIES: Final = 6
"""So many uncertain answers in a row (some two minutes of them), and the reply counts as delivered."""
NEWER_S: Final = 5.0
"""After a refusal, how long a newer hand-out may take from the server to the journal."""


class Puts(Protocol):
    """What the outbox needs of a client."""

    def put_result(self, header: str, body: str) -> None:
        """As xqueue.client.XQueueClient.put_result."""
        ...

    def set_aside(self, header: str) -> None:
        """As xqueue.client.XQueueClient.set_aside."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """The server has it. `reason` says how that is known, if not by its own word."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not take it under this key."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """Again later. `all_rows`: the server is not well, so the other replies wait, too."""

    cause: Cause
    reason: str
    all_rows: bool
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Aside:
    """The server fails at this row's reply for good, as it seems, and lets nothing else out of its queue."""

    reason: str


Decision = Done | Refused | Later | Aside


def decide(row: Row, error: QueueError | None) -> Decision:
    """What the answer to put_result means for the row."""
    if error is None:
        return Done()
    reason = short(str(error))
    if isinstance(error, ReplyRefused):
        return Refused(reason)
    cause = Cause(error.cause)
    if isinstance(error, ReplyUncertain):
        if row.stale and error.status is not None and error.status >= 500:
            return Aside(reason)
        if row.tries + 1 >= UNCERTAIN_TRIES:
            return Done(f"probably accepted: {reason}")
        return Later(cause, reason, all_rows=False, uncertain=True)
    # A 5xx may be this row's alone (the LMS fails at one problem); all else is the server's or ours.
    return Later(cause, reason, all_rows=not isinstance(error, ServerError))


def since(then: float | None, now: float) -> float | None:
    """Seconds from `then` to `now`; never negative, though the two come from two clocks. None: not known."""
    return None if then is None else max(0.0, now - then)


class Outbox:
    """Sends the replies of one queue.

    Args:
        put_s: the longest that one put_result takes, for the heartbeat.
        clock: monotonic seconds. wall: unix seconds, for the journal. dice: random in 0..1.
    """

    def __init__(
        self,
        journal: Journal,
        client: Puts,
        voice: Voice,
        put_s: float,
        clock: Callable[[], float],
        wall: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._client = client
        self._voice = voice
        self._put_s = put_s
        self._clock = clock
        self._wall = wall
        self._dice = dice
        self._failures = 0
        self.held_until = float("-inf")

    def flush(self) -> bool:
        """Send the oldest due reply, if there is one. True: there was.

        Raises:
            JournalError: the outcome could not be stored; it is sent again, which does no harm.
            ChannelClosed: the supervisor is gone.
        """
        if self._clock() < self.held_until:
            return False
        row = self._journal.due(State.GRADED, self._wall())
        if row is None:
            return False
        self._voice.say(Phase.DELIVER, self._put_s)
        sent_at = self._wall()
        error: QueueError | None = None
        try:
            self._client.put_result(row.header, row.body)
        except QueueError as failed:
            error = failed
        self._settle(row, decide(row, error), sent_at)
        return True

    def _settle(self, row: Row, decision: Decision, sent_at: float) -> None:
        now = self._wall()
        fields = {"submission": row.submission_id}
        match decision:
            case Done(reason):
                self._well()
                if self._journal.delivered(row.id, row.header, now, sent_at, confirmed=not reason):
                    took = Delivered(since(row.graded_at, now) or 0.0, since(row.submitted_at, now))
                    self._voice.happened(took)
                    times = {"delivery_s": took.delivery_s, "total_s": took.total_s}
                    # A submission has one line, that of its grading, if all goes well.
                    level = logging.INFO if reason or row.tries else logging.DEBUG
                    log.log(level, "reply delivered", extra={**fields, **times, "why": reason or None})
            case Refused(reason):
                self._well()
                if self._journal.refused(row.id, row.header, reason, now, NEWER_S):
                    self._voice.happened(Dead(Cause.REPLY_REFUSED, f"{row.submission_id}: {reason}"))
                    log.error("reply refused", extra={**fields, "cause": "REPLY_REFUSED", "why": reason})
            case Later(cause, reason, all_rows, uncertain):
                wait = ROW_BACKOFF.delay(row.tries + 1, self._dice())
                if all_rows:
                    self._failures += 1
                    wait = SERVER_BACKOFF.delay(self._failures, self._dice())
                    self.held_until = self._clock() + wait
                self._journal.postpone(row.id, now + wait, reason, now, uncertain=uncertain)
                message = short(f"a reply cannot be delivered: {reason}")
                self._voice.trouble(Trouble(cause, message, server=all_rows))
                log.warning("reply not delivered", extra={**fields, "cause": cause.value, "why": reason})
            case Aside(reason):
                self._set_aside(row, reason)
            case _:
                assert_never(decision)

    def _set_aside(self, row: Row, reason: str) -> None:
        fields = {"submission": row.submission_id}
        if not self._journal.may_set_aside(row.id, self._wall()):
            self._settle(row, Later(Cause.QUEUE_ERROR, reason, all_rows=False, uncertain=True), self._wall())
            return
        try:
            self._client.set_aside(row.header)
        except QueueError as error:
            # It may have been accepted after all, while it was handed out again: then everything gets a 500.
            self._settle(row, decide(replace(row, stale=0), error), self._wall())
            return
        now = self._wall()
        if self._journal.set_aside(row.id, row.header, reason, now, now + ASIDE_S):
            why = f"the LMS failed at taking its result until it gave the submission up: {reason}"
            self._voice.happened(Dead(Cause.QUEUE_ERROR, short(f"{row.submission_id}: {why}")))
            log.error("reply given up", extra={**fields, "cause": "QUEUE_ERROR", "why": why})
            return
        message = f"the LMS fails at taking the result of {row.submission_id}, it was set aside: {reason}"
        self._voice.trouble(Trouble(Cause.QUEUE_ERROR, short(message)))
        log.warning("reply set aside", extra={**fields, "cause": "QUEUE_ERROR", "why": reason})

    def _well(self) -> None:
        self._failures = 0
        self._voice.well()
