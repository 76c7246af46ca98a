"""Where a warm run's CPU time goes: samples of worker, zygote and children, sorted by what they were in.

`python -m bench.profiled [c]` as root, with perf installed; prints the tables of docs/performance.md. The
whole machine is sampled and only these processes are counted: a profile of one process ends before its memory
is freed. What the kernel does later on behalf of the dead (RCU, work queues) is in nobody's samples.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.programs import ADD, STDIN
from bench.runs import SOURCE
from graders.languages import built_in
from graders.python import profile
from sandbox.jail import Jail
from sandbox.model import Limits, Outcome, OutcomeKind, Profile, Task
from sandbox.program import Programs

RUNS = 600
HERTZ = 5000

# The first that fits one of a sample's functions wins; a page fault, whatever it interrupts, is one.
PARTS = (
    ("page faults", r"exc_page_fault"),
    ("seccomp: taking the filter", r"do_seccomp|seccomp_set_mode|seccomp_prepare"),
    ("seccomp: asking it, at each system call", r"__secure_computing|__seccomp_filter|seccomp_run"),
    ("fork: copy of the memory map and the rest", r"kernel_clone|ret_from_fork|schedule_tail"),
    ("exec of a program", r"_sys_execve"),
    ("exit: memory, mounts and namespaces freed", r"do_exit|do_group_exit"),
    (
        "namespaces and mounts",
        r"_sys_(unshare|setns|mount|umount|fs(open|config|mount)|move_mount)|task_work_run",
    ),
    ("Landlock, capabilities, limits", r"_sys_(landlock\w*|capset|prctl|setrlimit|prlimit64|setpgid)"),
    ("waiting for the child and reaping it", r"_sys_(wait4|waitid)"),
    ("pipes, sockets, descriptors, files", r"_sys_\w+"),
    ("interrupts and the rest of the kernel", r"asm_\w+|entry_SYSCALL|do_syscall_64"),
)
FORK = re.compile(r"PERF_RECORD_FORK\((\d+):\d+\):\((\d+):")
PYTHON = "Python and C library, in user space"


@contextmanager
def python() -> Iterator[tuple[Jail, Callable[[], Outcome]]]:
    """A jail, and a run of trivial code in it."""
    base = profile()
    library = {**base.library, "entry": Path(__file__).with_name("entry.py")}
    with Jail(Profile("", (*base.preload, "entry"), library)) as jail:
        yield jail, partial(jail.run, Task("entry:execute", SOURCE, Limits()))


@contextmanager
def c() -> Iterator[tuple[Jail, Callable[[], Outcome]]]:
    """The jail of the run step, and a test of a compiled program in it."""
    jails: dict[str, Jail] = {}

    def watch(step: str, jail: Jail) -> Jail:
        return jails.setdefault(step, jail)

    with Programs(built_in()["c"], watch=watch) as programs:
        compiled = programs.compile({"main.c": ADD.encode()})
        programs.run(compiled, STDIN)
        yield jails["run"], partial(programs.run, compiled, STDIN)


KINDS = {"python": python, "c": c}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.profiled", description=__doc__)
    parser.add_argument("kind", choices=KINDS, nargs="?", default="python")
    kind = parser.parse_args().kind
    with TemporaryDirectory(prefix="warden-bench-") as folder, KINDS[kind]() as (jail, run):
        for _ in range(50):
            run()
        data = f"{folder}/perf.data"
        recorder = subprocess.Popen(
            ["perf", "record", "-q", "-a", "-g", "-e", "cpu-clock", "-F", str(HERTZ), "-o", data],
            stderr=subprocess.PIPE,
        )
        try:
            while not Path(data).exists() and recorder.poll() is None:
                run()
            for _ in range(RUNS):
                assert run().kind is OutcomeKind.OK
        finally:
            recorder.terminate()
            _, said = recorder.communicate()
        if not Path(data).exists():
            print(f"perf records nothing: {said.decode()}", file=sys.stderr)
            return 1
        command = ["perf", "script", "-i", data, "-F", "pid,ip,sym", "--show-task-events"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        names = {os.getpid(): "worker", jail.pid: "zygote"}
    below = {"zygote": "child", "child": "program", "program": "program"}
    counts = {name: Counter[str]() for name in ("worker", "zygote", "child", "program")}
    for pid, parent, functions in samples(text):
        if names.get(parent) in below:
            names[pid] = below[names[parent]]
        elif functions and pid in names:
            counts[names[pid]][part(functions)] += 1
    show({name: count for name, count in counts.items() if count})
    return 0


def show(counts: Mapping[str, Counter[str]]) -> None:
    """A table of shares: parts by processes."""
    total = sum(count.total() for count in counts.values())
    print(f"{total} samples of {RUNS} runs\n\n| | {' | '.join(counts)} | together |")
    print("|---" * (len(counts) + 2) + "|")
    for name in (*[name for name, _ in PARTS], PYTHON, None):
        numbers = [count.total() if name is None else count[name] for count in counts.values()]
        shares = [f"{number / total:.0%}" for number in (*numbers, sum(numbers))]
        print(f"| {name or 'together'} | {' | '.join(shares)} |")


def samples(text: str) -> Iterator[tuple[int, int, list[str]]]:
    """(process, 0, its functions, the innermost first) or (process born, its parent, []) of `perf script`."""
    for block in text.split("\n\n"):
        functions: list[str] = []
        pid = None
        for line in block.strip().splitlines():
            born = FORK.search(line)
            if born:
                yield int(born[1]), int(born[2]), []
            elif "PERF_RECORD_" in line:
                continue
            elif pid is None:
                pid = int(line.split()[0])
            else:
                functions.append(line.split(maxsplit=1)[-1])
        if pid is not None:
            yield pid, 0, functions


def part(functions: Sequence[str]) -> str:
    """The name of the part that a sample belongs to."""
    text = "\n".join(functions)
    return next((name for name, pattern in PARTS if re.search(pattern, text)), PYTHON)


if __name__ == "__main__":
    sys.exit(main())
