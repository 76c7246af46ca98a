"""Who is to blame, since when, and what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graders.model import Blame, Cause
from supervisor.advice import ADVICE
from supervisor.cli.status import as_text
from supervisor.diagnosis import Diagnosis, examine
from supervisor.health import Level
from supervisor.histogram import Tally
from supervisor.status import Alert, QueueStatus, ServerStatus, ServiceState, SlotState, Status, encode

from .statuses import NOW, a_queue, a_slot, a_status
from .test_status import shown

URL = "http://queue.example"


def silent_queue(cause: Cause, message: str, since: float = NOW - 700, **changes: Any) -> QueueStatus:
    """A queue whose polls have failed since then."""
    return a_queue(last_poll_at=NOW - 1, last_poll_ok_at=since, cause=cause, message=message, **changes)


def diagnoses(status: Status, now: float = NOW) -> tuple[Diagnosis, ...]:
    return examine(status, now)[1]


def test_a_service_that_is_well_has_nothing_to_be_blamed_for() -> None:
    health, found = examine(a_status(), NOW)
    assert (health.level, found) == (Level.OK, ())


def test_one_server_that_is_away_is_one_trouble_however_many_queues_it_has() -> None:
    queues = {
        "a": silent_queue(Cause.QUEUE_UNREACHABLE, "connection refused", NOW - 700),
        "b": silent_queue(Cause.QUEUE_UNREACHABLE, "connection refused", NOW - 800),
    }
    status = a_status(queues=queues, servers={"main": ServerStatus(url=URL)})
    (found,) = diagnoses(status)
    assert (found.level, found.cause, found.blame) == (Level.CRITICAL, Cause.QUEUE_UNREACHABLE, Blame.SERVICE)
    assert found.part.startswith(f"XQueue server main ({URL}): the network")
    assert (found.since, found.queues) == (NOW - 800, ("a", "b"))
    assert "connection refused" in found.evidence[0]
    assert found.remedy == ADVICE[Cause.QUEUE_UNREACHABLE].remedy


def test_two_servers_are_two_troubles() -> None:
    queues = {
        "a": silent_queue(Cause.AUTH, "403"),
        "b": silent_queue(Cause.AUTH, "403", server="other"),
        "c": a_queue(),
    }
    assert {one.queues for one in diagnoses(a_status(queues=queues))} == {("a",), ("b",)}


def test_trouble_of_the_host_is_one_and_that_of_a_configuration_is_its_queues() -> None:
    down = (
        a_slot(state=SlotState.FATAL, since=NOW - 90, cause=Cause.SANDBOX_UNAVAILABLE, message="no userns"),
    )
    queues = {
        "a": a_queue(state=SlotState.FATAL, since=NOW - 90, slots=down),
        "b": a_queue(state=SlotState.FATAL, since=NOW - 80, slots=down),
        "c": a_queue(
            state=SlotState.FATAL, since=NOW - 70, slots=(), cause=Cause.CONFIG, message="no folder"
        ),
    }
    host, config = diagnoses(a_status(queues=queues))
    assert (host.cause, host.queues, host.since) == (Cause.SANDBOX_UNAVAILABLE, ("a", "b"), NOW - 90)
    assert (config.cause, config.queues) == (Cause.CONFIG, ("c",))


def test_a_broken_grader_is_the_courses_and_has_a_name_and_a_beginning() -> None:
    alerts = (
        Alert(
            at=NOW - 10,
            cause=Cause.GRADER_BUG,
            text="week1/grader.py: ZeroDivisionError",
            queue="demo",
            count=3,
            first_at=NOW - 500,
            grader="week1/grader.py",
        ),
        Alert(at=NOW - 20, cause=Cause.HOST, text="long over", queue="demo"),
    )
    queue = a_queue(dead=3, last_dead_at=NOW - 10, dead_causes={Cause.GRADER_BUG: 3})
    (found,) = diagnoses(a_status(queues={"demo": queue}, alerts=alerts))
    assert (found.level, found.blame, found.grader) == (Level.WARNING, Blame.COURSE, "week1/grader.py")
    assert found.part.startswith("grader week1/grader.py: ")
    assert found.since == NOW - 500
    assert found.evidence == ("3 dead letters", "week1/grader.py: ZeroDivisionError (3 times)")
    assert "warden grade" in found.remedy and "warden dead" in found.remedy


def test_a_dead_letter_whose_reason_is_forgotten_is_told_all_the_same() -> None:
    queue = a_queue(dead=1, last_dead_at=NOW - 10, dead_causes={Cause.HOST: 1})
    (found,) = diagnoses(a_status(queues={"demo": queue}))
    assert (found.cause, found.evidence) == (None, ("1 dead letter",))
    assert "warden dead" in found.remedy


def test_a_dead_supervisor_is_the_hosts_and_nothing_else_is_told() -> None:
    status = a_status(queues={"demo": silent_queue(Cause.AUTH, "403")})
    (found,) = diagnoses(status, NOW + 3600)
    assert (found.cause, found.level, found.since) == (Cause.HOST, Level.CRITICAL, NOW - 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": ServiceState.STOPPED}, "nobody"),
        ({"queues": {"demo": a_queue(backlog=9, backlog_oldest_at=NOW - 130)}}, "slower than submissions"),
    ],
)
def test_what_has_no_cause_is_told_in_words(change: dict[str, Any], words: str) -> None:
    (found,) = diagnoses(a_status(**change))
    assert words in found.part and found.remedy


_causes = st.none() | st.sampled_from([cause for cause in Cause if cause is not Cause.LEARNER])
_times = st.none() | st.floats(NOW - 10_000, NOW)
_queues = st.builds(
    a_queue,
    state=st.sampled_from(SlotState),
    since=st.floats(NOW - 10_000, NOW),
    cause=_causes,
    message=st.text(max_size=10),
    last_poll_at=_times,
    last_poll_ok_at=_times,
    last_delivered_at=_times,
    backlog=st.integers(0, 3),
    backlog_oldest_at=_times,
    dead=st.integers(0, 2),
    last_dead_at=_times,
)


@given(st.dictionaries(st.text(min_size=1, max_size=3), _queues, max_size=3), st.sampled_from(ServiceState))
def test_whatever_is_wrong_somebody_is_blamed_and_never_a_learner(
    queues: dict[str, QueueStatus], state: ServiceState
) -> None:
    health, found = examine(a_status(queues=queues, state=state), NOW)
    assert bool(found) == (health.level is not Level.OK)
    assert max((one.level for one in found), default=Level.OK) is health.level
    for one in found:
        assert one.blame is not Blame.LEARNER and one.part and one.remedy and one.evidence
    text = as_text(encode(a_status(queues=queues, state=state)), NOW)
    assert len(json.loads(text)["diagnoses"]) == len(found)
    assert "\x1b" not in shown(a_status(queues=queues, state=state))


# --- as it is shown ----------------------------------------------------------------------------------------


def test_the_first_lines_say_who_since_when_and_what_to_do() -> None:
    status = a_status(
        queues={"demo": silent_queue(Cause.AUTH, "the login is refused")},
        servers={"main": ServerStatus(url=URL)},
    )
    text = " ".join(shown(status).split())
    assert "CRITICAL, to blame: service (XQueue server main" in text
    assert "CRITICAL AUTH since 2027-01-15 07:48:20Z (12 min)" in text
    assert "affects demo" in text and "the login is refused" in text
    assert "what to do warden doctor; compare username" in text


def test_times_are_shown_as_half_and_nearly_all() -> None:
    tally = Tally()
    for took_s in (*[0.03] * 90, *[7.0] * 10):
        tally.add(took_s)
    text = shown(a_status(queues={"demo": a_queue(times={"grading": tally.histogram()})}))
    line = next(line for line in text.splitlines() if line.startswith("demo") and " ms / " in line)
    assert line.split()[1:] == ["39", "ms", "/", "7.5", "s"]


def test_json_has_the_judgement_beside_the_document() -> None:
    status = a_status(queues={"demo": silent_queue(Cause.AUTH, "403")})
    told = json.loads(as_text(encode(status), NOW))
    assert told["health"]["level"] == "CRITICAL"
    (one,) = told["diagnoses"]
    assert (one["cause"], one["blame"], one["level"], one["queues"]) == (
        "AUTH",
        "service",
        "CRITICAL",
        ["demo"],
    )
    assert told["queues"]["demo"]["cause"] == "AUTH"
