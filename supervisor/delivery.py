"""The outbox: graded replies go back to the server, each until the server has it or refuses it for good.

Runs in: worker. What an answer of the server means for a row is decided in `decide`, pure.

A reply that may have been accepted (a timeout, a 500) is sent again under the same key: a legacy XQueue takes
it twice without harm. The LMS's own server answers 500 for ever to what it has accepted; after enough of
those the row is closed as delivered. Should it not have been, the server hands the submission out again, and
the journal opens the row again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
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
UNCERTAIN_TRIES: Final = 6
"""So many uncertain answers in a row (some two minutes of them), and the reply counts as delivered."""
NEWER_S: Final = 5.0
"""After a refusal, how long a newer hand-out may take from the server to the journal."""


class Puts(Protocol):
    """What the outbox needs of a client."""

    def put_result(self, header: str, body: str) -> None:
        """As xqueue.client.XQueueClient.put_result."""
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


Decision = Done | Refused | Later


def decide(row: Row, error: QueueError | None) -> Decision:
    """What the answer to put_result means for the row."""
    if error is None:
        return Done()
    reason = short(str(error))
    if isinstance(error, ReplyRefused):
        return Refused(reason)
    cause = Cause(error.cause)
    if isinstance(error, ReplyUncertain):
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
                    log.info("reply delivered", extra={**fields, **times, "why": reason or None})
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
                self._journal.postpone(row.id, now + wait, reason, uncertain=uncertain)
                message = short(f"a reply cannot be delivered: {reason}")
                self._voice.trouble(Trouble(cause, message, server=all_rows))
                log.warning("reply not delivered", extra={**fields, "cause": cause.value, "why": reason})
            case _:
                assert_never(decision)

    def _well(self) -> None:
        self._failures = 0
        self._voice.well()
