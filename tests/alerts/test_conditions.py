"""From status documents to alarms: the judgement is health's, and each cause reaches who can mend it."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from graders.model import Cause
from supervisor import health
from supervisor.alerts.audiences import AUDIENCES, audiences, contacts_for
from supervisor.alerts.conditions import events, picture
from supervisor.alerts.engine import step
from supervisor.alerts.letters import MAX_NEWS, Sender, compose
from supervisor.alerts.model import Change, Event, Letter, News, State
from supervisor.settings import Audience, Damping, Severity
from supervisor.status import (
    Alert,
    BreakerState,
    BreakerStatus,
    BreakerUnit,
    ChannelStatus,
    QueueStatus,
    ServiceState,
    SlotState,
    Status,
)
from tests.cli.statuses import NOW, a_queue, a_slot, a_status

UNREACHABLE = {
    "last_poll_ok_at": NOW - 9,
    "cause": Cause.QUEUE_UNREACHABLE,
    "message": "connection refused",
}


def seen(document: Status) -> list[tuple[str, Cause, Severity, bool]]:
    return [(one.unit, one.cause, one.severity, one.at_once) for one in picture(document, NOW).conditions]


def test_a_service_that_is_well_shows_nothing() -> None:
    shown = picture(a_status(), NOW)
    assert (shown.conditions, shown.unsure, shown.whole) == ((), frozenset(), True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (UNREACHABLE, ("server main", Cause.QUEUE_UNREACHABLE, Severity.CRITICAL, False)),
        (
            {**UNREACHABLE, "cause": Cause.AUTH},
            ("server main", Cause.AUTH, Severity.CRITICAL, False),
        ),
        (
            {"state": SlotState.FATAL, "cause": Cause.CONFIG, "since": NOW - 1},
            ("queue demo", Cause.CONFIG, Severity.CRITICAL, True),
        ),
        (
            {"slots": (a_slot(), a_slot(state=SlotState.FATAL, cause=Cause.SANDBOX_UNAVAILABLE))},
            ("queue demo", Cause.SANDBOX_UNAVAILABLE, Severity.WARNING, True),
        ),
        (
            {"slots": (a_slot(), a_slot(state=SlotState.BACKOFF, cause=Cause.HOST))},
            ("queue demo", Cause.HOST, Severity.WARNING, False),
        ),
        (
            {"backlog": 2, "backlog_oldest_at": NOW - 400, "last_delivered_at": NOW - 400},
            ("queue demo", Cause.HOST, Severity.CRITICAL, False),
        ),
        (
            {
                "cause": Cause.HOST,
                "message": "disk full",
                "last_poll_at": NOW - 31,
                "last_poll_ok_at": NOW - 30,
            },
            ("queue demo", Cause.HOST, Severity.WARNING, False),
        ),
    ],
)
def test_what_is_wrong_with_a_queue(
    changes: dict[str, Any], expected: tuple[str, Cause, Severity, bool]
) -> None:
    assert seen(a_status(queues={"demo": a_queue(**changes)})) == [expected]


def test_a_poll_in_flight_is_no_trouble() -> None:
    assert seen(a_status(queues={"demo": a_queue(last_poll_at=NOW, last_poll_ok_at=NOW - 20)})) == []


def test_a_servers_queues_are_one_trouble_and_a_queue_of_another_server_is_not_in_it() -> None:
    queues = {"a": a_queue(**UNREACHABLE), "b": a_queue(**UNREACHABLE), "c": a_queue(server="other")}
    (condition,) = picture(a_status(queues=queues), NOW).conditions
    assert (condition.unit, condition.queues) == ("server main", ("a", "b"))
    assert condition.severity is Severity.WARNING  # c is still served


def test_what_health_calls_critical_is_an_alarm_whatever_it_is() -> None:
    """Two judgements of one document must not disagree."""
    documents = [
        a_status(queues={}),
        a_status(state=ServiceState.STARTING, started_at=NOW - 90),
        a_status(queues={"demo": a_queue(last_poll_at=NOW - 700, last_poll_ok_at=NOW - 700)}),
        a_status(queues={"demo": a_queue(**UNREACHABLE | {"last_poll_ok_at": NOW - 700})}),
        a_status(queues={"demo": a_queue(slots=(a_slot(state=SlotState.BACKOFF, since=NOW - 99),))}),
    ]
    for document in documents:
        judged = health.judge(health.view(msgspec.to_builtins(document)), NOW)
        assert judged.level is health.Level.CRITICAL
        assert [one[2] for one in seen(document)] == [Severity.CRITICAL]


def test_a_paused_queue_is_left_alone_and_shown_as_paused() -> None:
    queue = a_queue(
        paused_since=NOW - 9, paused_until=NOW + 9, paused_message="x", paused_by="eva", **UNREACHABLE
    )
    shown = picture(a_status(queues={"demo": queue, "other": a_queue()}), NOW)
    assert shown.conditions == ()
    assert "queue demo" in shown.unsure and "server main" not in shown.unsure
    assert [(one.queue, one.message, one.by) for one in shown.pauses] == [("demo", "x", "eva")]


def test_a_queue_that_was_not_polled_yet_is_not_taken_for_well() -> None:
    fresh = a_queue(last_poll_at=None, last_poll_ok_at=None, last_delivered_at=None)
    shown = picture(a_status(started_at=NOW - 2, queues={"demo": fresh}), NOW)
    assert shown.unsure == {"queue demo", "server main"}


@pytest.mark.parametrize("state", [ServiceState.DRAINING, ServiceState.STOPPED, ServiceState.STARTING])
def test_while_the_service_starts_or_ends_nothing_is_over(state: ServiceState) -> None:
    assert not picture(a_status(state=state, started_at=NOW - 1), NOW).whole


def test_a_channel_that_has_failed_for_long_is_an_alarm_for_the_others() -> None:
    channels = {"mail": ChannelStatus(failing_since=NOW - 700, message="refused"), "hook": ChannelStatus()}
    assert seen(a_status(channels=channels)) == [("channel mail", Cause.HOST, Severity.WARNING, True)]


def broken(unit: BreakerUnit, cause: Cause, **more: Any) -> BreakerStatus:
    values = {"state": BreakerState.OPEN, "since": NOW - 9, "message": "boom"} | more
    return BreakerStatus(unit=unit, cause=cause, **values)


def test_a_problem_that_is_given_up_is_told_to_its_course_whatever_the_cause() -> None:
    breaker = broken(BreakerUnit.PROBLEM, Cause.RESOURCE, queue="demo", grader="week1/g.py")
    shown = picture(a_status(breakers=(breaker,)), NOW)
    assert [one.unit for one in shown.conditions] == ["grader week1/g.py of queue demo"]
    contacts = {"demo": (("week1/*", "a@x"), ("*", "b@x"))}
    _, (told,) = step(State(), shown, (), NOW, Damping(), contacts)
    assert set(told.to) == {Audience.ADMIN, Audience.TEAM, Audience.CONTACTS}
    assert told.contacts == ("a@x",)


def test_a_host_that_fails_everything_is_one_alarm() -> None:
    held = a_queue(
        cause=Cause.RESOURCE, message="no memory", last_poll_at=NOW - 700, last_poll_ok_at=NOW - 699
    )
    breaker = broken(BreakerUnit.HOST, Cause.RESOURCE)
    document = a_status(queues={"a": held, "b": held}, breakers=(breaker,))
    assert seen(document) == [("host", Cause.RESOURCE, Severity.CRITICAL, True)]


def test_a_queue_that_is_tried_again_is_still_the_same_alarm() -> None:
    fatal = a_queue(state=SlotState.FATAL, cause=Cause.HOST, message="boom")
    tried = a_queue(cause=Cause.HOST, message="boom")
    keys = []
    for queue, state in ((fatal, BreakerState.OPEN), (tried, BreakerState.HALF_OPEN)):
        breaker = broken(BreakerUnit.QUEUE, Cause.HOST, queue="demo", state=state)
        shown = picture(a_status(queues={"demo": queue}, breakers=(breaker,)), NOW)
        keys.append([one.key for one in shown.conditions])
    assert keys == [["queue demo: HOST"]] * 2


def anything(dice: random.Random) -> Status:
    """A document with impossible times and states in it."""

    def time() -> float | None:
        return dice.choice([None, 0.0, NOW - 100, NOW, NOW + 100, dice.uniform(-1e12, 1e12), 1e300, -5.0])

    def queue() -> QueueStatus:
        return a_queue(
            state=dice.choice(list(SlotState)),
            cause=dice.choice([None, *Cause]),
            message=dice.choice(["", "boom | x", "two\nlines"]),
            last_poll_at=time(),
            last_poll_ok_at=time(),
            backlog=dice.randrange(3),
            backlog_oldest_at=time(),
            paused_since=time(),
            paused_until=time(),
            dead_causes={cause: dice.randrange(9) for cause in dice.sample(list(Cause), 3)},
        )

    units = [unit for unit in BreakerUnit if dice.random() < 0.3]
    return a_status(
        state=dice.choice(list(ServiceState)),
        queues={name: queue() for name in dice.sample("ab", dice.randrange(3))},
        breakers=tuple(broken(unit, Cause.HOST, queue="a", grader="g") for unit in units),
        channels={"c": ChannelStatus(failing_since=time())},
    )


def test_no_document_whatever_breaks_the_supervisor() -> None:
    """What looks at the document runs in the supervisor's loop."""
    dice = random.Random(7)
    contacts = {"a": (("*", "c@x"),)}
    told = 0
    for _ in range(100):
        state, before = State(), None
        for _ in range(3):
            document, now = anything(dice), dice.uniform(0, 1e10)
            happened = events(before, document)
            state, news = step(state, picture(document, now), happened, now, Damping(hold_s=0.0), contacts)
            for letter in compose(news, Sender("host"), 0, now):
                assert msgspec.json.decode(msgspec.json.encode(letter), type=Letter) == letter
            assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state
            before, told = document, told + len(news)
    assert told > 300


