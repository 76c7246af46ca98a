"""From facts to the outcome: one pure function, the only place that says what happened to a child.

Runs in: worker.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from sandbox.child import EXIT_MEMORY, EXIT_PROCESSES
from sandbox.model import Limits, OutcomeKind

THRASHING = 0.5
"""A program that has read again so much of its limit had no memory left for its own code: before the kernel
kills it for that, a large runtime can spend many seconds so."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the zygote and the cgroup observed. None of it was said by the child."""

    killed: str = ""  # why the zygote (or the process above a program) killed it: the keys in `classify`
    exit_code: int | None = None
    signal: int | None = None
    cpu_s: float = 0.0
    complete: bool = False  # the report was framed right and whole; of a program: it was executed
    program: bool = False
    errno: int = 0  # of a program: why it could not be executed
    scratch_full: bool = False
    oom_kills: int = 0  # by the cgroup, during this task
    fork_failures: int = 0  # by the pids cgroup, during this task
    refaulted_bytes: int = 0  # of files, read again for want of memory in the cgroup, during this task


def classify(facts: Facts, limits: Limits) -> tuple[OutcomeKind, str]:
    """The outcome and one line for operators. The first that fits wins: who killed it, then how it died."""
    killed = {
        "wall": (OutcomeKind.WALL, f"killed: wall-clock limit of {limits.wall_s:g} s"),
        "cpu": (OutcomeKind.CPU, f"killed: CPU limit of {limits.cpu_s:g} s"),
        "output": (OutcomeKind.OUTPUT, f"killed: more than {limits.output_kib} KiB of output"),
        "report": (OutcomeKind.OUTPUT, f"killed: report of more than {limits.report_kib} KiB"),
        "files": (OutcomeKind.OUTPUT, f"left files of more than {limits.report_kib} KiB"),
        "disk": (
            OutcomeKind.DISK,
            f"killed: more than {limits.scratch_mib} MiB or {limits.scratch_files} files",
        ),
        "processes": (OutcomeKind.PROCESSES, f"killed: more than {limits.processes} processes or threads"),
        "frame": (OutcomeKind.EXIT, "killed: what it reported is no frame"),
    }
    too_slow = facts.killed in ("wall", "cpu") or (not facts.killed and facts.cpu_s > limits.cpu_s)
    if too_slow and facts.refaulted_bytes > limits.memory_mib * (1 << 20) * THRASHING:
        return (
            OutcomeKind.MEMORY,
            f"it used up its time reading its own files again: its memory was full ({limits.memory_mib} MiB)",
        )
    if facts.killed in killed:
        return killed[facts.killed]
    if facts.oom_kills:
        return (
            OutcomeKind.MEMORY,
            f"the kernel killed it: cgroup limit ({limits.memory_mib} MiB and the rest)",
        )
    if facts.cpu_s > limits.cpu_s:
        return (
            OutcomeKind.CPU,
            f"CPU limit of {limits.cpu_s:g} s: {facts.cpu_s:.1f} s used, children included",
        )
    if facts.signal == signal.SIGSYS:
        return OutcomeKind.FORBIDDEN, "the kernel killed it: forbidden system call"
    if facts.fork_failures:
        return OutcomeKind.PROCESSES, f"more than {limits.processes} processes or threads"
    if facts.scratch_full or facts.signal == signal.SIGXFSZ:
        return OutcomeKind.DISK, f"scratch full: {limits.scratch_mib} MiB, {limits.scratch_files} files"
    if facts.signal is not None:
        return OutcomeKind.SIGNAL, f"died of {_signal_name(facts.signal)}"
    if facts.complete and facts.exit_code == 0:
        return OutcomeKind.OK, ""
    if facts.program:
        if facts.errno:
            return OutcomeKind.EXIT, f"not to be executed: {os.strerror(facts.errno)}"
        return OutcomeKind.EXIT, f"exit status {facts.exit_code}"
    if facts.exit_code == EXIT_MEMORY:
        return OutcomeKind.MEMORY, f"MemoryError, in its own words ({limits.memory_mib} MiB)"
    if facts.exit_code == EXIT_PROCESSES:
        return OutcomeKind.PROCESSES, f"no more processes or threads, in its own words ({limits.processes})"
    return OutcomeKind.EXIT, f"exit status {facts.exit_code} before its report was complete"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
