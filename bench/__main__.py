"""`make bench`: one table, measured in one run."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench import grading, journal, leak, numpy_grading, programs, runs, service

COURSE = Path(__file__).resolve().parent.parent / "course"


PARTS = (
    "runs",
    "programs",
    "grading",
    "numpy",
    "journal",
    "service",
    "edx",
    "burst",
    "idle",
    "memory",
    "leak",
)


def main() -> int:
    """Exit status 1 if something leaks, else 0: a missed aim is news, not an error."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="of each kind of run (default 300)")
    parser.add_argument(
        "--count", type=int, default=400, help="submissions through the service (default 400)"
    )
    parser.add_argument("--burst", type=int, default=2000, help="submissions in a burst (default 2000)")
    parser.add_argument("--idle", type=float, default=30, help="seconds of idling (default 30)")
    parser.add_argument("--runs", type=int, default=20_000, help="in search of leaks (default 20000)")
    parser.add_argument("--only", choices=PARTS, help="a part of the table")
    chosen = parser.parse_args()

    def wanted(part: str) -> bool:
        return chosen.only in (None, part)

    cores = len(os.sched_getaffinity(0))
    kernel = ".".join(platform.release().split(".")[:2])  # the rest names whose build it is
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Linux {kernel}, Python {platform.python_version()}, {cores} cores, "
        f"{'root' if os.geteuid() == 0 else 'an ordinary user'}\n"
    )
    print("| what | measured | aim |\n|---|---|---|")
    if wanted("runs"):
        one = runs.measure(chosen.rounds)
        row(
            "sandboxed warm run",
            f"{one.warm_s * 1e3:.2f} ms ({one.warm_cpu_s * 1e3:.1f} ms CPU in the child)",
        )
        row("… / bare fork of the same interpreter", ratio(one.warm_s, one.fork_s), "≤ 2.0")
        row("… / such a fork without the at-fork handlers of modules", ratio(one.warm_s, one.lean_fork_s))
        row("… / cold `python -c pass`, no sandbox", ratio(one.warm_s, one.cold_s), "≤ 0.2")
        if one.bwrap_s is None:
            row("… / bubblewrap + python", "not measured: there is no bwrap", "≤ 0.15")
        else:
            row("… / bubblewrap + python", ratio(one.warm_s, one.bwrap_s), "≤ 0.15")
    if wanted("programs"):
        program = programs.measure(chosen.rounds)
        what = "compiled C program, one test, run step / bare fork and exec of it"
        if program is None:
            row(what, "not measured: there is no C compiler", "≤ 3.0")
        else:
            row(what, ratio(program.jailed_s, program.bare_s), "≤ 3.0")
    if wanted("grading"):
        judged = grading.measure(COURSE, max(1, chosen.rounds // 50))
        row(
            "CPU per gradelib submission, reference cached: worker + jail",
            f"{judged.worker_s * 1e3:.1f} + {judged.jail_s * 1e3:.1f} = "
            f"{(judged.worker_s + judged.jail_s) * 1e3:.1f} ms",
            "≤ 4 ms",
        )
    if wanted("numpy"):
        numpy = numpy_grading.measure(max(1, chosen.rounds // 6))
        if numpy is None:
            row(
                "a warm grading with numpy / a plain one",
                f"not measured: {numpy_grading.PYTHON} is not there",
            )
        else:
            row("a warm grading with numpy / a plain one", ratio(numpy.numpy.wall_s, numpy.plain.wall_s))
            row(
                "… with pandas preloaded besides / a plain one", ratio(numpy.heavy.wall_s, numpy.plain.wall_s)
            )
            sizes = [cost.zygote_pss_bytes for cost in (numpy.plain, numpy.numpy, numpy.heavy)]
            shown = ", ".join(f"{size / 2**20:.0f}" for size in sizes)
            row("zygote (PSS): plain, numpy, numpy and pandas", f"{shown} MiB")
    if wanted("journal"):
        book = journal.measure(chosen.count)
        fsyncs = "not counted: there is no strace" if book.fsyncs is None else f"{book.fsyncs:.2f} fsyncs"
        row(
            "the journal, per submission",
            f"{book.wall_s * 1e3:.2f} ms ({book.cpu_s * 1e3:.2f} ms CPU), {fsyncs}",
            "≤ 1 fsync a state",
        )
    if wanted("service"):
        ceiling = service.throughput(COURSE, True, chosen.count, cores)
        course = service.throughput(COURSE, False, chosen.count, cores)
        row("course through the embedded XQueue", f"{course.per_s:.0f} submissions/s")
        row("the same with a grader that does nothing", f"{ceiling.per_s:.0f} submissions/s")
        row("CPU per submission, service and jails", f"{course.cpu_s * 1e3:.1f} ms", "≤ 8 ms")
        row("… of it without grading", f"{ceiling.cpu_s * 1e3:.1f} ms")
    if wanted("edx"):
        per_s = service.on_edx_submissions(COURSE, chosen.count, cores)
        row(
            "course through edx-submissions on PostgreSQL (cold start included)",
            "not measured: it is not installed" if per_s is None else f"{per_s:.0f} submissions/s",
        )
    if wanted("burst"):
        crowd = service.burst(COURSE, chosen.burst, cores)
        row(
            f"a burst of {crowd.submissions:,}, drained",
            f"{crowd.drained_s:.0f} s ({crowd.submissions / crowd.drained_s:.0f} submissions/s)",
        )
        row("… polls of the server while it lasted", f"{crowd.polls:,}")
    if wanted("idle"):
        idle = service.idle(COURSE, 20, chosen.idle)
        row(f"{idle.queues} idle queues: share of a core", f"{idle.core:.2%}", "< 1 %")
        row(f"{idle.queues} idle queues: polls per minute", f"{idle.polls_per_min:.0f}")
    if wanted("memory"):
        pss = service.memory_per_worker(COURSE)
        row(
            "one more idle worker with its zygote (PSS)",
            f"{pss / 2**20:.1f} MiB ({pss / 1e6:.1f} MB)",
            "≤ 15 MB",
        )
    if wanted("leak"):
        with progress() as tick:
            left = leak.measure(chosen.runs, tick)
        row(
            f"after {left.runs:,} runs: growth of memory, descriptors, zombies, mounts, cgroups, files",
            f"{left.memory_growth:+.1%}, {left.other_growth}",
            "≤ 2 %, 0",
        )
        print("\n" + details(left))
        return 0 if left.ok else 1
    return 0


def row(what: str, measured: str, aim: str = "") -> None:
    print(f"| {what} | {measured} | {aim} |", flush=True)


def ratio(a: float, b: float) -> str:
    return f"{a / b:.2f} ({a * 1e3:.2f} ms / {b * 1e3:.2f} ms)"


def details(left: leak.Leak) -> str:
    """The second table: each number before and after, and how the runs ended."""
    lines = ["| | before | after | growth |", "|---|---|---|---|"]
    for item in left.items:
        note = "" if item.ok else ": **leaks**"
        if item.memory:
            growth = f"{item.share:+.1%}" + ("" if item.judged else ", not judged")
            before, after = item.before / 1024, item.after / 1024
            lines.append(f"| {item.name} | {before:.0f} KiB | {after:.0f} KiB | {growth}{note} |")
        else:
            lines.append(f"| {item.name} | {item.before} | {item.after} | {item.growth:+d}{note} |")
    ends = ", ".join(f"{count} {kind}" for kind, count in left.outcomes.items())
    lines += ["", f"The {left.runs:,} runs ended: {ends}."]
    lines += [f"Not taking part: {what}" for what in left.missing]
    lines += [f"Not as expected: {what}" for what in left.wrong]
    return "\n".join(lines)


@contextmanager
def progress() -> Iterator[Callable[[int, int], None]]:
    """What moves a bar on stderr; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        "runs",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as shown:
        bar = shown.add_task("runs")
        yield lambda done, total: shown.update(bar, completed=done, total=total)


if __name__ == "__main__":
    sys.exit(main())