# -- events ------------------------------------------------------------------------------------------------


def test_dead_letters_are_counted_from_one_document_to_the_next() -> None:
    alert = Alert(at=NOW, cause=Cause.GRADER_BUG, text="g.py: KeyError", queue="demo", grader="g.py")
    first = a_status(queues={"demo": a_queue(dead=1, dead_causes={Cause.GRADER_BUG: 1})}, alerts=(alert,))
    assert events(None, first) == (
        Event(queue="demo", cause=Cause.GRADER_BUG, count=1, texts=("g.py: KeyError",), graders=("g.py",)),
    )
    assert events(first, first) == ()
    again = msgspec.structs.replace(alert, count=3)
    later = a_status(
        queues={"demo": a_queue(dead=5, dead_causes={Cause.GRADER_BUG: 3, Cause.REPLY_REFUSED: 2})},
        alerts=(again,),
    )
    assert [(one.cause, one.count, one.texts) for one in events(first, later)] == [
        (Cause.GRADER_BUG, 2, ("g.py: KeyError",)),
        (Cause.REPLY_REFUSED, 2, ()),
    ]


# -- who hears of it ---------------------------------------------------------------------------------------


def test_every_cause_but_the_learners_has_an_audience_and_what_is_critical_all_hear_of() -> None:
    assert set(AUDIENCES) == set(Cause)
    for cause in Cause:
        assert bool(audiences(cause, Severity.WARNING)) == (cause is not Cause.LEARNER)
        if cause is not Cause.LEARNER:
            assert {Audience.TEAM, Audience.ADMIN} <= set(audiences(cause, Severity.CRITICAL))
    for cause in (Cause.GRADER_BUG, Cause.REFERENCE_FAILED, Cause.CONFIG):
        assert Audience.CONTACTS in audiences(cause, Severity.WARNING)
    assert audiences(Cause.HOST, Severity.WARNING) == (Audience.ADMIN,)


