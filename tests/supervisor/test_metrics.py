"""The metrics file: what the official parser reads out of it, and what never happens to it."""

from __future__ import annotations

import math
import random
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from graders.model import Blame, Cause, Verdict
from supervisor import metrics
from supervisor.events import Backlog, Dead, Delivered, Graded, Happened, Polled, Received, Trouble, Well
from supervisor.histogram import BUCKETS_S, Histogram, Tally, together
from supervisor.ledger import Ledger, QueueLedger, ServerLedger
from supervisor.pacer import Poll
from supervisor.status import (
    Alarm,
    BreakerState,
    BreakerStatus,
    BreakerUnit,
    ChannelStatus,
    Reload,
    ServerStatus,
    ServiceState,
    Status,
    total,
)
from tests.cli.statuses import NOW, a_queue, a_slot, a_status
from tests.supervisor.stage import stage, until


def samples(status: Status) -> list[Sample]:
    text = metrics.encode(status).decode("utf-8")
    return [one for family in text_string_to_metric_families(text) for one in family.samples]


def value(status: Status, name: str, **labels: str) -> float:
    (found,) = [one.value for one in samples(status) if one.name == f"warden_{name}" and one.labels == labels]
    return float(found)


def a_ledger() -> Ledger:
    ledger = Ledger()
    ledger.servers["main"] = ServerLedger("http://queue.example")
    ledger.queues["demo"] = QueueLedger("main")
    return ledger


def document(ledger: Ledger) -> Status:
    queues = {name: book.status((a_slot(),), NOW) for name, book in ledger.queues.items()}
    servers = {name: server.status() for name, server in ledger.servers.items()}
    return a_status(queues=queues, servers=servers, totals=total(queues), isolation=ledger.isolation)


def graded(wall_s: float = 0.02, verdict: Verdict = Verdict.CORRECT) -> Graded:
    ours = verdict is Verdict.UNGRADED
    blame, cause = (Blame.COURSE, Cause.GRADER_BUG) if ours else (Blame.LEARNER, Cause.LEARNER)
    return Graded(verdict, blame, cause, wall_s, 0.01, "a/grader.py", "it raised" if ours else "")


def test_the_official_parser_reads_every_family_with_its_type_and_help() -> None:
    ledger = a_ledger()
    ledger.isolation["python"] = ("seccomp", "landlock")
    for event in (
        Polled(Poll.HIT, dialect="legacy"),
        Received(),
        graded(),
        Delivered(),
        Dead(Cause.HOST, "x"),
    ):
        ledger.note("demo", "demo.0", event, NOW)
    ledger.note("demo", "demo.0", Backlog(2, NOW - 31), NOW)
    families = {
        one.name: one for one in text_string_to_metric_families(metrics.encode(document(ledger)).decode())
    }
    for metric in metrics.METRICS:
        family = families[metric.full_name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)
        never_told = ("warden_queue_length", "warden_alert_waiting", "warden_alert_failing_seconds")
        assert family.samples or metric.full_name in never_told, metric.full_name
    assert len(families) == len(metrics.METRICS)


def test_what_the_workers_tell_is_counted() -> None:
    ledger = a_ledger()
    happened: list[Happened] = [
        *(Polled(Poll.HIT), Polled(Poll.EMPTY), Polled(Poll.EMPTY)),
        Polled(Poll.ERROR, Cause.QUEUE_UNREACHABLE, "refused"),
        *(Received(), Received(again=True), graded(), graded(verdict=Verdict.UNGRADED)),
        *(
            Dead(Cause.GRADER_BUG, "x"),
            Delivered(),
            Trouble(Cause.HOST, "disk"),
            Well(),
            Backlog(3, NOW - 40),
        ),
    ]
    for event in happened:
        ledger.note("demo", "demo.0", event, NOW)
    ledger.started("demo")
    ledger.replaced("demo")
    ledger.died("demo", Cause.RESOURCE)
    status = document(ledger)
    assert value(status, "polls_total", queue="demo", result="empty") == 2
    assert value(status, "submissions_received_total", queue="demo") == 1
    assert value(status, "submissions_again_total", queue="demo") == 1
    assert value(status, "submissions_graded_total", queue="demo", verdict="correct") == 1
    assert value(status, "submissions_graded_total", queue="demo", verdict="timeout") == 0
    assert value(status, "dead_letters_total", queue="demo", cause="GRADER_BUG") == 1
    assert value(status, "worker_starts_total", queue="demo") == 1
    assert value(status, "workers_recycled_total", queue="demo") == 1
    assert value(status, "worker_deaths_total", queue="demo", cause="RESOURCE") == 1
    for cause, times in (
        ("GRADER_BUG", 1),
        ("QUEUE_UNREACHABLE", 1),
        ("HOST", 1),
        ("RESOURCE", 1),
        ("AUTH", 0),
    ):
        assert value(status, "failures_total", queue="demo", cause=cause) == times
    assert value(status, "backlog", queue="demo") == 3
    assert value(status, "backlog_oldest_age_seconds", queue="demo") == 39  # it was written a second before
    assert value(status, "queue_trouble", queue="demo", cause="QUEUE_UNREACHABLE") == 1


