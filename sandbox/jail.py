"""The jail as the worker sees it: give it a task, get the outcome.

Runs in: worker (and tools). The only module that other packages import, besides `model`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from sandbox import cgroup, interpreter, mounts, reduced, seccomp, selftest, wire
from sandbox.child import PROGRAM_END
from sandbox.line import Line, Order
from sandbox.model import (
    Bundle,
    Isolation,
    Limits,
    Outcome,
    OutcomeKind,
    Profile,
    SandboxError,
    SandboxUnavailable,
    Task,
    Usage,
)
from sandbox.namespaces import LAYERS as NAMESPACE_LAYERS
from sandbox.outcome import Facts, classify
from sandbox.resident import MOST_CPU_S, MOST_RESIDENTS, RESIDENT_KIB, Residents
from sandbox.watch import Seen, Watch, split_report

MIB = 1024 * 1024
NO_LIMIT = -1
START_S = 30.0
LAY_OUT_S = 30.0
THREADS_S = 2.0
"""How long a preloaded module may take to end the threads that it started."""
LAST_WORDS_S = 1.0
BUNDLES_KEPT = 64
BUNDLES_KEPT_BYTES = 32 * 1024 * 1024
"""Bundles lie in the jail's memory; what ZYGOTE_MIB leaves to them."""
ZYGOTE_MIB = 64
"""What a jail's control group may hold besides the task's memory: the zygote, page tables, kernel memory."""
PLAIN_MIB = 12
"""As much of that is a zygote with nothing but the standard library; one with more gets more."""
RESIDENT_MIB = RESIDENT_KIB // 1024 + 4
"""And for each resident: what it may grow by before it is ended, and what it is born with."""
UID_BASE = 900_000
UID_SPAN = 50_000

REQUIRED: dict[Isolation, frozenset[str]] = {
    Isolation.FULL: frozenset(
        {*NAMESPACE_LAYERS, "private-root", "rlimits", "no-new-privs", "seccomp"} - {"cgroup-ns"}
    ),
    Isolation.REDUCED: frozenset({"landlock", "subreaper", "rlimits", "no-new-privs", "seccomp"}),
}
"""Layers without which a tier is not that tier. More are used where the machine has them."""


