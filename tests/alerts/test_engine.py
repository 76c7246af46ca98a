"""The state machine of alarms, with a clock that the test turns."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from graders.model import Cause
from supervisor.alerts.engine import restarted, step
from supervisor.alerts.model import Change, Condition, Event, News, Picture, State
from supervisor.pauses import Pause
from supervisor.settings import Audience, Damping, Severity

CONTACTS = {"demo": (("week1/*", "one@example.org"), ("*", "staff@example.org"))}
POLICY = Damping(hold_s=20.0, repeat_s=(3600.0, 14_400.0, 86_400.0))
T0 = 1_800_000_000.0


class Desk:
    """An engine with its clock; looks every two seconds, as the supervisor does."""

    def __init__(self, policy: Damping = POLICY) -> None:
        self.policy = policy
        self.state = State()
        self.now = T0
        self.news: list[News] = []

    def look(self, *conditions: Condition, events: tuple[Event, ...] = (), **picture: Any) -> list[News]:
        """One look; what is new."""
        shown = Picture(conditions=conditions, **picture)
        self.state, news = step(self.state, shown, events, self.now, self.policy, CONTACTS)
        self.news += news
        return list(news)

    def during(self, seconds: float, *conditions: Condition, every: float = 2.0, **more: Any) -> list[News]:
        """Look again and again for so long; all that was new."""
        found: list[News] = []
        end = self.now + seconds
        while self.now < end:
            found += self.look(*conditions, **more)
            self.now += every
        return found


def condition(**changes: Any) -> Condition:
    values: dict[str, Any] = {
        "unit": "queue demo",
        "cause": Cause.HOST,
        "severity": Severity.WARNING,
        "text": "trouble",
        "since": T0,
        "queues": ("demo",),
    }
    return Condition(**(values | changes))


def changes(news: list[News]) -> list[Change]:
    return [one.change for one in news]


def dead(count: int = 1, cause: Cause = Cause.GRADER_BUG, **more: Any) -> Event:
    return Event(queue="demo", cause=cause, count=count, **more)


# -- what lasts --------------------------------------------------------------------------------------------


def test_trouble_has_to_last_before_it_is_told() -> None:
    desk = Desk()
    assert desk.during(20, condition()) == []
    assert changes(desk.look(condition())) == [Change.OPENED]
    assert desk.during(100, condition()) == []


def test_a_blip_is_not_told() -> None:
    desk = Desk()
    desk.during(18, condition())
    assert desk.during(600) == []
    assert desk.state.pending == {}


def test_what_is_fatal_is_told_at_once() -> None:
    assert changes(Desk().look(condition(at_once=True))) == [Change.OPENED]


def test_a_slot_in_a_crash_loop_is_told_though_it_seems_well_in_between() -> None:
    desk = Desk()
    found: list[News] = []
    for _ in range(10):
        found += desk.during(6, condition())
        found += desk.during(2)
    assert changes(found) == [Change.OPENED]


def test_it_is_told_again_at_growing_intervals() -> None:
    desk = Desk()
    desk.look(condition(at_once=True))
    told = []
    for _ in range(int(5 * 86_400 / 60)):
        desk.now += 60
        told += [(desk.now - T0) / 3600 for _ in desk.look(condition())]
    assert [round(hour) for hour in told] == [1, 5, 29, 53, 77, 101]
    assert changes(desk.news) == [Change.OPENED, *[Change.STILL] * 6]


def test_recovery_has_to_last_too() -> None:
    desk = Desk()
    desk.look(condition(at_once=True))
    desk.now += 2
    assert desk.during(18) == []
    assert desk.during(30, condition()) == []
    found = desk.during(40)
    assert changes(found) == [Change.RECOVERED]
    assert found[0].text.startswith("over after 50 s, in which it came and went 2 times; it was: trouble")
    assert desk.state.alarms == {}


def test_who_was_told_of_it_hears_of_its_end() -> None:
    desk = Desk()
    desk.look(condition(at_once=True))
    assert desk.news[-1].to == (Audience.ADMIN,)
    desk.now += 2
    assert changes(desk.look(condition(severity=Severity.CRITICAL))) == [Change.WORSE]
    assert set(desk.news[-1].to) == {Audience.ADMIN, Audience.TEAM}
    desk.during(10, condition())
    desk.during(40)
    assert set(desk.news[-1].to) == {Audience.ADMIN, Audience.TEAM}
    assert desk.news[-1].change is Change.RECOVERED


def test_more_queues_of_the_same_trouble_are_told_once() -> None:
    desk = Desk()
    one = condition(unit="server main", cause=Cause.QUEUE_ERROR, at_once=True, queues=("a",))
    both = condition(unit="server main", cause=Cause.QUEUE_ERROR, at_once=True, queues=("a", "b"))
    desk.look(one)
    assert changes(desk.during(10, both)) == [Change.WORSE]
    assert desk.news[-1].text == "trouble (queues a, b)"
    assert desk.during(10, one) == desk.during(10, both) == []


def test_what_comes_and_goes_is_told_once_and_summed_up() -> None:
    desk = Desk()
    for _ in range(20):
        desk.during(30, condition(at_once=True))
        desk.during(30)
    told = changes(desk.news)
    opened, recovered = told.count(Change.OPENED), told.count(Change.RECOVERED)
    assert (opened, recovered) == (3, 2), told
    assert "comes and goes (3 times in 30 min)" in desk.news[-1].text
    desk.during(700)
    assert desk.news[-1].change is Change.RECOVERED
    assert "came and went 18 times" in desk.news[-1].text


def test_while_nothing_can_be_told_alarms_stay_as_they_are() -> None:
    desk = Desk()
    desk.look(condition(at_once=True))
    desk.now += 2
    assert desk.during(4000, whole=False, every=60) == []
    assert desk.during(4000, unsure=frozenset({"queue demo"}), every=60) == []
    assert list(desk.state.alarms) == ["queue demo: HOST"]
    assert changes(desk.during(30)) == [Change.RECOVERED]


def test_a_clock_that_is_set_back_neither_repeats_nor_hides_anything() -> None:
    desk = Desk()
    desk.look(condition(at_once=True))
    desk.look(condition(unit="queue other"))
    desk.now -= 86_400
    assert desk.during(20, condition(), condition(unit="queue other")) == []
    assert changes(desk.look(condition(), condition(unit="queue other"))) == [Change.OPENED]
    assert changes(desk.during(3700, condition(), every=60)) == [Change.RECOVERED, Change.STILL]


def test_a_machine_that_slept_has_not_lasted() -> None:
    desk = Desk()
    desk.look(condition())
    desk.now += 50_000
    assert changes(desk.look(condition())) == [Change.OPENED]  # 30 s of it count, and 20 are enough
    other = Desk(Damping(hold_s=60.0))
    other.look(condition())
    other.now += 50_000
    assert other.look(condition()) == []


# -- what only happens -------------------------------------------------------------------------------------


def test_a_dead_letter_is_told_at_once_with_the_contact_of_its_grader() -> None:
    desk = Desk()
    (news,) = desk.look(
        events=(dead(texts=("week1/hw1/grader.py: KeyError",), graders=("week1/hw1/grader.py",)),)
    )
    assert news.change is Change.HAPPENED
    assert "1 dead letter: GRADER_BUG" in news.text and "KeyError" in news.text
    assert set(news.to) == {Audience.TEAM, Audience.CONTACTS}
    assert news.contacts == ("one@example.org",)


def test_a_storm_of_dead_letters_comes_in_digests() -> None:
    desk = Desk()
    counts = []
    for _ in range(6 * 3600 // 2):
        counts += [one.text.split()[0] for one in desk.look(events=(dead(count=3),))]
        desk.now += 2
    # At once, four times after a minute, then once an hour.
    assert counts == ["3", "90", "90", "90", "90", "5400", "5400", "5400", "5400", "5400"]
    assert sum(map(int, counts)) <= 3 * 6 * 3600 // 2
    desk.during(3700)
    desk.now += 3600
    desk.look()
    assert desk.state.streams == {}
    assert changes(desk.look(events=(dead(),))) == [Change.HAPPENED]


def test_two_causes_are_two_streams() -> None:
    desk = Desk()
    news = desk.look(events=(dead(), dead(cause=Cause.REPLY_REFUSED)))
    assert [one.cause for one in news] == [Cause.GRADER_BUG, Cause.REPLY_REFUSED]
    assert set(news[1].to) == {Audience.TEAM, Audience.ADMIN}


# -- what is planned ---------------------------------------------------------------------------------------


def test_a_pause_is_told_to_the_team_and_the_contacts_and_so_is_its_end() -> None:
    desk = Desk()
    pause = Pause(queue="demo", since=T0, until=T0 + 3600, message="new grader", by="eva")
    (news,) = desk.look(pauses=(pause,))
    assert news.text == "paused until 2027-01-15 09:00:00Z: new grader (by eva)"
    assert set(news.to) == {Audience.TEAM, Audience.CONTACTS}
    assert news.contacts == ("one@example.org", "staff@example.org")
    assert desk.during(100, pauses=(pause,)) == []
    (over,) = desk.look()
    assert "the pause is over" in over.text and over.contacts == news.contacts


# -- restarts ----------------------------------------------------------------------------------------------


def test_a_supervisor_that_did_not_end_in_order_is_told() -> None:
    first, news = restarted(State(), T0)
    assert (first.running, news) == (True, ())
    _, news = restarted(first, T0 + 9)
    assert [one.to for one in news] == [(Audience.ADMIN,)]
    assert "had not ended in order" in news[0].text


# -- all together ------------------------------------------------------------------------------------------

UNITS = ("queue a", "queue b", "server s")


@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from(UNITS)),
            st.booleans(),
            st.sampled_from([0.0, 1.0, 7.0, 25.0, 700.0, 4000.0, -90.0]),
        ),
        max_size=60,
    )
)
def test_every_alarm_is_opened_once_and_closed_once(looks: list[tuple[set[str], bool, float]]) -> None:
    desk = Desk()
    for units, at_once, seconds in looks:
        desk.look(*(condition(unit=unit, at_once=at_once) for unit in sorted(units)))
        desk.now += seconds
    open_now = set()
    for one in desk.news:
        if one.change is Change.OPENED:
            assert one.unit not in open_now
            open_now.add(one.unit)
        else:
            assert one.unit in open_now
        if one.change is Change.RECOVERED:
            open_now.remove(one.unit)
    assert open_now == {alarm.unit for alarm in desk.state.alarms.values()}
    desk.now += 10
    desk.during(3600 * 2, every=30)
    assert desk.state.alarms == desk.state.pending == {}
