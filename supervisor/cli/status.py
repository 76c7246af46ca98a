"""`warden status`: what the service is doing, from its status file; also while the service is down.

Runs in: tools.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from supervisor.cli.health import status_file_of
from supervisor.diagnosis import Diagnosis, examine
from supervisor.health import Health, Level, Unreadable, span
from supervisor.histogram import BUCKETS_S, Histogram
from supervisor.log import plain
from supervisor.status import (
    BreakerState,
    BreakerUnit,
    QueueStatus,
    Reload,
    SlotState,
    SlotStatus,
    Status,
    StatusUnreadable,
    decode,
    read_bytes,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

REDRAW_S = 1.0
TIMES = ("wait", "grading", "delivery", "total")

_STATE_STYLES = {
    SlotState.RUNNING: "green",
    SlotState.STARTING: "cyan",
    SlotState.DRAINING: "yellow",
    SlotState.BACKOFF: "yellow",
    SlotState.FATAL: "bold red",
    SlotState.STOPPED: "dim",
}
_LEVEL_STYLES = {
    Level.OK: "green",
    Level.WARNING: "yellow",
    Level.CRITICAL: "bold red",
    Level.UNKNOWN: "magenta",
}


@click.command()
@click.option(
    "-c",
    "--config",
    "config",
    default="config.toml",
    envvar="WARDEN_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The configuration; tells where the status file is.",
)
@click.option("--status-file", type=click.Path(path_type=Path), help="The status file itself.")
@click.option(
    "--json", "as_json", is_flag=True, help="The document, with `health` and `diagnoses` of this moment."
)
@click.option("--watch", is_flag=True, help="Redraw every second until Ctrl-C.")
def status(config: str, status_file: Path | None, as_json: bool, watch: bool) -> None:
    """Show what the service is doing; if it is not well: who is to blame, since when, and what to do.

    Reads the status file only, so it works for any user who may read it, and while the service is down: then
    it shows the last that is known, with its age. The exit code is 0 if there was something to show, else 1;
    for a judgement see `warden health`.
    """
    if as_json and watch:
        raise click.UsageError("--json and --watch exclude each other")
    try:
        path = status_file or Path(status_file_of(config))
        if as_json:
            sys.stdout.write(as_text(read_bytes(path), time.time()) + "\n")
            return
        from rich.console import Console

        console = Console()
        if watch:
            _watch(path, console)
        else:
            console.print(render(read(path), time.time()))
    except (Unreadable, StatusUnreadable) as error:
        raise click.ClickException(str(error)) from error


def read(path: Path) -> Status:
    """The document at `path`.

    Raises:
        StatusUnreadable: with the path.
    """
    raw = read_bytes(path)
    try:
        return decode(raw)
    except StatusUnreadable as error:
        raise StatusUnreadable(f"{path}: {error}") from error


def as_text(raw: bytes, now: float) -> str:
    """The document of the bytes `raw` as one line of JSON, with what follows from it: health and diagnoses.

    Raises:
        StatusUnreadable
    """
    health, diagnoses = examine(decode(raw), now)
    document = json.loads(raw)
    document["health"] = {"level": health.level.name, "text": health.text}
    document["diagnoses"] = [
        msgspec.to_builtins(one) | {"level": one.level.name, "level_code": int(one.level)}
        for one in diagnoses
    ]
    return json.dumps(document, ensure_ascii=False)


def _watch(path: Path, console: Console) -> None:
    from rich.live import Live
    from rich.text import Text

    def frame() -> RenderableType:
        try:
            return render(read(path), time.time())
        except StatusUnreadable as error:  # it may come, or come back
            return Text(str(error), style="yellow")

    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(frame(), console=console, auto_refresh=False, screen=console.is_terminal) as live,
    ):
        while True:
            time.sleep(REDRAW_S)  # there is nothing else to wait for, and Ctrl-C ends it
            live.update(frame(), refresh=True)


# --- drawing -----------------------------------------------------------------------------------------


def render(document: Status, now: float) -> RenderableType:
    """The document as tables."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    health, diagnoses = examine(document, now)
    parts: list[RenderableType] = [_head(document, health, diagnoses, now)]
    for one in diagnoses:
        parts += [Text(""), _diagnosis(one, now)]
    parts += [Text(""), _queues(document, now)]
    if (spread := _times(document)) is not None:
        parts += [Text(""), spread]

    if notes := [*_paused(document.queues, now), *_reloaded(document.reload, now)]:
        parts += [Text(""), *(Text(line, style="cyan") for line in notes)]
    trouble = [*_left_alone(document, now), *_trouble(document.queues, now)]
    if trouble:
        parts += [Text(""), *(Text(line, style="yellow") for line in trouble)]

    slots = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    slots.add_column("slot", overflow="fold")
    for column in ("state", "phase"):
        slots.add_column(column, no_wrap=True)
    for column in ("pid", "cpu", "since", "graded", "crashes", "memory"):
        slots.add_column(column, justify="right")
    for queue in document.queues.values():
        for slot in queue.slots:
            slots.add_row(
                Text(plain(slot.id)),
                Text(slot.state.value, style=_STATE_STYLES[slot.state]),
                Text(plain(slot.phase)),
                "" if slot.pid is None else str(slot.pid),
                "" if slot.cpu is None else str(slot.cpu),
                _ago(slot.since, now),
                str(slot.graded),
                str(slot.crashes),
                "" if slot.memory_bytes is None else f"{slot.memory_bytes / 2**20:.0f} MiB",
            )
    if slots.row_count:
        parts += [Text(""), slots]
    if document.totals.verdicts:
        counts = sorted(document.totals.verdicts.items(), key=lambda item: -item[1])
        parts += [Text(""), Text("verdicts  " + "  ".join(f"{verdict} {count}" for verdict, count in counts))]
    for sandbox, layers in document.isolation.items():
        parts.append(Text(f"isolation {sandbox}: " + (", ".join(layers) or "not known yet"), style="dim"))
    for alert in document.alerts:
        about = f" queue {alert.queue}" if alert.queue else ""
        times = f" ({alert.count} times)" if alert.count > 1 else ""
        line = f"alert {_ago(alert.at, now)} ago:{about} {alert.cause}: {alert.text}{times}"
        parts.append(Text(plain(line), style="yellow"))
    return Group(*parts)


