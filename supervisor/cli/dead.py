"""`warden dead`: the dead-letter box. What is in it, everything about one letter, try it again, drop it.

Runs in: tools. Works on the journal file, whether or not the service runs.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from graders.model import Cause
from supervisor import bundle as bundles
from supervisor import dead as box
from supervisor.archive import Content, Entry, Wanted, opened, opened_to_write
from supervisor.cli import options
from supervisor.cli.moment import Since, shown
from supervisor.config import Config, tree_of
from supervisor.dead import Done
from supervisor.events import brief
from supervisor.health import span
from supervisor.journal import FILE_NAME
from supervisor.log import plain

ANY = Wanted(dead=True)

_TIMES = ("submitted", "pulled", "handed", "started", "graded", "delivered", "confirmed", "closed", "dead")
_MOST_LINES = 200
_VERBS = {None: "left", box.Way.GRADE: "is graded again", box.Way.SEND: "is sent again"}


@click.group()
def dead() -> None:
    """Submissions that a person should look at.

    A letter is here because the course or the service was at fault (the learner got a neutral reply), or
    because the server refused the reply for good. The box is part of the journal in state_dir, so these
    commands run as the service's user, or as root.
    """


def _filters(function: Callable[..., None]) -> Callable[..., None]:
    """Options that say which letters; the command gets them as `filters`, one Wanted."""

    @functools.wraps(function)
    def wanting(
        *, queue: str | None, cause: str | None, grader: str | None, since: float | None, **others: Any
    ) -> None:
        filters = Wanted(queue=queue, cause=cause, grader=grader, since=since, dead=True)
        function(filters=filters, **others)

    command: Callable[..., None] = wanting
    for option in (
        click.option("--since", type=Since(), metavar="TIME", help="Dead since then: 2h, 9:30, 2026-03-31."),
        click.option("--grader", metavar="PATTERN", help="A shell-style pattern on the grader's path."),
        click.option("--cause", type=click.Choice([cause.value for cause in Cause], case_sensitive=False)),
        click.option("--queue", metavar="NAME"),
    ):
        command = option(command)
    return command


@dead.command("list")
@options.config_options
@_filters
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with all that `show` tells.")
def list_(
    config: Path,
    overrides: tuple[str, ...],
    filters: Wanted,
    as_json: bool,
) -> None:
    """What is in the box, the latest first."""
    entries = _entries(_journal(_loaded(config, overrides)), filters)
    if as_json:
        for entry in entries:
            click.echo(json.dumps(record(entry)))
        return
    if not entries:
        click.echo("the dead-letter box is empty" if filters == ANY else "none fits", err=True)
        return
    from rich.console import Console

    Console().print(_table(entries))
    click.echo(f"{_letters(len(entries))}; `warden dead show ID` tells all, `retry` tries again", err=True)


@dead.command()
@options.config_options
@click.argument("id", type=int)
@click.option("--with-response", is_flag=True, help="Also what the learner handed in, and the reply to it.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write all of it, learner's code too, into this new folder, for `warden grade --bundle`.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(
    config: Path,
    overrides: tuple[str, ...],
    id: int,
    with_response: bool,
    bundle: Path | None,
    as_json: bool,
) -> None:
    """Everything known of one letter (or of any submission of the journal, by its number)."""
    settings = _loaded(config, overrides)
    journal = _journal(settings)
    (entry,) = _named(journal, [id])
    content = _content(journal, id) if with_response else None
    if bundle is not None:
        held = content or _content(journal, id)
        base = Path(os.path.abspath(config.parent))  # noqa: PTH100 - as the loader does it
        tree = tree_of(config, overrides)
        try:
            handler = bundles.portable(settings, tree, base, entry.queue, held.payload)
            bundles.write(bundle, entry, held, handler)
        except bundles.BundleError as error:
            raise click.ClickException(plain(error)) from error
        click.echo(f"written: {plain(bundle)}; its README.md says how to grade it", err=True)
    if as_json:
        click.echo(json.dumps(record(entry, content)))
        return
    for name, value in facts(entry):
        click.echo(f"{name:<14} {value}")
    if entry.dead_at is not None:
        click.echo(f"{'if retried':<14} {plain(box.prospect(entry).words)}")
    if content is not None:
        for line in written(content):
            click.echo(line)


@dead.command()
@options.config_options
@click.argument("ids", type=int, nargs=-1, metavar="[ID]...")
@_filters
@click.option("--all", "every", is_flag=True, help="Every letter of the box.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def retry(
    config: Path,
    overrides: tuple[str, ...],
    ids: tuple[int, ...],
    filters: Wanted,
    every: bool,
    as_json: bool,
) -> None:
    """Put letters back: graded again, or sent again if only the reply was refused.

    A running service takes them at once; a stopped one when it starts. What is to be expected at the server
    is said for each. Exit code 1 if a letter named by its ID was not there or cannot be retried.
    """
    settings = _loaded(config, overrides)
    entries = _chosen(_journal(settings), filters, ids, every)
    lost = 0
    put = 0
    with _writing(_journal(settings)) as db:
        for entry in entries:
            prospect = box.prospect(entry)
            done = prospect.way is not None and box.retry(db, entry, time.time()) is Done.DONE
            put += done
            lost += not done and bool(ids)
            words = prospect.words if done or prospect.way is None else "it is not in the box any more"
            if done and entry.queue not in settings.queues:
                words = f"no queue {entry.queue} is configured now, so nobody takes it; {words}"
            if as_json:
                told = {"id": entry.id, "retried": done, "way": prospect.way, "expect": words}
                click.echo(json.dumps(told))
            else:
                click.echo(f"{entry.id}: {_VERBS[prospect.way] if done else 'left'}: {plain(words)}")
    _stir(settings, put)
    sys.exit(1 if lost else 0)


@dead.command()
@options.config_options
@click.argument("ids", type=int, nargs=-1, metavar="[ID]...")
@_filters
@click.option("--all", "every", is_flag=True, help="Every letter of the box.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def drop(
    config: Path,
    overrides: tuple[str, ...],
    ids: tuple[int, ...],
    filters: Wanted,
    every: bool,
    yes: bool,
) -> None:
    """Take letters out of the box: they have been seen to.

    The journal itself keeps them as long as all others.
    """
    settings = _loaded(config, overrides)
    entries = _chosen(_journal(settings), filters, ids, every)
    if not entries:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this asks first, and there is no terminal; say --yes")
        click.confirm(f"drop {_letters(len(entries))}?", abort=True, err=True)
    with _writing(_journal(settings)) as db:
        done = [box.drop(db, entry) for entry in entries]
    click.echo(f"{_letters(done.count(Done.DONE))} dropped", err=True)


# --- the journal ------------------------------------------------------------------------------------------


def _loaded(config: Path, overrides: Sequence[str]) -> Config:
    return options.loaded(config, overrides, lenient_queues=True)


def _journal(config: Config) -> Path:
    return config.warden.state_dir / FILE_NAME


def _writing(journal: Path) -> Any:
    return options.told(opened_to_write(journal))


def _entries(journal: Path, wanted: Wanted) -> list[Entry]:
    with options.told(opened(journal)) as archive:
        return archive.entries(wanted)


def _content(journal: Path, entry_id: int) -> Content:
    with options.told(opened(journal)) as archive:
        content = archive.content(entry_id)
    if content is None:
        raise click.ClickException(f"submission {entry_id} has been forgotten meanwhile")
    return content


def _named(journal: Path, ids: Sequence[int]) -> list[Entry]:
    entries = _entries(journal, Wanted(ids))
    if missing := sorted(set(ids) - {entry.id for entry in entries}):
        numbers = ", ".join(map(str, missing))
        raise click.ClickException(f"the journal has no submission {numbers}; see `warden dead list`")
    return entries


def _chosen(journal: Path, filters: Wanted, ids: Sequence[int], every: bool) -> list[Entry]:
    """The letters that an order is about: some must be named, in one way."""
    filtered = filters != ANY
    if bool(ids) + filtered + every != 1:
        raise click.UsageError(
            "name letters by ID, or by --queue, --cause, --grader, --since, or all by --all"
        )
    entries = _entries(journal, dataclasses.replace(filters, ids=tuple(ids)))
    if ids:
        known = {entry.id for entry in entries}
        for missing in [number for number in ids if number not in known]:
            click.echo(f"{missing}: not in the dead-letter box", err=True)
        if set(ids) - known:
            raise click.ClickException("nothing was done; `warden dead list` shows the IDs")
    elif not entries:
        click.echo("none fits" if filtered else "the dead-letter box is empty", err=True)
    return entries


def _stir(config: Config, put: int) -> None:
    if not put:
        return
    try:
        pid = box.stir(config.warden.state_dir)
    except PermissionError:
        raise click.ClickException(
            "the service runs as another user: it looks when it gets SIGUSR2"
        ) from None
    told = f"service {pid} was told" if pid else "the service does not run; it takes them when it starts"
    click.echo(f"{_letters(put)} put back; {told}", err=True)


def _letters(count: int) -> str:
    return "1 letter" if count == 1 else f"{count} letters"


# --- showing ----------------------------------------------------------------------------------------------


def record(entry: Entry, content: Content | None = None) -> dict[str, Any]:
    """The object of --json. Learners' code only if `content` is given."""
    found = dataclasses.asdict(entry)
    if entry.dead_at is not None:
        prospect = box.prospect(entry)
        found["retry"] = {"way": prospect.way, "expect": prospect.words}
    if content is not None:
        found["header"] = content.header
        found["payload"] = content.payload
        found["response"] = content.response
        found["student_key"] = content.student_key
        found["random_seed"] = content.random_seed
        found["files"] = {name: data.decode("utf-8", "replace") for name, data in content.files.items()}
        found["reply"] = content.body
    return found


