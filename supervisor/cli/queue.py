"""`warden queue`: serve an embedded XQueue, feed any XQueue by hand, and look into an embedded one.

Runs in: tools (`serve`: queue server).
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.log import plain, set_up
from supervisor.secrets import SecretError, read_secret
from supervisor.settings import LogStyle, SecretRef

if TYPE_CHECKING:
    from xqueue.service.settings import Settings

STATES = ("queued", "superseded", "answered", "delivered", "kept", "undeliverable")

_log = logging.getLogger(__name__)


@click.group()
def queue() -> None:
    """Embedded XQueue: serve one, feed one by hand, look into one."""


# -- serve ----------------------------------------------------------------------------------------------


@queue.command()
@click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for everything it keeps.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME",
    help="Who may log in. Repeatable, each with a --password-file.",
)
@click.option(
    "--password-file",
    "password_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The password of the --user in the same place; mode 0600.",
)
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="A queue it has. Repeatable.")
@click.option("--any-queue", is_flag=True, help="Submitting to a queue that is not there makes it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=18040, show_default=True, help="0 picks a free one."
)
@click.option(
    "--port-file", type=click.Path(path_type=Path), help="Write the port into this file when ready."
)
@click.option(
    "--processing-delay-s",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="A submission pulled and not answered comes again after this.",
)
@click.option(
    "--callback-host",
    "callback_hosts",
    multiple=True,
    metavar="HOST[:PORT]",
    help="A host, besides loopback, that callback URLs may name; '*' for any. Repeatable.",
)
@click.option("--callback-user", default="", help="HTTP Basic auth in front of the LMS.")
@click.option("--callback-password-file", type=click.Path(path_type=Path), help="Its password; mode 0600.")
@click.option(
    "--callback-ca-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The CA that signed the LMS's certificate.",
)
@click.option(
    "--callback-insecure", is_flag=True, help="Do not verify the LMS's certificate (laboratory only)."
)
@click.option(
    "--max-failed-deliveries",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Refusals by the LMS after which a result is undeliverable. An LMS that is down refuses nothing.",
)
@click.option(
    "--retry-undeliverable", is_flag=True, help="Give every undeliverable result a new chance first."
)
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="What is over is forgotten after this.",
)
@click.option(
    "--die-with-parent", is_flag=True, help="Shut down when the process that started this one dies."
)
def serve(
    data_dir: Path,
    users: tuple[str, ...],
    password_files: tuple[Path, ...],
    queues: tuple[str, ...],
    any_queue: bool,
    host: str,
    port: int,
    port_file: Path | None,
    processing_delay_s: float,
    callback_hosts: tuple[str, ...],
    callback_user: str,
    callback_password_file: Path | None,
    callback_ca_file: Path | None,
    callback_insecure: bool,
    max_failed_deliveries: int,
    retry_undeliverable: bool,
    keep_days: float,
    die_with_parent: bool,
) -> None:
    """Serve an XQueue of the legacy kind, until SIGTERM.

    When it is ready it prints one line of JSON: {"event": "ready", "url": ..., "port": ..., "pid": ...}.
    """
    try:
        from xqueue.service.server import serve as run_server
        from xqueue.service.settings import CallbackSettings, ServiceError, Settings, User
    except ModuleNotFoundError as missing:
        raise click.ClickException(
            f"the embedded XQueue needs {missing.name}; run: pip install 'xqueue-warden[queue]'"
        ) from missing
    if not users or len(users) != len(password_files) or len(set(users)) != len(users):
        raise click.UsageError("name at least one --user, each once and with a --password-file of its own")
    if not queues and not any_queue:
        raise click.UsageError("name at least one --queue, or say --any-queue")
    if bool(callback_user) != bool(callback_password_file):
        raise click.UsageError("--callback-user and --callback-password-file go together")
    settings = Settings(
        data_dir=data_dir,
        users=tuple(
            User(name, _secret("--password-file", file))
            for name, file in zip(users, password_files, strict=True)
        ),
        queues=queues,
        any_queue=any_queue,
        processing_delay_s=_finite("--processing-delay-s", processing_delay_s),
        keep_s=_finite("--keep-days", keep_days) * 86400,
        retry_undeliverable=retry_undeliverable,
        callback=CallbackSettings(
            hosts=callback_hosts,
            username=callback_user,
            password=_secret("--callback-password-file", callback_password_file)
            if callback_password_file
            else "",
            verify_tls=not callback_insecure,
            ca_file=callback_ca_file,
            max_failed_deliveries=max_failed_deliveries,
        ),
    )
    set_up(LogStyle.AUTO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    if port_file is not None:
        port_file.unlink(missing_ok=True)  # of an earlier life
    if die_with_parent:
        _die_with_parent()
    _warn(settings, host)

    def ready(url: str, actual: int) -> None:
        if port_file is not None:
            _write_port(port_file, actual)
        event = {"event": "ready", "url": url, "port": actual, "pid": os.getpid()}
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    try:
        run_server(settings, host=host, port=port, ready=ready)
    except ServiceError as error:
        raise click.ClickException(str(error)) from error


def _warn(settings: Settings, host: str) -> None:
    from xqueue.service.settings import ANY_HOST, is_loopback

    if not is_loopback(host):
        _log.warning("passwords and answers travel in the clear; put TLS in front", extra={"host": host})
    if ANY_HOST in settings.callback.hosts:
        _log.warning("whoever may submit can make this machine POST to any host")
    if not settings.callback.verify_tls:
        _log.warning("the LMS's certificate is not verified")


def _die_with_parent() -> None:
    import prctl

    parent = os.getppid()
    prctl.set_pdeathsig(signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(0)


def _write_port(path: Path, port: int) -> None:
    """A reader sees the whole number or no file."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(f"{port}\n")
    new.replace(path)