def _left_alone(document: Status, now: float) -> Iterable[str]:
    """The breakers."""
    for one in document.breakers:
        name = {
            BreakerUnit.HOST: "this host",
            BreakerUnit.QUEUE: one.queue,
            BreakerUnit.PROBLEM: f"{one.queue}: grader {one.grader}",
        }[one.unit]
        if one.state is BreakerState.HALF_OPEN:
            next_step = "tried now"
        elif one.retry_at is None:
            next_step = "left alone"
        else:
            next_step = f"left alone, tried again in {span(one.retry_at - now)}"
        why = ": ".join(filter(None, (one.cause, one.message)))
        yield plain(f"{name}: {next_step}, failed again and again: {why} (for {_ago(one.since, now)})")


def _paused(queues: dict[str, QueueStatus], now: float) -> Iterable[str]:
    for name, queue in queues.items():
        if queue.paused_since is None:
            continue
        until = "until it is resumed"
        if queue.paused_until is not None:
            until = f"until {time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(queue.paused_until))}"
        why = f": {queue.paused_message}" if queue.paused_message else ""
        by = queue.paused_by or "somebody"
        yield plain(f"{name}: paused {_ago(queue.paused_since, now)} ago by {by}, {until}{why}")


def _reloaded(reload: Reload | None, now: float) -> Iterable[str]:
    if reload is not None:
        what = "reloaded" if reload.ok else "not reloaded, the old configuration is in force"
        yield plain(f"{what} {_ago(reload.at, now)} ago: {reload.message}")