class Jail:
    """A warm zygote in its namespaces. Opens on first use, opens again after it died.

    `slot` tells the jails of one host apart: as root, each slot's learner code has a uid of its own.
    `part` tells apart the jails that one process has for one slot. `best` is the most isolation to be tried:
    a machine that can give `full` shows `reduced` only to those who ask for no more.
    Not for use from two threads at once.
    """

    def __init__(
        self, profile: Profile, slot: int = 0, part: str = "", best: Isolation = Isolation.FULL
    ) -> None:
        self.profile = profile
        self.slot = slot
        self.part = part
        self.best = best
        self.isolation = best
        self.layers: tuple[str, ...] = ()
        self.version = ""
        self.pid = 0
        self._line: Line | None = None
        self._pidfd = -1
        self._launcher: subprocess.Popen[bytes] | None = None
        self._group: cgroup.Group | None = None
        self._home = ""
        self._address_space = 0
        self._warm_mib = 0
        self._residents: Residents | None = None
        self._known: OrderedDict[str, int] = OrderedDict()  # digest -> bytes, the least recently used first
        self._counted = cgroup.Counters()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- life --------------------------------------------------------

    def open(self) -> None:
        """Launch the zygote and wait until it is warm. Does nothing if it is.

        Raises:
            SandboxUnavailable: this machine cannot give what the profile requires; says what and why.
            SandboxError: the launch failed for another reason.
        """
        if self._line is not None:
            return
        if self.best is Isolation.FULL:
            try:
                self._open(Isolation.FULL)
            except SandboxUnavailable as error:
                # A layer that is there and does not hold is no reason to go on with less.
                if self.profile.require is Isolation.FULL or isinstance(error, selftest.LayerBroken):
                    raise
            else:
                return
        elif self.profile.require is Isolation.FULL:
            raise SandboxUnavailable("full isolation is required, and was not to be tried")
        self._open(Isolation.REDUCED)

    def _open(self, isolation: Isolation) -> None:
        python = interpreter.examine(self.profile.interpreter)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                launcher = self._launcher = _start_launcher(theirs)
            line = self._line = Line(ours)
            self._group = cgroup.make(self.slot, self.part)
            if self._group:
                self._group.join(launcher.pid)
            line.tell(
                {
                    "reduced": isolation is Isolation.REDUCED,
                    "folder": tempfile.gettempdir(),
                    "programs": self.profile.programs,
                    "interpreter": python.executable,
                    "shown": self._shown(python),
                    "uid": UID_BASE + self.slot % UID_SPAN,
                    "gid": UID_BASE + self.slot % UID_SPAN,
                }
            )
            if isolation is Isolation.FULL:
                filters = _filters(self._variant(isolation, 0))  # takes as long as the launcher: meanwhile
            head = line.hear(START_S)
            if "pid" not in head:
                raise _launch_error(head, isolation)
            if isolation is Isolation.REDUCED:
                filters = _filters(self._variant(isolation, int(head["abi"])))
            self.pid = int(head["pid"])
            self._home = head["ground"]["home"] if head["ground"] else ""
            self._pidfd = os.pidfd_open(self.pid)
            layers = [str(layer) for layer in head["layers"]]
            landlock = any(layer.startswith("landlock") for layer in layers)
            if self._group:
                layers += self._group.layers
            missing = REQUIRED[isolation] - set(layers) - ({"landlock"} if landlock else set())
            if missing:
                raise SandboxUnavailable(f"missing layers: {', '.join(sorted(missing))}")
            start = {
                "preload": list(self.profile.preload),
                "landlock": landlock,
                "programs": self.profile.programs,
                "environment": dict(self.profile.environment),
                "ground": head["ground"],
                "filters": [len(one) for one in filters],
            }
            line.tell(start, filters)
            head = line.hear(START_S)
            if "ready" not in head:
                raise SandboxError(str(head.get("error", head)))
            _one_thread(self.pid)
            self.isolation = isolation
            self.layers = tuple(layers)
            self.version = str(head["version"])
            self._address_space = _address_space_bytes(self.pid)
            self._warm_mib = _anonymous_mib(self.pid)
            self._counted = self._group.counters() if self._group else cgroup.Counters()
            self._residents = Residents(line, lambda task: line.fork(self._order(task), b""))
            selftest.run(self.run, isolation, self.layers, self.pid, self.profile.programs)
        except (OSError, wire.WireError) as error:
            said = self._last_words()
            self.close()
            ours.close()
            raise SandboxError(said or f"the jail could not be opened: {error}") from error
        except BaseException:
            self.close()
            ours.close()
            raise
        if isolation is Isolation.FULL:
            _reap(launcher)
            self._launcher = None

    def _variant(self, isolation: Isolation, abi: int) -> seccomp.Variant:
        profile = self.profile
        return seccomp.Variant(profile.programs, profile.address_space, isolation is Isolation.REDUCED, abi)

    def close(self) -> None:
        """Kill the zygote, and with it everything in the jail; returns when all of it is dead."""
        if self._residents is not None:
            self._residents.drop()
            self._residents = None
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._launcher is not None:  # of a reduced jail: it sweeps, and clears the folder away
            _reap(self._launcher)
            if not self.pid:
                _reap_unknown(self._launcher.pid)
            self._launcher = None
        if self._home:
            with contextlib.suppress(OSError):  # then a later start will
                reduced.clear_away(self._home)
            self._home = ""
        if self._group is not None:
            self._group.remove()
            self._group = None
        self.pid = 0
        self._known.clear()

    # -- tasks -------------------------------------------------------

    def run(self, task: Task) -> Outcome:
        """Run one task in a fresh child and return when it and all its descendants are dead.

        A resident task may be done by the child of an earlier one, which lives on.

        Raises:
            SandboxUnavailable: see open().
            SandboxError: the child ran nothing, or the zygote was lost; the next task opens a new one.
        """
        if self._pidfd >= 0 and _has_ended(self._pidfd):  # somebody killed the zygote while nothing ran in it
            self.close()
        self.open()
        line, residents = self._line, self._residents
        assert line is not None and residents is not None  # noqa: S101 - open
        try:
            residents.end_idle(time.monotonic())
            self._show(line, residents, task.bundle)
            if self._group:
                # Residents take nothing from what the task may use.
                limits = task.limits
                mib = limits.memory_mib + limits.scratch_mib + ZYGOTE_MIB + len(residents) * RESIDENT_MIB
                # A heavy zygote's own pages, and the copies that each child may come to make of them.
                mib += (2 + len(residents)) * max(0, self._warm_mib - PLAIN_MIB)
                self._group.limit(mib * MIB, limits.processes + 1 + len(residents))
            files: Mapping[str, bytes] | None = {}
            if task.resident and self.isolation is Isolation.FULL:
                seen = residents.run(task)
            else:
                child = line.fork(self._order(task), task.request)
                try:
                    seen = Watch(line, child, task.limits).until_dead()
                finally:
                    child.close()
                if task.collect:
                    files = self._collect(line, task)
        except (OSError, wire.WireError, SandboxError) as error:
            return self._lost(task.limits, str(error))
        return self._outcome(seen, task, files)

    def _order(self, task: Task) -> Order:
        """The child that this task needs."""
        limits = task.limits
        # A program has a process above it that waits for it.
        processes = limits.processes + (1 if self.profile.programs else 0)
        # With a pids group its own limit shall bite first, as it counts failures; the rlimit stays behind it.
        counted = self._group is not None and self._group.pids is not None
        held = MOST_RESIDENTS if task.resident else len(self._residents or ())  # they have the same user
        memory = self._address_space + limits.memory_mib * MIB
        # A program that is refused memory says so in its own way, or not at all; the control group says it in
        # one that can be told apart. So where there is one it alone counts what programs use.
        grouped = self.profile.programs and self._group is not None and self._group.memory is not None
        rlimits = (
            int(limits.cpu_s) + 2 + (MOST_CPU_S if task.resident else 0),
            memory if self.profile.address_space and not grouped else NO_LIMIT,
            NO_LIMIT if grouped else memory,
            limits.scratch_mib * MIB,
            processes + (8 if counted else 1) + held,
            limits.open_files,
            limits.stack_mib * MIB,
        )
        return Order(
            rlimits=rlimits,
            scratch_bytes=limits.scratch_mib * MIB,
            scratch_files=limits.scratch_files,
            processes=processes,
            cpu_s=limits.cpu_s,
            entry=task.entry,
            bundle=task.bundle.digest if task.bundle else "",
            command=task.command,
            resident=task.resident and self.isolation is Isolation.FULL,
            collect=bool(task.collect),
        )

    def _show(self, line: Line, residents: Residents, bundle: Bundle | None) -> None:
        """Have the zygote lay out the bundle unless it has it, and delete the least recently used ones."""
        if bundle is None:
            return
        size = sum(map(len, bundle.files.values()))
        if bundle.digest not in self._known:
            gone = []
            while self._known and (
                len(self._known) >= BUNDLES_KEPT or sum(self._known.values()) + size > BUNDLES_KEPT_BYTES
            ):
                gone.append(self._known.popitem(last=False)[0])
            for digest in gone:
                residents.forget(digest)
            names = sorted(bundle.files)
            order = {
                "order": "bundle",
                "forget": gone,
                "digest": bundle.digest,
                "names": names,
                "sizes": [len(bundle.files[name]) for name in names],
            }
            line.tell(order, [bundle.files[name] for name in names])
            head = line.hear(LAY_OUT_S)
            if "error" in head:
                raise SandboxError(str(head["error"]))
        self._known[bundle.digest] = size
        self._known.move_to_end(bundle.digest)

    def _collect(self, line: Line, task: Task) -> Mapping[str, bytes] | None:
        """The files that the last child left; None if they are more than may be."""
        line.tell(
            {
                "order": "collect",
                "patterns": list(task.collect),
                "bytes": task.limits.report_kib * 1024,
                "files": task.limits.scratch_files,
            }
        )
        head, fds = line.hear_with(LAY_OUT_S)
        try:
            if "error" in head:
                raise SandboxError(str(head["error"]))
            if "too_much" in head:
                return None
            contents = wire.content(fds[0], sum(map(int, head["sizes"])))
        finally:
            for fd in fds:
                os.close(fd)
        files = {}
        offset = 0
        for name, size in zip(head["names"], head["sizes"], strict=True):
            files[str(name)] = contents[offset : offset + size]
            offset += size
        return files

    def _outcome(self, seen: Seen, task: Task, files: Mapping[str, bytes] | None) -> Outcome:
        failure, report = split_report(seen.raw)
        if failure is not None and not seen.killed:
            self.close()  # whatever state it is in, a fresh one is known
            raise SandboxError(f"lock-down: {failure}")
        limits = task.limits
        counters = self._count()
        facts = Facts(
            killed=seen.killed or ("files" if files is None else ""),
            exit_code=seen.exit_code,
            signal=seen.signal,
            cpu_s=seen.cpu_s,
            complete=report is not None,
            scratch_full=seen.scratch_full,
            oom_kills=counters.oom_kills,
            fork_failures=counters.fork_failures,
            refaulted_bytes=counters.refaulted_bytes,
        )
        peak = seen.peak_bytes
        if task.command:
            facts, peak = _facts_of_program(facts, report, peak)
        kind, detail = classify(facts, limits)
        if kind is OutcomeKind.SIGNAL and facts.signal == signal.SIGKILL and not task.command:
            # Process 1 of a namespace cannot be killed from inside it, and neither the zygote nor the limits
            # nor the control group did it: somebody on the host did. Not the learner's fault.
            raise SandboxError("the child was killed from outside")
        return Outcome(
            kind=kind,
            report=report if facts.complete and not task.command else None,
            stdout=seen.stdout,
            stderr=seen.stderr,
            truncated=seen.truncated,
            exit_code=facts.exit_code,
            signal=facts.signal,
            usage=Usage(seen.wall_s, facts.cpu_s, peak),
            isolation=self.layers,
            detail=detail,
            files=files or {},
        )

    def _count(self) -> cgroup.Counters:
        """What the control group counted since the last look."""
        if self._group is None:
            return cgroup.Counters()
        last, self._counted = self._counted, self._group.counters()
        return self._counted - last

    def _lost(self, limits: Limits, reason: str) -> Outcome:
        """The zygote did not answer. If the kernel killed it for the jail's memory, the task was too big."""
        kills = 0
        with contextlib.suppress(OSError):
            kills = self._count().oom_kills
        layers = self.layers
        self.close()
        if kills:
            kind, detail = classify(Facts(oom_kills=kills), limits)
            return Outcome(kind, isolation=layers, detail=detail)
        raise SandboxError(f"the jail is lost: {reason}")

    def _last_words(self) -> str:
        """What the other side said before it went away, when talking to it failed."""
        with contextlib.suppress(OSError, wire.WireError, SandboxError):
            if self._line is not None:
                return str(self._line.hear(LAST_WORDS_S).get("error", ""))
        return ""

    def _shown(self, python: interpreter.Interpreter) -> list[tuple[str, str, bool]]:
        """(host path, path in the jail, whether to copy it) of what this profile needs to see."""
        here = Path(__file__).parent
        modules = {f"sandbox/{name}": here / name for name in IN_JAIL}
        for name, path in self.profile.library.items():
            modules[name if path.is_dir() else f"{name}.py"] = path.resolve()
        copied = [(str(path), f"{mounts.LIBRARY}/{name}", True) for name, path in modules.items()]
        for wanted in self.profile.show:
            if not Path(wanted).exists():
                raise SandboxUnavailable(f"{wanted}: not there, but a program's jail shall show it")
        return [(path, path, False) for path in (*python.paths, *self.profile.show)] + copied


