"""A real supervisor with small workers, as a process of its own: `-m tests.supervisor.stage FOLDER JSON`.

The arbiter forks and handles signals, so it does not run inside the test's process. The workers' mains below
keep to the channel's protocol (or break it on purpose) and write what they do to FOLDER/log, one line each.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from graders.model import Blame, Cause, Verdict
from supervisor import breaker, elastic, lock, log, notify, status
from supervisor.arbiter import Arbiter
from supervisor.backoff import Backoff
from supervisor.events import (
    Balked,
    Begun,
    Delivered,
    Graded,
    Inherit,
    Phase,
    Polled,
    Received,
    Trouble,
    next_order,
    send,
)
from supervisor.heartbeat import Voice
from supervisor.metrics import MetricsFile
from supervisor.pacer import Pace, Poll
from supervisor.pauses import Watch
from supervisor.plan import Change, NotReloaded, Plan, QueuePlan
from supervisor.recycling import Bounds
from supervisor.settings import LogStyle
from supervisor.slot import Policy
from supervisor.spawn import EXIT_JOURNAL, EXIT_UNAVAILABLE, Main, Seat
from supervisor.switchboard import Policies

ROOT = Path(__file__).parents[2]
CPUS = [*sorted(os.sched_getaffinity(0)), *sorted(os.sched_getaffinity(0))][:4]
"""The service thinks that it may use these: some of them twice on a small machine."""
POLICY = Policy(
    start_s=5.0,
    grace_s=0.3,
    answer_s=0.7,
    backoff=Backoff(first_s=0.05, ceiling_s=0.1),
    boot_deaths=3,
    half_open_s=60.0,
)
BURSTS = elastic.Policy(grow_s=0.05, yield_s=0.2, linger_s=0.6)
BREAKERS = Policies(
    problem=breaker.Policy(failures=3, pause=Backoff(0.3, 1.0), trial_s=1.0),
    queue=breaker.Policy(failures=4, pause=Backoff(2.0, 4.0), trial_s=math.inf),
    host=breaker.Policy(failures=4, units=2, pause=Backoff(0.3, 1.0), trial_s=1.0, again=Backoff(0.1, 0.1)),
)
PATIENCE_S = 20.0


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first truthy value of `condition`; an error that says `what` was waited for when it never comes."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s for: {what}")
        psutil.wait_procs([], timeout=0)
        signal.sigtimedwait([], 0.01)
    return value


def gone(process: psutil.Process) -> bool:
    """Dead, whether or not whoever inherited it has reaped it by now."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# -- workers ---------------------------------------------------------------------------------------------


def note(folder: Path, *words: object) -> None:
    with (folder / "log").open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def busy(folder: Path) -> Main:
    """Grades for 60 ms what is in FOLDER/QUEUE, a number of submissions; each of a learner of its own.

    What it grades stands in FOLDER/QUEUE.grader: its name, and what comes of it: fine, balk or die.
    """

    def main(seat: Seat, sock: socket.socket) -> int:
        voice = Voice(sock, time.monotonic)
        waiting = folder / seat.queue
        while not voice.draining:
            voice.say(Phase.IDLE, 5.0, wants_turn=True)
            voice.listen(4.0)
            if voice.holds_changed:
                voice.holds_changed = False
                note(folder, "holds", seat.slot, voice.holds.everything, *voice.holds.graders)
            if not voice.granted:
                continue
            voice.granted = False
            voice.say(Phase.POLL, 5.0)
            left = int(waiting.read_text()) if waiting.exists() else 0
            if not left:
                voice.happened(Polled(Poll.EMPTY))
                continue
            waiting.with_suffix(".new").write_text(str(left - 1))
            waiting.with_suffix(".new").rename(waiting)
            voice.happened(Polled(Poll.HIT))
            grader, what = (folder / f"{seat.queue}.grader").read_text().split()
            if grader in voice.holds.graders:
                note(folder, "held", seat.slot, grader)
                continue
            voice.happened(Begun(grader, str(left)))
            voice.say(Phase.GRADE, 5.0)
            note(folder, "grades", seat.slot, seat.cpu, time.monotonic_ns())
            signal.sigtimedwait([], 0.06)
            if what == "die":
                return 1
            if what == "balk":
                voice.happened(Balked(Cause.RESOURCE, "no memory"))
            else:
                voice.happened(Graded(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER, 0.06, 0.0, grader))
        note(folder, "home", seat.slot)
        return 0

    return main


