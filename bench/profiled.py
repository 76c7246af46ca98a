"""Where a warm run's CPU time goes: samples of worker, zygote and children, sorted by what they were in.

`python -m bench.profiled` as root, with perf installed; prints the table of docs/performance.md. The whole
machine is sampled and only these processes are counted: a profile of one process ends before its memory is
freed. What the kernel does later on behalf of the dead (RCU, work queues) is in nobody's samples.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.runs import SOURCE
from graders.python import profile
from sandbox.jail import Jail
from sandbox.model import Limits, OutcomeKind, Profile, Task

RUNS = 600
HERTZ = 5000

# The first that fits one of a sample's functions wins; a page fault, whatever it interrupts, is one.
PARTS = (
    ("page faults: copies of pages that are written", r"exc_page_fault"),
    ("seccomp: taking the filter", r"do_seccomp|seccomp_set_mode|seccomp_prepare"),
    ("seccomp: asking it, at each system call", r"__secure_computing|__seccomp_filter|seccomp_run"),
    ("fork: copy of the memory map and the rest", r"kernel_clone|ret_from_fork|schedule_tail"),
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


def main() -> int:
    base = profile()
    library = {**base.library, "entry": Path(__file__).with_name("entry.py")}
    with (
        TemporaryDirectory(prefix="warden-bench-") as folder,
        Jail(Profile("", (*base.preload, "entry"), library)) as jail,
    ):

        def once() -> None:
            outcome = jail.run(Task("entry:execute", SOURCE, Limits()))
            assert outcome.kind is OutcomeKind.OK, outcome

        for _ in range(50):
            once()
        data = f"{folder}/perf.data"
        recorder = subprocess.Popen(
            ["perf", "record", "-q", "-a", "-g", "-e", "cpu-clock", "-F", str(HERTZ), "-o", data],
            stderr=subprocess.PIPE,
        )
        try:
            while not Path(data).exists() and recorder.poll() is None:
                once()
            for _ in range(RUNS):
                once()
        finally:
            recorder.terminate()
            _, said = recorder.communicate()
        if not Path(data).exists():
            print(f"perf records nothing: {said.decode()}", file=sys.stderr)
            return 1
        command = ["perf", "script", "-i", data, "-F", "pid,ip,sym", "--show-task-events"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        zygote = jail.pid
    counts = {"worker": Counter[str](), "zygote": Counter[str](), "child": Counter[str]()}
    names = {os.getpid(): "worker", zygote: "zygote"}
    for pid, parent, functions in samples(text):
        if parent == zygote:
            names[pid] = "child"
        elif functions and pid in names:
            counts[names[pid]][part(functions)] += 1
    total = sum(count.total() for count in counts.values())
    print(f"{total} samples of {RUNS} runs\n\n| | {' | '.join(counts)} |\n|---|---|---|---|")
    for name in (*[name for name, _ in PARTS], PYTHON):
        shares = [count[name] / total for count in counts.values()]
        print(f"| {name} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    print(f"| together | {' | '.join(f'{count.total() / total:.1%}' for count in counts.values())} |")
    return 0


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
