"""A worker: one submission at a time, from the queue to the journal, through the sandbox, and back.

Runs in: worker. One turn does the first of these that there is to do:

  1. the granted poll: pull, enter in the journal, grade, store, send
  2. a due reply of the outbox
  3. a received submission that some worker left behind
  4. wait: for a grant, for the next due row, or to repeat the promise

Every step that may take long is announced first (supervisor.heartbeat). Blame drives the action: the
learner's becomes a result; the course's a neutral result and a dead letter; the service's is tried again,
MAX_ATTEMPTS in all, then a neutral result and a dead letter.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import random
import signal
import socket
import time
from collections.abc import Callable
from typing import Final, assert_never

from graders.errors import CourseError
from graders.feedback import Feedback
from graders.model import Blame, Cause, Judgement, Verdict, Work
from sandbox import jail, seccomp
from sandbox.model import SandboxError, SandboxUnavailable
from supervisor import __version__
from supervisor.backoff import Backoff
from supervisor.delivery import Outbox, since
from supervisor.events import (
    Backlog,
    ChannelClosed,
    Dead,
    Graded,
    Phase,
    Polled,
    Received,
    Trouble,
    brief,
    short,
)
from supervisor.heartbeat import IDLE_S, Voice
from supervisor.journal import DAY_S, FILE_NAME, Journal, JournalError, Mark, Receipt, Row, State
from supervisor.judging import Bench
from supervisor.pacer import Poll
from supervisor.schema import BUSY_S
from supervisor.secrets import SecretError, forget, read_secret
from supervisor.settings import Config, PartialCredit, Queue, Server
from supervisor.spawn import EXIT_CONFIG, EXIT_ORDERLY, EXIT_ORPHAN, EXIT_UNAVAILABLE, Main, Seat
from xqueue.answer import Dialect
from xqueue.client import ServerAccess, XQueueClient
from xqueue.errors import FileRefused, FileUnavailable, Misconfigured, QueueError
from xqueue.filenames import sanitise_file_names
from xqueue.protocol import Submission

log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 5
"""With three, one that takes long ran out of them when children and zygotes were killed at random."""
MOST_BACKLOG: Final = 100
"""With so many open rows of a queue its polling stops until some are delivered."""
GRADE_BACKOFF: Final = Backoff(first_s=2.0, ceiling_s=16.0)
"""2, 4, 8 and 16 s: all attempts together span about half a minute."""
JOURNAL_BACKOFF: Final = Backoff(first_s=2.0, ceiling_s=20.0)
MAX_DETAIL: Final = 8000
"""Characters of a dead letter's reason that the journal keeps; the status and the log get one line."""
PURGE_S: Final = 3600.0


def main_of(config: Config) -> Main:
    """The main of this configuration's workers, for supervisor.spawn.

    What is the same for all of them and dear is made here, before the first fork: they share its pages. It
    is our own text only; templates of an operator are compiled in the workers.
    """
    plain = Feedback()
    with contextlib.suppress(OSError):  # each worker finds out, and says so
        seccomp.program()

    def main(seat: Seat, channel: socket.socket) -> int:
        voice = Voice(channel, time.monotonic)
        signal.signal(signal.SIGTERM, lambda *_: voice.hush())
        try:
            return _work(config, seat, voice, plain)
        except ChannelClosed:
            return EXIT_ORPHAN

    return main


def _work(config: Config, seat: Seat, voice: Voice, plain: Feedback) -> int:
    """From the first word to the exit code."""
    queue = config.queues[seat.queue]
    server = config.servers[queue.server]
    voice.say(Phase.START, 30.0)
    try:
        client = XQueueClient(access_of(server))
        forget(server.secrets)
        bench = Bench(config, queue, seat.index, voice, plain)
    except (SecretError, Misconfigured, CourseError) as error:
        return _useless(voice, Cause.CONFIG, str(error), EXIT_CONFIG)
    try:
        jail.sweep()
        bench.open()
        Worker(config, seat, voice, client, bench).run()
    except SandboxUnavailable as error:
        return _useless(voice, Cause.SANDBOX_UNAVAILABLE, str(error), EXIT_UNAVAILABLE)
    finally:
        bench.close()
        client.close()
    return EXIT_ORDERLY


def _useless(voice: Voice, cause: Cause, message: str, code: int) -> int:
    log.error("this worker cannot work", extra={"cause": cause.value, "why": message})
    voice.happened(Trouble(cause, short(message)))
    voice.say(Phase.START, 5.0)
    return code


