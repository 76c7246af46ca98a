"""The whole service: throughput and CPU per submission, the cost of idling, the memory of a worker."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from graders import manifest
from graders.model import Verdict
from supervisor.lab import Lab
from tests.xqueue.real.lab_process import Lab as Edx
from tests.xqueue.real.lab_process import LabMissing

CONFIG = """
[warden]
state_dir = "unused"

[servers.demo]
url = "http://127.0.0.1:1"
username = "unused"
password_file = "unused"

[sandboxes.python]
require = "full"
"""

QUEUE = """
[queues.{name}]
server = "demo"
workers = {workers}

[[queues.{name}.handlers]]
{handler}
"""

RUN = "from supervisor.cli import main; main()"
GRADELIB = 'kind = "gradelib"\ngrader_root = "{root}"\nsandbox = "python"'
NOOP = 'kind = "class"\nclass = "bench.noop:Noop"\ngrader_root = "{root}"\nsandbox = "python"'


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of one run. `cpu_s` is per submission: supervisor, workers and jails, without the queue server."""

    submissions: int
    per_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Idle:
    """`core` is the share of one core; of supervisor and workers together."""

    queues: int
    core: float
    polls_per_min: float


@contextmanager
def _lab(queues: dict[str, int], handler: str) -> Iterator[Lab]:
    with TemporaryDirectory(prefix="warden-bench-") as folder:
        config = Path(folder) / "config.toml"
        parts = [
            QUEUE.format(name=name, workers=workers, handler=handler) for name, workers in queues.items()
        ]
        config.write_text(CONFIG + "".join(parts))
        with Lab(config, [], list(queues)) as lab:
            yield lab


def throughput(root: Path, noop: bool, count: int, workers: int) -> Throughput:
    """`count` right submissions of the course at `root`, submitted while the service grades."""
    samples = _right(root)
    handler = (NOOP if noop else GRADELIB).format(root=root.absolute())
    with _lab({"bench": workers}, handler) as lab:
        # A first lap warms the jails and the references, and is not counted.
        lab.start_supervisor()
        for number, (payload, response) in enumerate(samples):
            lab.submit("bench", f"warm-{number}", payload, response)
        _arrive(lab, len(samples))
        supervisor = psutil.Process(lab.process("supervisor").pid)
        before, started = _cpu(supervisor), time.monotonic()
        for number in range(count):
            payload, response = samples[number % len(samples)]
            lab.submit("bench", f"count-{number}", payload, response)
        _arrive(lab, len(samples) + count)
        took = time.monotonic() - started
        return Throughput(count, count / took, (_cpu(supervisor) - before) / count)


@dataclass(frozen=True, slots=True)
class Burst:
    """A queue full of submissions when the service starts. `polls` until it was empty."""

    submissions: int
    drained_s: float
    polls: int


def burst(root: Path, count: int, workers: int) -> Burst:
    """`count` right submissions of the course are in the queue when the warm service hears of them."""
    samples = _right(root)
    with _lab({"bench": workers}, GRADELIB.format(root=root.absolute())) as lab:
        for number in range(count):
            payload, response = samples[number % len(samples)]
            lab.submit("bench", f"burst-{number}", payload, response)
        started = time.monotonic()
        lab.start_supervisor()
        _arrive(lab, count, 900)
        drained_s = time.monotonic() - started
        lab.settled(count)
        return Burst(count, drained_s, _polls(lab))


