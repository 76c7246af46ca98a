"""Results on their way to the LMS, in the background, until it acknowledges them.

Runs in: queue server, in a few threads of its own.

Theory of operation. A result that was put is in the database as ANSWERED, and here as (id, origin, due
time). The threads take what is due, POST it, and write down what came of it. After a restart everything
ANSWERED is taken up again, so a result may reach the LMS twice (it ignores a key it no longer waits for) but
never not at all.

There are two kinds of failure. The LMS answers, but not with success: that is about this result; it waits
longer and longer by itself, and after `max_failed_deliveries` it is undeliverable. The LMS does not answer
(or only its proxy does: 502, 503, 504): that is about the whole origin; all of its results wait, one at a
time is tried to see whether it is back, nothing is counted against the results, and when it is back all are
sent at once.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import requests

from xqueue.service.settings import CallbackSettings, callback_problem, origin
from xqueue.service.store import Letter, Store
from xqueue.transport import ExchangeFailed, Stage, Transport

_log = logging.getLogger(__name__)

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""An LMS's answer is read to its end, so that the connection can be used again; only its status counts."""

MAX_FRESH: Final = 256
"""Results held in memory for their first try; those of a longer backlog are read when their turn comes."""

MAX_DONE: Final = 64
"""Acknowledgements written down in one transaction, under load; at once when there is nothing else to do."""

GATEWAY_ERRORS: Final = frozenset({502, 503, 504})


