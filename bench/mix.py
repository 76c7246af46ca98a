"""All kinds of tasks that a worker meets, in jails opened once: the mix in which leaks are looked for.

Honest code, code that crashes, takes too much of everything, leaves processes behind; bundles that push each
other out; residents; a compiled C program that does the same; a reduced jail where the machine has one.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.programs import STDIN
from graders.languages import built_in
from graders.python import profile
from sandbox.jail import BUNDLES_KEPT, Jail
from sandbox.model import (
    Bundle,
    Isolation,
    Limits,
    Outcome,
    OutcomeKind,
    Profile,
    SandboxUnavailable,
    Task,
)
from sandbox.program import CompileFailed, Programs

SLOT = 30_000
LIMITS = Limits(
    wall_s=8.0, cpu_s=2.0, memory_mib=64, output_kib=64, scratch_mib=1, scratch_files=64, processes=8
)
BRIEF = replace(LIMITS, wall_s=0.3)
QUICK = replace(LIMITS, cpu_s=0.1)

HONEST = "result = sum(range(10))"
KERNEL_OBJECTS = """
import mmap, os, select
kept = [os.pipe() for _ in range(9)] + [mmap.mmap(-1, 1 << 16) for _ in range(4)]
poll = select.epoll()
poll.register(kept[0][0])
result = 1
"""
THREADS = """
import threading, time
for _ in range(99):
    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
"""
DAEMONS = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        time.sleep(9)
result = 1
"""
FILES = "for n in range(20): open(str(n), 'w').write('x' * 999)\nresult = 1"
MANY_FILES = "for n in range(99): open(str(n), 'w').close()"
BIG_FILE = "with open('big', 'wb', 0) as file:\n    while True: file.write(bytes(1 << 16))"
MEMORY = "kept = []\nwhile True: kept.append(bytearray(1 << 20))"
FORBIDDEN = "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"

# (name, how often in a round, outcome, source, limits): executed by bench/entry.py in a child of its own
PYTHON = (
    ("honest", 290, OutcomeKind.OK, HONEST, LIMITS),
    ("prints", 60, OutcomeKind.OK, "print('x' * 5000); result = 1", LIMITS),
    ("files", 40, OutcomeKind.OK, FILES, LIMITS),
    ("kernel objects left open", 40, OutcomeKind.OK, KERNEL_OBJECTS, LIMITS),
    ("raises", 60, OutcomeKind.EXIT, "raise ValueError", LIMITS),
    ("exits", 40, OutcomeKind.EXIT, "import os; os._exit(0)", LIMITS),
    ("aborts", 20, OutcomeKind.SIGNAL, "import os; os.abort()", LIMITS),
    ("reads address zero", 20, OutcomeKind.SIGNAL, "import ctypes; ctypes.string_at(0)", LIMITS),
    ("memory", 30, OutcomeKind.MEMORY, "kept = bytearray(1 << 30)", LIMITS),
    ("memory by and by", 5, OutcomeKind.MEMORY, MEMORY, LIMITS),
    ("output", 30, OutcomeKind.OUTPUT, "while True: print('x' * 4096)", LIMITS),
    ("report", 5, OutcomeKind.OUTPUT, "result = 'x' * (2 << 20)", LIMITS),
    ("disk", 15, OutcomeKind.DISK, BIG_FILE, LIMITS),
    ("too many files", 15, OutcomeKind.DISK, MANY_FILES, LIMITS),
    ("threads", 15, OutcomeKind.PROCESSES, THREADS, LIMITS),
    ("forbidden", 30, OutcomeKind.FORBIDDEN, FORBIDDEN, LIMITS),
    ("daemons", 30, OutcomeKind.OK, DAEMONS, LIMITS),
    ("sleeps", 1, OutcomeKind.WALL, "import time; time.sleep(9)", BRIEF),
    ("computes", 1, OutcomeKind.CPU, "while True: pass", QUICK),
)
BUNDLED = 40
RESIDENT = 50  # of each of RESIDENTS
RESIDENTS = 2
RESIDENT_DIES = 3
COMPILES = 1
REDUCED = (
    ("honest", 9, OutcomeKind.OK, HONEST, LIMITS),
    ("files", 4, OutcomeKind.OK, FILES, LIMITS),
    ("aborts", 3, OutcomeKind.SIGNAL, "import os; os.abort()", LIMITS),
    ("output", 2, OutcomeKind.OUTPUT, "while True: print('x' * 4096)", LIMITS),
)

C_SOURCE = b"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    int a, b;
    if (scanf("%d %d", &a, &b) != 2) return 1;
    if (a == -1) abort();
    if (a == -2) for (;;) puts("more than anybody wants to read");
    if (a == -3) { for (int n = 0; n < 3; n++) if (fork() == 0) { setsid(); sleep(9); } }
    if (a == -4) for (;;) { char *p = malloc(1 << 20); if (!p) abort(); memset(p, 1, 1 << 20); }
    printf("%d\\n", a + b);
    return 0;
}
"""
# (name, how often in a round, outcomes, standard input)
C_PROGRAM = (
    ("C honest", 90, {OutcomeKind.OK}, STDIN),
    ("C aborts", 8, {OutcomeKind.SIGNAL}, b"-1 0"),
    ("C exits", 8, {OutcomeKind.EXIT}, b"none"),
    ("C output", 6, {OutcomeKind.OUTPUT}, b"-2 0"),
    ("C daemons", 8, {OutcomeKind.OK}, b"-3 0"),
    # Where no control group counts, a program that is refused memory aborts.
    ("C memory", 1, {OutcomeKind.MEMORY, OutcomeKind.SIGNAL}, b"-4 0"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to do. `expected`: what it may end as."""

    name: str
    expected: frozenset[OutcomeKind]
    run: Callable[[], Outcome]


