"""`warden replay`: grade journalled submissions again, without delivering, and compare.

Runs in: tools. Never writes the journal; runs beside a running service, with lower priority and with jails
whose numbers the service does not use.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from graders.errors import CourseError
from graders.model import Verdict
from sandbox import cgroup
from sandbox.model import SandboxUnavailable
from supervisor.archive import Archive, Entry, Wanted, opened
from supervisor.cli import options, progress
from supervisor.cli.moment import Since
from supervisor.config import Config
from supervisor.events import brief
from supervisor.journal import FILE_NAME
from supervisor.log import plain
from supervisor.replay import Comparison, Replayer

EXIT_DIFFERS, EXIT_USAGE, EXIT_ISOLATION, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 2, 3, 130, 143
NICE = 10


@click.command()
@options.config_options
@click.argument("ids", type=int, nargs=-1, metavar="[ID]...")
@click.option("--queue", metavar="NAME", help="Of this queue only.")
@click.option("--grader", metavar="PATTERN", help="A shell-style pattern on the grader's path.")
@click.option("--since", type=Since(), metavar="TIME", help="Pulled since then: 2h, 9:30, 2026-03-31.")
@click.option("--verdict", type=click.Choice([verdict.value for verdict in Verdict]), help="That it got.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many, the latest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each submission, a line each.")
@click.pass_context
def replay(
    context: click.Context,
    config: Path,
    overrides: tuple[str, ...],
    ids: tuple[int, ...],
    queue: str | None,
    grader: str | None,
    since: float | None,
    verdict: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Grade journalled submissions again, without delivering, and compare.

    For after a grader, a limit or an interpreter changed: the configuration and the graders as they are now
    against what the journal says. The differences are printed, then a summary. Messages may differ where
    verdicts do not (times, addresses); that is counted only.

    Exit code: 0 every verdict is as it was; 1 some differ; 2 usage, or nothing can be compared; 3 this
    machine cannot isolate.
    """
    try:
        wanted = Wanted(ids, queue, None, grader, verdict, since, graded=True)
        _replay(context, config, overrides, wanted, limit, as_json)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)


def _replay(
    context: click.Context,
    config: Path,
    overrides: tuple[str, ...],
    wanted: Wanted,
    limit: int | None,
    as_json: bool,
) -> NoReturn:
    settings = options.loaded(config, overrides, lenient_queues=True)
    signal.signal(signal.SIGTERM, _terminated)
    os.nice(NICE)
    context.with_resource(cgroup.delegated())
    began = time.monotonic()
    found: list[Comparison] = []
    skipped: Counter[str] = Counter()
    try:
        with options.told(opened(settings.warden.state_dir / FILE_NAME)) as archive:
            entries = archive.entries(wanted, limit)
            if missing := sorted(set(wanted.ids) - {entry.id for entry in entries}):
                numbers = ", ".join(map(str, missing))
                raise click.ClickException(f"no graded submission {numbers} fits in the journal")
            with Replayer(settings) as replayer, progress.bar("grading again", len(entries)) as advance:
                for comparison in _again(settings, archive, replayer, entries, skipped, advance):
                    found.append(comparison)
                    if as_json:
                        click.echo(json.dumps(record(comparison)))
    except CourseError as error:
        raise click.ClickException(plain(error)) from error
    except SandboxUnavailable as error:
        click.echo(f"this machine cannot isolate submissions: {plain(error)}; see `warden doctor`", err=True)
        sys.exit(EXIT_ISOLATION)
    except KeyboardInterrupt:
        click.echo(f"interrupted: {len(found)} were graded again", err=True)
        sys.exit(EXIT_INTERRUPTED)
    if not as_json:
        _show(found)
    for why, count in skipped.items():
        click.echo(f"left out: {count}, {why}", err=True)
    click.echo(totals(found, time.monotonic() - began), err=True)
    sys.exit(EXIT_DIFFERS if any(not one.same_verdict for one in found) else 0)


def _again(
    config: Config,
    archive: Archive,
    replayer: Replayer,
    entries: Sequence[Entry],
    skipped: Counter[str],
    advance: Callable[[], None],
) -> Iterator[Comparison]:
    """Each that can be graded; the others are counted by why not."""
    for entry in entries:
        if entry.queue not in config.queues:
            skipped[f"queue {plain(entry.queue)} is not configured"] += 1
        elif (content := archive.content(entry.id)) is None:
            skipped["forgotten by the journal meanwhile"] += 1
        elif content.missing:
            skipped["their files were never fetched"] += 1
        else:
            yield replayer.again(entry, content)
        advance()


# --- showing ----------------------------------------------------------------------------------------------


def record(one: Comparison) -> dict[str, Any]:
    """The object of --json. No learner's text, no message."""
    entry = one.entry
    return {
        "id": entry.id,
        "queue": entry.queue,
        "submission_id": entry.submission_id,
        "grader": entry.grader,
        "was": {"verdict": one.was.verdict, "score": one.was.score, "grader_digest": one.was.grader_digest},
        "now": {"verdict": one.now.verdict, "score": one.now.score, "grader_digest": one.now.grader_digest},
        "same": {
            "verdict": one.same_verdict,
            "score": one.same_score,
            "msg": one.same_msg,
            "grader": one.same_grader,
        },
        "why": one.why,
    }


def totals(found: Sequence[Comparison], seconds: float) -> str:
    """The line that ends the talk."""
    counts = {
        "verdicts differ": sum(not one.same_verdict for one in found),
        "scores differ": sum(one.same_verdict and not one.same_score for one in found),
        "messages differ": sum(one.same and not one.same_msg for one in found),
        "were graded by other files": sum(one.same_grader is False for one in found),
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count] or ["nothing differs"]
    return f"{len(found)} graded again: {', '.join(parts)} · {seconds:.1f} s"


def _show(found: Sequence[Comparison]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    differing = [one for one in found if not one.same]
    console = Console()
    if differing:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("id", justify="right", no_wrap=True)
        for column in ("was", "now"):
            table.add_column(column, no_wrap=True)
        table.add_column("queue and grader", overflow="fold")
        table.add_column("why", overflow="fold")
        for one in differing:
            about = f"{one.entry.queue} {one.entry.grader}"
            grades = (f"{grade.verdict} {grade.score:g}" for grade in (one.was, one.now))
            cells = (*grades, about, brief(one.why))
            table.add_row(str(one.entry.id), *(Text(plain(cell)) for cell in cells))
        console.print(table)
        console.print()
    summary = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("was", "now"):
        summary.add_column(column)
    summary.add_column("submissions", justify="right")
    turned = Counter((one.was.verdict, one.now.verdict) for one in found)
    for (was, now), count in sorted(turned.items(), key=lambda item: (item[0][0] == item[0][1], -item[1])):
        style = "" if was == now else "yellow"
        summary.add_row(Text(plain(was), style=style), Text(plain(now), style=style), str(count))
    if turned:
        console.print(summary)


def _terminated(*_: object) -> NoReturn:
    sys.exit(EXIT_TERMINATED)