def polite(folder: Path) -> Main:
    """Waits for grants, polls an empty queue for 20 ms, goes home when told."""

    def main(seat: Seat, sock: socket.socket) -> int:
        voice = Voice(sock, time.monotonic)
        while not voice.draining:
            voice.say(Phase.IDLE, 5.0, wants_turn=True)
            voice.listen(4.0)
            while voice.inherited:
                note(folder, "inherits", seat.slot, voice.inherited.pop()[0])
            if voice.granted:
                voice.granted = False
                voice.say(Phase.POLL, 5.0)
                note(folder, "poll", seat.slot, time.monotonic_ns(), "begin")
                signal.sigtimedwait([], 0.02)
                note(folder, "poll", seat.slot, time.monotonic_ns(), "end")
                voice.happened(Polled(Poll.HIT if "hit" in seat.queue else Poll.EMPTY))
        note(folder, "home", seat.slot)
        return 0

    return main


def tireless(folder: Path) -> Main:
    """Each poll brings a submission, graded in no time; says when it was born and when it goes home."""

    def main(seat: Seat, sock: socket.socket) -> int:
        voice, served = Voice(sock, time.monotonic), 0
        note(folder, "born", seat.slot, time.monotonic())
        while not voice.draining:
            voice.say(Phase.IDLE, 5.0, wants_turn=True)
            voice.listen(4.0)
            if voice.granted:
                voice.granted = False
                voice.happened(Polled(Poll.HIT), Received())
                voice.happened(Graded(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER, 0.0, 0.0), Delivered())
                served += 1
                signal.sigtimedwait([], 0.05)
        voice.say(Phase.IDLE, 5.0)
        note(folder, "served", seat.slot, served)
        note(folder, "home", seat.slot, time.monotonic())
        return 0

    return main


def crashing(folder: Path) -> Main:
    """Dies of an exception."""

    def main(seat: Seat, sock: socket.socket) -> int:
        note(folder, "crash", seat.slot)
        raise RuntimeError("a bug")

    return lambda seat, sock: main(seat, sock) if "bad" in seat.queue else polite(folder)(seat, sock)


def unable(folder: Path) -> Main:
    """Says that this machine cannot isolate."""

    def main(seat: Seat, sock: socket.socket) -> int:
        voice = Voice(sock, time.monotonic)
        voice.happened(Trouble(Cause.SANDBOX_UNAVAILABLE, "no user namespaces"))
        voice.say(Phase.START, 5.0)
        note(folder, "unable", seat.slot)
        return EXIT_UNAVAILABLE

    return main


def damaged(folder: Path) -> Main:
    """In a queue "bad" finds the journal damaged; in a queue "stubborn" never goes home; else is polite."""

    def main(seat: Seat, sock: socket.socket) -> int:
        if seat.queue != "bad":
            return (stubborn if seat.queue == "stubborn" else polite)(folder)(seat, sock)
        voice = Voice(sock, time.monotonic)
        voice.say(Phase.IDLE, 5.0, wants_turn=True)
        until(lambda: (folder / "damage").exists(), "the damage")
        note(folder, "damaged", seat.owner)
        voice.happened(Trouble(Cause.HOST, "it is malformed"))
        voice.say(Phase.IDLE, 5.0)
        return EXIT_JOURNAL

    return main


def stubborn(folder: Path) -> Main:
    """Never goes home."""

    def main(seat: Seat, sock: socket.socket) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        voice = Voice(sock, time.monotonic)
        while True:
            voice.say(Phase.GRADE, 5.0)
            signal.sigtimedwait([], 1.0)

    return main


def sluggish(folder: Path) -> Main:
    """Says that it starts, takes a second for it, then is polite."""

    def main(seat: Seat, sock: socket.socket) -> int:
        voice = Voice(sock, time.monotonic)
        voice.say(Phase.START, 2.0)
        note(folder, "starts", seat.slot, os.getpid())
        signal.sigtimedwait([], 1.0)
        return polite(folder)(seat, sock)

    return main


def greedy(folder: Path) -> Main:
    """Takes a grant and dies with it."""

    def main(seat: Seat, sock: socket.socket) -> int:
        voice = Voice(sock, time.monotonic)
        if not seat.slot.endswith(".0"):
            return polite(folder)(seat, sock)
        voice.say(Phase.IDLE, 5.0, wants_turn=True)
        until(lambda: voice.listen(1.0) or voice.granted, "a grant")
        voice.say(Phase.POLL, 5.0)
        note(folder, "greedy", seat.owner)
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    return main


def babbling(folder: Path) -> Main:
    """Sends what is no message."""

    def main(seat: Seat, sock: socket.socket) -> int:
        note(folder, "babble", seat.slot)
        sock.send(b'{"type": "word", "phase": 7}')
        while next_order(sock) is None:
            signal.sigtimedwait([], 0.1)
        send(sock, Inherit("x"))
        return 0

    return main


