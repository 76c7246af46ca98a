"""One attempt at a submission: from a row of the journal to a stored reply, or to a later attempt.

Runs in: worker. Blame drives the action: the learner's becomes a result; the course's a neutral result and a
dead letter; the service's is tried again, as often as the queue's max_attempts says, then a neutral result
and a dead letter. On the LMS's own server that comes sooner where the processing delay would pass
(supervisor.deadline).

What was graded is not graded again because the journal cannot take it: it is kept here until it can.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import platform
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from graders.model import Blame, Cause, Judgement, Verdict, Work
from sandbox.model import SandboxError, SandboxUnavailable
from supervisor import __version__
from supervisor.backoff import Backoff
from supervisor.deadline import Deadline, deadline_of, delay_of
from supervisor.delivery import since
from supervisor.events import Balked, Begun, ChannelClosed, Dead, Graded, Phase, Trouble, brief, short
from supervisor.heartbeat import Voice
from supervisor.journal import Journal, JournalError, Mark, Row
from supervisor.judging import Bench, TooLate
from supervisor.schema import BUSY_S
from supervisor.settings import PartialCredit, Queue
from xqueue.answer import Dialect
from xqueue.client import XQueueClient
from xqueue.errors import FileRefused, FileUnavailable, QueueError
from xqueue.filenames import sanitise_file_names

log = logging.getLogger(__name__)

GRADE_BACKOFF: Final = Backoff(first_s=2.0, ceiling_s=16.0)
"""2, 4, 8 and 16 s: five attempts together span about half a minute."""
FETCH_BACKOFF: Final = Backoff(first_s=4.0, ceiling_s=120.0, factor=4.0)
"""Where files are fetched from may be away for some minutes, and that is nobody's fault here."""
MAX_DETAIL: Final = 8000
"""Characters of a dead letter's reason that the journal keeps; the status and the log get one line."""

_UNGRADED: Final = Verdict.UNGRADED
_VERSIONS: Final = {
    "warden": __version__,
    "python": platform.python_version(),
    "kernel": platform.release(),
}


@dataclass(frozen=True, slots=True)
class _Graded:
    """A result that is not in the journal yet."""

    row: Row
    judgement: Judgement
    body: str
    mark: Mark
    took_s: float


