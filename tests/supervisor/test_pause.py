"""Planned maintenance: the file, the commands, and what the supervisor makes of it."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from supervisor import pauses
from supervisor.cli.moment import moment_of, seconds_of, since_of
from supervisor.cli.verbs import warden
from supervisor.pauses import FILE_NAME, Pause, PausesUnreadable, Watch
from supervisor.status import QueueStatus
from tests.supervisor.stage import Stage, stage, until

NOW = 1_800_000_000.0
CONFIG = """
[warden]
state_dir = "."
[servers.s]
url = "http://127.0.0.1:1"
username = "warden"
password_env = "NOWHERE"
[sandboxes.python]
[queues.a]
server = "s"
handlers = [{ kind = "gradelib", sandbox = "python", grader_root = "." }]
[queues.b]
server = "s"
handlers = [{ kind = "gradelib", sandbox = "python", grader_root = "." }]
"""


# -- the file ----------------------------------------------------------------------------------------------


def write(folder: Path, *rows: Pause, now: float = NOW) -> None:
    with pauses.change(folder, now) as found:
        found.update({row.queue: row for row in rows})


def test_what_is_written_is_read_until_its_time_is_over(tmp_path: Path) -> None:
    one = Pause(queue="a", since=NOW, until=NOW + 60, message="new disk", by="anna")
    two = Pause(queue="b", since=NOW)
    write(tmp_path, one, two)
    assert pauses.read(tmp_path, NOW + 59) == {"a": one, "b": two}
    assert pauses.read(tmp_path, NOW + 60) == {"b": two}
    write(tmp_path, now=NOW + 60)
    assert "anna" not in (tmp_path / FILE_NAME).read_text(), "the next writer drops what is over"
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_where_nothing_was_ever_paused_nothing_is(tmp_path: Path) -> None:
    assert pauses.read(tmp_path, NOW) == {}
    assert Watch(tmp_path).look(NOW) == {} == Watch(None).look(NOW)


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, Pause(queue="a", since=NOW))
    with pytest.raises(KeyError), pauses.change(tmp_path, NOW) as found:
        found.clear()
        raise KeyError
    assert list(pauses.read(tmp_path, NOW)) == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")
def test_root_writes_for_the_services_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    write(tmp_path, Pause(queue="a", since=NOW))
    assert {entry.stat().st_uid for entry in tmp_path.iterdir()} == {65534}


@pytest.mark.parametrize("raw", ["", "[1", "{}[]", '{"pauses": [{"queue": 7}]}', "[" * 100_000])
def test_of_a_damaged_file_the_last_good_state_stays(tmp_path: Path, raw: str) -> None:
    watch = Watch(tmp_path)
    write(tmp_path, Pause(queue="a", since=NOW))
    assert list(watch.look(NOW)) == ["a"] and not watch.trouble
    (tmp_path / FILE_NAME).write_text(raw)
    assert list(watch.look(NOW)) == ["a"] and str(tmp_path) in watch.trouble
    with pytest.raises(PausesUnreadable, match="remove it"):
        pauses.read(tmp_path, NOW)
    (tmp_path / FILE_NAME).unlink()
    assert watch.look(NOW) == {} and not watch.trouble


# -- the words of the command line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("2h", 7200), ("1h30m", 5400), ("1.5d", 129600), ("45 s", 45), ("10min", 600)],
)
def test_time_spans(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "h", "-1h", "2 weeks", "0s", "9999999d", "1h nonsense", "nan"])
def test_what_is_no_time_span_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like 90m|give a time span"):
        seconds_of(text)


def test_moments() -> None:
    noon = datetime(2026, 12, 24, 12, 0).astimezone().timestamp()
    assert moment_of("18:00", noon) == noon + 6 * 3600
    assert moment_of("9:30", noon) == noon + 21.5 * 3600, "tomorrow"
    assert moment_of("2026-12-24 12:01", noon) == noon + 60
    assert moment_of("2026-12-24T23:00:00+00:00", noon) == 1_798_153_200
    assert moment_of("2026-12-25", noon) == noon + 12 * 3600


@pytest.mark.parametrize("text", ["", "tomorrow", "25:00", "2026-13-01", "2026-12-24 11:59", "9999-99-99"])
def test_what_is_no_moment_to_come_says_what_to_write(text: str) -> None:
    noon = datetime(2026, 12, 24, 12, 0).astimezone().timestamp()
    with pytest.raises(ValueError, match=r"write it like|give a time to come"):
        moment_of(text, noon)


def test_times_that_were() -> None:
    noon = datetime(2026, 12, 24, 12).astimezone().timestamp()
    assert since_of("2h", noon) == noon - 7200
    assert since_of("1w", noon) == noon - 7 * 86400
    assert since_of("9:30", noon) == noon - 2.5 * 3600
    assert since_of("18:00", noon) == noon - 18 * 3600, "yesterday"
    assert since_of("2026-12-24", noon) == noon - 12 * 3600
    for text in ("2026-12-25", "soon", "", "25:00", "-2h"):
        with pytest.raises(ValueError, match=r"write it like|a time that was"):
            since_of(text, noon)


# -- the commands ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def call(folder: Path, *words: str) -> Result:
    verb, *rest = words
    return CliRunner().invoke(warden, [verb, "--config", str(folder / "config.toml"), *rest])


def paused(folder: Path) -> dict[str, Pause]:
    return pauses.read(folder, time.time())


def test_a_pause_is_written_down_and_ended_while_no_service_runs(folder: Path) -> None:
    done = call(folder, "pause", "a", "--for", "2h", "--message", "new\ndisk", "--by", "anna")
    assert done.exit_code == 0
    assert "a: paused until 2" in done.stdout and r"(2 h) by anna: new\ndisk" in done.stdout
    assert "does not run" in done.stderr
    assert paused(folder)["a"].until == pytest.approx(time.time() + 7200, abs=60)
    assert "by anna" in call(folder, "pause", "--list").stdout
    listed = json.loads(call(folder, "pause", "--list", "--json").stdout)["pauses"]
    assert [(row["queue"], row["by"]) for row in listed] == [("a", "anna")]
    done = call(folder, "resume", "a", "b")
    assert "a: resumed, after" in done.stdout and "b: was not paused" in done.stdout
    assert paused(folder) == {}


def test_all_queues_at_once(folder: Path) -> None:
    assert call(folder, "pause", "--all").exit_code == 0
    assert list(paused(folder)) == ["a", "b"] and paused(folder)["b"].until is None
    assert "until it is resumed" in call(folder, "pause", "--list").stdout
    assert json.loads(call(folder, "resume", "--all", "--json").stdout) == {"pauses": []}
    assert "no queue was paused" in call(folder, "resume", "--all").stdout


def test_a_paused_queue_that_is_configured_no_more_can_be_resumed(folder: Path) -> None:
    write(folder, Pause(queue="old", since=NOW), now=time.time())
    assert "old: resumed" in call(folder, "resume", "old").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pause", "c"], 'there is no queue \'c\'; there is "a", "b"'),
        (["resume", "c"], "there is no queue 'c'"),
        (["pause"], 'name a queue, or --all; there is "a", "b"'),
        (["pause", "a", "--all"], "exclude each other"),
        (["pause", "a", "--for", "2h", "--until", "18:00"], "exclude each other"),
        (["pause", "a", "--for", "two"], "write it like"),
        (["pause", "a", "--until", "2001-01-01"], "give a time to come"),
        (["pause", "a", "--message", "x" * 301], "longer than 300"),
        (["pause", "a", "--list"], "--list goes with"),
        (["pause", "a", "--set", "warden.drain_s=-1"], "warden.drain_s"),
        (["pause", "a", "--set", "warden.state_dir='no'"], "never run here"),
        (["resume", "a", "--set", "warden.state_dir='config.toml'"], "Not a directory"),
    ],
)
def test_bad_input_ends_with_a_line_and_no_traceback(folder: Path, words: list[str], said: str) -> None:
    done = call(folder, *words)
    assert done.exit_code in (1, 2) and said in done.stderr
    assert isinstance(done.exception, SystemExit) and "Traceback" not in done.output
    assert paused(folder) == {}


def test_a_damaged_file_is_told_with_its_mend(folder: Path) -> None:
    (folder / FILE_NAME).write_text("nonsense")
    done = call(folder, "pause", "a")
    assert done.exit_code == 1 and "remove it and pause again" in done.stderr


# -- the supervisor ----------------------------------------------------------------------------------------


def polls(running: Stage, queue: str) -> int:
    return len([slot for slot, *_ in running.log("poll") if slot.startswith(f"{queue}.")])


def queue_of(running: Stage, name: str) -> QueueStatus:
    running.process.send_signal(signal.SIGUSR2)
    found = until(running.status, "a status")
    queue: QueueStatus = found.queues[name]
    return queue


def test_a_paused_queue_is_not_polled_and_the_others_are(folder: Path) -> None:
    with stage(folder, "polite", queues={"a": 2, "b": 1}) as running:
        until(lambda: polls(running, "a") > 2, "polls")
        done = call(folder, "pause", "a", "--message", "why", "--by", "anna")
        assert "does not run" not in done.stderr
        found = until(lambda: (q := queue_of(running, "a")).paused_since and q, "the pause in the status")
        assert (found.paused_message, found.paused_by, found.paused_until) == ("why", "anna", None)
        before = polls(running, "a")  # at most one begun and not ended
        others = polls(running, "b")
        until(lambda: polls(running, "b") > others + 12, "the other queue to be polled")
        assert polls(running, "a") <= before + 1
        call(folder, "resume", "a")
        until(lambda: polls(running, "a") > before + 5, "polls again")
        found = queue_of(running, "a")
        assert found.paused_since is None and found.resumed_at is not None


def test_a_pause_survives_a_restart_and_ends_by_itself(folder: Path) -> None:
    write(folder, Pause(queue="a", since=NOW, until=time.time() + 3, by="anna"), now=time.time())
    with stage(folder, "polite", queues={"a": 1, "b": 1}) as running:
        until(lambda: polls(running, "b") > 4, "the other queue to be polled")
        assert queue_of(running, "a").paused_by == "anna" and polls(running, "a") == 0
        until(lambda: polls(running, "a") > 2, "the pause to end")
        assert queue_of(running, "a").paused_since is None


def test_a_queue_is_still_paused_after_it_was_replaced_by_a_reload(folder: Path) -> None:
    write(folder, Pause(queue="a", since=NOW), now=time.time())
    with stage(folder, "polite", queues={"a": 1, "b": 1}) as running:
        until(lambda: running.log("ready"), "readiness")
        running.reload(queues={"b": 1})
        until(lambda: "a" not in running.status().queues, "the queue to be gone")
        running.reload(queues={"a": 1, "b": 1}, renew=["b"])
        others = polls(running, "b")
        until(lambda: polls(running, "b") > others + 8, "the other queue to be polled")
        assert polls(running, "a") == 0
