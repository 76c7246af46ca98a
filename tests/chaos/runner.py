"""One run of chaos: storms of blows and faults, drills between them, and the reckoning at the end.

Runs in: tools. The main thread starts, hits and mends; a thread feeds the queue, one observes; the proxy and
the LMS have their own. Every wait has a deadline, and the run has one.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from supervisor.health import Level
from supervisor.settings import MAX_ATTEMPTS
from tests.chaos.checks import Hit
from tests.chaos.observer import Observer, Sample, sample
from tests.chaos.processes import Found, below, gone
from tests.chaos.proxy import Proxy
from tests.chaos.script import AHEAD, Blow, Drill, Item, Kind, Plan, Target, Trouble
from tests.chaos.servers import QueueServer
from tests.chaos.service import Broken, Service, Unavailable, until
from xqueue.errors import QueueError

TICK_S: Final = 0.03
GROWN_S: Final = 1.0
RESPITE_S: Final = 6.0
"""A seat is left alone so long after a blow: five deaths without one success are FATAL, and rightly so."""
WATCHDOG_S: Final = 6.0
"""A supervisor that is stopped for ever is killed after this, as by systemd's watchdog."""
WELL_S: Final = 240.0
"""What is uncertain on the LMS's own server takes two minutes to be taken for settled."""
MINUTE_S: Final = 66.0
"""Within a minute, and what the status and the observer take to say so."""
ORPHANS_S: Final = 1.5
HANG_S: Final = 110.0
"""A stopped worker is found when its promise breaks: while grading that takes over a minute."""

CAUSES: Final = {
    Trouble.REFUSED: "QUEUE_UNREACHABLE",
    Trouble.QUEUE_KILLED: "QUEUE_UNREACHABLE",
    Trouble.QUEUE_HANGS: "QUEUE_UNREACHABLE",
    Trouble.PASSWORD: "AUTH",
    Trouble.DISK_FULL: "HOST",
}


class Failed(Exception):
    """The run cannot go on; the message says what was waited for."""


@dataclass(frozen=True, slots=True)
class Drilled:
    """A drill as it went, `wrong` says what was not right.

    Seconds from the break to its cause in the status, to a red health, and to one that is red by its usual
    thresholds (NaN: not in the time); from the mending to green.
    """

    trouble: Trouble
    hold_s: float
    cause: str
    named_s: float
    red_s: float
    usual_s: float
    green_s: float
    wrong: tuple[str, ...] = ()


@dataclass(slots=True)
class Story:
    """What happened."""

    current: dict[str, str] = field(default_factory=dict)  # item -> the name of its last submission
    sent_at: dict[str, float] = field(default_factory=dict)  # name -> unix seconds
    blows: Counter[str] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)
    drills: list[Drilled] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    resubmitted: int = 0
    seconds: float = 0.0