def _queues(document: Status, now: float) -> Table:
    """One row a queue, 80 columns wide if nothing unusual is to be told."""
    from rich.table import Table
    from rich.text import Text

    several = len({queue.server for queue in document.queues.values()}) > 1
    counted = any(queue.queue_length is not None for queue in document.queues.values())
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for column in ("queue", "server") if several else ("queue",):
        table.add_column(column, overflow="fold")
    table.add_column("state", no_wrap=True)
    numbers = ("slots", "polled", "received", "delivered", "dead", "in hand", "oldest")
    for column in (*numbers, "waiting") if counted else numbers:
        table.add_column(column, justify="right", no_wrap=True)
    for name, queue in document.queues.items():
        running = sum(slot.state is SlotState.RUNNING for slot in queue.slots)
        elastic = queue.slots_max > queue.slots_min
        bounds = f" of {queue.slots_min}-{queue.slots_max}" if elastic else ""
        cells = [Text(plain(name))]
        if several:
            cells.append(Text(plain(queue.server)))
        cells += [
            Text(queue.state.value, style=_STATE_STYLES[queue.state]),
            Text(f"{running}/{queue.slots_wanted if elastic else len(queue.slots)}{bounds}"),
            Text(_ago(queue.last_poll_ok_at, now)),
            Text(str(queue.received)),
            Text(str(queue.delivered)),
            Text(str(queue.dead), style="red" if queue.dead else ""),
            Text(str(queue.backlog)),
            Text(_ago(queue.backlog_oldest_at, now)),
        ]
        if counted:  # by the server
            cells.append(Text("" if queue.queue_length is None else str(queue.queue_length)))
        table.add_row(*cells)
    return table


def _diagnosis(one: Diagnosis, now: float) -> Table:
    """One trouble: a line, and under it who, since when, what speaks for it, what to do."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    head = Text(one.level.name, style=_LEVEL_STYLES[one.level])
    since = "" if one.since is None else f"since {_clock(one.since)} ({span(now - one.since)})"
    table.add_row(head, Text(" ".join(filter(None, (one.cause, since))), style="bold"))
    rows = [("to blame", f"{one.blame.value}: {one.part}")]
    if one.queues:
        rows.append(("affects", ", ".join(one.queues)))
    rows += [("evidence" if index == 0 else "", text) for index, text in enumerate(one.evidence)]
    rows.append(("what to do", one.remedy.replace("`", "")))
    for name, text in rows:
        table.add_row(Text(f"  {name}", style="dim"), Text(plain(text)))
    return table


def _times(document: Status) -> Table | None:
    """How long things took in this life: half of all, and all but one in twenty, were quicker."""
    from rich.table import Table
    from rich.text import Text

    if document.buckets_s != BUCKETS_S:  # another version's: not ours to read
        return None
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("p50 / p95", overflow="fold")
    for column in TIMES:
        table.add_column(column, justify="right", no_wrap=True)
    for name, queue in document.queues.items():
        told = [queue.times.get(which, Histogram()) for which in TIMES]
        if any(histogram.count for histogram in told):
            table.add_row(Text(plain(name)), *(Text(_spread(histogram)) for histogram in told))
    return table if table.row_count else None


def _spread(histogram: Histogram) -> str:
    half, most = histogram.quantile(0.5), histogram.quantile(0.95)
    return "" if half is None or most is None else f"{_short(half)} / {_short(most)}"


def _short(seconds: float) -> str:
    return (
        f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else span(seconds)
    )


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


def _head(document: Status, health: Health, diagnoses: Sequence[Diagnosis], now: float) -> Any:
    from rich.text import Text

    age_s = now - document.written_at
    text = Text(f"xqueue-warden {document.warden_version} ")
    text.append(document.state.value, style="bold")
    text.append(f"  pid {document.pid}  up {span(document.written_at - document.started_at)}")
    text.append(f"  {document.config_path}\n", style="dim")
    text.append(health.level.name, style=_LEVEL_STYLES[health.level])
    blamed = dict.fromkeys(f"{one.blame.value} ({one.part})" for one in diagnoses)
    text.append(f", to blame: {plain('; '.join(blamed))}" if blamed else f" {plain(health.text)}")
    if health.level is not Level.OK:
        text.append(f"\nas of {document.written_at_iso} ({span(age_s)} ago)", style="dim")
    return text


def _trouble(queues: dict[str, QueueStatus], now: float) -> Iterable[str]:
    for name, queue in queues.items():
        units: list[tuple[str, QueueStatus | SlotStatus]] = [(name, queue)]
        units += [(slot.id, slot) for slot in queue.slots]
        for unit, found in units:
            if why := ": ".join(filter(None, (found.cause, found.message))):
                yield plain(f"{unit}: {why} (for {_ago(found.since, now)})")


def _ago(at: float | None, now: float) -> str:
    return "" if at is None else span(now - at)
