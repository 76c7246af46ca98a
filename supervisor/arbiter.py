"""The supervisor's loop: wait, handle, murder, reconcile, publish.

Runs in: supervisor. One thread, one selector, no HTTP, no journal, no course or learner code.

Theory of operation. Every slot is a seat for one worker; its life is decided by supervisor.slot, a pure
machine, and done here. Three kinds of descriptors wake the loop: a worker's pidfd (it ended), a worker's
channel (it spoke), the signal pipe. Everything else is a deadline, and the loop sleeps until the nearest.

    wait       select until something happens or the nearest deadline passes
    handle     signals, words of workers, deaths; nothing here waits
    murder     Tick every slot: broken promises and passed deadlines end in SIGKILL
    reconcile  start what shall run and does not, end what shall not; grant polls (one in flight per queue)
    publish    the status document, when something changed, and now and then for its age

How many seats a queue has now says supervisor.rations; what is not to be tried at present, because it failed
too often, says supervisor.switchboard.

Polls are granted, not taken: a worker that is free says `wants_turn`, the pacer of its queue says when, and
the one that waited longest gets the grant. If its holder dies the grant is free again.

A damaged journal ends the run: all workers have to let go of it before it can be mended, and whoever called
does that, and runs a new Arbiter.

What shall run is the plan. A reload hands in another one: seats come and go, and workers that were made from
what has changed are asked to end and are replaced; all others go on as if nothing had happened.
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
from dataclasses import replace
from typing import Final

import msgspec

from graders.model import Blame, Cause
from supervisor import signals, slot, spawn
from supervisor.events import (
    Balked,
    Begun,
    ChannelClosed,
    Delivered,
    GoHome,
    Graded,
    Grant,
    Hold,
    Inherit,
    Order,
    Phase,
    Polled,
    Stir,
    Trouble,
    Word,
    next_word,
    send,
    short,
)
from supervisor.ledger import Ledger
from supervisor.log import reopen as reopen_log
from supervisor.notify import Notifier
from supervisor.pacer import Poll
from supervisor.pauses import Watch
from supervisor.place import Place, how_it_ended, spares
from supervisor.plan import Change, NotReloaded, Plan, Reloader
from supervisor.publisher import Observer, Publisher
from supervisor.queues import Queues
from supervisor.rations import Rations
from supervisor.recycler import leaving
from supervisor.recycling import Life
from supervisor.seating import Seating
from supervisor.slot import Action
from supervisor.spawn import Seat
from supervisor.status import Reload, ServiceState, SlotState
from supervisor.switchboard import Switchboard, told
from supervisor.turns import Turns

log = logging.getLogger(__name__)

RECYCLE_S: Final = 2.0
"""So often it is looked whether a worker should be replaced for its age or size."""
START_S: Final = 60.0
"""So much longer systemd is asked to wait for a start, each time that the watchdog is fed in it."""
LET_GO_S: Final = 5.0
"""How long workers may take to let go of a damaged journal, in which they can store nothing any more."""
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
        reloader: reads the configuration again, for SIGHUP; without one it changes nothing.
        pauses: which queues are paused.
        cpus: what the service may use; by default what the system says.
        mend_from: a journal that is found damaged before this (monotonic seconds) does not end the run: it
            has just been mended, so that is of no use. Its workers come and go, ever slower.

    After a run `damage` says what was found wrong with the journal, "" if the run ended for another reason.
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
        reloader: Reloader | None = None,
        pauses: Watch | None = None,
        cpus: Sequence[int] | None = None,
        mend_from: float = float("inf"),
    ) -> None:
        self.damage = ""
        self._mend_from = mend_from
        self._plan = plan
        self._main = main
        self._clock = clock
        self._wall = wall
        self._dice = dice
        self._notifier = notifier or Notifier()
        self._on_ready = on_ready
        self._reloader = reloader
        self._selector = selectors.DefaultSelector()
        self._state = ServiceState.STARTING
        self._ledger = Ledger()
        self._turns = Turns(dice)
        self._switchboard = Switchboard(plan.breakers, dice)
        self._publisher = Publisher(plan, self._ledger, self._switchboard, wall, observers)
        cpus = sorted(os.sched_getaffinity(0)) if cpus is None else list(cpus)
        self._seating = Seating(cpus)
        self._rations = Rations(self._seating, self._turns, self._switchboard, len(cpus), plan.bursts, dice)
        self._queues = Queues(
            self._ledger, self._turns, self._switchboard, self._seating, pauses or Watch(None), wall
        )
        self._births = 0
        self._recycle_at = float("-inf")
        self._told_systemd = float("-inf")
        self._mercy_until = float("-inf")
        self._seen = float("inf")  # when the clock was last looked at, before the rest of a turn
        self._unclean = False
        self._terms = 0
        self._queues.adopt(plan)
        for cause, text in plan.notes:
            self._ledger.alert(cause, short(text), "", wall())

    # -- the loop ----------------------------------------------------------------------------------------

    def run(self) -> int:
        """Supervise until drained, or until the journal is to be mended (`damage`).

        0: every worker ended in order; 1: some had to be killed.

        Raises:
            OSError: the status file cannot be written at the start.
        """
        spawn.freeze()
        with signals.listen() as pipe:
            self._selector.register(pipe, selectors.EVENT_READ, lambda: self._on_signals(pipe))
            self._publish(self._clock(), must=True)  # and see that it can be written, before anybody is born
            try:
                self._reconcile(self._clock())
                self._tell_systemd(self._clock())
                while not self._finished():
                    self._turn()
            finally:
                self._bury()
        if self.damage:
            return 0
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
        for place in self._seating:
            deadline = place.machine.deadline
            if deadline is None or now < deadline:
                continue
            merciful = now < self._mercy_until and place.machine.state is not SlotState.DRAINING
            if not (merciful and place.machine.alive):
                self._step(place, slot.Tick())
        self._break(now)
        self._reconcile(now)
        if self._queues.heed_pauses():
            self._publisher.at_once()
        self._recycle(now)
        self._hold(now)
        self._grant(now)
        self._publish(now)
        self._tell_systemd(now)

    def _finished(self) -> bool:
        ends = self._terms > 0 or self.damage
        return bool(ends) and not any(place.machine.alive for place in self._seating)

    def _next_deadline(self, now: float) -> float:
        deadlines = [place.machine.deadline for place in self._seating if place.machine.deadline is not None]
        if now < self._mercy_until:
            deadlines = [max(deadline, self._mercy_until) for deadline in deadlines]
        host = self._switchboard.host
        turn_at = self._turns.next_at() if host.closed or host.may_try(now) else None
        others = (turn_at, self._switchboard.next_at(now), self._rations.next_at())
        deadlines += [at for at in others if at is not None]
        deadlines.append(self._publisher.due_at)
        if self._notifier.watchdog_s is not None:
            deadlines.append(self._told_systemd + self._notifier.watchdog_s)
        return min(deadlines)

    # -- handle ------------------------------------------------------------------------------------------

    def _on_signals(self, pipe: socket.socket) -> None:
        came = signals.read(pipe)
        self._terms += sum(number in signals.ENDING for number in came)
        if signal.SIGQUIT in came:
            self._terms += 2
        if signal.SIGUSR1 in came:
            self._reopen_log()
        if signal.SIGUSR2 in came:
            self._publisher.at_once()
            for place in self._seating:
                self._order(place, Stir())
        if signal.SIGHUP in came and self._state is not ServiceState.DRAINING and not self._terms:
            self._reload()
        if self._terms and (self.damage or self._state is not ServiceState.DRAINING):
            self.damage = ""  # the next start mends it
            self._state = ServiceState.DRAINING
            log.info("draining", extra={"for_s": self._plan.drain_s})
            self._notifier.tell(STOPPING="1", STATUS="draining")
            self._drain(self._plan.drain_s)
        if self._terms > 1:
            for place in self._seating:
                self._step(place, slot.KillNow())

    def _drain(self, for_s: float) -> None:
        deadline = self._clock() + for_s
        for place in self._seating:
            self._step(place, slot.Drain(deadline))
        self._publisher.at_once()

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
        self._step(place, slot.Spoke(word.until, word.phase is not Phase.START, word.phase.value))
        place.phase, place.until = word.phase, word.until
        for event in word.happened:
            self._ledger.note(place.queue, place.id, event, self._wall())
            match event:
                case Polled(how):
                    self._turns.ended(place, how, now, event.queue_length)
                    self._ledger.queues[place.queue].queue_length = self._turns.state(place.queue).length
                    if how in (Poll.HIT, Poll.EMPTY):
                        self._switchboard.answered(place.queue, now)
                    if how is Poll.EMPTY:
                        self._succeeded(place)
                        continue  # for an empty poll the document is not written sooner
                case Delivered():
                    self._succeeded(place)
                case Begun():
                    self._switchboard.begun(place.queue, place.id, event)
                case Balked(cause, message):
                    self._switchboard.failed(place.queue, place.id, cause, message, now)
                case Graded():
                    place.graded += 1
                    if place.life is not None:
                        place.life.graded += 1
                    if event.blame is Blame.SERVICE:
                        self._switchboard.failed(place.queue, place.id, event.cause, event.message, now)
                    else:
                        self._switchboard.graded(place.queue, place.id, now)
                case Trouble():
                    place.trouble = event
                    log.warning(
                        "trouble", extra={"slot": place.id, "cause": event.cause.value, "why": event.message}
                    )
                case _:
                    pass  # for the ledger only
            self._publisher.changed()
        if word.phase is Phase.IDLE:
            self._switchboard.idle(place.id, now)
        self._turns.heard(place, word.wants_turn and place.machine.state is SlotState.RUNNING)

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
        place.child, place.life, place.phase, place.until = None, None, None, None
        self._turns.left(place, self._clock())
        self._ledger.queues[place.queue].slot_troubles.pop(place.id, None)
        place.spared = spares(code, place.machine)
        for other in self._seating:
            if other.queue == place.queue and other.child is not None:
                self._order(other, Inherit(place.owner, place.spared))
        at_work = self._switchboard.at_work(place.id)
        self._step(place, replace(how_it_ended(code, place.trouble), at_work=at_work))
        machine = place.machine
        now = self._clock()
        if self._terms or machine.state is SlotState.STOPPED or code == spawn.EXIT_ORDERLY:
            self._switchboard.left(place.id, now)
        elif machine.cause is not None:
            text = machine.message
            self._switchboard.died(place.queue, place.id, place.owner, machine.cause, text, now)
        if code != spawn.EXIT_ORDERLY and machine.cause is not None:
            fields = {"slot": place.id, "cause": machine.cause.value, "why": machine.message}
            log.error("worker died", extra={**fields, "pid": child.pid, "state": machine.state.value})
            self._ledger.died(place.queue, machine.cause)
            text = f"worker {place.id}: {machine.message}"
            self._ledger.alert(machine.cause, text, place.queue, self._wall())
        if code == spawn.EXIT_JOURNAL and now >= self._mend_from and self._state is not ServiceState.DRAINING:
            self.damage = machine.message or "a worker said so"
            self._state = ServiceState.DRAINING
            log.error("the journal is to be mended", extra={"cause": "HOST", "why": self.damage})
            self._drain(LET_GO_S)
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
                    self._turns.heard(place, wants_turn=False)
                    if place.child is not None and not self._order(place, GoHome()):
                        spawn.kill(place.child, signal.SIGTERM)
                case Action.KILL:
                    self._unclean = self._unclean or self._terms > 0
                    if place.child is not None:
                        spawn.kill(place.child, signal.SIGKILL)

    def _spawn(self, place: Place) -> None:
        self._births += 1
        place.owner = f"{place.id}#{self._births}"  # no two ever, not even where a queue went and came back
        seat = Seat(place.id, place.queue, place.index, place.cpu, place.owner, place.spared)
        try:
            child = spawn.spawn(seat, self._main)
        except OSError as error:
            message = f"cannot start a worker: {error.strerror}"
            self._step(place, slot.Exited(orderly=False, cause=Cause.RESOURCE, message=message))
            return
        place.child, place.told = child, Hold()
        place.life = Life(self._clock(), self._dice())
        self._tell_holds(place)
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

    def _reopen_log(self) -> None:
        try:
            reopen_log()
            log.info("log reopened")
        except OSError as error:
            log.error("cannot reopen the log", extra={"cause": "HOST", "why": error.strerror or str(error)})

    # -- reload ------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        """SIGHUP: take a new configuration if it is good, and say which."""
        if self._reloader is None:
            return
        running = self._state is ServiceState.RUNNING
        if running:
            self._notifier.reloading()
        try:
            change = self._reloader()
        except NotReloaded as error:
            ok, message = False, short("; ".join(error.problems))
            self._ledger.alert(Cause.CONFIG, f"not reloaded: {message}", "", self._wall())
            log.error("not reloaded", extra={"cause": "CONFIG", "why": "the new configuration is bad"})
            for problem in error.problems:  # an INFO: of several errors of one kind the log shows the first
                log.info("configuration", extra={"problem": problem})
        else:
            ok, message = True, short(change.message)
            self._change(change)
            log.info("reloaded", extra={"what": message})
        self._publisher.reload = Reload(at=round(self._wall(), 3), ok=ok, message=message)
        self._publisher.at_once()
        if running:
            said = "reloaded" if ok else f"the new configuration is bad, the old one stays: {message}"
            self._notifier.tell(READY="1", STATUS=said)

    def _change(self, change: Change) -> None:
        self._main = change.main
        self._plan = self._publisher.plan = change.plan
        for place in self._queues.adopt(change.plan):
            self._step(place, slot.Renew())
        for queue in change.renew:
            self._switchboard.forget(queue)  # what failed may be mended
            self._switchboard.serve(queue)
            for place in self._seating.of(queue):
                self._step(place, slot.Renew())

    # -- reconcile ---------------------------------------------------------------------------------------

    def _reconcile(self, now: float) -> None:
        """Start what shall run and does not; end what shall not; forget what is gone."""
        if self._state is ServiceState.DRAINING:
            return
        self._rations.decide(self._plan.queues, now)
        for place in self._seating:
            if place.wanted:
                if place.machine.state is SlotState.STOPPED:
                    self._step(place, slot.Start())
            elif place.machine.state is not SlotState.STOPPED:
                self._step(place, slot.Drain(None))
            elif place.retired:
                self._seating.forget(place)
        if self._queues.tidy():
            self._publisher.changed()

    def _recycle(self, now: float) -> None:
        """Replace workers that have served long enough, one of a queue at a time."""
        if now < self._recycle_at or self._state is ServiceState.DRAINING:
            return
        self._recycle_at = now + RECYCLE_S
        for place, why in leaving(self._seating, self._plan.recycling, now):
            log.info("worker recycled", extra={"slot": place.id, "after": why})
            self._ledger.replaced(place.queue)
            self._step(place, slot.Renew())

    def _grant(self, now: float) -> None:
        if self._state is ServiceState.DRAINING:
            return
        if self._switchboard.host.closed:
            for place in self._turns.due(now):
                self._give(place, now)
            return
        queue = self._switchboard.probe(self._turns.ready(now), now)
        if queue is not None:
            place = self._turns.take(queue)
            self._switchboard.probes(queue, place.id, now)
            self._tell_holds(place)
            self._give(place, now)

    def _give(self, place: Place, now: float) -> None:
        if self._order(place, Grant(length=now >= self._turns.state(place.queue).ask_at)):
            self._turns.granted(place, now)
            self._ledger.granted(place.queue, self._wall())
            self._step(place, slot.Asked())

    # -- breakers ----------------------------------------------------------------------------------------

    def _break(self, now: float) -> None:
        """Tell of breakers that opened and closed."""
        self._switchboard.tick(now)
        for change in self._switchboard.changes():
            level, text = told(change)
            unit, cause = change.unit, change.after.cause or Cause.HOST
            fields = {"queue": unit.queue or None, "grader": unit.grader or None, "state": change.after.state}
            log.log(level, "breaker", extra={**fields, "cause": cause.value, "why": text})
            if level >= logging.ERROR:
                self._ledger.alert(cause, text, unit.queue, self._wall(), unit.grader)
            self._publisher.changed()

    def _hold(self, now: float) -> None:
        """Tell each worker what it has to leave in the journal, and who tries what others leave."""
        if self._state is ServiceState.DRAINING:
            return
        for place in self._seating:
            if place.child is None:
                continue
            if self._turns.waits(place):
                self._switchboard.try_problems(place.queue, place.id, now)
            self._tell_holds(place)

    def _tell_holds(self, place: Place) -> None:
        holds = self._switchboard.held(place.queue, place.id)
        if holds != place.told and self._order(place, holds):
            place.told = holds

    # -- publish -----------------------------------------------------------------------------------------

    def _publish(self, now: float, *, must: bool = False) -> None:
        started = self._state is ServiceState.STARTING and self._all_started()
        if started:
            self._state = ServiceState.RUNNING
            self._publisher.at_once()
        self._publisher.publish(self._state, self._seating, now, must=must)
        if started:  # whoever hears of it finds it in the document
            self._notifier.tell(READY="1", STATUS=f"{len(self._seating)} workers")
            self._on_ready()

    def _all_started(self) -> bool:
        unready = (SlotState.STARTING, SlotState.STOPPED)
        return not any(place.wanted and place.machine.state in unready for place in self._seating)

    def _tell_systemd(self, now: float) -> None:
        every = self._notifier.watchdog_s
        if every is not None and now - self._told_systemd >= every:
            self._told_systemd = now
            # A slow start is no failed one: each worker's is bounded by its slot. The loop turns, so wait.
            starting = self._state is ServiceState.STARTING
            more = {"EXTEND_TIMEOUT_USEC": str(int(START_S * 1e6))} if starting else {}
            self._notifier.tell(WATCHDOG="1", **more)

    def _bury(self) -> None:
        """Whatever ended the loop: no worker outlives it."""
        for place in self._seating:
            if place.child is not None:
                spawn.kill(place.child, signal.SIGKILL)
                spawn.reap(place.child)
                place.child = None
        self._selector.close()
