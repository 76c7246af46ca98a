"""The self-test of a jail: a canary child tries to escape, and what it says is judged here.

Runs in: worker, tools. A jail runs it each time it opens, before any task; it costs one child. A layer that
does not hold makes the machine unfit (SandboxUnavailable): there is no falling back to less.

Which escapes must be held depends on the layers in force: STOPPED_BY names, for each, the layers any one of
which is there to stop it. Where none of them is in force, nothing was promised. What can be seen from outside
is looked at from outside: whether the zygote's namespaces are others than ours, and its control group.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.cgroup import PREFIX
from sandbox.model import (
    Isolation,
    Limits,
    Outcome,
    OutcomeKind,
    SandboxError,
    SandboxUnavailable,
    Task,
)

ENTRY: Final = "sandbox.canary:attempt"
ALONE: Final = "sandbox.canary:alone"
LIMITS: Final = Limits(wall_s=10.0, cpu_s=4.0, memory_mib=128, scratch_mib=1, scratch_files=16, processes=8)
BEYOND_MIB: Final = 128
"""How much more than its limit the canary asks for: more than the interpreter has spare, by far."""

PLANTED: Final = "warden-canary-"

STOPPED_BY: Final[dict[str, tuple[str, ...]]] = {
    "read-host-file": ("private-root", "landlock-1"),
    "write-outside": ("private-root", "landlock-1"),
    "signal-outside": ("pid", "landlock-6"),
    "see-parent": ("pid",),
    "make-socket": ("seccomp",),
    "unshare": ("seccomp",),
    "mount": ("seccomp",),
    "ptrace": ("seccomp",),
    "execute": ("seccomp",),
    "see-filter": ("seccomp",),
    "see-new-privileges": ("no-new-privs",),
    "see-dumpable": (),
    "use-capability": (),
    "see-descriptors": (),
    "see-environment": (),
    "take-memory": ("rlimits",),
    "raise-limits": ("rlimits",),
    "device-control": ("landlock-5",),
}
"""Escape -> layers that stop it, "landlock-N" meaning that ABI or a later one. Nothing: it is held always."""

IN_REDUCED: Final[dict[str, tuple[str, ...]]] = {
    "signal-outside": ("seccomp", "landlock-6"),
    "see-dumpable": ("private-root",),
}
"""What stops it there instead: without namespaces the filter lets a process signal itself only, and the
zygote must be able to look at descriptors, to count files that have no name any more."""

NOT_IN_REDUCED: Final = frozenset({"see-dumpable"})
"""There an ordinary user must be able to look at what he sweeps; the filter forbids to attach."""

NAMESPACES: Final = {
    "user": "user",
    "pid": "pid",
    "mount": "mnt",
    "net": "net",
    "ipc": "ipc",
    "uts": "uts",
    "cgroup-ns": "cgroup",
}
"""Layer -> name in /proc/PID/ns."""

ORDINARY: Final = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "USER", "LC_CTYPE", "SHELL", "PWD"})
"""Environment variables that a child may have, too, with values of its own."""
# Causes that pass: a busy host, or a full one. The task may be tried again.
PASSING: Final = frozenset({OutcomeKind.WALL, OutcomeKind.CPU, OutcomeKind.MEMORY, OutcomeKind.PROCESSES})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one escape. `detail` says what got through, "" if it was held."""

    name: str
    held: bool
    detail: str


class LayerBroken(SandboxUnavailable):
    """A layer is in force and does not hold. Nobody may go on with less than that."""


def run(
    jail_run: Callable[[Task], Outcome],
    isolation: Isolation,
    layers: Sequence[str],
    pid: int = 0,
    programs: bool = False,
) -> None:
    """Let the canary try to escape; returns if every layer in force holds.

    Args:
        jail_run: runs a task in the opened jail, e.g. Jail.run.
        isolation: the tier that the jail has.
        layers: names of the layers in force.
        pid: of the zygote, 0 if it shall not be looked at from outside.
        programs: whether the jail may execute programs (Profile.programs).

    Raises:
        LayerBroken: a layer does not hold; names it, and what got through.
        SandboxUnavailable: the canary died.
        SandboxError: the canary could not finish, for a reason that may pass.
    """
    broken = judge(trial(jail_run, pid), layers, isolation, programs)
    broken += outside(pid, layers)
    if broken:
        text = "; ".join(f"{layer} does not hold: {detail}" for layer, detail in broken)
        raise LayerBroken(f"the self-test of isolation {isolation.value} failed: {text}")