@dataclass(slots=True)
class Mix:
    """The jails by their names, opened once, and one round of the mix."""

    jails: dict[str, Jail]
    cases: list[Case]
    residents: list[Callable[[], Outcome]]
    last: list[Callable[[], Outcome]]  # one for each jail, which leaves it in the same state each time
    missing: list[str]  # what this machine could not take part in


@contextmanager
def opened() -> Iterator[Mix]:
    """Jails that are open, and what to do in them."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="warden-leak-"))
        os.chmod(folder, 0o1777)  # as the folder that it stands for: a reduced jail's own user works in it
        before, tempfile.tempdir = tempfile.tempdir, folder
        stack.callback(setattr, tempfile, "tempdir", before)
        base = profile()
        inside = Profile(
            "", (*base.preload, "entry"), {**base.library, "entry": Path(__file__).with_name("entry.py")}
        )
        jails = {"python": stack.enter_context(Jail(inside, SLOT))}
        mix = Mix(jails, [], [], [], [])
        python = jails["python"]
        for name, share, kind, source, limits in PYTHON:
            mix.cases += share * [_case(python, name, kind, Task("entry:execute", source.encode(), limits))]
        mix.last.append(partial(python.run, Task("entry:execute", HONEST.encode(), LIMITS)))
        _bundles(mix, python)
        _residents(mix, python)
        _programs(mix, stack)
        _reduced(mix, stack, inside)
        random.Random(0).shuffle(mix.cases)
        yield mix


def _case(jail: Jail, name: str, kind: OutcomeKind, task: Task) -> Case:
    return Case(name, frozenset({kind}), partial(jail.run, task))


def _bundles(mix: Mix, jail: Jail) -> None:
    """More of them than a jail keeps, so that each is laid out, deleted, and laid out again."""
    source = b"result = open('/course/text').read()"
    for number in range(BUNDLED * (BUNDLES_KEPT // BUNDLED + 1)):
        bundle = Bundle.of({"text": b"%d" % number, "module.py": b"value = %d\n" % number * 50})
        task = Task("entry:execute", source, LIMITS, bundle)
        mix.cases.append(_case(jail, "bundle", OutcomeKind.OK, task))


def _residents(mix: Mix, jail: Jail) -> None:
    """Kept for as long as they may, and now and then one that dies of its request."""
    for number in range(RESIDENTS):
        # Told apart by their limits: bundles come and go, and with them their residents.
        limits = replace(LIMITS, open_files=LIMITS.open_files + 1 + number)
        task = Task("entry:execute", b"result = 1", limits, resident=True)
        mix.cases += RESIDENT * [_case(jail, "resident", OutcomeKind.OK, task)]
        mix.residents.append(partial(jail.run, task))
        dies = replace(task, request=b"import os; os._exit(3)")
        mix.cases += RESIDENT_DIES * [_case(jail, "resident dies", OutcomeKind.EXIT, dies)]


def _programs(mix: Mix, stack: ExitStack) -> None:
    """A compiled program, and the compiler itself."""

    def watch(step: str, jail: Jail) -> Jail:
        mix.jails[f"C {step}"] = jail
        return jail

    programs = stack.enter_context(Programs(built_in()["c"], SLOT, watch=watch))
    try:
        compiled = programs.compile({"main.c": C_SOURCE})
        programs.run(compiled, STDIN)
    except SandboxUnavailable as error:
        mix.missing.append(f"C: {error}")
        programs.close()
        mix.jails.pop("C compile", None)
        return

    def compiling() -> Outcome:
        try:
            outcome = programs.compile({"main.c": C_SOURCE}).outcome
        except CompileFailed as error:
            return error.outcome
        assert outcome is not None
        return outcome

    for name, share, kinds, stdin in C_PROGRAM:
        run = partial(programs.run, compiled, stdin, LIMITS)
        mix.cases += share * [Case(name, frozenset(kinds), run)]
    mix.last += [compiling, partial(programs.run, compiled, STDIN, LIMITS)]
    mix.cases += COMPILES * [Case("C compile", frozenset({OutcomeKind.OK}), compiling)]


def _reduced(mix: Mix, stack: ExitStack, inside: Profile) -> None:
    profile = replace(inside, require=Isolation.REDUCED)
    jail = Jail(profile, SLOT + 1, "reduced", best=Isolation.REDUCED)
    try:
        stack.enter_context(jail)
    except SandboxUnavailable as error:
        mix.missing.append(f"reduced: {error}")
        return
    mix.jails["reduced"] = jail
    mix.last.append(partial(jail.run, Task("entry:execute", HONEST.encode(), LIMITS)))
    for name, share, kind, source, limits in REDUCED:
        task = Task("entry:execute", source.encode(), limits)
        mix.cases += share * [_case(jail, f"reduced {name}", kind, task)]
