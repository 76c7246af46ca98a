"""The log: one event a line, for a person at a terminal or, as JSON, for a collector.

Runs in: supervisor, worker, tools. An event is a short constant sentence; what it is about goes into fields:

    log.info("submission graded", extra={"queue": name, "submission": submission_id, "took_s": took_s})

Secrets and texts of learners are never given to the log; what comes from outside (a server's message, the
name of a file) is made one printable line and cut, so that it can forge no event.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final, TextIO

from supervisor.logfile import LogFile
from supervisor.plain import MAX_FIELD, plain
from supervisor.settings import LogStyle

__all__ = ["MAX_FIELD", "REPEAT_S", "Human", "Json", "Repeats", "fields_of", "plain", "reopen", "set_up"]

REPEAT_S: Final = 60.0
"""The same event about the same thing is written once in so many seconds; then with how often it came."""
SAME_S: Final = 10.0
"""The same for mere information, of which every word must be the same."""

MOST_FRAMES: Final = 6

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "repeated"}
_COLOURS: Final = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def set_up(
    style: LogStyle, *, stream: TextIO | None = None, file: Path | None = None, level: int = logging.INFO
) -> None:
    """Send the log to `file`, or to `stream` (default: stderr), replacing what was set up before.

    Raises:
        OSError: the file cannot be opened.
    """
    stream = sys.stderr if stream is None else stream
    terminal = file is None and stream.isatty()
    human = style is LogStyle.HUMAN or (style is LogStyle.AUTO and terminal)
    handler: logging.Handler = logging.StreamHandler(stream) if file is None else LogFile(file)
    handler.setFormatter(Human(colour=terminal) if human else Json())
    handler.addFilter(About())
    handler.addFilter(Repeats())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, LogFile):
            old.close()
    root.addHandler(handler)
    root.setLevel(level)
    # Not in our lines, and a third of the cost of one (Logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False


def reopen() -> None:
    """Make the log file appear anew after it was renamed; nothing to do where the log goes to a stream.

    Raises:
        OSError: it cannot be opened; the old one is written on.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.reopen()


def about(**fields: str) -> None:
    """From now on every event of this process says this, too, where it does not say it itself."""
    for handler in logging.getLogger().handlers:
        for one in handler.filters:
            if isinstance(one, About):
                one.fields.update(fields)


def where(error: BaseException) -> str:
    """The kind of an exception and the last places that it came through; not its message, which may quote
    a submission."""
    frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return " > ".join([type(error).__name__, *places])


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What came by `extra`, in its order."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class Human(logging.Formatter):
    """12:04:31 WARNING queue unreachable  queue=demo cause=QUEUE_UNREACHABLE."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = f"{record.levelname:<7}"
        if self._colour and record.levelname in _COLOURS:
            level = f"\x1b[{_COLOURS[record.levelname]}m{level}\x1b[0m"
        words = [clock, level, plain(record.getMessage())]
        given = [f"{key}={_quoted(value)}" for key, value in fields_of(record).items() if value is not None]
        if given:
            words.append(" " + " ".join(given))
        if times := getattr(record, "repeated", 0):
            words.append(f"(and {times} more like it)")
        line = " ".join(words)
        if record.exc_info:
            # Marked line by line: a message of many lines must not look like events.
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n    | {plain(one)}" for one in trace)
        return line


def _quoted(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else plain(value)
    return f'"{text}"' if " " in text or not text else text


class Json(logging.Formatter):
    """One object a line: time, level, event, logger, pid, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": plain(record.getMessage()),
            "logger": record.name,
            "pid": record.process,
        }
        for key, value in fields_of(record).items():
            name = key if key not in event else f"{key}_"
            event[name] = value if isinstance(value, bool | int | float | None) else plain(value)
        if times := getattr(record, "repeated", 0):
            event["repeated"] = times
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


class About(logging.Filter):
    """Adds what the whole process is about (a worker's queue and slot) to its events."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        for key, value in self.fields.items():
            record.__dict__.setdefault(key, value)
        return True


class Repeats(logging.Filter):
    """Holds back an event that was written less than `window_s` ago with the same level, sentence, server,
    queue, slot and cause. The next one let through carries how many were held back.

    Below WARNING an event is another one if anything in it differs (each is about one submission), and is
    held back for `same_s` only: what is said twice by people's doing is said twice.
    """

    def __init__(
        self, window_s: float = REPEAT_S, clock: Callable[[], float] = monotonic, same_s: float = SAME_S
    ) -> None:
        super().__init__()
        self._window_s = window_s
        self._same_s = same_s
        self._clock = clock
        self._seen: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key: tuple[object, ...]
        if record.levelno < logging.WARNING:
            window_s = self._same_s
            key = (record.name, record.getMessage(), *map(str, fields_of(record).items()))
        else:
            window_s = self._window_s
            asked = (getattr(record, name, None) for name in ("server", "queue", "slot", "cause"))
            key = (record.name, record.levelno, str(record.msg), *map(str, asked))
        now = self._clock()
        last, held = self._seen.get(key, (float("-inf"), 0))
        if now - last < window_s:
            self._seen[key] = (last, held + 1)
            return False
        if len(self._seen) >= 1000:  # something puts a changing value into its sentence: bound it anyway
            self._seen.clear()
        self._seen[key] = (now, 0)
        record.repeated = held
        return True