def trial(jail_run: Callable[[Task], Outcome], pid: int = 0) -> list[Attempt]:
    """Plant a secret on the host, run the canary, and return what became of its escapes.

    Raises:
        SandboxUnavailable: the canary died. SandboxError: it did not finish, for a reason that may pass.
    """
    token = secrets.token_hex(16)
    try:
        # Readable for everybody: nothing but the jail shall stand between the canary and the token.
        with tempfile.TemporaryDirectory(prefix=PLANTED, dir=planting_ground()) as folder:
            Path(folder).chmod(0o755)
            secret = Path(folder) / f"secret-{token[:8]}"
            secret.write_text(token)
            secret.chmod(0o644)
            outcome = jail_run(Task(ENTRY, _request(str(secret), token, pid), LIMITS))
    except OSError as error:
        raise SandboxError(f"the self-test cannot plant a file: {error}") from error
    if outcome.kind is not OutcomeKind.OK or outcome.report is None:
        raise _died(outcome)
    try:
        return [
            Attempt(str(one["attempt"]), one["held"], str(one["detail"]))
            if isinstance(one["held"], bool)
            else _alone(jail_run, str(one["attempt"]))
            for one in json.loads(outcome.report)
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise SandboxUnavailable(f"the canary's report is none: {error}") from None


def _alone(jail_run: Callable[[Task], Outcome], name: str) -> Attempt:
    """A deadly call in a task of its own: the outcome that is meant is FORBIDDEN."""
    outcome = jail_run(Task(ALONE, name.encode(), LIMITS))
    if outcome.kind is OutcomeKind.FORBIDDEN:
        return Attempt(name, True, "")
    if outcome.kind is not OutcomeKind.OK or outcome.report is None:
        raise _died(outcome)
    detail = outcome.report.decode("utf-8", "replace")
    return Attempt(name, not detail, detail)


def _died(outcome: Outcome) -> SandboxError:
    text = f"the canary did not finish: {outcome.kind.value}: {outcome.detail}"
    said = outcome.stderr.decode("utf-8", "replace").strip().splitlines()
    if said:
        text += f" ({said[-1]})"
    return SandboxError(text) if outcome.kind in PASSING else SandboxUnavailable(text)


def planting_ground() -> str:
    """Where the secret is planted. Not /tmp if possible: a jail covers that with one of its own."""
    preferred = "/var/tmp"  # noqa: S108
    return preferred if os.access(preferred, os.W_OK | os.X_OK) else tempfile.gettempdir()


def _request(secret: str, token: str, pid: int) -> bytes:
    asked = {
        "secret": secret,
        "token": token,
        "pids": [one for one in (os.getpid(), pid) if one],
        "names": sorted(name for name in os.environ if _is_ours(name)),
        "memory_bytes": (LIMITS.memory_mib + BEYOND_MIB) << 20,
    }
    return json.dumps(asked).encode()


def _is_ours(name: str) -> bool:
    return (
        name not in ORDINARY
        and name.isascii()
        and not name.startswith(("PYTHON", "MALLOC_"))
        and not name.endswith("_NUM_THREADS")
    )


def judge(
    attempts: Sequence[Attempt],
    layers: Collection[str],
    isolation: Isolation = Isolation.FULL,
    programs: bool = False,
) -> list[tuple[str, str]]:
    """(layer, what got through) of everything that should have been held; an escape not tried is not held."""
    table = dict(STOPPED_BY)
    if isolation is Isolation.REDUCED:
        table = {name: IN_REDUCED.get(name, table[name]) for name in table if name not in NOT_IN_REDUCED}
    told = {attempt.name: attempt for attempt in attempts}
    broken = []
    for name, stoppers in table.items():
        on = [layer for layer in stoppers if in_force(layer, layers)]
        if (stoppers and not on) or (programs and _is_allowed_to_programs(name, layers)):
            continue
        attempt = told.get(name)
        if attempt is None:
            broken.append((on[0] if on else "lock-down", f"{name} was not tried"))
        elif not attempt.held:
            broken.append((" and ".join(on) or "lock-down", f"{name}: {attempt.detail}"))
    return broken


def _is_allowed_to_programs(name: str, layers: Collection[str]) -> bool:
    """Their memory is counted by the control group alone, if there is one, when it is used."""
    grouped = any(layer.startswith("cgroup") and layer.endswith("-memory") for layer in layers)
    return name == "execute" or (name == "take-memory" and grouped)


def in_force(layer: str, layers: Collection[str]) -> bool:
    """Whether a layer, or a later ABI of it ("landlock-5" is also "landlock-1"), is among `layers`."""
    name, _, wanted = layer.rpartition("-")
    if name != "landlock":
        return layer in layers
    return any(
        one.startswith("landlock-") and one[9:].isdigit() and int(one[9:]) >= int(wanted) for one in layers
    )


def outside(pid: int, layers: Collection[str]) -> Iterator[tuple[str, str]]:
    """(layer, why) of the layers that the zygote `pid`, seen from outside, does not have."""
    if not pid:
        return
    for layer, name in NAMESPACES.items():
        if layer in layers:
            try:
                theirs = Path(f"/proc/{pid}/ns/{name}").stat()
                ours = Path(f"/proc/self/ns/{name}").stat()
            except PermissionError:  # a security module hides them; that unshare succeeded must do
                continue
            except OSError as error:
                yield layer, f"the zygote cannot be looked at: {error}"
                continue
            if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
                yield layer, "the zygote is in our own namespace"
    grouped = [layer for layer in layers if layer.startswith("cgroup") and layer != "cgroup-ns"]
    if grouped:
        try:
            text = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError as error:
            text = str(error)
        for layer in grouped:
            if not _grouped(layer, text):
                yield layer, f"the zygote is not in a control group of ours: {text!r}"


def _grouped(layer: str, text: str) -> bool:
    """Whether /proc/PID/cgroup shows a group of ours for the controller in "cgroup1-memory"."""
    version, _, controller = layer.partition("-")
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        here = number == "0" if version == "cgroup2" else controller in controllers.split(",")
        if here and f"/{PREFIX}" in path:
            return True
    return False
