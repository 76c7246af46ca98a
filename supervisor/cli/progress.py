"""A progress bar on stderr: for long work, and only where that is a terminal.

Runs in: tools.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(what: str, total: int, least: int = 2) -> Iterator[Callable[[], None]]:
    """What moves it on by one; draws nothing if there are less than `least` steps to wait for."""
    if total < least or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        what,
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # rows and bar on one terminal; a file gets the rows untouched
        redirect_stderr=False,
    ) as shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)
