"""The supervisor's loop: wait, handle, murder, reconcile, publish.

Runs in: supervisor. One thread, one selector, no HTTP, no journal, no course or learner code.

Theory of operation. Every slot is a seat for one worker; its life is decided by supervisor.slot, a pure
machine, and done here. Three kinds of descriptors wake the loop: a worker's pidfd (it ended), a worker's
channel (it spoke), the signal pipe. Everything else is a deadline, and the loop sleeps until the nearest.

    wait       select until something happens or the nearest deadline passes
    handle     signals, words of workers, deaths; nothing here waits
    murder     Tick every slot: broken promises and passed deadlines end in SIGKILL
    reconcile  start what shall run and does not; grant polls (one in flight per queue)
    publish    the status document, when something changed, and now and then for its age

Polls are granted, not taken: a worker that is free says `wants_turn`, the pacer of its queue says when, and
the one that waited longest gets the grant. If its holder dies the grant is free again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from graders.model import Cause
from supervisor import __version__, pacer, slot, spawn, status
from supervisor.events import (
    ChannelClosed,
    Delivered,
    GoHome,
    Grant,
    Inherit,
    Order,
    Phase,
    Polled,
    Trouble,
    Word,
    next_word,
    send,
    short,
)
from supervisor.ledger import Ledger, QueueLedger, ServerLedger
from supervisor.notify import Notifier
from supervisor.pacer import Pace, Pacer, Poll
from supervisor.slot import Action, Slot
from supervisor.spawn import Child, Seat
from supervisor.status import ServiceState, SlotState, SlotStatus, Status

log = logging.getLogger(__name__)

PUBLISH_S: Final = 2.0
"""The status document is written this often while things happen."""
AGE_S: Final = 8.0
"""And this often when nothing does but polls of empty queues; health judges by its age."""
STALL_S: Final = 0.5
"""The loop woke so much later than it meant to: the machine slept, or this process was stopped."""

Now = Callable[[], float]


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """A queue as the arbiter needs it. `refused` says why its configuration is bad ("" = it is good)."""

    name: str
    server: str
    workers: int = 1
    cpus: tuple[int, ...] | None = None
    pace: Pace = Pace()  # noqa: RUF009 (frozen)
    refused: str = ""
    backlog: int = 0
    backlog_oldest_at: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the arbiter does not decide itself. `servers` maps names to URLs without credentials."""

    queues: tuple[QueuePlan, ...]
    servers: Mapping[str, str]
    status_path: Path
    drain_s: float = 30.0
    policy: slot.Policy = slot.Policy()  # noqa: RUF009 (frozen)
    config_path: str = ""
    config_digest: str = ""


@dataclass(slots=True, eq=False)
class _Place:
    """A slot with the process that sits in it."""

    id: str
    index: int
    queue: str
    cpu: int | None
    machine: Slot = field(default_factory=Slot)
    child: Child | None = None
    owner: str = ""
    generation: int = 0
    phase: Phase | None = None
    until: float | None = None
    graded: int = 0
    trouble: Trouble | None = None  # the last word of a worker that then died explains its death


