"""The words of the sandbox: what to run, under which limits, and what became of it.

Runs in: worker, tools. Values only; nothing here touches the system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

SCRATCH = "/home/learner"
"""Inside the jail: the only writable folder, a fresh tmpfs per child, its working directory."""

BUNDLE = "/course"
"""Inside the jail: the files of the task's bundle, read-only."""


class OutcomeKind(StrEnum):
    """What happened to a child. A fact, decided once, by the side that does not run its code."""

    OK = "ok"  # it ended by itself and its report is complete
    WALL = "wall"  # the trusted side killed it: too much wall-clock time
    CPU = "cpu"  # the trusted side or the kernel killed it: too much CPU time
    MEMORY = "memory"  # it hit its memory limit
    OUTPUT = "output"  # it wrote more than it may; killed
    PROCESSES = "processes"  # it wanted more processes or threads than it may have
    DISK = "disk"  # its scratch folder was full, in bytes or in files
    FORBIDDEN = "forbidden"  # it made a system call that the filter answers with death
    SIGNAL = "signal"  # it died of another signal (Outcome.signal), e.g. a segmentation fault
    EXIT = "exit"  # it ended before its report was complete (Outcome.exit_code)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use. Every number is enforced; zero is never "unlimited"."""

    wall_s: float = 8.0
    cpu_s: float = 2.0
    memory_mib: int = 256
    output_kib: int = 256  # stdout and stderr together
    report_kib: int = 1024  # what the entry point returns
    scratch_mib: int = 16
    scratch_files: int = 256
    processes: int = 16  # processes and threads, the child itself included
    open_files: int = 64
    stack_mib: int = 8


@dataclass(frozen=True, slots=True)
class Bundle:
    """Read-only files shown to a child at BUNDLE, e.g. a grader and its helper modules.

    `files` maps relative POSIX paths to contents. Two bundles with equal `digest` are the same bundle.
    """

    digest: str
    files: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Bundle:
        """Bundle with the SHA-256 digest of names and contents."""
        digest = hashlib.sha256()
        for name in sorted(files):
            raw = name.encode("utf-8", "surrogateescape")
            digest.update(b"%d:%d:" % (len(raw), len(files[name])))
            digest.update(raw)
            digest.update(files[name])
        return cls(digest.hexdigest(), dict(files))


@dataclass(frozen=True, slots=True)
class Task:
    """One pass: call `entry` with `request` in a fresh child, under `limits`.

    `entry` is "module:function", importable in the jail; the function takes bytes and returns bytes (the
    report). Both are opaque to the sandbox.

    `resident`: the child may stay and be given later tasks of the same module, bundle and limits; each of
    them has the limits anew. Only for entries that never run learner code.

    `command`: execute this program instead (then `entry` is ""): its arguments, the first an absolute path in
    the jail; "{bundle}" and "{scratch}" in them stand for the folders of that name, wherever they lie.
    `request` is its standard input. Needs a Profile with `programs`.
    `collect`: names of files (shell-style patterns, relative to SCRATCH, `*` crosses no `/`) that the program
    leaves and the outcome shall carry: regular files only, `limits.report_kib` together.
    """

    entry: str = ""
    request: bytes = b""
    limits: Limits = Limits()
    bundle: Bundle | None = None
    resident: bool = False
    command: tuple[str, ...] = ()
    collect: tuple[str, ...] = ()


class Isolation(StrEnum):
    """Names for sets of layers. Never less than what is required runs, or nothing runs."""

    FULL = "full"  # namespaces, private root, seccomp, Landlock where the kernel has it, rlimits
    REDUCED = "reduced"  # no user namespace to be had: seccomp, Landlock, rlimits, a subreaper


@dataclass(frozen=True, slots=True)
class Profile:
    """An interpreter, kept warm as a zygote: what it has loaded, what its jail shows besides itself.

    `interpreter` is the path of any CPython >= 3.8 (of a virtualenv, too); "" means the base interpreter of
    the running one, without its packages. `library` maps import names to host folders (packages) or files
    (modules), shown read-only and importable in the jail. `preload` is imported once, before any child.

    `programs`: children may execute the programs that the jail shows (Task.command). `show` names host paths
    that the jail shows besides, read-only, at the same place; missing ones are an error. `environment` is
    what those programs see, besides the jail's own (HOME, TMPDIR, PATH, LANG).
    `address_space`: whether Limits.memory_mib bounds the address space of each process. False for runtimes
    that reserve far more than they use (JVM, Node): then their writable memory is bounded, and the control
    group's.
    """

    interpreter: str = ""
    preload: tuple[str, ...] = ()
    library: Mapping[str, Path] = field(default_factory=dict)
    require: Isolation = Isolation.FULL
    programs: bool = False
    show: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    address_space: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """Measured by the kernel and the trusted side, not by the child."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0  # peak resident set of the largest process


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task. `report` is what the entry returned: untrusted bytes, None unless complete.

    Of a program `report` is None and OK means that it exited with status 0 (else EXIT); `exit_code` and
    `signal` are its own.
    """

    kind: OutcomeKind
    report: bytes | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    truncated: bool = False  # stdout or stderr was cut at Limits.output_kib
    exit_code: int | None = None
    signal: int | None = None
    usage: Usage = Usage()
    isolation: tuple[str, ...] = ()  # names of the layers that were in force
    detail: str = ""  # one line for operators: who killed it and why
    files: Mapping[str, bytes] = field(default_factory=dict)  # what Task.collect asked for and was there


class Runner(Protocol):
    """What a grader needs of the sandbox. `sandbox.jail.Jail` is one."""

    def run(self, task: Task) -> Outcome:
        """Run the task in a fresh child.

        Raises:
            SandboxError: the sandbox itself failed; the child ran nothing, or what it did is not known.
        """
        ...


class SandboxError(Exception):
    """The sandbox failed, never the code that it ran. Blame is the service's; the task may be tried again."""


class SandboxUnavailable(SandboxError):
    """This machine cannot give the isolation that is required; trying again is useless until it is mended."""
