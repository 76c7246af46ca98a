"""Programs in other languages: compile in one jail, run in another, hand over bytes.

Runs in: worker, tools.

Theory of operation.  A Language is what the configuration says of it: command lines, the host paths that
each step sees, limits.  `Programs` keeps two warm jails for it, one that shows the compiler and one that
shows only what the compiled program needs:

    sources  --bundle-->  compile step  --collected files-->  Compiled  --bundle-->  run step, once per test

Both steps see their input read-only at BUNDLE and work in SCRATCH.  Nothing is written on the host: what the
compiler leaves comes back as bytes, read from the scratch after the compiler and all it started are dead, and
the program's standard input is a sealed file in memory.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Protocol, Self

from sandbox.jail import Jail
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
)

COMPILE_LIMITS = Limits(
    wall_s=20.0,
    cpu_s=10.0,
    memory_mib=512,
    output_kib=64,
    report_kib=16 * 1024,
    scratch_mib=64,
    scratch_files=1024,
    processes=64,
    open_files=256,
)
RUN_LIMITS = Limits(wall_s=8.0, cpu_s=2.0, memory_mib=256, output_kib=1024, processes=32, open_files=64)


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what it sees.

    In `command`, "{source}" is the main source file (compile step; run step of a language that is not
    compiled), "{bundle}" the folder of this step's input, "{scratch}" the writable folder, "{memory_mib}" the
    step's memory limit, "{main}" the name of the main source without its suffix; "{sources}" alone stands for
    all source files.

    `show` names host paths that the jail shows, `show_if_there` those that not every system has; both may be
    shell-style patterns. Each path of `show` must be there. In values of `environment`, "{folder}" is the
    folder in which the command's program really lies, links followed: there is no /proc in a jail by which a
    program could find out.
    """

    command: tuple[str, ...]
    show: tuple[str, ...] = ()
    show_if_there: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = RUN_LIMITS
    address_space: bool = True


