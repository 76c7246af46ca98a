"""The jail as the worker sees it: give it a task, get the outcome.

Runs in: worker (and tools). The only module that other packages import, besides `model`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, Self

from sandbox import cgroup, interpreter, mounts, seccomp, wire
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
from sandbox.zygote import RESIDENT_KIB

MIB = 1024 * 1024
START_S = 30.0
GRACE_S = 10.0
"""How long after the wall limit the zygote may take to answer: a busy host delays it."""
BUNDLES_KEPT = 64
ZYGOTE_MIB = 64
"""What a jail's control group may hold besides the task's memory: the zygote, page tables, kernel memory."""
RESIDENT_MIB = RESIDENT_KIB // 1024 + 4
"""And for each resident: what it may grow by before it is ended, and what it is born with."""
UID_BASE = 900_000
UID_SPAN = 50_000

REQUIRED: dict[Isolation, frozenset[str]] = {
    Isolation.FULL: frozenset(
        {*NAMESPACE_LAYERS, "private-root", "rlimits", "no-new-privs", "seccomp"} - {"cgroup-ns"}
    ),
}


class Jail:
    """A warm zygote in its namespaces. Opens on first use, opens again after it died.

    `slot` tells the jails of one host apart: as root, each slot's learner code has a uid of its own.
    `part` tells apart the jails that one process has for one slot.
    Not for use from two threads at once.
    """

    def __init__(self, profile: Profile, slot: int = 0, part: str = "") -> None:
        self.profile = profile
        self.slot = slot
        self.part = part
        self.layers: tuple[str, ...] = ()
        self.version = ""
        self.pid = 0
        self._control: socket.socket | None = None
        self._pidfd = -1
        self._group: cgroup.Group | None = None
        self._address_space = 0
        self._residents = 0
        self._known: OrderedDict[str, None] = OrderedDict()
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
        if self._control is not None:
            return
        python = interpreter.examine(self.profile.interpreter)
        ours, theirs = socket.socketpair()
        launcher = None
        try:
            with theirs:
                launcher = _start_launcher(theirs)
            self._control = ours
            self._group = cgroup.make(self.slot, self.part)
            if self._group:
                self._group.join(launcher.pid)
            self._send(
                {
                    "interpreter": python.executable,
                    "shown": self._shown(python),
                    "uid": UID_BASE + self.slot % UID_SPAN,
                    "gid": UID_BASE + self.slot % UID_SPAN,
                }
            )
            program = _filter()  # takes as long as the launcher: meanwhile
            head, _ = self._receive(START_S)
            if "pid" not in head:
                raise _launch_error(head)
            self.pid = int(head["pid"])
            self._pidfd = os.pidfd_open(self.pid)
            layers = [str(layer) for layer in head["layers"]]
            landlock = any(layer.startswith("landlock") for layer in layers)
            if self._group:
                layers += self._group.layers
            missing = REQUIRED[self.profile.require] - set(layers)
            if missing:
                raise SandboxUnavailable(f"missing layers: {', '.join(sorted(missing))}")
            self._send({"preload": list(self.profile.preload), "landlock": landlock}, [program])
            head, _ = self._receive(START_S)
            if "ready" not in head:
                raise SandboxError(str(head.get("error", head)))
            self.layers = tuple(layers)
            self.version = str(head["version"])
            self._address_space = _address_space_bytes(self.pid)
            self._counted = self._group.counters() if self._group else cgroup.Counters()
        except BaseException:
            self.close()
            ours.close()
            raise
        finally:
            if launcher is not None:
                _reap(launcher)

    def close(self) -> None:
        """Kill the zygote, and with it everything in the jail; returns when all of it is dead."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._group is not None:
            self._group.remove()
            self._group = None
        self.pid = 0
        self._residents = 0
        self._known.clear()

    # -- tasks -------------------------------------------------------

    def run(self, task: Task) -> Outcome:
        """Run one task in a fresh child and return when it and all its descendants are dead.

        A resident task may be done by the child of an earlier one, which lives on.

        Raises:
            SandboxUnavailable: see open().
            SandboxError: the child ran nothing, or the zygote was lost; the next task opens a new one.
        """
        self.open()
        limits = task.limits
        head: dict[str, object] = {
            "entry": task.entry,
            "limits": self._numbers(limits),
            "forget": self._forget(task.bundle),
        }
        # A resident that gives up is replaced by a fresh one, which has the limits again.
        patience_s = limits.wall_s + GRACE_S
        if task.resident:
            head["resident"] = True
            patience_s += limits.wall_s
        parts = [task.request]
        if task.bundle is not None:
            head["bundle"] = task.bundle.digest
            if task.bundle.digest not in self._known:
                names = sorted(task.bundle.files)
                head["files"] = names
                parts += [task.bundle.files[name] for name in names]
        try:
            if self._group:
                # Residents take nothing from what the task may use.
                mib = limits.memory_mib + limits.scratch_mib + ZYGOTE_MIB + self._residents * RESIDENT_MIB
                self._group.limit(mib * MIB, limits.processes + 1 + self._residents)
            self._send(head, parts)
            answer, blobs = self._receive(patience_s)
        except (OSError, wire.WireError, SandboxError) as error:
            return self._lost(limits, str(error))
        self._residents = int(answer.get("residents", 0))
        if "error" in answer:
            self.close()  # whatever state it is in, a fresh one is known
            raise SandboxError(str(answer["error"]))
        if task.bundle is not None:
            self._known[task.bundle.digest] = None
            self._known.move_to_end(task.bundle.digest)
        return self._outcome(answer, blobs, limits)

    def _numbers(self, limits: Limits) -> dict[str, object]:
        # With a pids group its own limit shall bite first, as it counts failures; the rlimit stays behind it.
        counted = self._group is not None and self._group.pids is not None
        return {
            "wall_s": limits.wall_s,
            "cpu_s": limits.cpu_s,
            "address_space_bytes": self._address_space + limits.memory_mib * MIB,
            "output_bytes": limits.output_kib * 1024,
            "report_bytes": limits.report_kib * 1024,
            "scratch_bytes": limits.scratch_mib * MIB,
            "scratch_files": limits.scratch_files,
            "rlimit_processes": limits.processes + (8 if counted else 1),
            "open_files": limits.open_files,
        }

    def _forget(self, wanted: Bundle | None) -> list[str]:
        """Bundles that the zygote shall delete to make room; the least recently used go first."""
        gone = []
        if wanted is not None and wanted.digest not in self._known:
            while len(self._known) >= BUNDLES_KEPT:
                gone.append(self._known.popitem(last=False)[0])
        return gone

    def _outcome(self, answer: dict[str, Any], blobs: list[bytes], limits: Limits) -> Outcome:
        report, stdout, stderr = blobs
        counters = self._count()
        facts = Facts(
            killed=str(answer["killed"]),
            exit_code=answer["exit_code"],
            signal=answer["signal"],
            cpu_s=float(answer["cpu_s"]),
            complete=bool(answer["complete"]),
            scratch_full=bool(answer["scratch_full"]),
            oom_kills=counters.oom_kills,
            fork_failures=counters.fork_failures,
        )
        kind, detail = classify(facts, limits)
        if kind is OutcomeKind.SIGNAL and facts.signal == signal.SIGKILL:
            # Process 1 of a namespace cannot be killed from inside it, and neither the zygote nor the limits
            # nor the control group did it: somebody on the host did. Not the learner's fault.
            raise SandboxError("the child was killed from outside")
        usage = Usage(float(answer["wall_s"]), facts.cpu_s, int(answer["memory_bytes"]))
        return Outcome(
            kind=kind,
            report=report if facts.complete else None,
            stdout=stdout,
            stderr=stderr,
            truncated=bool(answer["truncated"]),
            exit_code=facts.exit_code,
            signal=facts.signal,
            usage=usage,
            isolation=self.layers,
            detail=detail,
        )

    def _count(self) -> cgroup.Counters:
        """What the control group counted since the last look."""
        if self._group is None:
            return cgroup.Counters()
        last, self._counted = self._counted, self._group.counters()
        return cgroup.Counters(
            self._counted.oom_kills - last.oom_kills, self._counted.fork_failures - last.fork_failures
        )

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
        raise SandboxError(f"the jail was lost: {reason}")

    # -- the line to the zygote --------------------------------------

    def _send(self, head: dict[str, object], parts: list[bytes] | None = None) -> None:
        assert self._control is not None  # noqa: S101
        self._control.settimeout(START_S)
        self._control.sendall(wire.encode(head, parts or []))

    def _receive(self, timeout_s: float) -> tuple[dict[str, Any], list[bytes]]:
        """The next frame. The zygote is trusted not to lie, but a hung one must not hang the worker."""
        control = self._control
        assert control is not None  # noqa: S101
        deadline = time.monotonic() + timeout_s
        data = bytearray()
        size = 4
        poll = select.poll()
        poll.register(control, select.POLLIN)
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000 + 1):
                raise SandboxError(f"no answer within {timeout_s:.0f} s")
            piece = control.recv(max(1 << 16, size - len(data)))
            if not piece:
                raise SandboxError("the zygote died")
            data += piece
            if size == 4 and len(data) >= 4:
                size = 4 + int.from_bytes(data[:4], "big")
                if size > wire.MAX_FRAME:
                    raise SandboxError("a frame too large")
        return wire.decode(bytes(data[4:]))

    def _shown(self, python: interpreter.Interpreter) -> list[tuple[str, str, bool]]:
        """(host path, path in the jail, whether to copy it) of what this profile needs to see."""
        here = Path(__file__).parent
        modules = {f"sandbox/{name}": here / name for name in IN_JAIL}
        for name, path in self.profile.library.items():
            modules[name if path.is_dir() else f"{name}.py"] = path.resolve()
        copied = [(str(path), f"{mounts.LIBRARY}/{name}", True) for name, path in modules.items()]
        return [(path, path, False) for path in python.paths] + copied


IN_JAIL = ("__init__.py", "kernel.py", "wire.py", "child.py", "zygote.py")
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


def _filter() -> bytes:
    try:
        return seccomp.program()
    except OSError as error:
        raise SandboxUnavailable(f"seccomp: libseccomp cannot compile the filter: {error}") from None


def _reap(launcher: subprocess.Popen[bytes]) -> None:
    try:
        launcher.wait(5)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()


def _launch_error(head: dict[str, Any]) -> SandboxError:
    text = str(head.get("error", head))
    if head.get("errno") is not None:
        return SandboxUnavailable(
            f'isolation is not to be had: {text}. Every layer is required (require = "full"); see the '
            "operators' guide on user namespaces"
        )
    return SandboxError(text)


def _address_space_bytes(pid: int) -> int:
    """What the warm zygote maps already; a task's memory comes on top of it."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
