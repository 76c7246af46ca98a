"""`warden alert`: what alarms stand, and whether alerts reach people.

Runs in: tools.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import msgspec

from supervisor import __version__, status
from supervisor.alerts import courier, letters
from supervisor.alerts.audiences import Contacts, contacts_for, contacts_of
from supervisor.alerts.lanes import lanes_of
from supervisor.alerts.model import Change, News
from supervisor.cli import options
from supervisor.health import span, stamp
from supervisor.log import plain
from supervisor.secrets import SecretError
from supervisor.settings import Audience, Channel, Config, Severity
from supervisor.status import Alarm, ChannelStatus, Status


@click.group()
def alert() -> None:
    """Alarms: list those that stand, try the ways to people."""


# --- list --------------------------------------------------------------------------------------------------


@alert.command("list")
@options.config_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object: alarms and channels.")
def list_(config: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the alarms that stand, and how the channels are.

    They are read from the status file; of a service that is down they are the last that is known.
    """
    settings = options.loaded(config, overrides, lenient_queues=True)
    try:
        document = status.read(settings.warden.status_file)
    except status.StatusUnreadable as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        shown = {
            "written_at": document.written_at,
            "state": document.state,
            "alarms": document.alarms,
            "channels": document.channels,
        }
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n")
        return
    now = time.time()
    sys.stdout.write("\n".join(_lines(document, settings, now)) + "\n")


def _lines(document: Status, config: Config, now: float) -> Iterator[str]:
    age_s = now - document.written_at
    if age_s > 30 or document.state == "STOPPED":
        yield f"as of {stamp(document.written_at)}, {span(age_s)} ago; the service is {document.state}"
    if not document.alarms:
        yield "no alarm stands"
    for alarm in document.alarms:
        yield from _alarm(alarm, now)
    if not config.alerts.channels:
        yield "no channel is configured: nobody is told; see [alerts.channels.NAME] in the configuration"
    for name, channel in document.channels.items():
        yield f"channel {name}: {_channel(channel, now)}"


def _alarm(alarm: Alarm, now: float) -> Iterator[str]:
    yield f"{alarm.severity.upper()} {alarm.unit}: {plain(alarm.text)}"
    since = f"since {stamp(alarm.since)} ({span(now - alarm.since)}); " if alarm.since is not None else ""
    times = f"told {alarm.told} times" if alarm.told > 1 else "told once"
    flapping = "; comes and goes" if alarm.flapping else ""
    yield f"    {since}{times}, to {plain(', '.join(alarm.to)) or 'nobody'}{flapping}"
    yield f"    {letters.to_do(alarm.cause)}"


def _channel(channel: ChannelStatus, now: float) -> str:
    waiting = f"; {channel.waiting} waiting" if channel.waiting else ""
    if channel.failing_since is not None:
        return f"fails for {span(now - channel.failing_since)}: {plain(channel.message)}{waiting}"
    if channel.last_ok_at is not None:
        return f"ok, last {stamp(channel.last_ok_at)} ({span(now - channel.last_ok_at)} ago){waiting}"
    return f"not used yet{waiting}"


# --- test --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one delivery. `contact` is set for one to a course's contact."""

    channel: str
    ok: bool
    contact: str = ""
    message: str = ""
    took_s: float = 0.0


@alert.command()
@options.config_options
@click.option(
    "--audience",
    type=click.Choice([audience.value for audience in Audience]),
    help="Only the channels that reach these.",
)
@click.option(
    "--queue", metavar="NAME", help="Only the contacts of this queue (and whoever else hears of it)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a delivery, in an array.")
def test(
    config: Path, overrides: tuple[str, ...], audience: str | None, queue: str | None, as_json: bool
) -> None:
    """Send a test alert through each channel, for real, and tell what came of it.

    Channels for contacts send to the contact of every handler. Exit code 0 if all went well; 1 if one did
    not, or if there is no channel to try.
    """
    settings = options.loaded(config, overrides, lenient_queues=True)
    if queue is not None and queue not in settings.queues:
        raise click.ClickException(f"there is no queue {plain(queue)} in {config}")
    queues = [queue] if queue is not None else list(settings.queues)
    contacts = contacts_of(settings)
    chosen = [
        channel
        for channel in settings.alerts.channels
        if audience is None or Audience(audience) in channel.audience
    ]
    if not chosen:
        which = f" for {audience}" if audience else ""
        raise click.ClickException(f"no channel{which} is configured; add an [alerts.channels.NAME]")
    tried = []
    for channel in chosen:
        wanted = [Audience(audience)] if audience else list(channel.audience)
        for one in _try(channel, wanted, queues, contacts, str(config)):
            tried.append(one)
            if not as_json:
                sys.stdout.write(_line(one) + "\n")
                sys.stdout.flush()
    if as_json:
        sys.stdout.write(json.dumps([asdict(one) for one in tried], ensure_ascii=False, indent=2) + "\n")
    raise SystemExit(0 if all(one.ok for one in tried) else 1)


def _line(one: Tried) -> str:
    whom = f" to {plain(one.contact)}" if one.contact else ""
    said = f": {plain(one.message)}" if one.message else ""
    return f"{'ok    ' if one.ok else 'FAILED'}  {one.channel}{whom} ({one.took_s:.1f} s){said}"


def _try(
    channel: Channel, audiences: list[Audience], queues: list[str], contacts: Contacts, config: str
) -> Iterator[Tried]:
    """Every lane of the channel, once; for contacts once for each of them."""
    people = [""] if set(audiences) - {Audience.CONTACTS} else []
    if Audience.CONTACTS in audiences:
        found = [one for queue in queues for one in contacts_for(contacts, queue)]
        people += list(dict.fromkeys(found))
        if not found:
            yield Tried(channel.name, False, message="it is for contacts, and no handler has one")
    try:
        lanes = lanes_of(channel, os.environ)
    except SecretError as error:
        yield Tried(channel.name, False, message=str(error))
        return
    sender = letters.Sender(socket.gethostname(), __version__, config)
    for contact in people:
        news = News(
            change=Change.TEST,
            unit="alerts",
            severity=Severity.WARNING,
            text="this is a test; if you read it, alerts of this grader reach you",
            to=(Audience.CONTACTS,) if contact else tuple(set(audiences) - {Audience.CONTACTS}),
            contacts=(contact,) if contact else (),
        )
        (letter,) = letters.compose([news], sender, 0, time.time())
        letter = msgspec.structs.replace(letter, seq=0)
        for lane in lanes:
            began = time.monotonic()
            try:
                outcome = courier.deliver(lane.job(letter), channel.timeout_s)
            except OSError as error:
                yield Tried(lane.name, False, contact, f"no process can be started: {error.strerror}")
                continue
            yield Tried(lane.name, outcome.ok, contact, outcome.message, time.monotonic() - began)
