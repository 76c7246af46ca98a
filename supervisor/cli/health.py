"""`warden health`: one line and an exit code, for cron and monitoring.

Runs in: tools. Without click, rich, msgspec and pathlib, and with a parser of its own for its few options:
each of them would take a good part of the 100 ms that the whole command may need. `health` below is the same
verb for whoever comes through click's group.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from supervisor.health import Health, Level, Thresholds, Unreadable, judge, read, unwaiting

if TYPE_CHECKING:
    import click

    health: click.Command

CONFIG = "config.toml"

TEXTS = {
    "--config": "the service's configuration; tells where the status file is ($WARDEN_CONFIG, config.toml)",
    "--status-file": "the status file itself; then no configuration is read",
}
SECONDS = {
    "--stale": ("stale_s", "CRITICAL if the status file is older"),
    "--fatal": ("fatal_s", "CRITICAL if a queue is FATAL, or has no working slot, for longer"),
    "--unreachable": (
        "unreachable_s",
        "WARNING if polls fail for longer; CRITICAL if it is so for all queues",
    ),
    "--lost": ("lost_s", "CRITICAL if polls of one queue fail for longer"),
    "--backlog": ("backlog_s", "WARNING if a submission is in hand for longer"),
    "--stuck": ("stuck_s", "CRITICAL if submissions are in hand and none was delivered for longer"),
    "--dead": ("dead_s", "WARNING for so long after a dead letter"),
}


def usage() -> str:
    """What --help says."""
    default = Thresholds()._asdict()
    lines = [
        "Usage: warden health [--config FILE | --status-file FILE] [THRESHOLDS]",
        "",
        "  Prints WARDEN OK|WARNING|CRITICAL|UNKNOWN - text | perfdata and exits with 0, 1, 2 or 3.",
        "",
        "Options:",
        *(f"  {name + ' FILE':<22}  {text}" for name, text in TEXTS.items()),
        *(
            f"  {name + ' SECONDS':<22}  {text} (default {default[field]:g})"
            for name, (field, text) in SECONDS.items()
        ),
        f"  {'-h, --help':<22}  this text",
    ]
    return "\n".join(lines)


class _Usage(Exception):
    pass


def _options(arguments: list[str]) -> tuple[dict[str, str], Thresholds]:
    texts: dict[str, str] = {}
    seconds: dict[str, float] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        name = "--config" if name == "-c" else name
        if name not in TEXTS and name not in SECONDS:
            raise _Usage(f"{name} is not an option; see warden health --help")
        if not equals:
            if not rest:
                raise _Usage(f"{name} needs a value")
            value = rest.pop(0)
        if name in TEXTS:
            texts[name] = value
        else:
            try:
                seconds[SECONDS[name][0]] = float(value)
            except ValueError:
                raise _Usage(f"{name} needs a number of seconds") from None
            if not 0 < float(value) < 1e9:
                raise _Usage(f"{name} needs a positive number of seconds")
    if len(texts) == 2:
        raise _Usage("--config and --status-file exclude each other")
    return texts, Thresholds(**seconds)


def status_file_of(config: str) -> str:
    """Where the status file is, by the configuration. Reads two keys and checks nothing else: a configuration
    that was broken since the service started must not blind its monitoring.

    Raises:
        Unreadable: it cannot be told.
    """
    import tomli

    try:
        with open(config, "rb", opener=unwaiting) as file:
            warden: Any = tomli.load(file).get("warden", {})
        state_dir = warden.get("state_dir", "var")
        chosen = warden.get("status_file") or os.path.join(state_dir, "status.json")  # noqa: PTH118
        return os.path.join(os.path.dirname(os.path.abspath(config)), chosen)  # noqa: PTH100, PTH118, PTH120
    except OSError as error:
        raise Unreadable(
            f"{config} cannot be read ({error.strerror}); use --config or --status-file"
        ) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(
            f"{config} is not a configuration; see warden check, or use --status-file"
        ) from error


def answer(arguments: list[str], now: float) -> Health:
    """The judgement that the arguments ask for; whatever is wrong with them or the files is UNKNOWN."""
    try:
        texts, thresholds = _options(arguments)
        path = texts.get("--status-file")
        if path is None:
            path = status_file_of(texts.get("--config") or os.environ.get("WARDEN_CONFIG") or CONFIG)
        return judge(read(path), now, thresholds)
    except (_Usage, Unreadable) as error:
        return Health(Level.UNKNOWN, str(error))
    except Exception as error:  # the edge: a monitoring plugin never answers with a traceback
        return Health(Level.UNKNOWN, f"health itself failed: {type(error).__name__}: {error}")


def main(arguments: list[str]) -> int:
    """Print the line; the exit code."""
    # A status file may name queues in any script, while cron runs in the C locale.
    if isinstance(sys.stdout.errors, str) and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    if "-h" in arguments or "--help" in arguments:
        sys.stdout.write(usage() + "\n")
        return 0
    health = answer(arguments, time.time())
    sys.stdout.write(health.line() + "\n")
    sys.stdout.flush()
    return int(health.level)


def __getattr__(name: str) -> object:
    """`health`, the click command, made only for whoever asks for it."""
    if name != "health":
        raise AttributeError(name)
    import click

    @click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def health(arguments: tuple[str, ...]) -> None:
        """One line and an exit code (0/1/2/3) for cron and monitoring."""
        raise SystemExit(main(list(arguments)))

    return health
