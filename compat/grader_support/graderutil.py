"""Small helpers that course graders share: captured output, temporary folders, tidy tracebacks.

Runs in: child (and zygote, where it is preloaded). Stdlib only, any CPython >= 3.8.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import traceback
from types import TracebackType
from typing import Any, Iterator, Optional, Tuple, Type, Union

ExcInfo = Union[
    Tuple[Type[BaseException], BaseException, Optional[TracebackType]],
    Tuple[None, None, None],
]

LANGUAGE = "en"
"""Language of the messages to the learner; set from the payload before the grader is loaded."""

_MOST_FRAMES = 30


@contextlib.contextmanager
def captured_stdout() -> Iterator[io.StringIO]:
    """Collect what is printed: `with captured_stdout() as out: ...; out.getvalue()`."""
    before = sys.stdout
    collected = io.StringIO()
    sys.stdout = collected
    try:
        yield collected
    finally:
        sys.stdout = before


@contextlib.contextmanager
def change_directory(new_dir: str) -> Iterator[str]:
    """Work in `new_dir`, then go back."""
    before = os.getcwd()
    os.chdir(new_dir)
    try:
        yield new_dir
    finally:
        os.chdir(before)


@contextlib.contextmanager
def temp_directory() -> Iterator[str]:
    """A fresh folder, removed with all that is in it afterwards. Yields its path."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@contextlib.contextmanager
def module_isolation() -> Iterator[None]:
    """Forget the modules that were imported inside."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]


def make_file(filename: str, text: str = "") -> str:
    """Write a text file as UTF-8, folders included. Returns its name."""
    folder = os.path.dirname(filename)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(filename, "w", encoding="utf-8") as target:
        target.write(text)
    return filename


def format_exception(
    exc_info: Optional[ExcInfo] = None, main_file: Optional[str] = None, hide_file: bool = False
) -> str:
    """Traceback as text; the current exception unless `exc_info` is given.

    With `main_file`, only frames of that file are shown (compared by its base name), so a learner sees his
    own lines and nothing of the grader's; an exception that touched none of them is shown by its last line.
    With `hide_file`, files are shown by base name. Chained exceptions are left out.
    """
    kind, error, trace = exc_info if exc_info is not None else sys.exc_info()
    if kind is None:
        return ""
    lines = []
    frames: Any = traceback.extract_tb(trace)
    if main_file is not None:
        wanted = os.path.basename(main_file)
        frames = [frame for frame in frames if os.path.basename(frame.filename) == wanted]
    if frames:
        lines.append("Traceback (most recent call last):\n")
        lines.extend(_format_frames(frames, hide_file or main_file is not None))
    lines.extend(_format_last(kind, error))
    return "".join(lines)


def _format_frames(frames: Any, hide_file: bool) -> Iterator[str]:
    skipped = len(frames) - _MOST_FRAMES
    for index, frame in enumerate(frames):
        if skipped > 0 and _MOST_FRAMES // 2 <= index < _MOST_FRAMES // 2 + skipped:
            if index == _MOST_FRAMES // 2:
                yield "  ... {} more calls ...\n".format(skipped)
            continue
        name = os.path.basename(frame.filename) if hide_file else frame.filename
        yield '  File "{}", line {}, in {}\n'.format(name, frame.lineno, frame.name)
        if frame.line:
            yield "    {}\n".format(frame.line)


def _format_last(kind: Any, error: Any) -> Any:
    try:
        return traceback.format_exception_only(kind, error)
    except BaseException:  # a learner's exception may have a __str__ that raises
        return [getattr(kind, "__name__", "Exception") + "\n"]