def on_edx_submissions(root: Path, count: int, workers: int) -> float | None:
    """Submissions a second through the LMS's own server on PostgreSQL; None if that is not installed."""
    samples = _right(root)
    try:
        with Edx() as edx, TemporaryDirectory(prefix="warden-bench-") as folder:
            where = Path(folder)
            password = where / "password"
            password.touch(mode=0o600)
            password.write_text("grader-password")
            queue = QUEUE.format(name="bench", workers=workers, handler=GRADELIB.format(root=root.absolute()))
            config = CONFIG.replace("http://127.0.0.1:1", edx.url).replace(
                'username = "unused"\npassword_file = "unused"',
                'username = "grader"\npassword_file = "password"',
            )
            (where / "config.toml").write_text(config + queue)
            ids = []
            for number in range(count):
                problem, response = samples[number % len(samples)]
                grader = json.loads(problem)["grader"]
                ids.append(edx.control("enqueue", queue="bench", answer=response, grader=grader))
            command = [sys.executable, "-c", RUN, "run", "-c", str(where / "config.toml")]
            with (where / "log").open("wb") as log:
                started = time.monotonic()
                service = subprocess.Popen(command, stdout=log, stderr=log, cwd=where)
            try:
                for submission in ids:
                    while edx.control("state", submission=submission)["status"] != "retired":
                        if time.monotonic() - started > 600 or service.poll() is not None:
                            raise RuntimeError((where / "log").read_text()[-2000:])
                        _pause(0.05)
                return count / (time.monotonic() - started)
            finally:
                service.terminate()
                service.wait(60)
    except LabMissing:
        return None


def _right(root: Path) -> list[tuple[str, str]]:
    return [
        (problem.payload, sample.response)
        for problem in manifest.load(root)
        for sample in problem.submissions
        if sample.expected == {Verdict.CORRECT}
    ]


def _arrive(lab: Lab, count: int, for_s: float = 300) -> None:
    got = lab.lms.wait(count, for_s)
    if got < count:
        raise RuntimeError(f"only {got} of {count} results arrived\n{lab.log('supervisor')}")


def idle(root: Path, queues: int, seconds: float) -> Idle:
    """`queues` queues with a worker each and nothing to do, once their polling has slowed down."""
    names = {f"idle-{number}": 1 for number in range(queues)}
    with _lab(names, GRADELIB.format(root=root.absolute())) as lab:
        lab.start_supervisor()
        _pause(20)
        supervisor = psutil.Process(lab.process("supervisor").pid)
        polls, cpu, started = _polls(lab), _cpu(supervisor), time.monotonic()
        _pause(seconds)
        took = time.monotonic() - started
        return Idle(queues, (_cpu(supervisor) - cpu) / took, (_polls(lab) - polls) / took * 60)


def memory_per_worker(root: Path) -> float:
    """Bytes of proportional set size that one more warm, idle worker costs, with its zygote."""
    few, many = 1, 4
    sizes = []
    for workers in (few, many):
        with _lab({"bench": workers}, GRADELIB.format(root=root.absolute())) as lab:
            lab.start_supervisor()
            problem = manifest.load(root)[0]
            sample = problem.submissions[0]
            # Every worker must have graded, or it has no zygote yet.
            deadline, number = time.monotonic() + 60, 0
            while _zygotes(lab) < workers and time.monotonic() < deadline:
                for _ in range(4 * workers):
                    lab.submit("bench", f"m-{number}", problem.payload, sample.response)
                    number += 1
                _arrive(lab, number)
            if _zygotes(lab) < workers:
                raise RuntimeError("not every worker has a zygote")
            supervisor = psutil.Process(lab.process("supervisor").pid)
            sizes.append(sum(_pss(process) for process in [supervisor, *supervisor.children(recursive=True)]))
    return (sizes[1] - sizes[0]) / (many - few)


def _zygotes(lab: Lab) -> int:
    workers = psutil.Process(lab.process("supervisor").pid).children()
    return sum(len(worker.children()) for worker in workers)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _cpu(top: psutil.Process) -> float:
    """Seconds used by a process and all below it, the ended ones included."""
    total = 0.0
    for process in [top, *top.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _polls(lab: Lab) -> int:
    return sum(queue["polls"] for queue in lab.status()["queues"].values())


def _pause(seconds: float) -> None:
    select.select([], [], [], seconds)
