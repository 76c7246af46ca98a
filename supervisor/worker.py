"""A worker: one submission at a time, from the queue to the journal, through the sandbox, and back.

Runs in: worker. One turn does the first of these that there is to do:

  1. the granted poll: pull, enter in the journal, grade, store, send
  2. a due reply of the outbox
  3. a received submission that some worker left behind
  4. wait: for a grant, for the next due row, or to repeat the promise

Every step that may take long is announced first (supervisor.heartbeat). What becomes of a submission that was
pulled is told in supervisor.grading and supervisor.delivery. When the journal fails (a full disk), nothing is
pulled until it is well again: what is not pulled is not lost.
"""

from __future__ import annotations

import logging
import random
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

from graders.errors import CourseError
from graders.feedback import Feedback
from graders.model import Cause
from sandbox import jail
from sandbox.model import SandboxError, SandboxUnavailable
from supervisor.backoff import Backoff
from supervisor.deadline import LMS_DELAY_S, budget_of, patience_of
from supervisor.delivery import Outbox
from supervisor.events import Backlog, ChannelClosed, Phase, Polled, Received, Trouble, short
from supervisor.grading import Grading
from supervisor.heartbeat import IDLE_S, Voice
from supervisor.journal import (
    FILE_NAME,
    NOTHING_HELD,
    Held,
    Journal,
    JournalDamaged,
    JournalError,
    Receipt,
    Row,
    State,
)
from supervisor.judging import Bench
from supervisor.log import about
from supervisor.pacer import Poll
from supervisor.retention import retention_of
from supervisor.schema import BUSY_S
from supervisor.secrets import SecretError, forget, read_secret
from supervisor.settings import Config, Queue, Server
from supervisor.spawn import (
    EXIT_CONFIG,
    EXIT_CRASH,
    EXIT_JOURNAL,
    EXIT_ORDERLY,
    EXIT_ORPHAN,
    EXIT_UNAVAILABLE,
    Main,
    Seat,
)
from xqueue.answer import Dialect
from xqueue.client import ServerAccess, XQueueClient
from xqueue.errors import Misconfigured, QueueError
from xqueue.protocol import Submission

log = logging.getLogger(__name__)

MOST_BACKLOG: Final = 100
"""With so many open rows of a queue its polling stops until some are delivered."""
MOST_HELD: Final = 1000
"""The same for rows that are held: they stay longer, and others of the queue are to be served."""
HELD_S: Final = 3600.0
"""Nobody waits longer for a grader to be mended; then the answer is neutral."""
JOURNAL_BACKOFF: Final = Backoff(first_s=2.0, ceiling_s=20.0)
PURGE_S: Final = 3600.0


def main_of(config: Config) -> Main:
    """The main of this configuration's workers, for supervisor.spawn.

    What is the same for all of them and dear is made here, before the first fork: they share its pages. It
    is our own text only; templates of an operator are compiled in the workers.
    """
    plain = Feedback()
    jail.prepare()
    if any(config.languages_of(queue) for queue in config.queues.values()):
        jail.prepare(programs=True)

    def main(seat: Seat, channel: socket.socket) -> int:
        about(queue=seat.queue, slot=seat.slot)
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
        book = _open_journal(config, queue, seat, voice)
        if book is not None:
            Worker(config, seat, voice, client, bench, book).run()
    except JournalDamaged as error:
        return _useless(voice, Cause.HOST, str(error), EXIT_JOURNAL)
    except SandboxUnavailable as error:
        return _useless(voice, Cause.SANDBOX_UNAVAILABLE, str(error), EXIT_UNAVAILABLE)
    except SandboxError as error:  # a module to preload that is not there, for example
        return _useless(voice, Cause.HOST, f"a sandbox does not open: {_ends(str(error))}", EXIT_CRASH)
    finally:
        bench.close()
        client.close()
    return EXIT_ORDERLY


def _ends(detail: str) -> str:
    """The first and the last line: of a traceback the last says what is wrong. No learner's text is near."""
    lines = [line.strip() for line in detail.splitlines() if line.strip()]
    return short(" … ".join(lines[:1] + lines[1:][-1:]))


def _open_journal(
    config: Config, queue: Queue, seat: Seat, voice: Voice, dice: Callable[[], float] = random.random
) -> Journal | None:
    """The journal, as soon as it can be opened; None: ordered to go home before that."""
    path = config.warden.state_dir / FILE_NAME
    failures = 0
    while not voice.draining:
        try:
            return Journal(path, queue.server, seat.queue, seat.owner, _patience_s(queue))
        except JournalDamaged:
            raise
        except JournalError as error:
            failures += 1
            _wait_for_the_disk(voice, error, JOURNAL_BACKOFF.delay(failures, dice()))
    return None


def _patience_s(queue: Queue) -> float:
    return patience_of(queue.processing_delay_s or LMS_DELAY_S, queue.deadline_margin_s)