def _table(entries: Sequence[Entry]) -> Any:
    from rich.table import Table
    from rich.text import Text

    now = time.time()
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for column in ("id", "age"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("queue", overflow="fold")
    for column in ("cause", "reply"):
        table.add_column(column, no_wrap=True)
    table.add_column("grader and reason", overflow="fold")
    for entry in entries:
        about = ": ".join(filter(None, (entry.grader, brief(entry.reason))))
        cells = (entry.queue, entry.dead_cause or "", box.fate(entry).value, about)
        age = "" if entry.dead_at is None else span(max(now - entry.dead_at, 0.0))
        table.add_row(str(entry.id), age, *(Text(plain(cell)) for cell in cells))
    return table


def facts(entry: Entry) -> list[tuple[str, str]]:
    """(name, printable text) of everything known, in a reader's order."""
    found: list[tuple[str, object]] = [
        ("id", entry.id),
        ("submission", entry.submission_id),
        ("queue", f"{entry.queue} on {entry.server}"),
        ("state", f"{entry.state}{' (in the dead-letter box)' if entry.dead_at is not None else ''}"),
        ("cause", entry.dead_cause or entry.cause),
        ("blame", entry.blame),
        ("verdict", entry.verdict),
        ("reply", box.fate(entry).value if entry.dead_at is not None else ""),
        ("grader", entry.grader),
        ("digest", entry.grader_digest),
        ("attempts", f"{entry.attempts}, {entry.handouts} hand-outs, {entry.tries} tries to deliver"),
        ("owner", entry.owner),
        ("trouble", brief(entry.trouble)),
    ]
    found += [(name, shown(getattr(entry, f"{name}_at"))) for name in _TIMES]
    found.append(("layers", ", ".join(entry.layers)))
    found.append(("versions", ", ".join(f"{name} {value}" for name, value in entry.versions.items())))
    found.append(("outcome", ", ".join(f"{name} {value}" for name, value in entry.outcome.items())))
    lines = [(name, plain(value)) for name, value in found if value not in (None, "")]
    reason = [line for line in entry.reason.splitlines() if line.strip()] or [""]
    lines.append(("reason", plain(reason[0])))
    lines += [("", plain(line)) for line in reason[1:_MOST_LINES]]
    return lines


def written(content: Content) -> list[str]:
    """What was handed in and answered, as printable lines."""
    lines = [f"{'payload':<14} {plain(content.payload)}", f"{'header':<14} {plain(content.header)}"]
    texts = [
        ("response", content.response),
        *((f"file {name}", data.decode("utf-8", "replace")) for name, data in content.files.items()),
    ]
    for name in content.missing:
        lines.append(f"file {plain(name)} was never fetched")
    for name, text in (*texts, ("reply", content.body)):
        if text:
            lines.append(f"--- {plain(name)}")
            lines += [plain(line.expandtabs()) for line in text.splitlines()]
    return lines
