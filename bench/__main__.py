"""`make bench`: one table, measured in one run."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

from bench import grading, numpy_grading, runs, service

COURSE = Path(__file__).resolve().parent.parent / "course"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="of each kind of run (default 300)")
    parser.add_argument(
        "--count", type=int, default=400, help="submissions through the service (default 400)"
    )
    parser.add_argument("--idle", type=float, default=30, help="seconds of idling (default 30)")
    parser.add_argument(
        "--only",
        choices=["runs", "grading", "numpy", "service", "idle", "memory"],
        help="a part of the table",
    )
    chosen = parser.parse_args()

    def wanted(part: str) -> bool:
        return chosen.only in (None, part)

    cores = len(os.sched_getaffinity(0))
    print(
        f"Linux {platform.release()}, Python {platform.python_version()}, {cores} cores, uid {os.geteuid()}\n"
    )
    print("| what | measured | aim |\n|---|---|---|")
    if wanted("runs"):
        one = runs.measure(chosen.rounds)
        row(
            "sandboxed warm run",
            f"{one.warm_s * 1e3:.2f} ms ({one.warm_cpu_s * 1e3:.1f} ms CPU in the child)",
        )
        row("… / bare fork of the same interpreter", ratio(one.warm_s, one.fork_s), "≤ 2.5")
        row("… / cold `python -c pass`, no sandbox", ratio(one.warm_s, one.cold_s), "≤ 0.35")
        if one.bwrap_s is None:
            row("… / bubblewrap + python", "bwrap is not installed here")
        else:
            row("… / bubblewrap + python", ratio(one.warm_s, one.bwrap_s))
    if wanted("grading"):
        judged = grading.measure(COURSE, max(1, chosen.rounds // 50))
        row(
            "CPU per gradelib submission, reference cached: worker + jail",
            f"{judged.worker_s * 1e3:.1f} + {judged.jail_s * 1e3:.1f} ms",
            "≤ 8 ms",
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
    if wanted("service"):
        ceiling = service.throughput(COURSE, True, chosen.count, cores)
        course = service.throughput(COURSE, False, chosen.count, cores)
        row("course through the embedded XQueue", f"{course.per_s:.0f} submissions/s")
        row("the same with a grader that does nothing", f"{ceiling.per_s:.0f} submissions/s")
        row("CPU per submission, service and jails", f"{course.cpu_s * 1e3:.1f} ms", "≤ 8 ms")
        row("… of it without grading", f"{ceiling.cpu_s * 1e3:.1f} ms")
    if wanted("idle"):
        idle = service.idle(COURSE, 20, chosen.idle)
        row(f"{idle.queues} idle queues: share of a core", f"{idle.core:.2%}", "< 1 %")
        row(f"{idle.queues} idle queues: polls per minute", f"{idle.polls_per_min:.0f}")
    if wanted("memory"):
        pss = service.memory_per_worker(COURSE)
        row("one more idle worker with its zygote (PSS)", f"{pss / 2**20:.1f} MiB", "≤ 15 MB")


def row(what: str, measured: str, aim: str = "") -> None:
    print(f"| {what} | {measured} | {aim} |", flush=True)


def ratio(a: float, b: float) -> str:
    return f"{a / b:.2f} ({a * 1e3:.2f} ms / {b * 1e3:.2f} ms)"


if __name__ == "__main__":
    main()
