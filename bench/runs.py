"""One sandboxed run against what it could be compared with, interleaved so that noise hits all alike."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graders.python import profile
from sandbox import interpreter
from sandbox.jail import Jail
from sandbox.model import Limits, OutcomeKind, Profile, Task

SOURCE = b"result = sum(range(10))"

# A bare fork, measured in an interpreter of the same kind that has imported the same modules: what a fork
# server without any isolation would cost. Modules register handlers that run around each fork (threading,
# random, logging); a zygote keeps them from doing so, and `lean` is a fork that does the same.
FORKER = """
import os, sys, time
if {lean}:
    os.register_at_fork = lambda **handlers: None
sys.path[:0] = {paths!r}
for name in {modules!r}:
    __import__(name)
import gc
gc.collect(); gc.freeze(); gc.disable()
for line in sys.stdin:
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        exec(compile({source!r}, "submission.py", "exec"), {{}})
        os._exit(0)
    os.waitpid(pid, 0)
    print(time.perf_counter() - started, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Runs:
    """Medians in seconds."""

    warm_s: float
    warm_cpu_s: float
    fork_s: float
    lean_fork_s: float  # the same, of an interpreter whose modules have no at-fork handlers
    cold_s: float
    bwrap_s: float | None


def measure(rounds: int) -> Runs:
    """`rounds` of each, in turns."""
    python = interpreter.examine("").executable
    gradelib = profile()
    library = {**gradelib.library, "entry": Path(__file__).with_name("entry.py")}
    with Jail(Profile("", (*gradelib.preload, "entry"), library)) as jail:
        forker, lean = _forker(python, gradelib, lean=False), _forker(python, gradelib, lean=True)
        cpu: list[float] = []

        def warm() -> None:
            outcome = jail.run(Task("entry:execute", SOURCE, Limits()))
            assert outcome.kind is OutcomeKind.OK and outcome.report == b"45", outcome
            cpu.append(outcome.usage.cpu_s)

        bwrap = shutil.which("bwrap")
        text = SOURCE.decode() + "; print(result)"
        sandboxed = [*_bwrap(python), python, "-S", "-c", text]
        series: dict[str, list[float]] = {name: [] for name in ("warm", "fork", "lean", "cold", "bwrap")}
        for _ in range(10):  # everything warm before it counts
            warm()
            _fork(forker)
            _fork(lean)
        cpu.clear()
        for number in range(rounds):
            series["warm"].append(_timed(warm))
            series["fork"].append(_fork(forker))
            series["lean"].append(_fork(lean))
            if number % 4 == 0:
                series["cold"].append(_timed(lambda: subprocess.run([python, "-c", "pass"], check=True)))
                if bwrap:
                    series["bwrap"].append(
                        _timed(lambda: subprocess.run(sandboxed, check=True, stdout=subprocess.DEVNULL))
                    )
        for one in (forker, lean):
            one.communicate()
    return Runs(
        statistics.median(series["warm"]),
        statistics.median(cpu),
        statistics.median(series["fork"]),
        statistics.median(series["lean"]),
        statistics.median(series["cold"]),
        statistics.median(series["bwrap"]) if series["bwrap"] else None,
    )


def _forker(python: str, kind: Profile, lean: bool) -> subprocess.Popen[str]:
    """An interpreter that forks once for each line that it reads, and prints how long that took."""
    paths = sorted({str(path.parent) for path in kind.library.values()})
    code = FORKER.format(lean=lean, paths=paths, modules=kind.preload, source=SOURCE)
    return subprocess.Popen(
        [python, "-s", "-B", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _fork(forker: subprocess.Popen[str]) -> float:
    assert forker.stdin is not None and forker.stdout is not None
    forker.stdin.write("\n")
    forker.stdin.flush()
    return float(forker.stdout.readline())


def _bwrap(python: str) -> list[str]:
    show = [] if python.startswith("/usr") else ["--ro-bind", *[str(Path(python).parents[1])] * 2]
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr"),
        *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin"),
        *("--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp"),
        *show,
    ]


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