@dataclass(frozen=True, slots=True)
class Language:
    """A language as configured. `compile` is None for what is run from its source."""

    name: str
    source: str  # what the main source file is called, e.g. "main.c"
    run: Step
    compile: Step | None = None
    artefacts: tuple[str, ...] = ()  # patterns of what the compile step leaves for the run step
    suffixes: tuple[str, ...] = ()  # by which submitted files of this language are known, e.g. (".c",)
    named_by: str = ""  # pattern whose first group, in a text without a name, names its file (Java's class)
    memory_signs: tuple[str, ...] = ()  # what a program that could not get memory says on stderr at its end
    require: Isolation = Isolation.FULL


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the run step needs: its input files, and the outcome of compiling (None if nothing was)."""

    language: Language
    bundle: Bundle
    main: str
    outcome: Outcome | None = None


class CompileFailed(Exception):
    """The compile step did not give a program: a fact about the source, not a fault of the service.

    `outcome` tells how it ended; its stdout and stderr are what the compiler said (untrusted bytes).
    """

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class Opened(Protocol):
    """A jail as used here: `sandbox.jail.Jail`, or something that keeps a watch on one."""

    def open(self) -> None:
        """Make it ready, unless it is."""
        ...

    def run(self, task: Task) -> Outcome:
        """Run a task in a fresh child."""
        ...

    def close(self) -> None:
        """Kill what is in it."""
        ...


class Programs:
    """The jails of one language. Opened on first use; not for use from two threads at once.

    `slot` as for a Jail. `part` tells these jails apart from others of the same slot. `watch` may put
    something of its own between: it gets the step's name ("compile", "run") and the jail.
    """

    def __init__(
        self,
        language: Language,
        slot: int = 0,
        part: str = "",
        watch: Callable[[str, Jail], Opened] = lambda name, jail: jail,
    ) -> None:
        self.language = language
        self.slot = slot
        self._part = part
        self._watch = watch
        self._jails: dict[str, Opened] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the jails now.

        Raises:
            SandboxUnavailable: this machine cannot isolate, or has not got what the language needs.
            SandboxError: it failed otherwise.
        """
        if self.language.compile is not None:
            self._jail("compile", self.language.compile).open()
        self._jail("run", self.language.run).open()

    def close(self) -> None:
        """Kill what is in the jails; returns when it is dead."""
        for jail in self._jails.values():
            jail.close()
        self._jails.clear()

    def compile(self, sources: Mapping[str, bytes], main: str = "", limits: Limits | None = None) -> Compiled:
        """Make `sources` (relative paths to contents) runnable. `main` defaults to the language's own name.

        Raises:
            CompileFailed: the compiler ended otherwise than with status 0, or left no program.
            SandboxError: the sandbox failed; nothing is known about the source.
        """
        main = main or self.language.source
        bundle = Bundle.of(sources)
        step = self.language.compile
        if step is None:
            return Compiled(self.language, bundle, main)
        limits = limits or step.limits
        names = tuple(name for name in sorted(sources) if name.endswith(self.language.suffixes or ("",)))
        command = _fill(step.command, main, names, limits)
        task = Task(command=command, bundle=bundle, limits=limits, collect=self.language.artefacts)
        outcome = self._ran(self._jail("compile", step).run(task), "compile", step)
        if outcome.kind is not OutcomeKind.OK:
            raise CompileFailed(outcome, outcome.detail or outcome.kind.value)
        if not outcome.files:
            raise CompileFailed(outcome, f"the compiler left no {' or '.join(self.language.artefacts)}")
        return Compiled(self.language, Bundle.of(outcome.files), main, outcome)

    def run(
        self,
        compiled: Compiled,
        stdin: bytes = b"",
        limits: Limits | None = None,
        arguments: tuple[str, ...] = (),
        files: Mapping[str, bytes] | None = None,
        collect: tuple[str, ...] = (),
    ) -> Outcome:
        """Run what `compile` gave, once, in a fresh child.

        `files` lie beside the program at BUNDLE, for this run only. `collect` as in `Task`.

        Raises:
            SandboxError: the sandbox failed; the program ran nothing, or what it did is not known.
        """
        step = self.language.run
        limits = limits or step.limits
        bundle = compiled.bundle if not files else Bundle.of({**compiled.bundle.files, **files})
        command = _fill(step.command, compiled.main, tuple(sorted(compiled.bundle.files)), limits) + arguments
        task = Task(command=command, request=stdin, bundle=bundle, limits=limits, collect=collect)
        return self._ran(self._jail("run", step).run(task), "run", step)

    def _ran(self, outcome: Outcome, name: str, step: Step) -> Outcome:
        """The outcome, unless the step's own program could not be executed: that is nobody's source's fault.

        Raises:
            SandboxUnavailable: it is not in the jail. SandboxError: it could not be executed this time.
        """
        own = step.command[0].startswith("/")
        if not own or outcome.kind is not OutcomeKind.EXIT or outcome.exit_code is not None:
            return outcome
        where = f"languages.{self.language.name}.{name}.command: {step.command[0]}"
        if any(outcome.detail.endswith(os.strerror(code)) for code in (errno.ENOENT, errno.EACCES)):
            raise SandboxUnavailable(f"{where}: {outcome.detail}; install it, and name its folder in show")
        raise SandboxError(f"{where}: {outcome.detail}")

    def _jail(self, name: str, step: Step) -> Opened:
        jail = self._jails.get(name)
        if jail is None:
            profile = Profile(
                programs=True,
                show=shown(self.language.name, name, step),
                environment=_environment(step),
                address_space=step.address_space,
                require=self.language.require,
            )
            # Two jails of one slot at the same time: they need different control groups.
            jail = self._watch(name, Jail(profile, self.slot, part=f"{self._part}{name}"))
            self._jails[name] = jail
        return jail


def shown(language: str, name: str, step: Step) -> tuple[str, ...]:
    """The host paths that the step's patterns mean here, each once.

    Raises:
        SandboxUnavailable: a path that must be there is not; says which.
    """
    found: dict[str, None] = {}
    for pattern in step.show:
        paths = sorted(glob.glob(pattern))  # noqa: PTH207 - absolute patterns, which Path.glob refuses
        if not paths:
            raise SandboxUnavailable(
                f"languages.{language}.{name}.show: there is no {pattern} on this machine; install what the "
                "language needs, or name where it is"
            )
        found |= dict.fromkeys(paths)
    for pattern in step.show_if_there:
        found |= dict.fromkeys(sorted(glob.glob(pattern)))  # noqa: PTH207
    return tuple(found)


def _environment(step: Step) -> dict[str, str]:
    folder = str(Path(step.command[0]).resolve().parent)
    return {name: value.replace("{folder}", folder) for name, value in step.environment.items()}


def _fill(command: tuple[str, ...], main: str, names: tuple[str, ...], limits: Limits) -> tuple[str, ...]:
    values = {
        "source": "{bundle}/" + main,
        "memory_mib": str(limits.memory_mib),
        "main": str(PurePosixPath(main).with_suffix("")),
    }
    filled: list[str] = []
    for word in command:
        if word == "{sources}":
            filled += ["{bundle}/" + name for name in names]
            continue
        for key, value in values.items():
            word = word.replace("{" + key + "}", value)
        filled.append(word)
    return tuple(filled)


def with_limits(language: Language, compile_limits: Limits | None, run_limits: Limits | None) -> Language:
    """The language with other limits for its steps."""
    step = language.compile
    if step is not None and compile_limits is not None:
        step = replace(step, limits=compile_limits)
    run = replace(language.run, limits=run_limits) if run_limits is not None else language.run
    return replace(language, compile=step, run=run)
