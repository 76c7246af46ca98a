"""The sender: takes letters from the spool to the channels, and pings.

Runs in: sender, exec'd by the supervisor (supervisor.alerts.desk), with which it dies. One thread, one
selector.

Theory of operation. Each URL and each command is a lane with a cursor: the number of the last letter it is
done with. A free lane takes the next letter that concerns it and starts a delivery
(supervisor.alerts.courier), a process with a deadline. If that goes well the cursor moves, and is on disk
before the next one starts; if not, the lane waits, longer after each failure, and tries the same letter
again. A lane that fails holds no other. A letter that all lanes have passed, or that is too old to be news,
is removed.

So a letter comes at least once, in order, and a kill -9 in between repeats at most the one under way.

The supervisor sends a line for each status document. While they come a ping is due every so often, with
their news in it; when they stay away the pings do, too, and this process raises the alarm itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import selectors
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import prctl

from graders.model import Cause
from supervisor import log as logs
from supervisor import signals
from supervisor.alerts import courier, letters
from supervisor.alerts.audiences import audiences
from supervisor.alerts.lanes import Lane, concerns, lanes_of
from supervisor.alerts.model import Change, Letter, News
from supervisor.alerts.post import Knock, Outcome
from supervisor.alerts.spool import KEEP_S, Spool
from supervisor.alerts.wire import Carry, Orders, Poke, Progress, decode_line, decode_orders
from supervisor.backoff import Backoff
from supervisor.plain import plain
from supervisor.secrets import SecretError, read_secret, seal
from supervisor.settings import Channel, Severity
from supervisor.status import ChannelStatus

log = logging.getLogger("supervisor.alerts.sender")  # also where it is __main__

RETRY: Final = Backoff(first_s=2.0, ceiling_s=60.0)
SCAN_S: Final = 5.0
"""The spool is looked at so often even if nobody says that there is something."""
LINGER_S: Final = 8.0
"""What is due when the supervisor ends is still sent for so long."""
PING_S: Final = 15.0
"""One ping may take so long."""
MOST_CARRIED: Final = 50


@dataclass(slots=True, eq=False)
class _Way:
    """A lane, or the ping, with how it goes."""

    name: str
    lane: Lane | None = None
    cursor: int = 0
    failures: int = 0
    retry_at: float = 0.0
    delivery: courier.Delivery | None = None
    letter: Letter | None = None  # under way
    carried: deque[Letter] = field(default_factory=lambda: deque(maxlen=MOST_CARRIED))
    last_ok_at: float | None = None
    failing_since: float | None = None
    message: str = ""
    waiting: int = 0

    def status(self) -> ChannelStatus:
        return ChannelStatus(
            last_ok_at=self.last_ok_at,
            failing_since=self.failing_since,
            message=self.message,
            waiting=self.waiting,
        )


class Sender:
    """See the module's docstring. `inbox` is the pipe from the supervisor."""

    def __init__(self, orders: Orders, inbox: int, environ: Mapping[str, str]) -> None:
        self._orders = orders
        self._inbox = inbox
        self._environ = environ
        self._spool = Spool(orders.state_dir)
        self._selector = selectors.DefaultSelector()
        self._buffer = b""
        self._ways: dict[str, _Way] = {}
        self._ping = _Way("ping") if orders.alerts.ping else None
        self._progress: Progress | None = None  # since the last ping
        self._ping_at = 0.0
        self._heard_at = time.monotonic()
        self._silent = False
        self._scan_at = 0.0
        self._closing_at: float | None = None
        self._cursors = self._spool.cursors()
        self._told: dict[str, ChannelStatus] = {}
        self._seen: dict[int, Letter | None] = {}

    def run(self) -> None:
        """Until the supervisor closes the pipe, and then until what is due was tried once more."""
        os.set_blocking(self._inbox, False)
        self._selector.register(self._inbox, selectors.EVENT_READ, self._hear)
        try:
            while not self._done():
                for key, _ in self._selector.select(max(0.0, self._next_at() - time.monotonic())):
                    key.data()
                now = time.monotonic()
                self._murder(now)
                self._listen_for_silence(now)
                self._work(now)
                self._knock(now)
                self._tell()
        finally:
            for way in self._everyone():
                if way.delivery is not None:
                    way.delivery.kill()
                    way.delivery.outcome()

    def _everyone(self) -> list[_Way]:
        return [*self._ways.values(), *([self._ping] if self._ping else [])]

    def _next_at(self) -> float:
        times = [self._scan_at, self._heard_at + self._orders.silent_s if not self._silent else float("inf")]
        times += [way.delivery.deadline for way in self._everyone() if way.delivery is not None]
        times += [way.retry_at for way in self._ways.values() if way.delivery is None and way.waiting]
        if self._progress is not None and self._ping is not None and self._ping.delivery is None:
            times.append(self._ping_at)
        if self._closing_at is not None:
            times.append(self._closing_at + LINGER_S)
        return min(times)

    def _done(self) -> bool:
        """The supervisor is gone, and nothing is due that has a chance."""
        if self._closing_at is None:
            return False
        if time.monotonic() > self._closing_at + LINGER_S:
            return True
        return not any(way.delivery or (way.waiting and not way.failures) for way in self._ways.values())

    # -- hear ------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        try:
            raw = os.read(self._inbox, 1 << 16)
        except BlockingIOError:
            return
        if not raw:
            self._selector.unregister(self._inbox)
            self._closing_at = time.monotonic()
            self._scan_at = 0.0
            return
        *lines, self._buffer = (self._buffer + raw).split(b"\n")
        for line in lines:
            with contextlib.suppress(
                msgspec.DecodeError, UnicodeDecodeError
            ):  # the first half went to a predecessor
                self._obey(line)

    def _obey(self, raw: bytes) -> None:
        match decode_line(raw):
            case Progress() as progress:
                self._progress = progress
                self._heard_at = time.monotonic()
            case Carry(letter):
                self._carry(letter)
            case Poke():
                self._scan_at = 0.0

    def _carry(self, letter: Letter) -> None:
        self._open_lanes()
        for way in self._ways.values():
            if way.lane is not None and concerns(way.lane.channel, letter):
                way.carried.append(letter)
                way.waiting += 1
        self._scan_at = 0.0

    def _listen_for_silence(self, now: float) -> None:
        """The supervisor says nothing: it is stopped, or stuck. That is said from here."""
        silent = now - self._heard_at > self._orders.silent_s and self._closing_at is None
        if silent == self._silent:
            return
        self._silent = silent
        wall = time.time()
        text = f"the supervisor is stopped or stuck: it has said nothing for {self._orders.silent_s:.0f} s"
        news = News(
            change=Change.OPENED if silent else Change.RECOVERED,
            unit="service",
            cause=Cause.HOST,
            severity=Severity.CRITICAL,
            text=text if silent else "the supervisor runs again; it was stopped or stuck",
            since=wall - (now - self._heard_at) if silent else None,
            to=audiences(Cause.HOST, Severity.CRITICAL),
        )
        for letter in letters.compose([news], letters.Sender(self._orders.host), 0, wall):
            self._carry(msgspec.structs.replace(letter, seq=0))

    # -- lanes -----------------------------------------------------------------------------------------------

    def _open_lanes(self) -> None:
        """The lanes as the secrets name them now; a channel whose secret cannot be had is one that fails."""
        ways: dict[str, _Way] = {}
        for channel in self._orders.alerts.channels:
            for name, lane, why in self._lanes(channel):
                way = self._ways.get(name) or _Way(name, cursor=self._cursor(name, channel))
                way.lane = lane
                if why:
                    self._failed(way, why)
                ways[name] = way
        for name, way in self._ways.items():
            if way.delivery is not None and name not in ways:
                ways[name] = way  # it leaves when its delivery has ended
        self._ways = ways

    def _lanes(self, channel: Channel) -> list[tuple[str, Lane | None, str]]:
        try:
            return [(lane.name, lane, "") for lane in lanes_of(channel, self._environ)]
        except SecretError as error:
            # It keeps the letters of all its lanes.
            mine = [name for name in self._cursors if name.partition("/")[0] == channel.name]
            return [(name, None, str(error)) for name in mine or [channel.name]]

    def _cursor(self, name: str, channel: Channel) -> int:
        """Where a lane goes on; one that is new in its channel begins where the others are."""
        others = [at for lane, at in self._cursors.items() if lane.partition("/")[0] == channel.name]
        return self._cursors.get(name, max(others, default=0))

    def _work(self, now: float) -> None:
        """Give every free lane its next letter; remove what is done with."""
        if now < self._scan_at and not any(
            way.waiting and way.delivery is None and way.retry_at <= now for way in self._ways.values()
        ):
            return
        self._scan_at = now + SCAN_S
        numbers = self._spool.numbers()
        self._seen = self._read(numbers)
        if numbers or not self._ways:
            self._open_lanes()
        oldest = time.time() - KEEP_S
        for number, letter in list(self._seen.items()):
            stale = letter is not None and letter.at < oldest
            if letter is None or stale:
                why = "it is too old to be news" if stale else "it cannot be read"
                log.warning("an alert is dropped", extra={"letter": number, "why": why})
                self._drop(number)
        for way in self._ways.values():
            self._serve(way, now)
        for number in list(self._seen):
            if all(way.cursor >= number for way in self._ways.values()):
                self._drop(number)

    def _read(self, numbers: list[int]) -> dict[int, Letter | None]:
        """The letters of these numbers; None: it is none. What cannot be read now is left out."""
        found: dict[int, Letter | None] = {}
        for number in numbers:
            try:
                found[number] = self._seen.get(number) or self._spool.get(number)
            except OSError as error:
                why = error.strerror
                log.error("an alert cannot be read", extra={"cause": "HOST", "letter": number, "why": why})
        return found

    def _drop(self, number: int) -> None:
        self._seen.pop(number, None)
        with contextlib.suppress(OSError):
            self._spool.remove(number)

    def _serve(self, way: _Way, now: float) -> None:
        mine = [
            letter
            for number, letter in self._seen.items()
            if number > way.cursor
            and letter is not None
            and (way.lane is None or concerns(way.lane.channel, letter))
        ]
        way.waiting = len(mine) + len(way.carried)
        if way.delivery is not None or way.retry_at > now or way.lane is None:
            return
        if not way.waiting:
            if self._seen:
                way.cursor = max(way.cursor, *self._seen)  # none of them concerns it
            return
        way.letter = way.carried[0] if way.carried else mine[0]
        try:
            job = way.lane.job(way.letter)
            way.delivery = courier.start(job, way.lane.channel.timeout_s, now)
        except OSError as error:
            self._failed(way, f"no process can be started: {error.strerror}")
            return
        self._selector.register(way.delivery.pidfd, selectors.EVENT_READ, lambda: self._ended(way))

    def _ended(self, way: _Way) -> None:
        """A delivery's process has ended."""
        delivery, letter = way.delivery, way.letter
        if delivery is None:
            return
        self._selector.unregister(delivery.pidfd)
        outcome = delivery.outcome()
        way.delivery, way.letter = None, None
        if way is self._ping:
            self._settled(way, outcome)
            return
        if self._settled(way, outcome) and letter is not None:
            way.waiting -= 1
            if not letter.seq:
                way.carried.popleft()
            else:
                way.cursor = max(way.cursor, letter.seq)
                self._cursors = {one.name: one.cursor for one in self._ways.values()}
                self._save_cursors()
            log.info("alert sent", extra={"channel": way.name, "letter": letter.seq or None})
        self._scan_at = 0.0

    def _save_cursors(self) -> None:
        try:
            self._spool.save_cursors(self._cursors)
        except OSError as error:  # it goes on from memory; after a restart some letters come twice
            log.error("alerts: cannot note what was sent", extra={"cause": "HOST", "why": error.strerror})

    def _settled(self, way: _Way, outcome: Outcome) -> bool:
        if outcome.ok:
            way.failures, way.retry_at, way.failing_since, way.message = 0, 0.0, None, ""
            way.last_ok_at = time.time()
        else:
            self._failed(way, outcome.message)
        return outcome.ok

    def _failed(self, way: _Way, why: str) -> None:
        now = time.monotonic()
        if now < way.retry_at:
            return
        way.failures += 1
        way.retry_at = now + RETRY.delay(way.failures, random.random())  # noqa: S311 (jitter)
        way.message = plain(why)
        way.failing_since = way.failing_since or time.time()
        log.error("an alert cannot be sent", extra={"slot": way.name, "cause": "HOST", "why": way.message})

    def _murder(self, now: float) -> None:
        """End deliveries that take too long; they are heard of as failures."""
        for way in self._everyone():
            if way.delivery is not None and now >= way.delivery.deadline:
                way.delivery.deadline = float("inf")
                way.delivery.kill()

    # -- the ping --------------------------------------------------------------------------------------------

    def _knock(self, now: float) -> None:
        """The dead-man ping, if the supervisor has said anything since the last one."""
        ping, way, progress = self._orders.alerts.ping, self._ping, self._progress
        if ping is None or way is None or progress is None or now < self._ping_at or way.delivery:
            return
        self._ping_at, self._progress = now + ping.every_s, None
        try:
            url = read_secret(ping.url, self._environ)
            body = f"{progress.line}\n{progress.token}\n"
            way.delivery = courier.start(Knock(url, body, PING_S, progress.critical), PING_S, now)
        except SecretError as error:
            self._failed(way, str(error))
            return
        except OSError as error:
            self._failed(way, f"no process can be started: {error.strerror}")
            return
        self._selector.register(way.delivery.pidfd, selectors.EVENT_READ, lambda: self._ended(way))

    # -- tell ------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """How the lanes are, for the supervisor's status."""
        now = {way.name: way.status() for way in self._everyone()}
        if now == self._told:
            return
        self._told = now
        with contextlib.suppress(OSError):  # the status then shows what was
            self._spool.save_channels(now)


def main() -> None:
    """The process: `python -I -m supervisor.alerts.sender PARENT ORDERS_FD`."""
    prctl.set_pdeathsig(signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
    seal()
    prctl.set_proctitle("warden alerts")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides when we end
    signals.hold_off()  # a `systemctl kill -s USR1` reaches us, too
    with os.fdopen(int(sys.argv[2]), "rb") as file:
        orders = decode_orders(file.read())
    try:
        logs.set_up(orders.log, file=orders.log_file)
    except OSError:  # it may be writable again by now, or never: alerts go out all the same
        logs.set_up(orders.log)
    Sender(orders, sys.stdin.fileno(), os.environ).run()


if __name__ == "__main__":
    main()
