"""`warden demo`: the whole path on real programs, from the LMS's submit to the LMS's callback.

Runs in: tools.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graders import manifest
from graders.model import Verdict
from supervisor.cli import progress

if TYPE_CHECKING:
    from supervisor.lab import Delivered, Graded, Lab

STALLED_S = 60.0
"""The demo gives up when no result arrived for so long."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One submission of the demo."""

    key: str
    queue: str
    problem: str
    sample: manifest.Sample
    payload: str


@click.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=Path("config.toml"),
    show_default=True,
    help="The service's configuration; its first server is replaced by the embedded one.",
)
@click.option(
    "--course",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("course"),
    show_default=True,
    help="A grader root with submissions/ in it.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Instead of the course: a folder with python_problems.jsonl and python_submissions.jsonl.",
)
@click.option(
    "--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="Send all so often."
)
def demo(config: Path, course: Path, data: Path | None, repeat: int) -> None:
    """Show the whole path, end to end.

    Starts an embedded XQueue and the service on loopback in a scratch folder, submits real programs as an LMS
    would (right ones, wrong ones, endless ones and cheats), waits for every callback, and compares each
    verdict with the one expected. Exit status 0 only if all agree. Nothing is left behind.
    """
    from supervisor.lab import LabError
    from xqueue.errors import QueueError

    try:
        with _problems(course, data) as (root, problems):
            right = _run(config, root, problems, repeat)
    except (LabError, manifest.ManifestError, QueueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("\nstopped; nothing is left behind", err=True)
        sys.exit(130)
    sys.exit(0 if right else 1)


@contextlib.contextmanager
def _problems(course: Path, data: Path | None) -> Iterator[tuple[Path, Sequence[manifest.Problem]]]:
    if data is None:
        yield course.absolute(), manifest.load(course)
        return
    with tempfile.TemporaryDirectory(prefix="warden-demo-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        yield root, manifest.load_data(data, root)


def _run(config: Path, root: Path, problems: Sequence[manifest.Problem], repeat: int) -> bool:
    from supervisor.config import ConfigError, load
    from supervisor.lab import Lab

    try:
        settings = load(config, ())
    except ConfigError as error:
        from supervisor.cli.options import refusal

        raise click.ClickException(refusal(config, error)) from error
    queues = list(settings.queues)
    server = settings.queues[queues[0]].server
    overrides = [f"queues.{queue}.handlers[0].grader_root={json.dumps(str(root))}" for queue in queues]
    sent = list(_plan(problems, queues, repeat))
    with Lab(config, overrides, queues, server) as lab:
        lab.start_supervisor()
        started = time.monotonic()
        failures: list[BaseException] = []

        def feed() -> None:
            try:
                for one in sent:
                    lab.submit(one.queue, one.key, one.payload, one.sample.response)
            except BaseException as error:  # told by the main thread
                failures.append(error)

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        _watch(lab.lms.wait, len(sent), failures)
        took = time.monotonic() - started
        status = lab.settled(len(sent))
        return _report(sent, lab, status, took)


def _plan(problems: Sequence[manifest.Problem], queues: Sequence[str], repeat: int) -> Iterator[Sent]:
    """Every sample of every problem, in an order that mixes the problems; a problem has one queue."""
    lanes = [
        [
            Sent(
                f"learner-{lap}-{number}-{index}",
                queues[number % len(queues)],
                problem.title,
                sample,
                problem.payload,
            )
            for index, sample in enumerate(problem.submissions)
        ]
        for lap in range(repeat)
        for number, problem in enumerate(problems)
    ]
    longest = max(map(len, lanes), default=0)
    for index in range(longest):
        for lane in lanes:
            if index < len(lane):
                yield lane[index]


def _watch(wait: Callable[[int, float], int], total: int, failures: Sequence[BaseException]) -> None:
    """Wait for `total` results with a progress bar; give up if none arrives for STALLED_S.

    Raises:
        BaseException: the first of `failures`.
    """
    with progress.bar("grading", total) as advance:
        arrived, moved = 0, time.monotonic()
        while arrived < total and time.monotonic() - moved < STALLED_S and not failures:
            now = wait(min(total, arrived + 1), 0.5)
            for _ in range(arrived, now):
                advance()
            if now > arrived:
                arrived, moved = now, time.monotonic()
    if failures:
        raise failures[0]


def _report(sent: Sequence[Sent], lab: Lab, status: Mapping[str, Any], took: float) -> bool:
    """The table, the layers, the throughput, the health line. True if every verdict is the expected one."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    delivered, graded = lab.lms.delivered, dict(lab.graded())
    wrong: list[str] = []
    by_problem: dict[str, list[Sent]] = {}
    for one in sent:
        by_problem.setdefault(one.problem, []).append(one)
        if said := _wrong(one, delivered.get(one.key), graded.get(one.key)):
            wrong.append(f"{one.problem} / {one.sample.name}: {said}")

    table = Table(title=f"{len(sent)} submissions of {len(by_problem)} problems")
    for heading, justify in (("problem", "left"), ("queue", "left"), ("sent", "right"), ("verdicts", "left")):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("p50 ms", justify="right")
    table.add_column("p95 ms", justify="right")
    for title, members in by_problem.items():
        found = [graded[one.key] for one in members if one.key in graded]
        verdicts = Counter(one.verdict for one in found)
        times = [one.grading_s * 1000 for one in found] or [0.0]
        table.add_row(
            title,
            members[0].queue,
            str(len(members)),
            ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()),
            f"{statistics.median(times):.0f}",
            f"{_percentile(times, 0.95):.0f}",
        )
    console.print(table)
    for sandbox, layers in status.get("isolation", {}).items():
        console.print(f"isolation of {sandbox}: {', '.join(layers)}")
    rate = len(delivered) / took if took else 0.0
    console.print(f"{len(delivered)} of {len(sent)} results came back in {took:.1f} s: {rate:.0f} per second")
    for line in wrong[:20]:
        console.print(f"WRONG {line}", markup=False)
    if len(wrong) > 20:
        console.print(f"... and {len(wrong) - 20} more")
    if lab.lms.invalid:
        console.print(
            f"WRONG {len(lab.lms.invalid)} callbacks were no replies: {lab.lms.invalid[0]}", markup=False
        )
    console.print("every verdict is the expected one" if not wrong else f"{len(wrong)} verdicts are wrong")
    console.print(lab.health()[1], markup=False, soft_wrap=True)
    return not wrong and not lab.lms.invalid


def _wrong(one: Sent, reply: Delivered | None, graded: Graded | None) -> str:
    """What is not as expected of one submission; "" if all is."""
    expected = "/".join(sorted(one.sample.expected))
    if reply is None or graded is None:
        return f"no result (expected {expected})"
    if graded.verdict not in one.sample.expected:
        return f"{graded.verdict} (expected {expected}) {graded.reason}"
    if reply.correct != (graded.verdict == Verdict.CORRECT):
        return f"the callback says correct={reply.correct}, the journal {graded.verdict}"
    return ""


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