class Arbiter:
    """The supervisor.

    Args:
        plan: what shall run.
        main: a worker's main, run in the forked child.
        clock: monotonic seconds; the workers' promises are on the same clock.
        wall: unix seconds, for the status document only.
        dice: random in 0..1, for jitter.
        on_ready: called once, when every slot has started or failed to.
    """

    def __init__(
        self,
        plan: Plan,
        main: spawn.Main,
        *,
        clock: Now = time.monotonic,
        wall: Now = time.time,
        dice: Now = random.random,
        notifier: Notifier | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._plan = plan
        self._main = main
        self._clock = clock
        self._wall = wall
        self._dice = dice
        self._notifier = notifier or Notifier()
        self._on_ready = on_ready
        self._selector = selectors.DefaultSelector()
        self._state = ServiceState.STARTING
        self._started_at = wall()
        self._ledger = Ledger()
        self._paces = {queue.name: queue.pace for queue in plan.queues}
        self._pacers = {queue.name: Pacer() for queue in plan.queues}
        self._waiting: dict[str, list[_Place]] = {queue.name: [] for queue in plan.queues}
        self._places: list[_Place] = []
        self._dirty = True
        self._write_now = False
        self._written = float("-inf")
        self._told_systemd = float("-inf")
        self._mercy_until = float("-inf")
        self._seen = float("inf")  # when the clock was last looked at, before the rest of a turn
        self._unclean = False
        self._terms = 0
        self._plan_places()

    def _plan_places(self) -> None:
        now = self._wall()
        every = sorted(os.sched_getaffinity(0))
        turn = 0
        for name, url in self._plan.servers.items():
            self._ledger.servers[name] = ServerLedger(url)
        for queue in self._plan.queues:
            book = QueueLedger(queue.server, backlog=queue.backlog, backlog_oldest_at=queue.backlog_oldest_at)
            self._ledger.queues[queue.name] = book
            if queue.refused:
                book.refused = (Cause.CONFIG, short(queue.refused))
                self._ledger.alert(Cause.CONFIG, short(queue.refused), queue.name, now)
                log.error(
                    "queue refused", extra={"queue": queue.name, "cause": "CONFIG", "why": queue.refused}
                )
                continue
            self._ledger.servers.setdefault(queue.server, ServerLedger(""))
            for number in range(queue.workers):
                if queue.cpus is None:
                    cpu = every[turn % len(every)]
                    turn += 1
                else:
                    cpu = queue.cpus[number % len(queue.cpus)]
                self._places.append(_Place(f"{queue.name}.{number}", len(self._places), queue.name, cpu))

    # -- the loop ----------------------------------------------------------------------------------------

    def run(self) -> int:
        """Supervise until drained. 0: every worker ended in order; 1: some had to be killed.

        Raises:
            OSError: the status file cannot be written at the start.
        """
        spawn.freeze()
        with self._signals() as pipe:
            self._selector.register(pipe, selectors.EVENT_READ, lambda: self._on_signals(pipe))
            self._publish(self._clock(), must=True)  # and see that it can be written, before anybody is born
            try:
                for place in self._places:
                    self._step(place, slot.Start())
                while not self._finished():
                    self._turn()
            finally:
                self._bury()
        self._state = ServiceState.STOPPED
        self._publish(self._clock(), must=True)
        return int(self._unclean)

    def _turn(self) -> None:
        began = self._clock()
        timeout = max(0.0, self._next_deadline(began) - began)
        ready = self._selector.select(timeout)
        for key, _ in ready:
            key.data()
        now = self._clock()
        policy = self._plan.policy
        mercy_s = policy.grace_s + policy.answer_s
        # Stopped while it waited, or in the middle of the last turn.
        stalled = now > began + timeout + STALL_S or began > self._seen + STALL_S
        self._seen = now
        if stalled and now > self._mercy_until + mercy_s:
            # Not the workers' fault: they may have been stopped with us (Ctrl-Z, a suspended machine). Not
            # again and again, though: where the machine is always late, a hang must be found all the same.
            self._mercy_until = now + mercy_s
            log.warning("the supervisor was stopped for a while")
        for place in self._places:
            deadline = place.machine.deadline
            if deadline is None or now < deadline:
                continue
            merciful = now < self._mercy_until and place.machine.state is not SlotState.DRAINING
            if not (merciful and place.machine.alive):
                self._step(place, slot.Tick())
        self._grant(now)
        self._publish(now)
        self._tell_systemd(now)

    def _finished(self) -> bool:
        return self._terms > 0 and not any(place.machine.alive for place in self._places)

    def _next_deadline(self, now: float) -> float:
        deadlines = [place.machine.deadline for place in self._places if place.machine.deadline is not None]
        if now < self._mercy_until:
            deadlines = [max(deadline, self._mercy_until) for deadline in deadlines]
        for queue, waiting in self._waiting.items():
            if waiting and not self._pacers[queue].holder:
                deadlines.append(self._pacers[queue].next_at)
        deadlines.append(self._written + (PUBLISH_S if self._dirty else AGE_S))
        if self._notifier.watchdog_s is not None:
            deadlines.append(self._told_systemd + self._notifier.watchdog_s)
        return min(deadlines)

    # -- handle ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Signals become bytes on a pipe; the handlers themselves do nothing."""
        read, write = socket.socketpair()
        read.setblocking(False)
        write.setblocking(False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        wakeup = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
        try:
            yield read
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            read.close()
            write.close()

    def _on_signals(self, pipe: socket.socket) -> None:
        for number in pipe.recv(4096):
            if number == signal.SIGUSR2:
                self._write_now = True
            else:
                self._terms += 1
        if self._terms and self._state is not ServiceState.DRAINING:
            self._state = ServiceState.DRAINING
            log.info("draining", extra={"for_s": self._plan.drain_s})
            self._notifier.tell(STOPPING="1", STATUS="draining")
            deadline = self._clock() + self._plan.drain_s
            for place in self._places:
                self._step(place, slot.Drain(deadline))
            self._write_now = True
        if self._terms > 1:
            for place in self._places:
                self._step(place, slot.KillNow())

    def _on_channel(self, place: _Place) -> None:
        child = place.child
        if child is None:
            return
        try:
            while (word := next_word(child.channel)) is not None:
                self._on_word(place, word)
        except ChannelClosed:
            self._forget(child.channel)  # its pidfd tells the rest, or its promise runs out
        except msgspec.DecodeError as error:
            log.error("a worker talks nonsense", extra={"slot": place.id, "why": str(error)})
            self._forget(child.channel)
            spawn.kill(child, signal.SIGKILL)

    def _forget(self, what: int | socket.socket) -> None:
        with contextlib.suppress(KeyError):  # forgotten before
            self._selector.unregister(what)

    def _on_word(self, place: _Place, word: Word) -> None:
        now = self._clock()
        self._step(place, slot.Spoke(word.until, word.phase is not Phase.START))
        place.phase, place.until = word.phase, word.until
        for event in word.happened:
            self._ledger.note(place.queue, place.id, event, self._wall())
            match event:
                case Polled(how):
                    self._poll_ended(place, how, now)
                    if how is Poll.EMPTY:
                        self._succeeded(place)
                        continue  # for an empty poll the document is not written sooner
                case Delivered():
                    self._succeeded(place)
                case Trouble():
                    place.trouble = event
                    log.warning(
                        "trouble", extra={"slot": place.id, "cause": event.cause.value, "why": event.message}
                    )
                case _:
                    place.graded += event.__struct_config__.tag == "graded"
            self._dirty = True
        waiting = self._waiting[place.queue]
        holds = self._pacers[place.queue].holder == place.owner  # its word and our grant crossed
        if word.wants_turn and place not in waiting and not holds:
            waiting.append(place)
        elif not word.wants_turn and place in waiting:
            waiting.remove(place)

    def _succeeded(self, place: _Place) -> None:
        place.trouble = None
        self._step(place, slot.Succeeded())

    def _poll_ended(self, place: _Place, how: Poll, now: float) -> None:
        state = self._pacers[place.queue]
        if state.holder == place.owner:
            self._pacers[place.queue] = pacer.ended(state, how, self._paces[place.queue], now, self._dice())

    def _on_exit(self, place: _Place) -> None:
        """The pidfd is readable: hear its last words, reap it, free what it held."""
        child = place.child
        if child is None:
            return
        self._forget(child.pidfd)
        self._on_channel(place)
        self._forget(child.channel)
        code = spawn.reap(child)
        place.child, place.phase, place.until = None, None, None
        if place in self._waiting[place.queue]:
            self._waiting[place.queue].remove(place)
        self._poll_ended(place, Poll.LOST, self._clock())
        self._ledger.queues[place.queue].slot_troubles.pop(place.id, None)
        for other in self._places:
            if other.queue == place.queue and other.child is not None:
                self._order(other, Inherit(place.owner))
        self._step(place, how_it_ended(code, place.trouble))
        machine = place.machine
        if code != spawn.EXIT_ORDERLY and machine.cause is not None:
            fields = {"slot": place.id, "cause": machine.cause.value, "why": machine.message}
            log.error("worker died", extra={**fields, "pid": child.pid, "state": machine.state.value})
            text = f"worker {place.id}: {machine.message}"
            self._ledger.alert(machine.cause, text, place.queue, self._wall())
        place.trouble = None

    # -- doing what the slot machine says ----------------------------------------------------------------

    def _step(self, place: _Place, event: slot.Event) -> None:
        before = place.machine
        place.machine, actions = slot.step(before, event, self._plan.policy, self._clock(), self._dice())
        if place.machine.state is not before.state:
            self._dirty = True
            log.debug("slot", extra={"slot": place.id, "from": before.state, "to": place.machine.state})
        for action in actions:
            match action:
                case Action.SPAWN:
                    self._spawn(place)
                case Action.ASK_DRAIN:
                    if place.child is not None and not self._order(place, GoHome()):
                        spawn.kill(place.child, signal.SIGTERM)
                case Action.KILL:
                    self._unclean = self._unclean or self._terms > 0
                    if place.child is not None:
                        spawn.kill(place.child, signal.SIGKILL)

    def _spawn(self, place: _Place) -> None:
        place.generation += 1
        place.owner = f"{place.id}#{place.generation}"
        seat = Seat(place.id, place.queue, place.index, place.cpu, place.owner)
        try:
            child = spawn.spawn(seat, self._main)
        except OSError as error:
            message = f"cannot start a worker: {error.strerror}"
            self._step(place, slot.Exited(orderly=False, cause=Cause.RESOURCE, message=message))
            return
        place.child = child
        self._selector.register(child.channel, selectors.EVENT_READ, lambda: self._on_channel(place))
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._on_exit(place))

    def _order(self, place: _Place, order: Order) -> bool:
        if place.child is None:
            return False
        try:
            return send(place.child.channel, order)
        except ChannelClosed:
            return False

    # -- reconcile ---------------------------------------------------------------------------------------

    def _grant(self, now: float) -> None:
        if self._state is ServiceState.DRAINING:
            return
        for queue, waiting in self._waiting.items():
            while waiting and self._pacers[queue].may_grant(now):
                place = waiting.pop(0)
                if self._order(place, Grant()):
                    self._pacers[queue] = pacer.grant(self._pacers[queue], place.owner)
                    self._ledger.granted(queue, self._wall())
                    self._step(place, slot.Asked())

    # -- publish -----------------------------------------------------------------------------------------

    def _publish(self, now: float, *, must: bool = False) -> None:
        if self._state is ServiceState.STARTING and self._all_started():
            self._state = ServiceState.RUNNING
            self._write_now = True
            self._notifier.tell(READY="1", STATUS=f"{len(self._places)} workers")
            self._on_ready()
        due = now - self._written >= (PUBLISH_S if self._dirty else AGE_S)
        if not (must or due or self._write_now):
            return
        self._written, self._dirty, self._write_now = now, False, False
        try:
            status.write(self._plan.status_path, self.document(now))
        except OSError as error:
            if must and self._state is ServiceState.STARTING:
                raise
            # Grading goes on; health sees the file's age.
            why = error.strerror or str(error)
            log.error("cannot write the status file", extra={"cause": "HOST", "why": why})

    def _all_started(self) -> bool:
        unready = (SlotState.STARTING, SlotState.STOPPED)
        return not any(place.machine.state in unready for place in self._places)

    def document(self, now: float) -> Status:
        """The status document as of `now` (monotonic)."""
        wall = self._wall()
        by_queue: dict[str, list[SlotStatus]] = {queue.name: [] for queue in self._plan.queues}
        for place in self._places:
            machine = place.machine
            by_queue[place.queue].append(
                SlotStatus(
                    id=place.id,
                    state=machine.state,
                    since=round(wall - (now - machine.since), 3),
                    pid=place.child.pid if place.child else None,
                    cpu=place.cpu,
                    phase=place.phase.value if place.phase else "",
                    until=round(wall + (place.until - now), 3) if place.until is not None else None,
                    graded=place.graded,
                    crashes=machine.crashes,
                    memory_bytes=_resident_bytes(place.child.pid) if place.child else None,
                    cause=machine.cause,
                    message=machine.message,
                )
            )
        queues = {
            name: self._ledger.queues[name].status(tuple(slots), wall) for name, slots in by_queue.items()
        }
        return Status(
            written_at=wall,
            state=self._state,
            pid=os.getpid(),
            started_at=self._started_at,
            warden_version=__version__,
            host=socket.gethostname(),
            config_path=self._plan.config_path,
            config_digest=self._plan.config_digest,
            isolation=dict(self._ledger.isolation),
            servers={name: server.status() for name, server in self._ledger.servers.items()},
            queues=queues,
            totals=status.total(queues),
            alerts=self._ledger.alerts(),
        )

    def _tell_systemd(self, now: float) -> None:
        every = self._notifier.watchdog_s
        if every is not None and now - self._told_systemd >= every:
            self._told_systemd = now
            self._notifier.tell(WATCHDOG="1")

    def _bury(self) -> None:
        """Whatever ended the loop: no worker outlives it."""
        for place in self._places:
            if place.child is not None:
                spawn.kill(place.child, signal.SIGKILL)
                spawn.reap(place.child)
                place.child = None
        self._selector.close()


def how_it_ended(code: int, trouble: Trouble | None) -> slot.Exited:
    """What a worker's exit code (minus its signal) means; its last trouble is the better explanation."""
    said = trouble.message if trouble else ""
    if code == spawn.EXIT_ORDERLY:
        return slot.Exited(orderly=True, cause=Cause.HOST, message="")
    if code in (spawn.EXIT_UNAVAILABLE, spawn.EXIT_CONFIG):
        cause = Cause.CONFIG if code == spawn.EXIT_CONFIG else Cause.SANDBOX_UNAVAILABLE
        return slot.Exited(orderly=False, cause=cause, message=said or "it gave no reason", hopeless=True)
    if code == -signal.SIGKILL:
        message = "killed by somebody else with SIGKILL: the kernel for want of memory, or a person"
        return slot.Exited(orderly=False, cause=Cause.RESOURCE, message=message)
    if code < 0:
        message = f"died of signal {-code} ({signal.strsignal(-code)})"
        return slot.Exited(orderly=False, cause=Cause.HOST, message=message)
    cause = trouble.cause if trouble else Cause.HOST
    return slot.Exited(orderly=False, cause=cause, message=said or f"ended with code {code}; see the log")


def _resident_bytes(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # it ended, and is not reaped yet
        return None