IN_JAIL = (
    "__init__.py",
    "canary.py",
    "child.py",
    "kernel.py",
    "reduced.py",
    "wire.py",
    "zygote.py",
)
"""The modules of this package that run inside: standard library only."""


def _start_launcher(control: socket.socket) -> subprocess.Popen[bytes]:
    """Execute sandbox.launch in a new process with nothing of ours but the socket, at descriptor 3."""
    code = (
        "import os, sys; fd = int(sys.argv[1]); fd == 3 or (os.dup2(fd, 3), os.close(fd)); "
        "from sandbox.launch import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", code, str(control.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[control.fileno()],
        env={"LANG": "C.UTF-8"},
    )


def _facts_of_program(facts: Facts, report: bytes | None, peak: int) -> tuple[Facts, int]:
    """What the process above the program reported of its end; without one, the program was the process."""
    if report is None:
        clean = facts.exit_code == 0 and not facts.killed
        return replace(facts, program=True, complete=clean), peak
    status, number, peak_kib, killed = PROGRAM_END.unpack(report)
    signalled = os.WIFSIGNALED(status)
    return replace(
        facts,
        program=True,
        killed=facts.killed or ("cpu" if killed else ""),
        exit_code=None if signalled or number else os.WEXITSTATUS(status),
        signal=os.WTERMSIG(status) if signalled else None,
        complete=not number,
        errno=number,
    ), peak_kib * 1024


def prepare(programs: bool = False) -> None:
    """Make what is dear and the same for all jails, or all of programs: once, before workers are forked, who
    then share its pages. What cannot be made is told by the jail that needs it.
    """
    with contextlib.suppress(SandboxUnavailable):
        interpreter.examine("")
    for address_space in (True, False) if programs else (True,):
        with contextlib.suppress(SandboxUnavailable):
            _filters(seccomp.Variant(programs, address_space))


def _filters(variant: seccomp.Variant) -> tuple[bytes, ...]:
    try:
        return seccomp.programs(variant)
    except OSError as error:
        raise SandboxUnavailable(f"seccomp: libseccomp cannot compile the filter: {error}") from None


def sweep() -> None:
    """Clear away what the jails of dead workers left: control groups, folders, processes.

    For a worker, before it opens its first jail.
    """
    cgroup.sweep()
    reduced.sweep_stale(tempfile.gettempdir(), range(UID_BASE, UID_BASE + UID_SPAN))


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _reap(launcher: subprocess.Popen[bytes]) -> None:
    try:
        launcher.wait(5)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()


def _reap_unknown(session: int) -> None:
    """A zygote of which the launcher could not tell: our child, in the launcher's session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-session, 0)


def _launch_error(head: dict[str, Any], isolation: Isolation) -> SandboxError:
    text = str(head.get("error", head))
    if head.get("errno") is not None:
        if "unshare" in text and head["errno"] in (errno.ENOSPC, errno.EPERM):  # the kernel's words mislead
            text += " (user namespaces are switched off, or refused to this user)"
        return SandboxUnavailable(
            f'isolation "{isolation.value}" is not to be had: {text}. `warden doctor` says which layer is '
            "missing and what to do"
        )
    return SandboxError(text)


def _one_thread(pid: int) -> None:
    """Wait until the zygote has one thread: a child gets no other, but the locks that others hold.

    Raises:
        SandboxUnavailable: a preloaded module keeps threads.
    """
    deadline = time.monotonic() + THREADS_S
    while (more := len(list(Path(f"/proc/{pid}/task").iterdir())) - 1) > 0:
        if time.monotonic() > deadline:
            raise SandboxUnavailable(f"the modules preloaded keep {more} threads; no fork survives that")
        select.select([], [], [], 0.005)


def _anonymous_mib(pid: int) -> int:
    """What the warm zygote keeps in memory that is no file: modules, and what they made."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) // 1024 + 1
    return 0


def _address_space_bytes(pid: int) -> int:
    """What the warm zygote maps already; a task's memory comes on top of it."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
