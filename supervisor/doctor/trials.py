"""Each configured sandbox and language, opened and used as the service would.

Runs in: tools (`warden doctor`).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from graders.python import profile
from sandbox import selftest
from sandbox.jail import Jail
from sandbox.model import Isolation, Limits, Outcome, OutcomeKind, SandboxError, Task
from sandbox.program import CompileFailed, Language, Programs
from sandbox.selftest import Attempt, judge
from supervisor.doctor.findings import Finding, State
from supervisor.plain import plain
from supervisor.settings import Sandbox

WARM: Final = Task("builtins:bytes", b"warm", Limits(wall_s=10.0))
WARM_RUNS: Final = 7


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of opening one sandbox, or the jails of one language.

    `what` is what runs in it, in words; `runs` what came of a run; `error` why it did not open (then there
    are no `layers`), or why a run failed. `needed`: a queue uses it.
    `isolation` is the tier that it has, `programs` whether it executes programs.
    """

    kind: str  # "sandbox" or "language"
    name: str
    require: Isolation
    what: str = ""
    layers: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    runs: str = ""
    error: str = ""
    needed: bool = True
    isolation: Isolation = Isolation.FULL
    programs: bool = False


def _slot() -> int:
    """The service's slots count from 0 upwards; ours must not share a user or a control group with them."""
    return 40_000 + os.getpid() % 9_000


def try_sandbox(sandbox: Sandbox, needed: bool = True) -> Trial:
    """Open a sandbox, let its canary try to escape, and time a run. What fails stands in the trial."""
    trial = Trial("sandbox", sandbox.name, sandbox.require, needed=needed)
    try:
        with Jail(profile(sandbox.interpreter, sandbox.preload, sandbox.require), slot=_slot()) as jail:
            what = f"Python {jail.version} ({sandbox.interpreter or 'auto'})"
            trial = replace(trial, what=what, layers=jail.layers, isolation=jail.isolation)
            trial = replace(trial, attempts=tuple(selftest.trial(jail.run, jail.pid)))
            return replace(trial, runs=f"a warm run takes {_warm_s(jail) * 1000:.1f} ms")
    except (SandboxError, OSError) as error:
        return replace(trial, error=plain(error))


def _warm_s(jail: Jail) -> float:
    """Seconds that a run of nothing takes, the median of a few."""
    times = []
    for _ in range(WARM_RUNS):
        began = time.perf_counter()
        outcome = jail.run(WARM)
        times.append(time.perf_counter() - began)
        if outcome.kind is not OutcomeKind.OK:
            raise SandboxError(f"a run of nothing ended with {outcome.kind.value}: {outcome.detail}")
    return statistics.median(times)


HELLO: Final = {
    ".c": "int main(void) { return 0; }\n",
    ".cpp": "int main() { return 0; }\n",
    ".java": "public class Main { public static void main(String[] words) { } }\n",
    ".rs": "fn main() { }\n",
    ".go": "package main\n\nfunc main() { }\n",
}
"""The shortest program by the suffix of its file. In all other languages that we know it is empty."""


def try_language(language: Language, needed: bool = True) -> Trial:
    """Open a language's jails, compile the shortest program, and run it. What fails stands in the trial.

    An empty program that the compiler of a language unknown to us refuses is no failure: it answered.
    """
    jails: list[Jail] = []

    def watch(_step: str, jail: Jail) -> Jail:
        jails.append(jail)
        return jail

    trial = Trial("language", language.name, language.require, needed=needed, programs=True)
    known = HELLO.get(Path(language.source).suffix)
    source = (known or "\n").encode()
    try:
        with Programs(language, slot=_slot(), watch=watch) as programs:
            programs.open()
            run_jail = jails[-1]
            trial = replace(trial, layers=run_jail.layers, isolation=run_jail.isolation)
            trial = replace(trial, attempts=tuple(selftest.trial(run_jail.run, run_jail.pid)))
            began = time.perf_counter()
            try:
                compiled = programs.compile({language.source: source})
            except CompileFailed as error:
                said = _last_words(error.outcome)
                if known is not None or error.outcome.kind is not OutcomeKind.EXIT:
                    return replace(trial, error=plain(f"compiling: {error.reason}{said}"))
                return replace(trial, runs=f"the compiler answers: {plain(error.reason + said)}")
            done = time.perf_counter()
            outcome = programs.run(compiled)
            if outcome.kind is not OutcomeKind.OK:
                text = f"running: {outcome.detail or outcome.kind.value}{_last_words(outcome)}"
                return replace(trial, error=plain(text))
            took = f"running {(time.perf_counter() - done) * 1000:.0f} ms"
            if language.compile is not None:
                took = f"compiling takes {(done - began) * 1000:.0f} ms, {took}"
            return replace(trial, runs=f"the shortest program works: {took}")
    except (SandboxError, OSError) as error:
        return replace(trial, error=plain(error))


def _last_words(outcome: Outcome) -> str:
    lines = outcome.stderr.decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1][-200:]}" if lines else ""


def _section(trial: Trial) -> str:
    return f"{'languages' if trial.kind == 'language' else 'sandboxes'}.{trial.name}"


def of_trial(trial: Trial) -> Iterator[Finding]:
    """The findings of one trial. A sandbox or language that no queue uses is no more than a warning."""
    area = f"{trial.kind} {trial.name}"
    wrong = State.BAD if trial.needed else State.WARNING
    silent = "its queues are not served (SANDBOX_UNAVAILABLE)" if trial.needed else "no queue can use it"
    if not trial.layers:
        text = trial.error or "it did not open"
        mend = f"see the findings about this machine; then what [{_section(trial)}] names"
        yield Finding(area, "opens", wrong, text, silent, mend)
        return
    text = f"isolation {trial.isolation.value}: {', '.join(trial.layers)}"
    yield Finding(area, "opens", State.OK, f"{trial.what}, {text}" if trial.what else text)
    if trial.attempts:
        broken = judge(trial.attempts, trial.layers, trial.isolation, trial.programs)
        if broken:
            text = "; ".join(f"{layer} does not hold: {detail}" for layer, detail in broken)
            mend = "tell us of it, with the output of `warden doctor --json`"
            yield Finding(area, "self-test", wrong, text, silent, mend)
        else:
            held = sum(one.held for one in trial.attempts)
            text = f"{held} of {len(trial.attempts)} escapes were held"
            if loose := [one.name for one in trial.attempts if not one.held]:
                text += f"; not promised here: {', '.join(loose)}"
            yield Finding(area, "self-test", State.OK, text)
    if trial.error:
        consequence = "submissions are tried again, and wait"
        mend = f"see the reason, and [{_section(trial)}]"
        yield Finding(area, "runs", wrong, trial.error, consequence, mend)
    elif trial.runs:
        yield Finding(area, "runs", State.OK, trial.runs)