def access_of(server: Server, *, secretless: bool = False) -> ServerAccess:
    """The server with its secrets, read now; or without them, for those who only look.

    Raises:
        SecretError: one cannot be had.
    """
    basic = None
    if server.basic_auth is not None and not secretless:
        user, password = server.basic_auth
        basic = (user, read_secret(password))
    return ServerAccess(
        url=server.url,
        username=server.username,
        password="" if secretless else read_secret(server.password),
        name=server.name,
        basic_auth=basic,
        verify=str(server.ca_file) if server.ca_file else server.verify_tls,
        connect_timeout_s=server.connect_timeout_s,
        pull_timeout_s=server.pull_timeout_s,
        put_timeout_s=server.put_timeout_s,
        file_hosts=server.file_hosts,
    )


class Worker:
    """The turns of one worker. `clock` is monotonic, `wall` unix seconds, `dice` random in 0..1."""

    def __init__(
        self,
        config: Config,
        seat: Seat,
        voice: Voice,
        client: XQueueClient,
        bench: Bench,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._queue: Queue = config.queues[seat.queue]
        self._seat = seat
        self._voice = voice
        self._client = client
        self._bench = bench
        self._clock = clock
        self._wall = wall
        self._dice = dice
        server = config.servers[self._queue.server]
        # A call may find itself outside: the call, two requests of a login, the call again; and once more if
        # the connection was reset; and a poll asks for the length. The journal may have to wait for other
        # workers' commits.
        pull_s = server.connect_timeout_s + server.pull_timeout_s
        put_s = server.connect_timeout_s + server.put_timeout_s
        self._poll_s = 10 * pull_s + BUSY_S
        self._deliver_s = 2 * put_s + 3 * pull_s + BUSY_S
        self._journal = Journal(
            config.warden.state_dir / FILE_NAME, self._queue.server, seat.queue, seat.owner
        )
        self._outbox = Outbox(self._journal, client, voice, self._deliver_s, clock, wall, dice)
        self._told = Backlog(0, None)
        self._due_at: float | None = None  # the next row that this worker may take
        self._stirred = True  # rows have changed since the backlog was told
        self._purge_at = clock()

    def run(self) -> None:
        """Turn until ordered to go home.

        Raises:
            SandboxUnavailable: isolation was lost for good; what was in hand is given back.
            ChannelClosed: the supervisor is gone.
        """
        failures = 0
        self._journal.release_slot(self._seat.slot)
        while not self._voice.draining:
            try:
                if failures:
                    self._journal.probe(self._wall())
                    failures = 0
                    self._voice.well()
                self._turn()
            except JournalError as error:
                # Nothing is pulled until the disk is well again.
                failures += 1
                self._stirred = True
                log.error("journal failed", extra={"cause": "HOST", "why": str(error)})
                self._lose_grant()
                self._voice.trouble(Trouble(Cause.HOST, short(str(error))))
                wait = JOURNAL_BACKOFF.delay(failures, self._dice())
                self._voice.say(Phase.IDLE, wait + BUSY_S)
                self._voice.listen(wait)
        self._lose_grant()
        self._voice.say(Phase.IDLE, 5.0)
        self._journal.close()

    def _lose_grant(self) -> None:
        if self._voice.granted:
            self._voice.granted = False
            self._voice.happened(Polled(Poll.LOST))

    def _turn(self) -> None:
        while self._voice.inherited:
            self._stirred = True
            self._journal.release(self._voice.inherited[-1])
            self._voice.inherited.pop()
        if self._voice.stirred:
            self._voice.stirred, self._stirred = False, True
        if self._voice.granted:
            self._poll()
        elif self._look() and (self._outbox.flush() or self._left_behind()):
            self._stirred = True
        else:
            self._wait()
            return
        self._voice.listen(0.0)

    def _look(self) -> bool:
        """Is something due in the journal? Where it holds nothing of this queue, no query is made."""
        if not self._stirred and not self._told.count:
            return False
        backlog, self._due_at = self._journal.outlook()
        self._told, self._stirred = Backlog(backlog.count, backlog.oldest_at), False
        self._voice.happened(self._told)
        return self._due_at is not None and self._due_at <= self._wall()

    # -- 1. the poll -------------------------------------------------------------------------------------

    def _poll(self) -> None:
        self._voice.say(Phase.POLL, self._poll_s)
        row: Row | None = None
        how, cause, message = Poll.EMPTY, None, ""
        length: int | None = None
        try:
            pulled = self._client.get_submission(self._queue.name)
            if pulled is not None:
                row, how = self._receive(pulled)
            length = self._length(pulled is not None)
        except QueueError as error:
            how, cause, message = Poll.ERROR, Cause(error.cause), short(str(error))
            log.warning(
                "poll failed", extra={"queue": self._queue.name, "cause": cause.value, "why": message}
            )
        except JournalError:
            # The server hands it out again; nothing was promised to anybody.
            how, cause, message = Poll.ERROR, Cause.HOST, "the journal cannot be written"
            raise
        finally:
            self._voice.granted = False
            self._voice.happened(Polled(how, cause, message, self._client.dialect.value, length))
        if row is not None:
            self._stirred = True
            self._grade(row)
            self._outbox.flush()

    def _length(self, hit: bool) -> int | None:
        """How many submissions wait, where the server tells; asked after a hit, not after every one."""
        if self._client.dialect is not Dialect.LEGACY:
            return None
        if not hit:
            return 0
        if not self._voice.asked_length:
            return None
        try:
            return self._client.queue_length(self._queue.name)
        except QueueError as error:  # the poll itself was answered; the next one finds out what is wrong
            log.info("queue length not told", extra={"queue": self._queue.name, "why": short(str(error))})
            return None

    def _receive(self, pulled: Submission) -> tuple[Row | None, Poll]:
        """Into the journal: (the row if it is ours to grade, how the poll counts)."""
        self._stirred = True
        receipt, row = self._journal.receive(pulled, self._wall())
        self._voice.happened(Received(again=receipt is not Receipt.NEW))
        match receipt:
            case Receipt.NEW:
                return row, Poll.HIT
            case Receipt.MINE:
                return self._begun(row), Poll.HIT
            case Receipt.IN_HAND | Receipt.STORED:
                # For the pace this is an empty poll: a server that cannot take a result hands the submission
                # out at every poll, and would be polled without a pause.
                log.info(
                    "handed out again", extra={"submission": row.submission_id, "state": row.state.value}
                )
                return None, Poll.EMPTY
            case _:
                assert_never(receipt)

    # -- 3. what was left behind -------------------------------------------------------------------------

    def _left_behind(self) -> bool:
        row = self._journal.due(State.RECEIVED, self._wall())
        if row is None:
            return False
        begun = self._begun(row)
        if begun is not None:
            self._grade(begun)
        return True

    def _begun(self, row: Row) -> Row | None:
        """Count the attempt before it is made; None: there are none left, and the row is answered."""
        if row.attempts >= MAX_ATTEMPTS:
            detail = f"its grading ended its worker, {row.attempts} times"
            self._give_up(row, Judgement(_UNGRADED, Blame.SERVICE, Cause.RESOURCE, 0.0, detail=detail))
            return None
        self._journal.begin(row.id, self._wall())
        return self._journal.row(row.id)

    # -- grading -----------------------------------------------------------------------------------------

    def _grade(self, row: Row) -> None:
        """One attempt, already counted: ends in a stored reply, or in a later attempt.

        Raises:
            SandboxUnavailable: the attempt is given back.
            JournalError: the row stays RECEIVED.
        """
        began = self._clock()
        self._voice.say(Phase.GRADE, 30.0 + 2 * BUSY_S)
        work = Work("", "")
        try:
            work = self._work(row)
            judgement = self._judge(row, work)
        except SandboxUnavailable:
            self._journal.give_back(row.id)
            raise
        except QueueError as error:
            final = isinstance(error, FileRefused | FileUnavailable)
            judgement = Judgement(
                _UNGRADED,
                Blame.COURSE if final else Blame.SERVICE,
                Cause(error.cause),
                0.0,
                detail=short(str(error)),
            )
        except SandboxError as error:
            judgement = Judgement(_UNGRADED, Blame.SERVICE, Cause.HOST, 0.0, detail=short(str(error)))
        except (JournalError, ChannelClosed):
            raise
        except Exception as error:  # the worker's edge: a fault of ours is not the learner's, and no loop
            log.exception("grading failed", extra={"submission": row.submission_id})
            detail = f"{type(error).__name__}: {error}"
            judgement = Judgement(_UNGRADED, Blame.SERVICE, Cause.GRADER_BUG, 0.0, detail=short(detail))
        if judgement.blame is not Blame.SERVICE:
            self._record(row, work, judgement, self._clock() - began)
        elif row.attempts >= MAX_ATTEMPTS:
            self._give_up(row, judgement)
        else:
            wait = GRADE_BACKOFF.delay(row.attempts, self._dice())
            self._journal.postpone(row.id, self._wall() + wait, judgement.detail)
            message = f"a grading failed and is tried again: {brief(judgement.detail)}"
            self._voice.trouble(Trouble(judgement.cause, short(message)))
            fields = {"submission": row.submission_id, "attempt": row.attempts}
            log.warning(
                "attempt failed",
                extra={**fields, "cause": judgement.cause.value, "why": brief(judgement.detail)},
            )

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
                    self._voice.say(Phase.GRADE, self._poll_s)
                    contents[names[name]] = self._client.fetch_file(url)
                self._journal.keep_files(row.id, contents)
            contents = self._journal.files(row.id)
        return Work(row.payload, row.response, contents, row.student_key, row.random_seed)

    def _judge(self, row: Row, work: Work) -> Judgement:
        if row.problem:
            return Judgement(_UNGRADED, Blame.COURSE, Cause.CONFIG, 0.0, detail=row.problem)
        return self._bench.judge(work)

    def _give_up(self, row: Row, judgement: Judgement) -> None:
        """The service could not: a neutral reply for the learner, a dead letter for the operator."""
        self._record(row, Work(row.payload, ""), judgement, 0.0)

    def _record(self, row: Row, work: Work, judgement: Judgement, took_s: float) -> None:
        """Store the reply; from here on the row is the outbox's."""
        body = self._bench.reply(work, judgement, whole=self._whole_marks())
        ours = judgement.blame is not Blame.LEARNER
        detail = judgement.detail[:MAX_DETAIL] or "no reason was given"
        why = brief(detail) if ours else None
        usage = judgement.usage
        mark = Mark(
            judgement.verdict,
            judgement.blame,
            judgement.cause,
            judgement.grader,
            detail if ours else None,
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
        self._journal.record(row.id, body, mark, self._wall())
        if judgement.blame is not Blame.SERVICE:
            self._voice.well()
        self._voice.happened(
            Graded(
                judgement.verdict,
                judgement.blame,
                judgement.cause,
                took_s,
                judgement.usage.cpu_s,
                short(judgement.grader),
                why or "",
                since(row.submitted_at, row.started_at or row.pulled_at),
            )
        )
        fields = {
            "queue": self._queue.name,
            "submission": row.submission_id,
            "grader": judgement.grader,
            "verdict": judgement.verdict.value,
            "took_s": took_s,
        }
        log.info("submission graded", extra=fields)
        if why is not None:
            name = f"{row.submission_id} ({judgement.grader})" if judgement.grader else row.submission_id
            self._voice.happened(Dead(judgement.cause, short(f"{name}: {why}")))
            log.error(
                "dead letter",
                extra={"submission": row.submission_id, "cause": judgement.cause.value, "why": why},
            )

    def _whole_marks(self) -> bool:
        """Whether partial credit must not be sent, because the server would round it."""
        credit = self._queue.partial_credit
        if credit is not PartialCredit.AUTO:
            return credit is PartialCredit.NONE
        if self._client.dialect is Dialect.UNKNOWN:  # a row of an earlier life, before the first poll
            with contextlib.suppress(QueueError):
                self._client.ping()
        return self._client.dialect is not Dialect.LEGACY

    # -- 4. waiting --------------------------------------------------------------------------------------

    def _wait(self) -> None:
        self._purge()
        timeout_s = IDLE_S - 5.0
        if self._due_at is not None:
            timeout_s = min(
                timeout_s, max(self._due_at - self._wall(), self._outbox.held_until - self._clock(), 0.05)
            )
        full = self._told.count >= MOST_BACKLOG
        self._voice.say(Phase.IDLE, IDLE_S, wants_turn=not full)
        self._voice.listen(timeout_s)

    def _purge(self) -> None:
        if self._clock() < self._purge_at or not self._seat.slot.endswith(".0"):
            return
        self._purge_at = self._clock() + PURGE_S
        self._journal.purge(self._wall() - self._config.warden.journal_keep_days * DAY_S)


_UNGRADED: Final = Verdict.UNGRADED
_VERSIONS: Final = {
    "warden": __version__,
    "python": platform.python_version(),
    "kernel": platform.release(),
}