def test_a_time_is_counted_in_the_bucket_that_it_just_reaches_and_all_above() -> None:
    ledger = a_ledger()
    for took_s in (0.5, 0.500001, 1e9, -3.0):
        ledger.note("demo", "demo.0", graded(took_s), NOW)
    status = document(ledger)
    assert value(status, "grading_seconds_bucket", queue="demo", le="0.25") == 1
    assert value(status, "grading_seconds_bucket", queue="demo", le="0.5") == 2
    assert value(status, "grading_seconds_bucket", queue="demo", le="1") == 3
    assert value(status, "grading_seconds_bucket", queue="demo", le="21600") == 3
    assert value(status, "grading_seconds_bucket", queue="demo", le="+Inf") == 4
    assert value(status, "grading_seconds_count", queue="demo") == 4
    assert value(status, "queue_wait_seconds_count", queue="demo") == 0, "nobody said when it was submitted"
    assert value(status, "grading_seconds_sum", queue="demo") == pytest.approx(1e9 + 1.000001)


def test_waits_and_deliveries_are_counted_where_they_are_known() -> None:
    ledger = a_ledger()
    for waited_s, total_s in ((4.0, 5.0), (None, None)):
        ledger.note("demo", "demo.0", msgspec.structs.replace(graded(), waited_s=waited_s), NOW)
        ledger.note("demo", "demo.0", Delivered(delivery_s=0.5, total_s=total_s), NOW)
    status = document(ledger)
    for name, count, sum_s in (("queue_wait", 1, 4.0), ("delivery", 2, 1.0), ("total", 1, 5.0)):
        assert value(status, f"{name}_seconds_count", queue="demo") == count
        assert value(status, f"{name}_seconds_sum", queue="demo") == sum_s


def test_no_counter_ever_goes_back_within_one_life() -> None:
    dice = random.Random(4)
    ledger = a_ledger()
    before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    choices: tuple[Happened, ...] = (
        *(Polled(how) for how in Poll),
        *(graded(verdict=verdict) for verdict in Verdict),
        *(Received(), Received(again=True), Delivered(), Dead(Cause.HOST, ""), Well(), Backlog(0, None)),
    )
    for _ in range(100):
        for event in dice.choices(choices, k=5):
            ledger.note("demo", "demo.0", event, NOW)
        for one in samples(document(ledger)):
            if one.name.endswith(("_total", "_bucket", "_count", "_sum")):
                key = (one.name, tuple(sorted(one.labels.items())))
                assert one.value >= before.get(key, 0.0), key
                before[key] = one.value
    assert len(before) > 50


def test_nothing_that_a_worker_says_makes_a_new_series() -> None:
    ledger = a_ledger()
    names = {(one.name, tuple(one.labels.items())) for one in samples(document(ledger))}
    for number in range(50):
        text = f"submission-{number}"
        event = Graded(Verdict.UNGRADED, Blame.COURSE, Cause.GRADER_BUG, 1.0, 1.0, f"{text}.py", text)
        for one in (event, Trouble(Cause.HOST, text), Dead(Cause.REPLY_REFUSED, text)):
            ledger.note("demo", "demo.0", one, NOW)
    new = {(one.name, tuple(one.labels.items())) for one in samples(document(ledger))} - names
    assert {name for name, _ in new} == {"warden_last_dead_letter_timestamp_seconds"}