def _wait_for_the_disk(voice: Voice, error: JournalError, wait_s: float) -> None:
    log.error("journal failed", extra={"cause": "HOST", "why": str(error)})
    voice.trouble(Trouble(Cause.HOST, short(str(error))))
    voice.say(Phase.IDLE, wait_s + BUSY_S)
    voice.listen(wait_s)


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
        journal: Journal,
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
        deliver_s = 2 * put_s + 3 * pull_s + BUSY_S
        self._journal = journal
        self._outbox = Outbox(self._journal, client, voice, deliver_s, clock, wall, dice)
        self._grading = Grading(
            self._queue, self._journal, client, bench, voice, self._poll_s, clock, wall, dice
        )
        delay_s = self._queue.processing_delay_s or LMS_DELAY_S
        self._budget_s = budget_of(delay_s, self._queue.deadline_margin_s)
        self._told = Backlog(0, None)
        self._due_at: float | None = None  # the next row that this worker may take
        self._stirred = True  # rows have changed since the backlog was told
        self._purge_at = clock()

    def run(self) -> None:
        """Turn until ordered to go home.

        Raises:
            JournalDamaged: none can be held in it any more.
            SandboxUnavailable: isolation was lost for good; what was in hand is given back.
            ChannelClosed: the supervisor is gone.
        """
        failures, released = 0, False
        self._voice.listen(0.0)  # what is held is known from the start
        while not self._voice.draining:
            try:
                if failures:
                    self._journal.probe(self._wall())
                if not released:
                    self._journal.release_slot(self._seat.slot, spared=self._seat.spared)
                    released = True
                if failures:
                    self._grading.store()
                    failures = 0
                    self._voice.well()
                self._turn()
            except JournalDamaged:
                raise
            except JournalError as error:
                # Nothing is pulled until the disk is well again.
                failures += 1
                self._stirred = True
                self._lose_grant()
                _wait_for_the_disk(self._voice, error, JOURNAL_BACKOFF.delay(failures, self._dice()))
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
            owner, spared = self._voice.inherited[-1]
            self._journal.release(owner, spared=spared)
            self._voice.inherited.pop()
        if self._voice.stirred:
            self._voice.stirred, self._stirred = False, True
        if self._voice.holds_changed:
            self._voice.holds_changed, self._stirred = False, True
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
        backlog, self._due_at = self._journal.outlook(self._wall(), self._held())
        self._told, self._stirred = Backlog(backlog.count, backlog.oldest_at, backlog.held), False
        self._voice.happened(self._told)
        if not backlog.count:
            # Whatever could not be delivered, another worker has delivered by now.
            self._voice.well()
        return self._due_at is not None and self._due_at <= self._wall()

    # -- 1. the poll -------------------------------------------------------------------------------------

    def _poll(self) -> None:
        self._voice.say(Phase.POLL, self._poll_s)
        receipt: Receipt | None = None
        how, cause, message = Poll.EMPTY, None, ""
        length: int | None = None
        try:
            self._journal.check()
            pulled = self._client.get_submission(self._queue.name)
            if pulled is not None:
                receipt, row = self._receive(pulled)
                # Known ones count as an empty poll for the pace: a server that cannot take a result hands the
                # submission out at every poll, and would be polled without a pause.
                how = Poll.HIT if receipt in (Receipt.NEW, Receipt.MINE) else Poll.EMPTY
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
        if receipt in (Receipt.NEW, Receipt.MINE) and self._leaves(row):
            self._journal.hold(row.id, self._grading.grader_of(row), counted=receipt is Receipt.NEW)
        elif receipt is Receipt.NEW:
            self._grading.attempt(row)
        elif receipt is Receipt.MINE:
            self._grading.again(row)
        if receipt is not None:
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

    def _receive(self, pulled: Submission) -> tuple[Receipt, Row]:
        """Into the journal, before anything else is done with it."""
        self._stirred = True
        receipt, row = self._journal.receive(pulled, self._wall())
        self._voice.happened(Received(again=receipt is not Receipt.NEW))
        if receipt in (Receipt.IN_HAND, Receipt.STORED):
            log.info("handed out again", extra={"submission": row.submission_id, "state": row.state.value})
        return receipt, row

    # -- 3. what was left behind -------------------------------------------------------------------------

    def _left_behind(self) -> bool:
        held = self._held()
        row = self._journal.due(State.RECEIVED, self._wall(), held)
        if row is None:
            return False
        if held.everything:
            self._grading.held_too_long(row)
        elif not self._leaves(row):
            self._grading.again(row)
        elif self._wall() - row.pulled_at > held.for_s:
            self._grading.held_too_long(row)
        else:
            self._journal.hold(row.id, self._grading.grader_of(row), counted=False)
        return True

    def _leaves(self, row: Row) -> bool:
        """Whether its grader is held."""
        return bool(self._voice.holds.graders) and self._grading.grader_of(row) in self._voice.holds.graders

    def _held(self) -> Held:
        """What is not to be begun now. Where a late answer stops the queue, it is not held beyond that."""
        holds = self._voice.holds
        if not holds.graders and not holds.everything:
            return NOTHING_HELD
        for_s = HELD_S
        if self._client.dialect is not Dialect.LEGACY:
            for_s = min(for_s, self._budget_s)
        return Held(holds.graders, holds.everything, for_s)

    # -- 4. waiting --------------------------------------------------------------------------------------

    def _wait(self) -> None:
        self._purge()
        timeout_s = IDLE_S - 5.0
        if self._due_at is not None:
            timeout_s = min(
                timeout_s, max(self._due_at - self._wall(), self._outbox.held_until - self._clock(), 0.05)
            )
        held = self._told.held
        full = self._told.count - held >= MOST_BACKLOG or held >= MOST_HELD
        self._voice.say(Phase.IDLE, IDLE_S, wants_turn=not full)
        self._voice.listen(timeout_s)

    def _purge(self) -> None:
        if self._clock() < self._purge_at or not self._seat.slot.endswith(".0"):
            return
        self._purge_at = self._clock() + PURGE_S * (1.0 - 0.25 * self._dice())
        self._journal.purge(retention_of(self._config.warden), self._wall())
