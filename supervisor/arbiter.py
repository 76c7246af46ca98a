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
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from graders.model import Cause
from supervisor import signals, slot, spawn
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
from supervisor.pacer import Poll
from supervisor.place import Place, how_it_ended
from supervisor.plan import Plan
from supervisor.publisher import Observer, Publisher
from supervisor.slot import Action
from supervisor.spawn import Seat
from supervisor.status import ServiceState, SlotState
from supervisor.turns import Turns

log = logging.getLogger(__name__)

STALL_S: Final = 0.5
"""The loop woke so much later than it meant to: the machine slept, or this process was stopped."""

Now = Callable[[], float]


class Arbiter:
    """The supervisor.

    Args:
        plan: what shall run.
        main: a worker's main, run in the forked child.
        clock: monotonic seconds; the workers' promises are on the same clock.
        wall: unix seconds, for the status document only.
        dice: random in 0..1, for jitter.
        on_ready: called once, when every slot has started or failed to.
        observers: see each status document as it is written.
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
        observers: Sequence[Observer] = (),
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
        self._ledger = Ledger()
        self._turns = Turns(dice)
        self._publisher = Publisher(plan, self._ledger, wall, observers)
        self._places: list[Place] = []
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
            self._turns.open(queue.name, queue.pace)
            self._ledger.servers.setdefault(queue.server, ServerLedger(""))
            for number in range(queue.workers):
                if queue.cpus is None:
                    cpu = every[turn % len(every)]
                    turn += 1
                else:
                    cpu = queue.cpus[number % len(queue.cpus)]
                self._places.append(Place(f"{queue.name}.{number}", len(self._places), queue.name, cpu))

    # -- the loop ----------------------------------------------------------------------------------------

    def run(self) -> int:
        """Supervise until drained. 0: every worker ended in order; 1: some had to be killed.

        Raises:
            OSError: the status file cannot be written at the start.
        """
        spawn.freeze()
        with signals.listen() as pipe:
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
        if (turn_at := self._turns.next_at()) is not None:
            deadlines.append(turn_at)
        deadlines.append(self._publisher.due_at)
        if self._notifier.watchdog_s is not None:
            deadlines.append(self._told_systemd + self._notifier.watchdog_s)
        return min(deadlines)

    # -- handle ------------------------------------------------------------------------------------------

    def _on_signals(self, pipe: socket.socket) -> None:
        for number in signals.read(pipe):
            if number is signal.SIGUSR2:
                self._publisher.at_once()
            else:
                self._terms += 1
        if self._terms and self._state is not ServiceState.DRAINING:
            self._state = ServiceState.DRAINING
            log.info("draining", extra={"for_s": self._plan.drain_s})
            self._notifier.tell(STOPPING="1", STATUS="draining")
            deadline = self._clock() + self._plan.drain_s
            for place in self._places:
                self._step(place, slot.Drain(deadline))
            self._publisher.at_once()
        if self._terms > 1:
            for place in self._places:
                self._step(place, slot.KillNow())

    def _on_channel(self, place: Place) -> None:
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

    def _on_word(self, place: Place, word: Word) -> None:
        now = self._clock()
        self._step(place, slot.Spoke(word.until, word.phase is not Phase.START))
        place.phase, place.until = word.phase, word.until
        for event in word.happened:
            self._ledger.note(place.queue, place.id, event, self._wall())
            match event:
                case Polled(how):
                    self._turns.ended(place, how, now, event.queue_length)
                    self._ledger.queues[place.queue].queue_length = self._turns.state(place.queue).length
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
            self._publisher.changed()
        self._turns.heard(place, word.wants_turn)

    def _succeeded(self, place: Place) -> None:
        place.trouble = None
        self._step(place, slot.Succeeded())

    def _on_exit(self, place: Place) -> None:
        """The pidfd is readable: hear its last words, reap it, free what it held."""
        child = place.child
        if child is None:
            return
        self._forget(child.pidfd)
        self._on_channel(place)
        self._forget(child.channel)
        code = spawn.reap(child)
        place.child, place.phase, place.until = None, None, None
        self._turns.left(place, self._clock())
        self._ledger.queues[place.queue].slot_troubles.pop(place.id, None)
        for other in self._places:
            if other.queue == place.queue and other.child is not None:
                self._order(other, Inherit(place.owner))
        self._step(place, how_it_ended(code, place.trouble))
        machine = place.machine
        if code != spawn.EXIT_ORDERLY and machine.cause is not None:
            fields = {"slot": place.id, "cause": machine.cause.value, "why": machine.message}
            log.error("worker died", extra={**fields, "pid": child.pid, "state": machine.state.value})
            self._ledger.died(place.queue, machine.cause)
            text = f"worker {place.id}: {machine.message}"
            self._ledger.alert(machine.cause, text, place.queue, self._wall())
        place.trouble = None

    # -- doing what the slot machine says ----------------------------------------------------------------

    def _step(self, place: Place, event: slot.Event) -> None:
        before = place.machine
        place.machine, actions = slot.step(before, event, self._plan.policy, self._clock(), self._dice())
        if place.machine.state is not before.state:
            self._publisher.changed()
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

    def _spawn(self, place: Place) -> None:
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
        self._ledger.started(place.queue)
        self._selector.register(child.channel, selectors.EVENT_READ, lambda: self._on_channel(place))
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._on_exit(place))

    def _order(self, place: Place, order: Order) -> bool:
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
        for place in self._turns.due(now):
            if self._order(place, Grant(length=now >= self._turns.state(place.queue).ask_at)):
                self._turns.granted(place, now)
                self._ledger.granted(place.queue, self._wall())
                self._step(place, slot.Asked())

    # -- publish -----------------------------------------------------------------------------------------

    def _publish(self, now: float, *, must: bool = False) -> None:
        if self._state is ServiceState.STARTING and self._all_started():
            self._state = ServiceState.RUNNING
            self._publisher.at_once()
            self._notifier.tell(READY="1", STATUS=f"{len(self._places)} workers")
            self._on_ready()
        self._publisher.publish(self._state, self._places, now, must=must)

    def _all_started(self) -> bool:
        unready = (SlotState.STARTING, SlotState.STOPPED)
        return not any(place.machine.state in unready for place in self._places)

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