def test_breakers_alarms_channels_and_a_refused_reload_are_told() -> None:
    def broken(unit: BreakerUnit, queue: str, grader: str = "") -> BreakerStatus:
        state = BreakerState.OPEN
        return BreakerStatus(unit=unit, queue=queue, grader=grader, state=state, since=NOW, cause=Cause.HOST)

    alarm = Alarm(
        unit="queue demo", cause=Cause.AUTH, severity="critical", text="", opened_at=NOW, told_at=NOW
    )
    status = a_status(
        breakers=(
            broken(BreakerUnit.HOST, ""),
            broken(BreakerUnit.PROBLEM, "demo", "a.py"),
            broken(BreakerUnit.PROBLEM, "demo", "b.py"),
        ),
        alarms=(alarm,),
        channels={"mail": ChannelStatus(failing_since=NOW - 61, waiting=2), "hook": ChannelStatus()},
        reload=Reload(at=NOW, ok=False),
    )
    assert value(status, "breakers_open", unit="host", queue="") == 1
    assert value(status, "breakers_open", unit="problem", queue="demo") == 2
    assert value(status, "breakers_open", unit="queue", queue="demo") == 0
    assert value(status, "alarms", severity="critical") == 1
    assert value(status, "alert_waiting", channel="mail") == 2
    assert value(status, "alert_failing_seconds", channel="mail") == 60
    assert value(status, "alert_failing_seconds", channel="hook") == 0
    assert (value(status, "reload_ok"), value(a_status(), "reload_ok")) == (0, 1)


@given(name=st.text(min_size=1), server=st.text())
def test_labels_come_out_as_they_went_in(name: str, server: str) -> None:
    status = a_status(
        queues={name: a_queue()}, servers={server: ServerStatus(url="", last_ok_at=NOW, dialect="legacy")}
    )
    found = samples(status)
    assert {one.labels["queue"] for one in found if one.labels.get("queue")} == {_sent(name)}
    assert {one.labels["server"] for one in found if "server" in one.labels} == {_sent(server)}


def _sent(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def test_the_state_is_one_of_all_states() -> None:
    status = a_status(state=ServiceState.DRAINING)
    states = {one.labels["state"]: one.value for one in samples(status) if one.name == "warden_service_state"}
    assert states == {"STARTING": 0, "RUNNING": 0, "DRAINING": 1, "STOPPED": 0}


def test_a_real_supervisor_writes_the_file_for_everybody_beside_its_status(tmp_path: Path) -> None:
    with stage(tmp_path, "polite", queues={"one": 2}) as theatre:
        until(lambda: theatre.log("poll"), "a poll")
        path = tmp_path / "metrics.prom"
        polled = 'warden_polls_total{queue="one",result="empty"} '

        def polls() -> int:
            theatre.process.send_signal(signal.SIGUSR2)
            return int(
                next(line for line in path.read_text().splitlines() if line.startswith(polled)).split()[-1]
            )

        until(polls, "polls in the file")
        assert path.stat().st_mode & 0o777 == 0o644
        families = {one.name: one for one in text_string_to_metric_families(path.read_text())}
        assert families["warden_worker_starts"].samples[0].value == 2
        assert all(one.value > 1e6 for one in families["warden_worker_memory_bytes"].samples)


def test_promtool_has_nothing_to_say(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"], input=metrics.encode(a_status()), capture_output=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- histograms --------------------------------------------------------------------------------------------


@given(st.lists(st.floats(min_value=0, max_value=2000), min_size=1, max_size=60), st.floats(0.05, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(times: list[float], share: float) -> None:
    tally = Tally()
    for took_s in times:
        tally.add(took_s)
    found = tally.histogram().quantile(share)
    true = sorted(times)[max(0, math.ceil(share * len(times) - 1e-9) - 1)]
    bound = next(bound for bound in BUCKETS_S if true <= bound)
    below = max((one for one in BUCKETS_S if one < bound), default=0.0)
    assert found is not None
    assert below <= found <= bound


def test_no_times_have_no_quantile_and_strange_buckets_are_left_out() -> None:
    assert Histogram().quantile(0.5) is None
    assert Tally().histogram().quantile(0.5) is None
    assert Histogram((5, 6), 1.0).quantile(0.5) is None
    tally = Tally()
    tally.add(0.02)
    assert together([tally.histogram(), tally.histogram(), Histogram((5, 6), 1.0)]).count == 2