def _secret(option: str, file: Path) -> str:
    try:
        return read_secret(SecretRef(setting=option, file=file.absolute()))
    except SecretError as error:
        raise click.ClickException(str(error)) from error


def _finite(option: str, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter("must be finite", param_hint=option)
    return value


# -- submit ----------------------------------------------------------------------------------------------


@queue.command()
@click.option("--server", required=True, metavar="URL", help="The XQueue, e.g. http://127.0.0.1:18040.")
@click.option("--user", required=True, metavar="NAME")
@click.option("--password-file", required=True, type=click.Path(path_type=Path), help="Mode 0600.")
@click.option("--queue", "queue_name", required=True, metavar="NAME")
@click.option("--payload", default="", metavar="TEXT|@FILE", help="grader_payload, as the author wrote it.")
@click.option("--response", default="", metavar="TEXT|@FILE", help="The learner's answer; @- reads stdin.")
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file of the learner's. Repeatable.",
)
@click.option("--callback", default="", metavar="URL", help="Where the result goes; without it, it is kept.")
@click.option("--student", default="by-hand", show_default=True, help="anonymous_student_id.")
@click.option("--seed", type=int, default=1, show_default=True, help="random_seed.")
@click.option(
    "--ca-file", type=click.Path(path_type=Path), help="The CA that signed the server's certificate."
)
def submit(
    server: str,
    user: str,
    password_file: Path,
    queue_name: str,
    payload: str,
    response: str,
    files: tuple[Path, ...],
    callback: str,
    student: str,
    seed: int,
    ca_file: Path | None,
) -> None:
    """Submit one answer, as an LMS would. Prints the length of the queue.

    A TEXT that begins with @ names a file; write @@ for a text that begins with one @.
    """
    from xqueue.access import ServerAccess
    from xqueue.client import XQueueClient
    from xqueue.errors import ProtocolError, QueueError
    from xqueue.protocol import encode_body

    access = ServerAccess(
        url=server,
        username=user,
        password=_secret("--password-file", password_file),
        verify=True if ca_file is None else str(ca_file),
    )
    try:
        body = encode_body(
            payload=_text(payload, "--payload"),
            response=_text(response, "--response"),
            student_id=student,
            submission_time=datetime.now(UTC).strftime("%Y%m%d%H%M%S"),
            random_seed=seed,
        )
        contents = {file.name: file.read_bytes() for file in files}
        if len(contents) != len(files):
            raise click.UsageError("two files have the same name; the server would keep one of them")
        client = XQueueClient(access)
        try:
            length = client.submit(
                queue_name, body, callback_url=callback, lms_key=secrets.token_hex(16), files=contents
            )
        finally:
            client.close()
    except (QueueError, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    click.echo(length)


def _text(value: str, option: str) -> str:
    """The text itself, or what stands in the file that it names."""
    if not value.startswith("@"):
        return value
    if value.startswith("@@"):
        return value[1:]
    try:
        return sys.stdin.read() if value == "@-" else Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise click.ClickException(f"{option}: {value[1:]}: {why}") from error


# -- show ----------------------------------------------------------------------------------------------


@queue.command()
@click.argument("queue_name", metavar="[QUEUE]", required=False)
@click.option(
    "--data", "data_dir", type=click.Path(path_type=Path), required=True, help="The folder given to serve."
)
@click.option("--state", type=click.Choice(STATES), help="Only these.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The newest so many."
)
@click.option("--json", "as_json", is_flag=True, help="One object a line, with the stored replies.")
def show(queue_name: str | None, data_dir: Path, state: str | None, limit: int, as_json: bool) -> None:
    """What an embedded XQueue has: all queues in numbers, or one with its submissions. It need not run."""
    try:
        from xqueue.service.settings import ServiceError
        from xqueue.service.store import History, State
    except ModuleNotFoundError as missing:
        raise click.ClickException(
            f"the embedded XQueue needs {missing.name}; run: pip install 'xqueue-warden[queue]'"
        ) from missing
    try:
        with History(data_dir) as history:
            if queue_name is None:
                counts = {(name, one.value): n for (name, one), n in history.counts().items()}
                _show_counts(history.queues(), counts, as_json)
                return
            rows = history.rows(queue_name, state=State(state) if state else None, limit=limit)
    except ServiceError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        for row in rows:
            click.echo(json.dumps(asdict(row)))
        return
    now = time.time()
    _table(
        ("id", "state", "arrived", "pulls", "result", "last error"),
        [
            (
                str(row.submission_id),
                row.state.value,
                _ago(now - row.arrived_at),
                str(row.pulls),
                _brief(row.reply),
                plain(row.last_error)[:60],
            )
            for row in rows
        ],
    )


def _show_counts(names: Sequence[str], counts: Mapping[tuple[str, str], int], as_json: bool) -> None:
    numbers = {name: {state: counts.get((name, state), 0) for state in STATES} for name in names}
    if as_json:
        for name in names:
            click.echo(json.dumps({"queue": name, **numbers[name]}))
        return
    rows = [(plain(name), *(str(numbers[name][state]) for state in STATES)) for name in names]
    _table(("queue", *STATES), rows)


def _brief(reply: str | None) -> str:
    """A stored reply in two words; whatever a grader put, it harms no terminal."""
    if reply is None:
        return "-"
    try:
        value = json.loads(reply)
        return plain(f"{value['correct']}, {value['score']}")[:30]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "unreadable"


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