def curious(folder: Path) -> Main:
    """Writes down what it has of its parent: descriptors, signals, CPU, name, group."""

    def main(seat: Seat, sock: socket.socket) -> int:
        fds = sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        facts = {
            "fds": [
                fd for fd in fds if fd > 2 and fd != sock.fileno() and os.path.exists(f"/proc/self/fd/{fd}")
            ],
            "cpus": sorted(os.sched_getaffinity(0)),
            "cpu": seat.cpu,
            "title": Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode(),
            "group": os.getpgid(0) == os.getpid(),
            "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
            "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        }
        note(folder, "facts", json.dumps(facts))
        return polite(folder)(seat, sock)

    return main


MAINS: Mapping[str, Callable[[Path], Main]] = {
    main.__name__: main
    for main in (
        busy,
        polite,
        tireless,
        crashing,
        unable,
        damaged,
        stubborn,
        greedy,
        sluggish,
        babbling,
        curious,
    )
}


# -- the process -----------------------------------------------------------------------------------------


class Stage:
    """The running supervisor as a test sees it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process

    def status(self) -> status.Status | None:
        try:
            return status.read(self.folder / "status.json")
        except status.StatusUnreadable:
            return None

    def at_once(self) -> None:
        """Ask for a fresh document; it is there a moment later."""
        self.process.send_signal(signal.SIGUSR2)

    def slot(self, name: str) -> status.SlotStatus:
        """The slot as it is written now; a fresh document is asked for first."""
        self.at_once()
        found = self.status()
        assert found is not None
        return next(s for queue in found.queues.values() for s in queue.slots if s.id == name)

    def reload(self, **asked: Any) -> status.Reload:
        """SIGHUP with what is asked (see `perform`); the word of it in the status."""
        (self.folder / "reload").write_text(json.dumps(asked))
        since = time.time()
        self.process.send_signal(signal.SIGHUP)

        def told() -> status.Reload | None:
            found = self.status()
            return found.reload if found and found.reload and found.reload.at >= since - 0.001 else None

        reloaded = until(told, "the reload to be in the status")
        assert isinstance(reloaded, status.Reload)
        return reloaded

    def log(self, word: str) -> list[list[str]]:
        try:
            lines = (self.folder / "log").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line.split()[1:] for line in lines if line.split()[0] == word]

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def err(self) -> str:
        return (self.folder / "err").read_text()


@contextmanager
def stage(folder: Path, main: str, **options: Any) -> Iterator[Stage]:
    """A supervisor with workers of the kind `main`; killed at the end if it still runs."""
    with (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.supervisor.stage",
                str(folder),
                json.dumps({"main": main, **options}),
            ],
            cwd=ROOT,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield Stage(folder, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def plan(
    folder: Path, queues: Mapping[str, int | list[int]], drain_s: float = 3.0, submissions: int = 0
) -> Plan:
    """So many workers for each queue, or [least, most]; 0: its configuration is bad."""
    bounds = {name: given if isinstance(given, list) else [given, given] for name, given in queues.items()}
    return Plan(
        queues=tuple(
            QueuePlan(
                name,
                "s",
                least,
                most,
                pace=Pace(0.02, 0.1),
                refused="" if least else "no such folder",
            )
            for name, (least, most) in bounds.items()
        ),
        servers={"s": "http://127.0.0.1"},
        status_path=folder / "status.json",
        drain_s=drain_s,
        policy=POLICY,
        bursts=BURSTS,
        breakers=BREAKERS,
        recycling=Bounds(submissions=submissions),
    )


def perform(
    folder: Path,
    main: str,
    queues: Mapping[str, int | list[int]],
    drain_s: float = 3.0,
    submissions: int = 0,
    mends: bool = False,
) -> int:
    """Run the arbiter here, until it is drained, or if it `mends` until the journal is damaged."""

    def reloader() -> Change:
        """What FOLDER/reload says: {"queues": …, "renew": […]} or {"bad": […]}."""
        asked = json.loads((folder / "reload").read_text())
        if "bad" in asked:
            raise NotReloaded(asked["bad"])
        return Change(
            plan(folder, asked["queues"], drain_s), MAINS[main](folder), asked.get("renew", ()), "so"
        )

    with lock.hold(folder):
        ready = partial(note, folder, "ready")
        notifier = notify.from_environment()
        arbiter = Arbiter(
            plan(folder, queues, drain_s, submissions),
            MAINS[main](folder),
            on_ready=ready,
            notifier=notifier,
            observers=[MetricsFile(folder / "metrics.prom")],
            reloader=reloader,
            pauses=Watch(folder),
            cpus=CPUS,
            mend_from=-math.inf if mends else math.inf,
        )
        code = arbiter.run()
        if arbiter.damage:
            note(folder, "mend", arbiter.damage)
        return code


if __name__ == "__main__":
    log.set_up(LogStyle.JSON)
    try:
        sys.exit(perform(Path(sys.argv[1]), **json.loads(sys.argv[2])))
    except lock.AlreadyRunning as error:
        sys.exit(str(error))
