"""The log: one line an event, nothing from outside can forge one."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.log import MAX_FIELD, Repeats, about, plain, reopen, set_up, where
from supervisor.logfile import LogFile
from supervisor.settings import LogStyle


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield logging.getLogger("warden.test")
    for handler in set(root.handlers) - set(handlers):
        handler.close()
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


def test_another_queue_is_another_event_and_so_is_a_mere_information_that_differs_in_a_word() -> None:
    repeats = Repeats(window_s=60, clock=lambda: 0.0)
    assert repeats.filter(record(logging.WARNING, queue="one"))
    assert repeats.filter(record(logging.WARNING, queue="two"))
    assert not repeats.filter(record(logging.WARNING, queue="one"))
    for number in range(20):
        assert repeats.filter(record(logging.INFO, queue="one", submission=str(number)))
        assert not repeats.filter(record(logging.INFO, queue="one", submission=str(number)))


def test_a_storm_of_the_same_information_is_one_line_in_ten_seconds() -> None:
    now = [0.0]
    repeats = Repeats(clock=lambda: now[0])
    passed = []
    for step in range(3000):
        now[0] = step / 100
        one = record(logging.INFO, submission="7")
        if repeats.filter(one):
            passed.append(one.repeated)  # type: ignore[attr-defined]
    assert passed == [0, 999, 999]


def test_a_process_says_what_it_is_about_unless_the_event_knows_better(log: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(LogStyle.JSON, stream=stream)
    about(queue="demo", slot="demo.0")
    log.info("one")
    log.info("two", extra={"queue": "other"})
    one, two = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (one["queue"], one["slot"], two["queue"], two["slot"]) == ("demo", "demo.0", "other", "demo.0")


def test_an_exception_cannot_forge_an_event_and_tells_its_place_without_its_words(
    log: logging.Logger,
) -> None:
    stream = io.StringIO()
    set_up(LogStyle.HUMAN, stream=stream)
    try:
        raise ValueError("secret words\n12:00:00 ERROR   forged")
    except ValueError as error:
        log.exception("it failed")
        told = where(error)
    first, *rest = stream.getvalue().splitlines()
    assert "it failed" in first
    assert rest and all(line.startswith("    | ") for line in rest)
    assert re.fullmatch(r"ValueError > test_log\.py:\d+ test_\w+", told)


# -- to a file ---------------------------------------------------------------------------------------------


def test_a_log_file_is_private_and_json(log: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "warden.log"
    before = os.umask(0)
    try:
        set_up(LogStyle.AUTO, file=path)
    finally:
        os.umask(before)
    log.info("one", extra={"queue": "\udcff"})
    assert path.stat().st_mode & 0o777 == 0o640
    assert json.loads(path.read_text())["event"] == "one"


def test_a_log_file_that_was_renamed_is_made_anew_with_the_next_line(
    log: logging.Logger, tmp_path: Path
) -> None:
    path, old = tmp_path / "warden.log", tmp_path / "warden.log.1"
    set_up(LogStyle.JSON, file=path)
    log.info("one")
    path.rename(old)
    log.info("two")
    path.rename(tmp_path / "warden.log.2")
    path.write_text("")
    log.info("three")
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["three"]
    assert "two" in (tmp_path / "warden.log.2").read_text() and "two" not in old.read_text()


def test_a_forked_process_without_its_descriptors_writes_to_the_same_file(
    log: logging.Logger, tmp_path: Path
) -> None:
    path = tmp_path / "warden.log"
    set_up(LogStyle.JSON, file=path)
    fd = next(int(f.name) for f in Path("/proc/self/fd").iterdir() if str(f.resolve()) == str(path))
    if (child := os.fork()) == 0:
        os.close(fd)
        taken = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)  # its number is that of the log now
        log.info("from the child")
        os._exit(0 if taken == fd else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log.info("from the parent")
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events == ["from the child", "from the parent"]
    assert (tmp_path / "other").read_text() == ""


def test_while_the_folder_is_gone_lines_go_to_the_old_file(log: logging.Logger, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    set_up(LogStyle.JSON, file=folder / "warden.log")
    folder.rename(tmp_path / "moved")
    log.info("one")
    with pytest.raises(FileNotFoundError):
        reopen()
    assert "one" in (tmp_path / "moved" / "warden.log").read_text()
    folder.mkdir()
    reopen()
    assert (folder / "warden.log").read_text() == ""


def test_what_the_disk_does_not_take_goes_to_stderr(
    log: logging.Logger, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    handler = LogFile.__new__(LogFile)
    logging.Handler.__init__(handler)
    handler._path, handler._fd, handler._pid = (
        Path("/dev/full"),
        os.open("/dev/full", os.O_WRONLY),
        os.getpid(),
    )
    log.handlers[:], log.propagate = [handler], False
    try:
        log.warning("no room")
    finally:
        log.handlers[:], log.propagate = [], True
        handler.close()
    assert b"no room" in capfdbinary.readouterr().err


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_file_is_refused(log: logging.Logger, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("x")}[kind]()
    with pytest.raises(OSError):
        set_up(LogStyle.JSON, file=path)
