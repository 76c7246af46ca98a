"""The desk: looks at each status document, decides what is news, and sees that the sender runs.

Runs in: supervisor, in its loop. It opens no connection and waits for nothing; the engine decides.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from supervisor import __version__, health
from supervisor.alerts import conditions, engine, letters
from supervisor.alerts.audiences import Contacts
from supervisor.alerts.courier import environment
from supervisor.alerts.model import Letter, News, Open
from supervisor.alerts.spool import Spool
from supervisor.alerts.wire import Carry, Line, Orders, Poke, Progress, encode_line, encode_orders
from supervisor.backoff import Backoff
from supervisor.ledger import Ledger
from supervisor.settings import Alerts, LogStyle, SecretRef
from supervisor.status import Alarm, ServiceState, Status

log = logging.getLogger(__name__)

RESTART: Final = Backoff(first_s=1.0, ceiling_s=60.0)
STABLE_S: Final = 60.0
"""A sender that lived for so long has not failed at its start."""
SAVE_S: Final = 60.0
DEAF_S: Final = 60.0
"""A sender that reads nothing for so long is stuck: it is killed, and another started."""
MOST_UNREAD: Final = 64 * 1024
"""What a pipe holds (pipe(7))."""
MOST_CARRIED: Final = 16_000
"""Characters of a letter that goes through the pipe."""
END_S: Final = 12.0


class Desk:
    """An observer of the publisher.

    Args:
        clock: monotonic seconds; wall: unix seconds.
        dice: random in 0..1, for jitter.
    """

    def __init__(
        self,
        alerts: Alerts,
        contacts: Contacts,
        state_dir: Path,
        *,
        dice: Callable[[], float],
        log_style: LogStyle = LogStyle.AUTO,
        log_file: Path | None = None,
        config_path: str = "",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._alerts = alerts
        self._contacts = contacts
        self._state_dir = state_dir
        self._log_style = log_style
        self._log_file = log_file
        self._clock = clock
        self._wall = wall
        self._from = letters.Sender(socket.gethostname(), __version__, config_path)
        self._spool = Spool(state_dir)
        self._office = _Office(clock, dice)
        self._before: Status | None = None
        self._saved: object = None
        self._save_at = float("-inf")
        state = self._spool.load()
        self._state, news = engine.restarted(state, wall())
        self._state = msgspec.structs.replace(
            self._state, seq=max(self._state.seq, self._spool.last_number())
        )
        self._leftover: tuple[News, ...] = news
        self._post_again()

    def adopt(self, alerts: Alerts, contacts: Contacts) -> None:
        """Go on with another configuration; the sender is started anew if it needs to know."""
        if alerts != self._alerts:
            self._office.dismiss()
        self._alerts, self._contacts = alerts, contacts

    def published(self, document: Status, ledger: Ledger) -> None:
        """Look at the document; the ledger gets the alarms that stand, for the next one.

        Raises:
            OSError: the state folder cannot be written; what there is to tell is told all the same.
        """
        now = self._wall()
        picture = conditions.picture(document, now)
        happened = conditions.events(self._before, document)
        self._before = document
        self._state, news = engine.step(
            self._state, picture, happened, now, self._alerts.damping, self._contacts
        )
        self._send((*self._leftover, *news), now, document)
        self._leftover = ()
        ledger.alarms = tuple(alarm(one) for one in self._state.alarms.values())
        ledger.channels = self._spool.channels() if self._needs_sender() else {}
        try:
            self._save(force=bool(news))
        finally:
            self._employ(document)

    def _needs_sender(self) -> bool:
        return bool(self._alerts.channels or self._alerts.ping)

    def _send(self, news: tuple[News, ...], now: float, document: Status) -> None:
        for one in news:
            kind, _, name = one.unit.partition(" ")
            fields = {kind if kind in ("queue", "server") else "unit": name or kind}
            cause = one.cause.value if one.cause else None
            log.warning(f"alarm {one.change.value}", extra={**fields, "cause": cause, "why": one.text})
        if not news or not self._alerts.channels:
            return
        written = letters.compose(news, self._from, self._state.seq, now)
        self._state = msgspec.structs.replace(
            self._state, seq=self._state.seq + len(written), outgoing=written
        )

    def _save(self, *, force: bool) -> None:
        """What must survive, and the letters: the state first, as it says which letters there are to be."""
        state = self._state
        kept = (
            state.running,
            state.seq,
            {key: (one.told, one.gone_at, one.severity) for key, one in state.alarms.items()},
            state.streams,
            state.pauses,
        )
        new = [letter for letter in state.outgoing if letter.seq]
        if not (force or new) and (kept == self._saved and self._clock() < self._save_at):
            return
        failed: OSError | None = None
        self._state = msgspec.structs.replace(state, outgoing=())
        try:
            self._spool.save(state)
            self._saved, self._save_at = kept, self._clock() + SAVE_S
        except OSError as error:
            failed = error
        for letter in new:
            failed = self._put(letter) or failed
        if new:
            self._office.tell(Poke())
        if failed is not None:
            raise failed

    def _put(self, letter: Letter) -> OSError | None:
        try:
            self._spool.put(letter)
        except OSError as error:
            # The disk is the trouble: the sender carries it without.
            text = letter.text[:MOST_CARRIED]
            self._office.tell(Carry(msgspec.structs.replace(letter, seq=0, text=text, news=())))
            return error
        return None

    def _post_again(self) -> None:
        """Letters that a predecessor decided on and may not have put into the spool."""
        cursors = self._spool.cursors()
        there = set(self._spool.numbers())
        for letter in self._state.outgoing:
            if letter.seq not in there and letter.seq > min(cursors.values(), default=0):
                self._put(letter)
        self._state = msgspec.structs.replace(self._state, outgoing=())

    def _employ(self, document: Status) -> None:
        """See that the sender runs, and tell it that we do."""
        if not self._needs_sender():
            return
        if document.state is not ServiceState.STOPPED:
            orders = Orders(
                self._alerts,
                self._state_dir,
                self._log_style,
                self._from.host,
                log_file=self._log_file,
            )
            self._office.keep(orders)
        judged = health.judge(health.view(msgspec.to_builtins(document)), document.written_at)
        critical = judged.level is health.Level.CRITICAL
        self._office.tell(Progress(critical, judged.line(), conditions.progress(document.queues)))

    def close(self, *, in_order: bool = True) -> None:
        """The service ends; `in_order` is for the next start to know. The sender may finish what is due."""
        self._state = msgspec.structs.replace(self._state, running=not in_order)
        with contextlib.suppress(OSError):
            self._save(force=True)
        self._office.close()


def alarm(one: Open) -> Alarm:
    """As the status document shows it."""
    return Alarm(
        unit=one.unit,
        cause=one.cause,
        severity=one.severity.value,
        text=one.text,
        since=one.since,
        opened_at=one.opened_at,
        told_at=one.told_at,
        told=one.told,
        to=(*(audience.value for audience in one.to if audience.value != "contacts"), *one.contacts),
        flapping=one.flapping,
    )


class _Office:
    """The sender's process: started, told, started again when it dies or does not listen."""

    def __init__(self, clock: Callable[[], float], dice: Callable[[], float]) -> None:
        self._clock = clock
        self._dice = dice
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._failures = 0
        self._again_at = float("-inf")
        self._deaf_since: float | None = None
        self._dying: list[subprocess.Popen[bytes]] = []  # killed; a sick disk may hold them for a while

    def keep(self, orders: Orders) -> None:
        """Start the sender if there is none and it is time."""
        now = self._clock()
        self._dying = [one for one in self._dying if one.poll() is None]
        process = self._process
        if process is not None and self._deaf_since is not None and now - self._deaf_since > DEAF_S:
            log.error("the sender of alerts does not listen; it is killed", extra={"cause": "HOST"})
            process.kill()
        if process is not None and process.poll() is not None:
            self._bury(process, now)
        if self._process is None and now >= self._again_at:
            try:
                self._start(orders)
            except OSError as error:
                self._failures += 1
                self._again_at = now + RESTART.delay(self._failures, self._dice())
                why = error.strerror or str(error)
                log.error("cannot start the sender of alerts", extra={"cause": "RESOURCE", "why": why})

    def _bury(self, process: subprocess.Popen[bytes], now: float) -> None:
        self._failures = 1 if now - self._started_at > STABLE_S else self._failures + 1
        self._again_at = now + RESTART.delay(self._failures, self._dice())
        fields = {"pid": process.pid, "code": process.returncode, "cause": "HOST"}
        log.error("the sender of alerts died", extra=fields)
        self._forget(process)

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        self._process, self._deaf_since = None, None

    def _start(self, orders: Orders) -> None:
        orders_fd = os.memfd_create("orders")
        try:
            os.write(orders_fd, encode_orders(orders))
            os.lseek(orders_fd, 0, os.SEEK_SET)
            process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-m", "supervisor.alerts.sender"),
                    *(str(os.getpid()), str(orders_fd)),
                ],
                stdin=subprocess.PIPE,
                pass_fds=(orders_fd,),
                start_new_session=True,  # Ctrl-C is for the supervisor
                bufsize=0,
                env=environment(os.environ, _named(orders.alerts)),
            )
        finally:
            os.close(orders_fd)
        assert process.stdin is not None  # noqa: S101 (a pipe)
        os.set_blocking(process.stdin.fileno(), False)
        self._process, self._started_at, self._deaf_since = process, self._clock(), None

    def tell(self, line: Line) -> None:
        """Tell the sender, if there is one that listens; what it misses is on disk, or comes again."""
        if self._process is None or self._process.stdin is None:
            return
        pipe = self._process.stdin.fileno()
        unread = int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
        if not unread:
            self._deaf_since = None
        elif self._deaf_since is None:
            self._deaf_since = self._clock()
        raw = encode_line(line)
        if unread + len(raw) <= MOST_UNREAD:  # never half a line
            with contextlib.suppress(OSError):  # it has died; `keep` sees to it
                os.write(pipe, raw)

    def dismiss(self) -> None:
        """End it now; the next `keep` starts another."""
        if self._process is not None:
            self._process.kill()
            self._dying.append(self._process)
            self._forget(self._process)
            self._again_at = float("-inf")

    def close(self) -> None:
        """Let it finish what is due, for a while."""
        ending = [*self._dying, *([self._process] if self._process else [])]
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        for process in ending:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1.0)
        self._process, self._dying = None, []


def _named(alerts: Alerts) -> list[str]:
    """Variables of the environment that the sender needs: those with its secrets, and their folder."""
    refs: list[SecretRef | None] = [channel.urls for channel in alerts.channels]
    refs.append(alerts.ping.url if alerts.ping else None)
    return [ref.env for ref in refs if ref is not None and ref.env] + ["CREDENTIALS_DIRECTORY"]
