"""The log: one line an event, nothing from outside can forge one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from supervisor.log import MAX_FIELD, Repeats, plain, set_up
from supervisor.settings import LogStyle


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield logging.getLogger("warden.test")
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_is_one_object_a_line_with_the_fields(log: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(LogStyle.AUTO, stream=stream)
    log.info("submission graded", extra={"queue": "demo", "took_s": 0.25, "level": "x"})
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event["event"] == "submission graded"
    assert (event["queue"], event["took_s"], event["level"], event["level_"]) == ("demo", 0.25, "info", "x")


def test_auto_is_human_on_a_terminal(log: logging.Logger) -> None:
    stream = Terminal()
    set_up(LogStyle.AUTO, stream=stream)
    log.warning(
        "queue unreachable", extra={"queue": "demo", "detail": "no route", "took_s": 1.23456, "none": None}
    )
    line = stream.getvalue()
    assert "queue unreachable" in line
    assert 'queue=demo detail="no route" took_s=1.235' in line
    assert "none" not in line


@pytest.mark.parametrize("style", [LogStyle.HUMAN, LogStyle.JSON])
def test_text_from_outside_can_neither_forge_a_line_nor_drive_the_terminal(
    log: logging.Logger, style: LogStyle
) -> None:
    stream = io.StringIO()
    set_up(style, stream=stream)
    log.info("server said %s", "a\n12:00:00 ERROR forged\x1b[2J\u2028", extra={"detail": "b\r\nforged"})
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_long_fields_are_cut_visibly() -> None:
    assert len(plain("x" * 10_000)) == MAX_FIELD + 1
    assert plain("x" * 10_000).endswith("…")


def test_set_up_again_replaces_what_was(log: logging.Logger) -> None:
    first, second = io.StringIO(), io.StringIO()
    set_up(LogStyle.JSON, stream=first)
    set_up(LogStyle.JSON, stream=second)
    log.info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def record(level: int, **extra: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "warden", "levelno": level, "msg": "queue unreachable", **extra})


def test_repeated_warnings_are_held_back_and_counted() -> None:
    now = [0.0]
    repeats = Repeats(window_s=60, clock=lambda: now[0])
    passed = []
    for second in range(0, 130, 10):
        now[0] = float(second)
        one = record(logging.WARNING, queue="demo")
        if repeats.filter(one):
            passed.append((second, one.repeated))  # type: ignore[attr-defined]
    assert passed == [(0, 0), (60, 5), (120, 5)]


def test_another_queue_and_a_mere_information_are_not_held_back() -> None:
    repeats = Repeats(window_s=60, clock=lambda: 0.0)
    assert repeats.filter(record(logging.WARNING, queue="one"))
    assert repeats.filter(record(logging.WARNING, queue="two"))
    assert not repeats.filter(record(logging.WARNING, queue="one"))
    assert repeats.filter(record(logging.INFO, queue="one"))
    assert repeats.filter(record(logging.INFO, queue="one"))
