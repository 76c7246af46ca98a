"""Options that several verbs share, and how a bad configuration is told.

Runs in: tools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from supervisor.config import Config, ConfigError, load
from supervisor.schema import JournalError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def config_options(function: F) -> F:
    """`--config FILE` (config: Path) and `--set KEY=VALUE` (overrides: tuple[str, ...])."""
    function = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="""Override one setting, e.g. --set 'servers.main.url="http://localhost:9999"'. Repeatable.""",
    )(function)
    return click.option(
        "-c",
        "--config",
        "config",
        type=click.Path(path_type=Path),
        default=Path("config.toml"),
        envvar="WARDEN_CONFIG",
        show_default=True,
        show_envvar=True,
        help="The configuration.",
    )(function)


def loaded(path: Path, overrides: Sequence[str], *, lenient_queues: bool = False) -> Config:
    """The configuration; a bad one ends the command with all its problems and exit code 1.

    Raises:
        click.ClickException: with one line per problem.
    """
    try:
        return load(path, overrides, lenient_queues=lenient_queues)
    except ConfigError as error:
        raise click.ClickException(refusal(path, error)) from error


@contextmanager
def told(opening: AbstractContextManager[T]) -> Iterator[T]:
    """A journal opened by a command: what is wrong with it ends the command in words."""
    try:
        with opening as value:
            yield value
    except JournalError as error:
        raise click.ClickException(str(error)) from error


def refusal(path: Path, error: ConfigError) -> str:
    """The problems as a person wants to read them."""
    count = len(error.problems)
    head = f"{path} has a problem:" if count == 1 else f"{path} has {count} problems:"
    return "\n".join([head, *(f"  {problem}" for problem in error.problems)])