def test_the_contact_is_that_of_the_handler_that_judges_the_grader() -> None:
    contacts = {"demo": (("week1/*", "a@x"), ("week2/*", ""), ("*", "b@x"))}
    assert contacts_for(contacts, "demo", ("week1/g.py",)) == ("a@x",)
    assert contacts_for(contacts, "demo", ("week2/g.py",)) == ()
    assert contacts_for(contacts, "demo", ("week3/g.py", "week1/g.py")) == ("b@x", "a@x")
    assert contacts_for(contacts, "demo") == ("a@x", "b@x")
    assert contacts_for(contacts, "gone") == ()


# -- letters -----------------------------------------------------------------------------------------------


def news(**changes: Any) -> News:
    values: dict[str, Any] = {
        "change": Change.OPENED,
        "unit": "queue demo",
        "cause": Cause.GRADER_BUG,
        "severity": Severity.WARNING,
        "text": "trouble",
        "to": (Audience.TEAM,),
    }
    return News(**(values | changes))


def test_each_kind_of_reader_gets_one_letter() -> None:
    both = (Audience.TEAM, Audience.CONTACTS)
    written = compose(
        [news(to=both, contacts=("a@x", "b@x")), news(unit="queue two"), news(to=(Audience.ADMIN,))],
        Sender("host"),
        7,
        NOW,
    )
    assert [(one.seq, one.to, one.contact, len(one.news)) for one in written] == [
        (8, (Audience.TEAM,), "", 2),
        (9, (Audience.CONTACTS,), "a@x", 1),
        (10, (Audience.CONTACTS,), "b@x", 1),
        (11, (Audience.ADMIN,), "", 1),
    ]
    assert written[0].title == "warden on host: WARNING: 2 alarms, the first: queue demo"


def test_a_letter_says_what_since_when_whose_and_what_to_do() -> None:
    (letter,) = compose([news(since=NOW - 120, severity=Severity.CRITICAL)], Sender("host", "1.2"), 0, NOW)
    assert letter.title == "warden on host: CRITICAL: queue demo: trouble"
    for words in (
        "since:       2027-01-15 07:58:00Z (2 min)",
        "GRADER_BUG",
        "warden check",
        "told to:     team",
    ):
        assert words in letter.text


def test_many_alarms_are_one_letter_that_ends() -> None:
    (letter,) = compose([news(unit=f"queue {n}") for n in range(200)], Sender("host"), 0, NOW)
    assert f"and {200 - MAX_NEWS} more" in letter.text
    assert len(letter.news) == MAX_NEWS


def test_a_host_that_takes_all_queues_with_it_is_one_letter() -> None:
    down = {
        "slots": (a_slot(state=SlotState.FATAL, cause=Cause.SANDBOX_UNAVAILABLE),),
        "state": SlotState.FATAL,
    }
    document = a_status(queues={f"q{n}": a_queue(**down) for n in range(30)})
    _, told = step(State(), picture(document, NOW), (), NOW, Damping(), {})
    written = compose(told, Sender("host"), 0, NOW)
    assert [set(one.to) for one in written] == [{Audience.ADMIN, Audience.TEAM}]