class Grading:
    """The attempts of one worker.

    Args:
        fetch_s: the longest that fetching one file takes, for the heartbeat.
        clock: monotonic seconds. wall: unix seconds. dice: random in 0..1.
    """

    def __init__(
        self,
        queue: Queue,
        journal: Journal,
        client: XQueueClient,
        bench: Bench,
        voice: Voice,
        fetch_s: float,
        clock: Callable[[], float],
        wall: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._journal = journal
        self._client = client
        self._bench = bench
        self._voice = voice
        self._fetch_s = fetch_s
        self._clock = clock
        self._wall = wall
        self._dice = dice
        self._unstored: _Graded | None = None

    def again(self, row: Row) -> None:
        """One more attempt at a row that is ours, counted before it is made; or none: then it is answered.

        Raises: as `attempt`.
        """
        if row.attempts >= self._queue.max_attempts:
            detail = f"its grading ended its worker, {row.attempts} times"
            self._give_up(row, _failed(Cause.RESOURCE, detail))
            return
        deadline = self._deadline(row)
        if deadline and deadline.stop_at(self._wall(), tried=row.tries > 0) is None:
            self._give_up(row, _failed(Cause.RESOURCE, f"no attempt ended well in time: {self._too_slow()}"))
            return
        self._journal.begin(row.id, self._wall())
        self.attempt(self._journal.row(row.id))

    def grader_of(self, row: Row) -> str:
        """The grader that the row asks for, as it is named to the supervisor."""
        return short(self._bench.grader_of(row.payload))

    def held_too_long(self, row: Row) -> None:
        """Answer a row that is ours and that nobody has begun, because others like it failed.

        Raises: as `store`.
        """
        detail = "held until its time was over: with its grader, or on this host, gradings keep failing"
        self._give_up(row, _failed(Cause.HOST, detail))

    def attempt(self, row: Row) -> None:
        """One attempt, already counted: ends in a stored reply, or in a later attempt.

        Raises:
            SandboxUnavailable: the attempt is given back.
            JournalError: the row stays RECEIVED, or `store` will do the rest.
            ChannelClosed: the supervisor is gone.
        """
        began, began_at = self._clock(), self._wall()
        self._voice.happened(Begun(self.grader_of(row), _learner(row)))
        self._voice.say(Phase.GRADE, 30.0 + 2 * BUSY_S)
        deadline = self._deadline(row)
        stop_at = deadline.stop_at(began_at, tried=row.tries > 0) if deadline else None
        work = Work(row.payload, "")
        backoff = GRADE_BACKOFF
        try:
            work = self._work(row)
            judgement = self._judge(row, work, None if stop_at is None else began + (stop_at - began_at))
        except SandboxUnavailable:
            self._journal.give_back(row.id)
            raise
        except QueueError as error:
            final = isinstance(error, FileRefused | FileUnavailable)
            blame = Blame.COURSE if final else Blame.SERVICE
            judgement = Judgement(_UNGRADED, blame, Cause(error.cause), 0.0, detail=short(str(error)))
            backoff = FETCH_BACKOFF
        except TooLate as error:
            self._give_up(row, _failed(Cause.RESOURCE, f"{error}; {self._too_slow()}"))
            return
        except SandboxError as error:
            judgement = _failed(Cause.HOST, short(str(error)))
        except (JournalError, ChannelClosed):
            raise
        except Exception:  # the worker's edge: a fault of ours is not the learner's, and no loop
            # Its message may quote the submission: the journal gets it, the log only where it was raised.
            trace = traceback.format_exc()
            judgement = _failed(Cause.GRADER_BUG, f"grading failed\n{trace}")
            log.error(
                "grading failed", extra={"submission": row.submission_id, "why": brief(judgement.detail)}
            )
        if judgement.blame is not Blame.SERVICE:
            self._keep(row, work, judgement, self._clock() - began)
            return
        now = self._wall()
        again_at = now + backoff.delay(row.attempts, self._dice())
        if row.attempts >= self._queue.max_attempts:
            self._give_up(row, judgement)
        elif deadline is not None and again_at >= deadline.answer_by:
            why = f"{judgement.detail}; another attempt would come too late: {self._too_slow()}"
            self._give_up(row, _failed(judgement.cause, why))
        else:
            self._later(row, judgement, again_at, now)

    def store(self) -> None:
        """Put into the journal what it could not take when it was graded.

        Raises:
            JournalError: it still cannot.
        """
        graded = self._unstored
        if graded is None:
            return
        row, judgement = graded.row, graded.judgement
        self._journal.record(row.id, graded.body, graded.mark, self._wall())
        self._unstored = None
        if judgement.blame is not Blame.SERVICE:
            self._voice.well()
        why = None if graded.mark.dead is None else brief(graded.mark.dead)
        waited_s = since(row.submitted_at, row.started_at or row.pulled_at)
        self._voice.happened(
            Graded(
                judgement.verdict,
                judgement.blame,
                judgement.cause,
                graded.took_s,
                judgement.usage.cpu_s,
                short(judgement.grader),
                why or "",
                waited_s,
            )
        )
        fields = {
            "queue": self._queue.name,
            "submission": row.submission_id,
            "row": row.id,
            "grader": judgement.grader,
            "verdict": judgement.verdict.value,
            "blame": judgement.blame.value,
            "cause": judgement.cause.value,
            "outcome": judgement.outcome,
            "attempt": row.attempts,
            "waited_s": waited_s,
            "took_s": graded.took_s,
        }
        log.info("submission graded", extra=fields)
        if why is not None:
            name = f"{row.submission_id} ({judgement.grader})" if judgement.grader else row.submission_id
            self._voice.happened(Dead(judgement.cause, short(f"{name}: {why}")))
            log.error(
                "dead letter",
                extra={"submission": row.submission_id, "cause": judgement.cause.value, "why": why},
            )

    # -- time --------------------------------------------------------------------------------------------

    def _deadline(self, row: Row) -> Deadline | None:
        dialect = self._dialect()
        delay_s = delay_of(self._queue.processing_delay_s, dialect)
        return deadline_of(row.handed_at, delay_s, self._queue.deadline_margin_s, dialect)

    def _too_slow(self) -> str:
        delay_s = delay_of(self._queue.processing_delay_s, self._dialect())
        return f"the server's processing delay is {delay_s:g} s, after which this submission blocks its queue"

    def _dialect(self) -> Dialect:
        if self._client.dialect is Dialect.UNKNOWN:  # a row of an earlier life, before the first poll
            with contextlib.suppress(QueueError):
                self._client.ping()
        return self._client.dialect

    # -- the attempt -------------------------------------------------------------------------------------

    def _work(self, row: Row) -> Work:
        """The row as a handler wants it; its files are fetched first, and kept.

        Raises:
            QueueError: a file cannot be had.
        """
        contents: dict[str, bytes] = {}
        if row.files:
            if not row.files_here:
                names = sanitise_file_names(row.files)
                for name, url in row.files.items():
                    self._voice.say(Phase.GRADE, self._fetch_s)
                    contents[names[name]] = self._client.fetch_file(url)
                self._journal.keep_files(row.id, contents)
            contents = self._journal.files(row.id)
        return Work(row.payload, row.response, contents, row.student_key, row.random_seed)

    def _judge(self, row: Row, work: Work, stop_at: float | None) -> Judgement:
        if row.problem:
            return Judgement(_UNGRADED, Blame.COURSE, Cause.CONFIG, 0.0, detail=row.problem)
        return self._bench.judge(work, stop_at)

    # -- its end -----------------------------------------------------------------------------------------

    def _later(self, row: Row, judgement: Judgement, again_at: float, now: float) -> None:
        self._journal.postpone(row.id, again_at, judgement.detail, now)
        why = brief(judgement.detail)
        message = f"a grading failed and is tried again: {why}"
        self._voice.happened(Balked(judgement.cause, short(why)))
        self._voice.trouble(Trouble(judgement.cause, short(message)))
        fields = {"submission": row.submission_id, "attempt": row.attempts}
        log.warning("attempt failed", extra={**fields, "cause": judgement.cause.value, "why": why})

    def _give_up(self, row: Row, judgement: Judgement) -> None:
        """The service could not: a neutral reply for the learner, a dead letter for the operator."""
        self._keep(row, Work(row.payload, ""), judgement, 0.0)

    def _keep(self, row: Row, work: Work, judgement: Judgement, took_s: float) -> None:
        """Into the journal with it; from there on the row is the outbox's."""
        detail = judgement.detail[:MAX_DETAIL] or "no reason was given"
        usage = judgement.usage
        mark = Mark(
            judgement.verdict,
            judgement.blame,
            judgement.cause,
            judgement.grader,
            None if judgement.blame is Blame.LEARNER else detail,
            judgement.grader_digest,
            judgement.isolation,
            _VERSIONS,
            {
                "kind": judgement.outcome or "",
                "wall_s": round(usage.wall_s, 4),
                "cpu_s": round(usage.cpu_s, 4),
                "memory_bytes": usage.memory_bytes,
            },
        )
        body = self._bench.reply(work, judgement, whole=self._whole_marks())
        self._unstored = _Graded(row, judgement, body, mark, took_s)
        self.store()

    def _whole_marks(self) -> bool:
        """Whether partial credit must not be sent, because the server would round it."""
        credit = self._queue.partial_credit
        if credit is not PartialCredit.AUTO:
            return credit is PartialCredit.NONE
        return self._dialect() is not Dialect.LEGACY


def _learner(row: Row) -> str:
    """Equal for all rows of one learner, and tells nothing else of him; who has no name is another one."""
    who = row.student_key or f"row {row.id}"
    return hashlib.blake2b(who.encode(), digest_size=8).hexdigest()


def _failed(cause: Cause, detail: str) -> Judgement:
    return Judgement(_UNGRADED, Blame.SERVICE, cause, 0.0, detail=detail)
