"""`warden health`: the judgement, the line, the exit code, the time it takes."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from graders.model import Cause
from supervisor import health, status
from supervisor.cli.health import answer, status_file_of, usage
from supervisor.cli.verbs import warden
from supervisor.health import Level, Unreadable, judge, view
from supervisor.status import (
    BreakerState,
    BreakerStatus,
    BreakerUnit,
    QueueStatus,
    Reload,
    ServiceState,
    SlotState,
    Status,
)

from .statuses import NOW, a_queue, a_slot, a_status

LINE = re.compile(r"^WARDEN (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \| [^|\n]+)?\n\Z")
WARDEN = [sys.executable, "-c", "from supervisor.cli import main; main()"]


def judged(document: Status, now: float = NOW) -> health.Health:
    return judge(view(json.loads(status.encode(document))), now)


def queue_judged(**changes: Any) -> health.Health:
    """The judgement of a service with one queue that is changed so, and one that is well."""
    return judged(a_status(queues={"demo": a_queue(**changes), "well": a_queue()}))


def test_a_service_that_is_well() -> None:
    found = judged(a_status())
    assert found.level is Level.OK
    assert found.text == "1 queue, 1 of 1 slots running, 12 delivered, 0 in hand, up 60 min"
    assert "delivered=12c;;;0" in found.perfdata.split()


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        (
            {"written_at": NOW - 31},
            Level.CRITICAL,
            "dead or stuck: HOST: silent since 2027-01-15 07:59:29Z (31 s)",
        ),
        ({"written_at": NOW + 3600}, Level.WARNING, "ahead of the clock"),
        ({"state": ServiceState.STOPPED}, Level.CRITICAL, "was stopped since"),
        ({"state": ServiceState.DRAINING}, Level.WARNING, "draining"),
        ({"state": ServiceState.STARTING}, Level.CRITICAL, "still starting"),
        ({"state": ServiceState.STARTING, "started_at": NOW - 5}, Level.OK, "slots running"),
        ({"queues": {}}, Level.CRITICAL, "no queue at all"),
    ],
)
def test_what_concerns_the_whole_service(changes: dict[str, Any], level: Level, words: str) -> None:
    found = judged(a_status(**changes))
    assert found.level is level
    assert words in found.text


CONFIG = {"state": SlotState.FATAL, "cause": Cause.CONFIG, "message": "queues.demo.workers: is out of range"}


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        (
            {**CONFIG, "since": NOW - 10},
            Level.WARNING,
            "queue demo: FATAL: CONFIG: queues.demo.workers: is out of",
        ),
        ({**CONFIG, "since": NOW - 90}, Level.CRITICAL, "since 2027-01-15 07:58:30Z (90 s)"),
        ({"last_poll_ok_at": NOW - 50}, Level.OK, "slots running"),
        ({"last_poll_ok_at": NOW - 90}, Level.WARNING, "queue demo: polls fail: QUEUE_UNREACHABLE, since"),
        (
            {"last_poll_ok_at": NOW - 9, "cause": Cause.AUTH},
            Level.WARNING,
            "queue demo: polls fail: AUTH, since",
        ),
        (
            {"last_poll_ok_at": NOW - 90, "cause": Cause.AUTH},
            Level.CRITICAL,
            "queue demo: polls fail: AUTH, since",
        ),
        ({"last_poll_ok_at": NOW - 700}, Level.CRITICAL, "queue demo: polls fail"),
        (
            {"last_poll_at": NOW - 700, "last_poll_ok_at": NOW - 699},
            Level.CRITICAL,
            "queue demo: is not polled: HOST",
        ),
        ({"slots": (a_slot(), a_slot(state=SlotState.BACKOFF))}, Level.WARNING, "1 of 2 slots BACKOFF"),
        ({"slots": (a_slot(state=SlotState.BACKOFF, since=NOW - 5),)}, Level.WARNING, "no slot works"),
        (
            {"slots": (a_slot(state=SlotState.FATAL, since=NOW - 99, cause=Cause.SANDBOX_UNAVAILABLE),)},
            Level.CRITICAL,
            "queue demo: no slot works: SANDBOX_UNAVAILABLE, since",
        ),
        ({"slots": (a_slot(until=NOW - 60),)}, Level.WARNING, "slot demo/0 hangs"),
        ({"backlog": 3, "backlog_oldest_at": NOW - 30}, Level.OK, "3 in hand"),
        ({"backlog": 3, "backlog_oldest_at": NOW - 200}, Level.WARNING, "3 in hand, the oldest, since"),
        (
            {"backlog": 3, "backlog_oldest_at": NOW - 400, "last_delivered_at": NOW - 400},
            Level.CRITICAL,
            "3 in hand and nothing delivered, since 2027-01-15 07:53:20Z (7 min)",
        ),
        ({"backlog": 3, "backlog_oldest_at": NOW - 400}, Level.WARNING, "the oldest"),
        ({"dead": 2, "last_dead_at": NOW - 60}, Level.WARNING, "queue demo: 2 dead letters, the last since"),
        ({"dead": 2, "last_dead_at": NOW - 4000}, Level.OK, "slots running"),
        ({"state": SlotState.STOPPED}, Level.WARNING, "queue demo: STOPPED"),
        # Trouble counts while nothing shows that the queue works all the same.
        ({"cause": Cause.HOST, "message": "disk full"}, Level.OK, "slots running"),
        (
            {
                "cause": Cause.HOST,
                "message": "disk full",
                "last_poll_at": NOW - 70,
                "last_poll_ok_at": NOW - 69,
            },
            Level.WARNING,
            "queue demo: trouble: HOST: disk full, since 2027-01-15 07:58:51Z (69 s)",
        ),
        (
            {
                "cause": Cause.QUEUE_ERROR,
                "message": "no",
                "backlog": 1,
                "backlog_oldest_at": NOW - 70,
                "last_delivered_at": NOW - 99,
            },
            Level.WARNING,
            "queue demo: trouble: QUEUE_ERROR: no, since",
        ),
    ],
)
def test_what_is_wrong_with_one_queue(changes: dict[str, Any], level: Level, words: str) -> None:
    found = queue_judged(**changes)
    assert found.level is level, found.text
    assert words in found.text


def test_no_queue_that_can_be_polled_is_critical_at_once() -> None:
    silent = a_queue(last_poll_ok_at=NOW - 70)
    assert judged(a_status(queues={"one": silent, "two": a_queue()})).level is Level.WARNING
    found = judged(a_status(queues={"one": silent, "two": silent}))
    assert found.level is Level.CRITICAL
    assert found.text.startswith("no queue can be polled; queue one: polls fail")


def test_workers_that_are_all_busy_need_not_poll() -> None:
    busy = {
        "last_poll_at": NOW - 700,
        "last_poll_ok_at": NOW - 700,
        "backlog": 1,
        "backlog_oldest_at": NOW - 5,
    }
    assert queue_judged(**busy).level is Level.OK


def test_a_queue_that_was_never_polled_counts_from_the_start() -> None:
    never = {"last_poll_at": None, "last_poll_ok_at": None}
    queues = {"demo": a_queue(**never)}
    assert judged(a_status(queues=queues, started_at=NOW - 5)).level is Level.OK
    assert judged(a_status(queues=queues)).level is Level.CRITICAL


def test_a_paused_queue_is_not_judged_until_its_time_is_over() -> None:
    ill = {
        "state": SlotState.FATAL,
        "since": NOW - 5000,
        "last_poll_ok_at": NOW - 5000,
        "last_poll_at": NOW - 4999,
        "backlog": 2,
        "backlog_oldest_at": NOW - 5000,
    }
    assert queue_judged(**ill).level is Level.CRITICAL
    found = queue_judged(**ill, paused_since=NOW - 4000, paused_until=NOW + 60, paused_message="a | disk")
    assert found.level is Level.OK
    assert found.text.endswith("; queue demo is paused until 2027-01-15 08:01:00Z: a | disk")
    assert LINE.match(found.line() + "\n")
    for_ever = queue_judged(**ill, paused_since=NOW - 4000)
    assert for_ever.level is Level.OK and "until it is resumed" in for_ever.text
    assert queue_judged(**ill, paused_since=NOW - 4000, paused_until=NOW - 1).level is Level.CRITICAL


def test_after_a_pause_a_queue_has_the_usual_time_to_be_polled() -> None:
    silent = {"last_poll_ok_at": NOW - 5000, "last_poll_at": NOW - 5000}
    assert queue_judged(**silent).level is Level.CRITICAL
    assert queue_judged(**silent, resumed_at=NOW - 5).level is Level.OK
    assert queue_judged(**silent, resumed_at=NOW - 700).level is Level.CRITICAL
    assert queue_judged(**silent, paused_since=NOW - 900, paused_until=NOW - 5).level is Level.OK
    stuck = {"backlog": 1, "backlog_oldest_at": NOW - 5000, "last_delivered_at": NOW - 5000}
    assert queue_judged(**stuck).level is Level.CRITICAL
    assert queue_judged(**stuck, resumed_at=NOW - 5).level is Level.OK


def test_a_configuration_that_was_refused_is_a_warning_and_a_good_one_ends_it() -> None:
    found = judged(a_status(reload=Reload(at=NOW - 90, ok=False, message="queues.a: is bad")))
    assert found.level is Level.WARNING
    assert "old one is in force: CONFIG: queues.a: is bad" in found.text
    assert judged(a_status(reload=Reload(at=NOW - 90, ok=True, message="x"))).level is Level.OK


def test_the_worst_comes_first_and_many_findings_are_counted() -> None:
    queues = {f"q{i}": a_queue(dead=1, last_dead_at=NOW - 1) for i in range(9)}
    queues["bad"] = a_queue(**CONFIG, since=NOW - 90)
    found = judged(a_status(queues=queues))
    assert found.level is Level.CRITICAL
    assert found.text.startswith("queue bad: FATAL")
    assert found.text.endswith("and 4 more")


HELD = BreakerStatus(
    unit=BreakerUnit.PROBLEM,
    queue="demo",
    grader="hw1/grader.py",
    state=BreakerState.OPEN,
    since=NOW - 60,
    cause=Cause.RESOURCE,
    message="killed",
)


@pytest.mark.parametrize(
    ("breaker", "level", "words"),
    [
        (
            HELD,
            Level.WARNING,
            "queue demo: submissions of hw1/grader.py are held, it failed again and again: RESOURCE: killed,",
        ),
        (
            msgspec.structs.replace(HELD, unit=BreakerUnit.QUEUE, grader="", state=BreakerState.HALF_OPEN),
            Level.WARNING,
            "queue demo: failed again and again, and is tried with one slot: RESOURCE",
        ),
        (
            msgspec.structs.replace(HELD, unit=BreakerUnit.HOST, grader="", queue=""),
            Level.CRITICAL,
            "this host fails at everything, so nothing is polled: RESOURCE: killed, since",
        ),
    ],
)
def test_what_is_left_alone_is_told(breaker: BreakerStatus, level: Level, words: str) -> None:
    found = judged(a_status(breakers=(breaker,)))
    assert found.level is level
    assert words in found.text


def test_a_queue_that_is_left_alone_is_told_once() -> None:
    broken = msgspec.structs.replace(HELD, unit=BreakerUnit.QUEUE, grader="")
    queue = a_queue(state=SlotState.FATAL, cause=Cause.RESOURCE, message="killed", since=NOW - 90)
    found = judged(a_status(breakers=(broken,), queues={"demo": queue}))
    assert found.level is Level.CRITICAL
    assert found.text.count("killed") == 1


def test_seats_that_are_not_needed_now_are_not_missed() -> None:
    empty = a_slot(id="demo/1", state=SlotState.STOPPED, pid=None, until=None)
    assert "2 of 2 slots running" in queue_judged(slots=(a_slot(), empty)).text
    down = a_slot(state=SlotState.FATAL, since=NOW - 99, cause=Cause.HOST)
    assert "no slot works" in queue_judged(slots=(down, empty)).text


def test_text_from_a_server_can_forge_neither_line_nor_perfdata() -> None:
    found = queue_judged(**CONFIG | {"message": "x | ok=1\nWARDEN OK - fine"}, since=NOW - 90)
    assert LINE.match(found.line() + "\n")


def test_every_field_that_is_judged_is_in_the_schema() -> None:
    assert set(health.QueueView._fields) - {"name"} <= set(QueueStatus.__struct_fields__)
    assert set(health.BreakerView._fields) <= set(BreakerStatus.__struct_fields__)
    assert set(health.SlotView._fields) <= set(status.SlotStatus.__struct_fields__)
    assert set(health.View._fields) <= set(Status.__struct_fields__)
    assert status.SCHEMA.split(".")[0] == health.MAJOR


# --- whatever the file holds -------------------------------------------------------------------------

times = st.floats() | st.integers() | st.none()
jsonlike = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
fields = {
    "schema": st.sampled_from(["1.0", "1.9", "2.0"]) | jsonlike,
    "written_at": times,
    "started_at": times,
    "state": st.sampled_from([*ServiceState]) | jsonlike,
    "queues": jsonlike
    | st.dictionaries(
        st.text(max_size=8),
        st.fixed_dictionaries(
            {},
            optional={
                "state": st.sampled_from([*SlotState]) | jsonlike,
                "message": jsonlike,
                "cause": jsonlike,
                "slots": st.lists(
                    st.fixed_dictionaries(
                        {}, optional={"state": st.sampled_from([*SlotState]), "until": times}
                    ),
                    max_size=3,
                )
                | jsonlike,
                **{
                    name: times
                    for name in health.QueueView._fields
                    if name.endswith("_at") or name == "since"
                },
                "backlog": st.integers(),
                "dead": st.integers(),
            },
        ),
        max_size=3,
    ),
}


@given(document=st.fixed_dictionaries({}, optional=fields) | jsonlike, now=st.floats(0, 1e11))
def test_any_document_gets_one_line(document: object, now: float) -> None:
    try:
        found = judge(view(json.loads(json.dumps(document))), now)
    except Unreadable as error:
        assert str(error)
        return
    assert LINE.match(found.line() + "\n")


@given(
    age_s=st.floats(0, 1e6),
    silent_s=st.floats(0, 1e6),
    oldest_s=st.floats(0, 1e6),
    later_s=st.floats(0, 1e6),
)
def test_waiting_never_makes_it_better(
    age_s: float, silent_s: float, oldest_s: float, later_s: float
) -> None:
    queue = a_queue(
        last_poll_ok_at=NOW - silent_s,
        last_delivered_at=NOW - oldest_s,
        backlog=1,
        backlog_oldest_at=NOW - oldest_s,
    )
    document = a_status(queues={"demo": queue}, written_at=NOW - age_s, started_at=NOW - 2e6)
    assert judged(document, NOW + later_s).level >= judged(document, NOW).level


# --- the command -------------------------------------------------------------------------------------


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WARDEN, "health", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=30,
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, 0), ({"state": ServiceState.DRAINING}, 1), ({"state": ServiceState.STOPPED}, 2)],
)
def test_the_exit_code_and_the_line(tmp_path: Path, changes: dict[str, Any], code: int) -> None:
    path = tmp_path / "status.json"
    status.write(path, a_status(time.time(), **changes))
    ran = run("--status-file", str(path))
    assert ran.returncode == code
    assert LINE.match(ran.stdout)
    assert ran.stderr == ""


@pytest.mark.parametrize(
    "raw", [None, b"", b"{", b"[]", b"\xff\xfe", b'{"schema":"2.0"}', b"[" * 100_000, b"9" * 5000]
)
def test_no_file_or_garbage_is_unknown(tmp_path: Path, raw: bytes | None) -> None:
    path = tmp_path / "status.json"
    if raw is not None:
        path.write_bytes(raw)
    ran = run("--status-file", str(path))
    assert ran.returncode == 3
    assert LINE.match(ran.stdout)
    assert str(path) in ran.stdout
    assert ran.stderr == ""


def test_a_pipe_in_the_files_place_does_not_make_it_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "status.json")
    assert run("--status-file", str(tmp_path / "status.json")).returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("--bogus",),
        ("--stale",),
        ("--stale", "x"),
        ("--stale=-1",),
        ("--config", "a", "--status-file", "b"),
        ("x",),
    ],
)
def test_wrong_usage_is_unknown_too(arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert ran.returncode == 3
    assert LINE.match(ran.stdout)


def test_a_queue_in_another_script_is_told_in_the_c_locale(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status.write(path, a_status(time.time(), queues={"очередь": a_queue(**CONFIG)}))
    ran = run(
        "--status-file",
        str(path),
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
        PYTHONIOENCODING="ascii",
    )
    assert ran.returncode == 2
    assert "FATAL" in ran.stdout


def test_a_threshold_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status.write(path, a_status(NOW))
    assert answer(["--status-file", str(path)], NOW + 40).level is Level.CRITICAL
    assert answer(["--status-file", str(path), "--stale", "90"], NOW + 40).level is Level.OK


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "var/status.json"),
        ('[warden]\nstate_dir = "state"\n', "state/status.json"),
        ('[warden]\nstate_dir = "/run/w"\n', "/run/w/status.json"),
        ('[warden]\nstatus_file = "/run/w/s.json"\n', "/run/w/s.json"),
        ('[warden]\nbogus = 1\n[servers]\nx = "broken"\n', "var/status.json"),
    ],
)
def test_the_configuration_tells_where_the_file_is_even_if_it_is_bad(
    tmp_path: Path, text: str, expected: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    assert status_file_of(str(config)) == str(tmp_path / expected)


@pytest.mark.parametrize("text", [None, "[[", "warden = 3", "[warden]\nstate_dir = 3"])
def test_a_configuration_that_does_not_tell_is_unknown(tmp_path: Path, text: str | None) -> None:
    config = tmp_path / "config.toml"
    if text is not None:
        config.write_text(text)
    assert answer(["--config", str(config)], NOW).level is Level.UNKNOWN


def test_the_environment_names_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "config.toml").write_text("")
    status.write(tmp_path / "var" / "status.json", a_status(time.time()))
    assert run(WARDEN_CONFIG=str(tmp_path / "config.toml")).returncode == 0


def test_the_verb_is_also_one_of_clicks(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status.write(path, a_status(time.time()))
    ran = CliRunner().invoke(warden, ["health", "--status-file", str(path)])
    assert ran.exit_code == 0
    assert ran.output.startswith("WARDEN OK - ")


def test_help_names_every_threshold() -> None:
    text = usage()
    assert "--stale SECONDS" in text
    assert run("--help").stdout.strip() == text.strip()


def test_it_imports_none_of_the_heavy_modules(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status.write(path, a_status(time.time()))
    program = (
        "import sys; from supervisor.cli import main\n"
        f"sys.argv = ['warden', 'health', '--status-file', {str(path)!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'click', 'rich', 'msgspec', 'requests', 'dataclasses', 'pathlib', 'argparse', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, timeout=30, cwd=ROOT
    )
    assert ran.stdout.splitlines()[-1] == "[]", ran.stderr


ROOT = Path(__file__).parents[2]


def test_it_takes_less_than_100_ms_with_the_interpreters_start(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "config.toml").write_text("")
    queues = {f"queue-{i}": a_queue(time.time()) for i in range(20)}
    status.write(tmp_path / "var" / "status.json", a_status(time.time(), queues=queues))
    # CPU time, which the command does nothing but use: wall-clock time also tells what else the machine does.
    times_s = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = run("--config", str(tmp_path / "config.toml"))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ran.returncode == 0, ran.stdout
        times_s.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(times_s) < 0.1


def test_the_two_ways_to_read_a_document_agree(tmp_path: Path) -> None:
    document = a_status(queues={"demo": a_queue(dead=3)})
    seen = view(msgspec.to_builtins(document))
    assert seen.queues[0].dead == 3
    assert seen.written_at == document.written_at
