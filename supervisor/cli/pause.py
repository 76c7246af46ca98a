"""`warden pause` and `warden resume`: planned maintenance of queues.

Runs in: tools. They write down what is paused (supervisor.pauses) and wake the supervisor, if one runs.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from supervisor import lock, pauses
from supervisor.cli import options
from supervisor.cli.moment import moment_of, seconds_of
from supervisor.config import hint
from supervisor.health import span
from supervisor.pauses import MAX_MESSAGE, Pause, PausesUnreadable
from supervisor.plain import plain
from supervisor.settings import Config

F = TypeVar("F", bound=Callable[..., Any])


def _selection(function: F) -> F:
    function = click.option("--json", "as_json", is_flag=True, help="The pauses now in force, as JSON.")(
        function
    )
    function = click.option("--all", "everything", is_flag=True, help="Every queue of the configuration.")(
        function
    )
    function = click.argument("queues", nargs=-1)(function)
    return options.config_options(function)


@click.command()
@_selection
@click.option("--until", "until", metavar="TIME", help="18:00, 2026-12-24 18:00, 2026-12-24T18:00+01:00.")
@click.option("--for", "lasting", metavar="SPAN", help="Instead: 90m, 2h, 1h30m, 1d.")
@click.option("--message", default="", help="Why, for those who look at the status and for the contacts.")
@click.option("--by", default="", help="Who pauses; the name of the user who calls if not given.")
@click.option("--list", "only_list", is_flag=True, help="Only show what is paused.")
def pause(
    config: Path,
    overrides: tuple[str, ...],
    queues: tuple[str, ...],
    everything: bool,
    as_json: bool,
    until: str | None,
    lasting: str | None,
    message: str,
    by: str,
    only_list: bool,
) -> None:
    """Pause queues for planned maintenance.

    What is in hand is finished and delivered; nothing new is pulled, so submissions wait on the server. The
    pause ends by itself at its time, or with `warden resume` if none is given; `warden health` does not
    complain about a paused queue until then. It survives a restart of the service, and works while the
    service does not run. Pausing again replaces time and message.
    """
    if until is not None and lasting is not None:
        raise click.UsageError("--until and --for exclude each other")
    if len(message) > MAX_MESSAGE:
        raise click.UsageError(f"--message is longer than {MAX_MESSAGE} characters")
    settings = options.loaded(config, overrides, lenient_queues=True)
    now = datetime.now(UTC).timestamp()
    if only_list:
        if queues or everything or until or lasting or message:
            raise click.UsageError("--list goes with --json only")
        with _blaming(settings):
            _show(pauses.read(settings.warden.state_dir, now).values(), as_json, now)
        return
    try:
        end = moment_of(until, now) if until is not None else None
        end = now + seconds_of(lasting) if lasting is not None else end
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    chosen = _chosen(queues, everything, (*settings.queues, *settings.refused))
    who = plain(by or _user())
    with _blaming(settings), pauses.change(settings.warden.state_dir, now) as found:
        for queue in chosen:
            found[queue] = Pause(queue=queue, since=now, until=end, message=plain(message), by=who)
    _wake(settings)
    _show((found.values() if as_json else [found[queue] for queue in chosen]), as_json, now)


@click.command()
@_selection
def resume(
    config: Path, overrides: tuple[str, ...], queues: tuple[str, ...], everything: bool, as_json: bool
) -> None:
    """End the pause of queues: they are polled again."""
    settings = options.loaded(config, overrides, lenient_queues=True)
    now = datetime.now(UTC).timestamp()
    with _blaming(settings), pauses.change(settings.warden.state_dir, now) as found:
        known = dict.fromkeys((*settings.queues, *settings.refused, *found))
        chosen = _chosen(queues, everything, tuple(known))
        ended = {queue: found.pop(queue, None) for queue in chosen}
    _wake(settings)
    if as_json:
        _show(found.values(), True, now)
        return
    for queue, was in ended.items():
        if was is not None:
            click.echo(f"{queue}: resumed, after {span(now - was.since)}")
        elif not everything:
            click.echo(f"{queue}: was not paused")
    if everything and not any(ended.values()):
        click.echo("no queue was paused")


def _chosen(queues: Sequence[str], everything: bool, known: Collection[str]) -> list[str]:
    if everything and queues:
        raise click.UsageError("--all and names of queues exclude each other")
    if not everything and not queues:
        raise click.UsageError(f"name a queue, or --all; {hint('', known)}")
    for queue in queues:
        if queue not in known:
            raise click.ClickException(f"there is no queue {plain(queue)!r}; {hint(queue, known)}")
    return list(dict.fromkeys(queues or known))


@contextlib.contextmanager
def _blaming(settings: Config) -> Iterator[None]:
    """Troubles with the state folder as one line with its mend."""
    folder = settings.warden.state_dir
    try:
        yield
    except PausesUnreadable as error:
        raise click.ClickException(str(error)) from error
    except FileNotFoundError as error:
        raise click.ClickException(
            f"there is no state folder {folder}: the service has never run here; start it once, or correct "
            "warden.state_dir"
        ) from error
    except OSError as error:
        raise click.ClickException(
            f"{folder}: {error.strerror}; run it as the service's user, or as root"
        ) from error


def _wake(settings: Config) -> None:
    """Tell the supervisor to look now; it would find it out by itself within seconds."""
    pid = lock.holder(settings.warden.state_dir)
    if pid is None:
        click.echo("the service does not run; it applies when it starts", err=True)
        return
    try:
        os.kill(pid, signal.SIGUSR2)
    except OSError:
        click.echo("the service will notice within ten seconds", err=True)


def _user() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        return f"uid {os.getuid()}"


def _show(found: Iterable[Pause], as_json: bool, now: float) -> None:
    if as_json:
        rows: list[Any] = [msgspec.to_builtins(one) for one in found]
        click.echo(json.dumps({"pauses": rows}, ensure_ascii=False))
        return
    lines = [
        f"{one.queue}: paused {words(one.until, now)} by {one.by or 'somebody'}"
        + (f": {one.message}" if one.message else "")
        for one in found
    ]
    click.echo("\n".join(lines) or "no queue is paused")


def words(until: float | None, now: float) -> str:
    """`until 2026-12-24 18:00 CET (2 h)` or `until it is resumed`."""
    if until is None:
        return "until it is resumed"
    moment = datetime.fromtimestamp(until).astimezone()
    return f"until {moment:%Y-%m-%d %H:%M %Z} ({span(until - now)})"