class Fate(Enum):
    """What came of one try."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # the LMS answered
    UNREACHABLE = "unreachable"  # it did not


def backoff_s(failures: int, first_s: float, longest_s: float, *, draw: float) -> float:
    """How long to wait after so many failures in a row (≥ 1): doubled each time, up to `longest_s`.

    `draw` in [0, 1) spreads the waits over 80 to 120 %.
    """
    plain = longest_s if failures > 40 else min(longest_s, first_s * 2.0 ** (failures - 1))
    return plain * (0.8 + 0.4 * draw)


@dataclass(slots=True)
class _Origin:
    """One LMS: what waits for it, and whether it answers."""

    due: list[tuple[float, int]] = field(default_factory=list)  # heap of (when, submission id)
    in_flight: int = 0
    silent: int = 0  # tries in a row without an answer
    not_before: float = 0.0


class Schedule:
    """Which result is to be tried when. No clock, no threads, no I/O; times are unix seconds."""

    def __init__(self, *, first_s: float, max_silent_s: float, per_origin: int) -> None:
        """`per_origin` results of one origin are in flight at most: fewer than there are threads."""
        self._per_origin = per_origin
        self._first_s = first_s
        self._max_silent_s = max_silent_s
        self._origins: dict[str, _Origin] = {}

    def add(self, origin: str, submission_id: int, due: float) -> None:
        """A result that waits until `due`."""
        heapq.heappush(self._origins.setdefault(origin, _Origin()).due, (due, submission_id))

    def take(self, now: float) -> tuple[str, int] | None:
        """The result due longest, of an origin that may be called; it is in flight until `settle`."""
        best: tuple[float, str] | None = None
        for name, at in self._origins.items():
            ready = self._ready_at(at)
            if ready is not None and ready <= now and (best is None or at.due[0][0] < best[0]):
                best = (at.due[0][0], name)
        if best is None:
            return None
        at = self._origins[best[1]]
        at.in_flight += 1
        return best[1], heapq.heappop(at.due)[1]

    def settle(self, origin: str, fate: Fate, now: float, *, draw: float) -> None:
        """Something taken is no longer in flight. What is to be tried again is added anew."""
        at = self._origins[origin]
        at.in_flight -= 1
        if fate is Fate.UNREACHABLE:
            # Several in flight fail together; they say one thing, once.
            if now >= at.not_before:
                at.silent += 1
                at.not_before = now + backoff_s(at.silent, self._first_s, self._max_silent_s, draw=draw)
            return
        at.silent, at.not_before = 0, 0.0
        if not at.due and not at.in_flight:
            del self._origins[origin]

    def next_at(self) -> float | None:
        """When there will be something to take; None: not before something is added or settled."""
        times = [ready for at in self._origins.values() if (ready := self._ready_at(at)) is not None]
        return min(times, default=None)

    def _ready_at(self, at: _Origin) -> float | None:
        if not at.due or at.in_flight >= (1 if at.silent else self._per_origin):
            return None
        return max(at.due[0][0], at.not_before)


class Callbacks:
    """The threads that deliver. `start`, then `deliver` after each stored result, then `stop`."""

    def __init__(self, settings: CallbackSettings, store: Store, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._schedule = Schedule(
            first_s=settings.first_retry_s,
            max_silent_s=settings.max_host_retry_s,
            per_origin=max(1, settings.threads - 1),  # one LMS that hangs does not take all of them
        )
        self._changed = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._fresh: dict[int, Letter] = {}  # just stored: need not be read again
        self._done: list[int] = []  # acknowledged, and not yet written down

    def start(self) -> None:
        """Takes up what an earlier life left behind, and begins."""
        for pending in self._store.pending():
            self._schedule.add(origin(pending.url), pending.submission_id, pending.due)
        for number in range(self._settings.threads):
            thread = threading.Thread(target=self._run, name=f"callback-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def deliver(self, letter: Letter) -> None:
        """A result that was just stored."""
        with self._changed:
            if len(self._fresh) < MAX_FRESH:
                self._fresh[letter.submission_id] = letter
            self._schedule.add(origin(letter.url), letter.submission_id, self._clock())
            self._changed.notify()

    def stop(self) -> None:
        """Lets tries in flight end (each has its timeouts) and begins no more.

        What is left is in the database.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(2 * self._settings.timeout_s + 1)
        self._write_down()

    def _run(self) -> None:
        with contextlib.closing(self._transport()) as transport:
            while (taken := self._next()) is not None:
                where, submission_id = taken
                try:
                    fate, again_at = self._deliver(transport, submission_id)
                except Exception:  # the edge of a thread: one bad row or a full disk must not end deliveries
                    _log.exception("callback failed on this side", extra={"submission": submission_id})
                    fate, again_at = Fate.UNREACHABLE, self._clock() + self._settings.max_host_retry_s
                with self._changed:
                    self._schedule.settle(where, fate, self._clock(), draw=random.random())  # noqa: S311
                    if again_at is not None:
                        self._schedule.add(where, submission_id, again_at)
                    self._changed.notify()

    def _next(self) -> tuple[str, int] | None:
        """Waits for something to deliver; None when it is time to stop."""
        while True:
            with self._changed:
                if self._stopping:
                    return None
                now = self._clock()
                taken = self._schedule.take(now)
                if taken is not None and len(self._done) < MAX_DONE:
                    return taken
                if not self._done:
                    at = self._schedule.next_at()
                    # An hour at most: if the clock is set meanwhile, nothing waits for ever.
                    self._changed.wait(None if at is None else min(max(at - now, 0.001), 3600.0))
            self._write_down()
            if taken is not None:
                return taken

    def _write_down(self) -> None:
        with self._changed:
            done, self._done = self._done, []
        if not done:
            return
        try:
            self._store.delivered(done)
        except Exception:  # the edge of a thread; at worst they are delivered again after a restart
            _log.exception("deliveries could not be written down", extra={"count": len(done)})

    def _deliver(self, transport: Transport, submission_id: int) -> tuple[Fate, float | None]:
        """One try, and when the next is due (None: never)."""
        with self._changed:
            letter = self._fresh.pop(submission_id, None)
        if letter is None:
            letter = self._store.letter(submission_id)
        if letter is None:
            return Fate.ACCEPTED, None
        fate, reason = self._post(transport, letter)
        match fate:
            case Fate.ACCEPTED:
                with self._changed:
                    self._done.append(submission_id)
                return fate, None
            case Fate.UNREACHABLE:
                told = {"lms": origin(letter.url), "reason": reason}
                _log.warning("callback: the LMS does not answer", extra=told)
                self._store.unreachable(submission_id, reason)
                return fate, self._clock()
            case Fate.REFUSED:
                return fate, self._refused(letter, reason)

    def _refused(self, letter: Letter, reason: str) -> float | None:
        settings = self._settings
        failures = letter.failures + 1
        told = {
            "lms": origin(letter.url),
            "submission": letter.submission_id,
            "failures": failures,
            "reason": reason,
        }
        again_at: float | None = None
        if failures < settings.max_failed_deliveries:
            draw = random.random()  # noqa: S311
            wait_s = backoff_s(failures, settings.first_retry_s, settings.max_retry_s, draw=draw)
            again_at = self._clock() + wait_s
            _log.warning("callback refused", extra=told)
        else:
            _log.error("callback refused for good, the result is kept", extra=told)
        self._store.refused(letter.submission_id, reason, failures=failures, next_try_at=again_at)
        return again_at

    def _post(self, transport: Transport, letter: Letter) -> tuple[Fate, str]:
        problem = callback_problem(letter.url, self._settings.hosts)
        if problem:  # the list of hosts got shorter since it was submitted
            return Fate.REFUSED, problem
        form = {"xqueue_header": letter.header, "xqueue_body": letter.reply}
        try:
            request = transport.prepare(requests.Request("POST", letter.url, data=form))
        except (requests.RequestException, ValueError) as error:
            return Fate.REFUSED, f"the callback URL cannot be called: {type(error).__name__}"
        try:
            answer = transport.exchange(
                request, timeout_s=self._settings.timeout_s, limit_bytes=MAX_ANSWER_BYTES
            )
        except ExchangeFailed as error:
            return (Fate.REFUSED if error.stage is Stage.SIZE else Fate.UNREACHABLE), str(error)
        if 200 <= answer.status < 300:
            return Fate.ACCEPTED, ""
        fate = Fate.UNREACHABLE if answer.status in GATEWAY_ERRORS else Fate.REFUSED
        return fate, f"HTTP {answer.status}"

    def _transport(self) -> Transport:
        settings = self._settings
        verify: bool | str = settings.verify_tls
        if settings.verify_tls and settings.ca_file is not None:
            verify = str(settings.ca_file)
        transport = Transport(
            verify=verify,
            connect_timeout_s=settings.timeout_s,
            basic_auth=(settings.username, settings.password) if settings.username else None,
        )
        # An LMS sets cookies at every call; none is wanted back.
        transport.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return transport