class Run:
    """See the module's docstring."""

    def __init__(
        self,
        plan: Plan,
        service: Service,
        server: QueueServer,
        proxy: Proxy,
        tell: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._service = service
        self._server = server
        self._proxy = proxy
        self._results = server.results
        self._tell = tell
        self.story = Story()
        self.observer = Observer(service)
        self._queue_up = threading.Event()
        self._queue_up.set()
        self._ended = threading.Event()
        self._fed = threading.Event()
        self._feeding: BaseException | None = None
        self._gate = len(plan.items)  # so many may be submitted now
        self._blows: Iterator[Blow] = iter(plan.blows)
        self._next: Blow | None = next(self._blows, None)
        self._due = 0.0
        self._stopped: list[tuple[float, psutil.Process | None, str, float]] = []
        self._last_hit: dict[str, float] = {}
        self._poisoned: dict[int, int] = {}  # row -> which try was killed last
        self._poison_left = any(item.kind is Kind.POISON for item in plan.items)
        self.workers_seen: set[int] = set()
        # Of other tests of this session, whose jails may be open.
        self._others = {process.pid for process in psutil.Process().children(recursive=True)}

    # -- the whole -------------------------------------------------------------------------------------------

    def go(self, limit_s: float) -> Story:
        """Run the plan.

        Raises:
            Failed: it does not come to an end.
        """
        began = time.monotonic()
        deadline = began + limit_s
        self._service.start()
        self.observer.start()
        drills = list(self._plan.drills)
        self._gate = drills[0].at if drills else len(self._plan.items)
        feeder = threading.Thread(target=self._feed)
        feeder.start()
        try:
            self._proxy.spoil(True)
            self._due = time.monotonic() + 1.0
            told, moved, arrived = time.monotonic(), time.monotonic(), 0
            while not self._all_there():
                self._tick()
                now = time.monotonic()
                if self._feeding is not None:
                    raise Failed(f"the feeder failed: {self._feeding!r}")
                if self._results.arrived > arrived:
                    arrived, moved = self._results.arrived, now
                if now > deadline or now - moved > 240:
                    raise Failed(
                        f"{arrived} of {len(self._plan.items)} results after {now - began:.0f} s,"
                        f" the last {now - moved:.0f} s ago"
                    )
                if now - told > 10:
                    told = now
                    self._tell(f"{now - began:4.0f} s: {arrived} results, blows {dict(self.story.blows)}")
                if drills and len(self.story.current) >= drills[0].at and self._answered():
                    self._drill(drills.pop(0), drills[0].at if drills else len(self._plan.items))
                    moved = time.monotonic()
            self._proxy.spoil(False)
            if not self._patiently(self._all_closed, 240):
                self.story.violations.append("the journal has open rows four minutes after the last result")
            self.story.seconds = time.monotonic() - began
            self._calm()
            self._leave_nothing()
        finally:
            self._ended.set()
            self._queue_up.set()
            feeder.join(30)
            with contextlib.suppress(psutil.Error, OSError):
                self._let_go(everything=True)
            self.observer.stop()
        self.story.violations += self.observer.violations
        return self.story

    def _feed(self) -> None:
        try:
            for number, item in enumerate(self._plan.items):
                while number >= self._gate or number - self._results.arrived >= AHEAD:
                    if self._ended.wait(0.05):
                        return
                self._submit(item)
            self._fed.set()
        except BaseException as error:
            self._feeding = error

    def _submit(self, item: Item) -> None:
        while not self._ended.is_set():
            self._queue_up.wait(60)
            try:
                name = self._server.submit(item)
            except (QueueError, OSError):
                self.story.resubmitted += 1
                self._ended.wait(0.2)
                continue
            self.story.sent_at[name] = time.time()
            self.story.current[item.key] = name
            return

    def _all_there(self) -> bool:
        return self._fed.is_set() and self._answered()

    def _answered(self) -> bool:
        return set(self.story.current.values()) <= self._results.keys()

    def _all_closed(self) -> bool:
        with contextlib.suppress(Unavailable):
            return not self._service.rows("id", "closed_at IS NULL")
        return False

    # -- the storm -------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """One look at what is due."""
        until(lambda: False, TICK_S, TICK_S)
        self._let_go()
        if self._poison_left:
            self._poison()
        if self._next is not None and time.monotonic() >= self._due and self._may_strike(self._next):
            blow, self._next = self._next, next(self._blows, None)
            if self._next is not None:
                self._due = time.monotonic() + self._next.wait_s
            self._strike(blow)

    def _may_strike(self, blow: Blow) -> bool:
        """Nobody loses his last attempts by a blow: what is killed at all of them is a dead letter."""
        if blow.target is Target.QUEUE:
            return True
        waiting = sum(stop_s == float("inf") for _, _, _, stop_s in self._stopped)
        try:
            rows = self._service.rows("student_key, attempts", "state = 'RECEIVED' AND closed_at IS NULL")
        except Unavailable:
            return False
        mine = [row["attempts"] for row in rows if not self._is_poison(row["student_key"])]
        return all(attempts + waiting < MAX_ATTEMPTS - 1 for attempts in mine)

    def _is_poison(self, key: str) -> bool:
        return key.startswith(Kind.POISON)

    def _strike(self, blow: Blow) -> None:
        if blow.target is Target.QUEUE:
            self._strike_queue(blow)
            return
        victim = self._choose(blow)
        if victim is None:
            self.story.blows["nobody there"] += 1
            return
        now = time.time()
        everybody = self._everybody() if victim.target is Target.SUPERVISOR else []
        number = signal.SIGKILL if blow.stop_s is None else signal.SIGSTOP
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.process.send_signal(number)
        self._last_hit[victim.slot] = time.monotonic()
        how = "kill" if blow.stop_s is None else ("stop" if blow.stop_s < float("inf") else "stop for ever")
        self.story.blows[f"{how} {victim.target}"] += 1
        until_ = now + 2.0 + (0.0 if blow.stop_s is None else min(blow.stop_s, HANG_S))
        self.story.hits.append(Hit(now, until_, f"{how} {victim.target} {victim.slot}"))
        if blow.stop_s is None:
            if victim.target is Target.SUPERVISOR:
                self._restart(everybody)
            return
        stop_s = blow.stop_s
        if victim.target is Target.SUPERVISOR and stop_s == float("inf"):
            stop_s = WATCHDOG_S
        self._stopped.append((time.monotonic() + stop_s, victim.process, how, stop_s))

    def _choose(self, blow: Blow) -> Found | None:
        """One of the blow's kind, if there is one now or soon: a child lives for milliseconds."""
        patience = time.monotonic() + 0.4
        while True:
            found = below(self._service.pid)[blow.target]
            self.workers_seen.update(f.process.pid for f in found if f.target is Target.WORKER)
            now = time.monotonic()
            fit = [f for f in found if f.slot == "" or now - self._last_hit.get(f.slot, -99.0) > RESPITE_S]
            if blow.stop_s is not None and blow.target is Target.ZYGOTE:
                # One that is stopped before it could say that it dies with its worker, does not.
                fit = [f for f in fit if f.age_s > GROWN_S]
            if fit:
                return fit[int(blow.draw * len(fit))]
            if now > patience:
                return None

    def _everybody(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self._service.pid).children(recursive=True)
        return []

    def _restart(self, orphans: list[psutil.Process]) -> None:
        """The supervisor was killed: nothing of it may live on; then it is started as systemd would."""
        self._service.kill()
        if not until(lambda: all(map(gone, orphans)), ORPHANS_S, 0.02):
            left = [str(process) for process in orphans if not gone(process)]
            self.story.violations.append(f"{ORPHANS_S} s after the supervisor's death these live: {left}")
        self._stopped = [s for s in self._stopped if s[1] is None]
        self._service.start()

    def _strike_queue(self, blow: Blow) -> None:
        if blow.stop_s is None:
            self.story.blows["kill queue"] += 1
            self._queue_up.clear()
            self._server.kill()
            until(lambda: False, 0.2 + blow.draw, 0.05)
            self._server.start()
            self._queue_up.set()
            return
        self.story.blows["stop queue"] += 1
        self._server.signal(signal.SIGSTOP)
        self._stopped.append((time.monotonic() + min(blow.stop_s, 5.0), None, "queue", blow.stop_s))

    def _let_go(self, everything: bool = False) -> None:
        """SIGCONT to whom it is due; the watchdog's kill to a supervisor that would not come back."""
        now = time.monotonic()
        keep = []
        for due, process, how, stop_s in self._stopped:
            if due > now and not everything:
                if process is None or not gone(process):
                    keep.append((due, process, how, stop_s))
                continue
            if process is None:
                self._server.signal(signal.SIGCONT)
                continue
            if how == "stop for ever" and process.pid == self._service.pid and not everything:
                everybody = self._everybody()
                self._stopped = [s for s in self._stopped if s[1] is not process]
                self._restart(everybody)
                return
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        self._stopped = keep

    def _poison(self) -> None:
        """Kill whoever grades a poisoned submission, once for each of its attempts."""
        with contextlib.suppress(Unavailable):
            rows = self._service.rows(
                "id, student_key, attempts + interruptions AS tries, owner",
                "state = 'RECEIVED' AND closed_at IS NULL",
            )
            for row in rows:
                if not self._is_poison(row["student_key"]) or row["owner"] is None:
                    continue
                if self._poisoned.get(row["id"], 0) >= row["tries"]:
                    continue
                slot = row["owner"].partition("#")[0]
                for found in below(self._service.pid)[Target.WORKER]:
                    if found.slot == slot:
                        now = time.time()
                        self._poisoned[row["id"]] = row["tries"]
                        self.story.blows["kill worker of a poison"] += 1
                        self.story.hits.append(Hit(now, now + 2.0, f"poison {slot}"))
                        with contextlib.suppress(psutil.NoSuchProcess):
                            found.process.kill()

    # -- drills ----------------------------------------------------------------------------------------------

    def _calm(self) -> None:
        """No faults, nobody stopped, and wait until the service is well.

        Raises:
            Failed: it does not get well.
        """
        self._proxy.spoil(False)
        since = time.time() + 0.5  # what was written before the last blow is worth nothing

        def well() -> bool:
            seen = sample(self._service)
            return _well(seen) and seen.written_at > since

        if not self._patiently(well, WELL_S):
            raise Failed(f"not well {WELL_S:.0f} s after the last blow: {sample(self._service)}")

    def _patiently(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it came true in time; meanwhile the stopped are let go, and poison kills."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            until(lambda: False, 0.1, 0.05)
            self._let_go()
            if self._poison_left:
                self._poison()
        return True

    def _drill(self, drill: Drill, gate: int) -> None:
        """Break it, see that it is told and by which name, mend it. Meanwhile items up to `gate` come in."""
        if drill.trouble is Trouble.DISK_FULL and not self._service.small_disk:
            self._tell("no drill with a full disk: only root can mount a small one")
            self._gate = gate
            return
        self._calm()
        cause = CAUSES[drill.trouble]
        self._tell(f"drill: {drill.trouble} for {drill.hold_s:.0f} s")
        wrong: list[str] = []
        broke = time.time()
        self._gate = gate
        mend = self._break(drill.trouble)
        named = self._first(broke, drill.hold_s, lambda seen: cause in seen.causes)
        red = self._first(broke, drill.hold_s, lambda seen: _red(seen, cause))
        self._patiently(lambda: time.time() >= broke + drill.hold_s, drill.hold_s + 1)
        usual = self._first(broke, 0.0, lambda seen: seen.usual is not Level.OK)
        if drill.hold_s > MINUTE_S and (usual is None or usual.at > broke + MINUTE_S):
            wrong.append(f"health was not red within a minute: {usual}")
        if named is None:
            wrong.append(f"the status never said {cause}")
        else:
            lapses = [
                s for s in self.observer.samples if named.at < s.at < time.time() and cause not in s.causes
            ]
            if lapses:
                wrong.append(f"{len(lapses)} times the status did not say {cause}: {lapses[0]}")
        if red is None:
            said = Counter(s.text[:300] for s in self.observer.samples if s.at > broke)
            wrong.append(f"health never said {cause}, but {dict(said)}")
        mended = time.time()
        mend()
        if drill.trouble is Trouble.DISK_FULL:  # a result that cannot be stored is made again
            self.story.hits.append(Hit(broke, mended + 5.0, drill.trouble))
        green = self._first(mended, WELL_S, _well)
        if green is None:
            wrong.append(f"not well {WELL_S:.0f} s after it was mended: {sample(self._service)}")
        self.story.drills.append(
            Drilled(
                drill.trouble,
                drill.hold_s,
                cause,
                named.at - broke if named else float("nan"),
                red.at - broke if red else float("nan"),
                usual.at - broke if usual else float("nan"),
                green.at - mended if green else float("nan"),
                tuple(wrong),
            )
        )
        self._tell(str(self.story.drills[-1]))
        self._proxy.spoil(True)
        self._due = time.monotonic() + 1.0

    def _first(self, since: float, timeout_s: float, condition: Callable[[Sample], bool]) -> Sample | None:
        """The first sample after `since` for which it is so."""
        found: list[Sample] = []

        def look() -> bool:
            found.extend(s for s in self.observer.samples[-400:] if s.at > since and condition(s))
            return bool(found)

        return found[0] if self._patiently(look, timeout_s) else None

    def _break(self, trouble: Trouble) -> Callable[[], None]:
        """Break it; returns what mends it."""
        match trouble:
            case Trouble.REFUSED:
                self._proxy.close()
                return self._proxy.open
            case Trouble.QUEUE_KILLED:
                self._queue_up.clear()
                self._server.kill()

                def revive() -> None:
                    self._server.start()
                    self._queue_up.set()

                return revive
            case Trouble.QUEUE_HANGS:
                self._queue_up.clear()
                self._server.signal(signal.SIGSTOP)

                def go_on() -> None:
                    self._server.signal(signal.SIGCONT)
                    self._queue_up.set()

                return go_on
            case Trouble.PASSWORD:
                self._set_password("another " + self._server.password)
                return lambda: self._set_password(self._server.password)
            case Trouble.DISK_FULL:
                return _fill(self._service.state_dir)

    def _set_password(self, password: str) -> None:
        self._queue_up.clear()
        self._server.set_password(password)
        if password == self._server.password:  # the LMS has the right one, too
            self._queue_up.set()

    # -- the end ---------------------------------------------------------------------------------------------

    def _leave_nothing(self) -> None:
        """Drain, and look for what is left of the service on this machine."""
        left = self.story.violations
        everybody = self._everybody()
        if code := self._service.drain():
            left.append(f"the drain ended with {code}")
        if not until(lambda: all(map(gone, everybody)), 2.0):
            left.append(f"processes left: {[str(p) for p in everybody if not gone(p)]}")
        servers = self._server.pids()
        others = [
            str(process)
            for process in psutil.Process().children(recursive=True)
            if not gone(process) and process.pid not in servers | self._others and _is_ours(process)
        ]
        if others:
            left.append(f"orphans left: {others}")
        if found := [str(path) for path in self._service.tmp.iterdir()]:
            left.append(f"temporary files left: {found[:5]}")
        groups = [
            str(path)
            for pid in self.workers_seen
            for path in Path("/sys/fs/cgroup").glob(f"**/warden-{pid}-*")
        ]
        if groups:
            left.append(f"control groups left: {groups[:5]}")
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        if found := [line for line in mounts if str(self._service.tmp) in line]:
            left.append(f"mounts left: {found[:5]}")


def _is_ours(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        words = " ".join(process.cmdline())
        return "warden" in words or "sandbox" in words or "supervisor" in words
    return False


def _red(seen: Sample, cause: str) -> bool:
    return seen.level is not Level.OK and cause in seen.text


def _well(seen: Sample) -> bool:
    return seen.running and not seen.causes and seen.level is Level.OK


def _fill(folder: Path) -> Callable[[], None]:
    """Use up the disk under `folder`; returns what frees it again."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0")
    return ballast.unlink


__all__ = ["Broken", "Failed", "Run", "Story"]
