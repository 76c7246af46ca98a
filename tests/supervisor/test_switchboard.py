"""What counts against which breaker, and what follows from it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from graders.model import Cause
from supervisor.backoff import Backoff
from supervisor.breaker import Policy
from supervisor.events import Begun, Hold
from supervisor.status import BreakerState, BreakerUnit
from supervisor.switchboard import HOST, Policies, Switchboard, Unit, told

POLICIES = Policies(
    problem=Policy(failures=3, pause=Backoff(10.0, 40.0), trial_s=5.0),
    queue=Policy(failures=4, pause=Backoff(100.0, 400.0), trial_s=math.inf),
    host=Policy(failures=4, units=2, pause=Backoff(10.0, 40.0), trial_s=5.0, again=Backoff(1.0, 1.0)),
)
BAD = Unit("a", "bad.py")


def board(*queues: str) -> Switchboard:
    made = Switchboard(POLICIES, lambda: 0.0)
    for queue in queues or ("a", "b"):
        made.serve(queue)
    return made


def fail(on: Switchboard, unit: Unit, learner: str, now: float, cause: Cause = Cause.RESOURCE) -> None:
    on.begun(unit.queue, f"{unit.queue}.0", Begun(unit.grader, learner))
    on.failed(unit.queue, f"{unit.queue}.0", cause, "no", now)


def die(on: Switchboard, unit: Unit, learner: str, now: float) -> None:
    on.begun(unit.queue, f"{unit.queue}.0", Begun(unit.grader, learner))
    on.died(unit.queue, f"{unit.queue}.0", f"{unit.queue}.0#{now}", Cause.HOST, "dead", now)


def succeed(on: Switchboard, unit: Unit, now: float) -> None:
    on.begun(unit.queue, f"{unit.queue}.0", Begun(unit.grader, "x"))
    on.graded(unit.queue, f"{unit.queue}.0", now)


def test_a_problem_is_held_for_its_queue_alone_and_the_queue_is_not_blamed_for_it() -> None:
    on = board()
    for number in range(3):
        die(on, BAD, str(number), number)
    assert on.of(BAD).state is BreakerState.OPEN
    assert on.held("a", "a.0") == Hold(("bad.py",))
    assert on.held("b", "b.0") == Hold()
    assert on.of(Unit("a")).failures == (), "a problem that is known explains its deaths"
    assert on.seats("a", 3) is None


def test_one_poisonous_submission_of_one_learner_opens_nothing() -> None:
    on = board("a")
    for number in range(20):
        die(on, BAD, "anna", number)
    assert all(on.of(unit).closed for unit in (BAD, Unit("a"), HOST))


def test_what_the_queue_server_does_counts_against_nobody() -> None:
    on = board("a")
    for number in range(20):
        fail(on, BAD, str(number), number, Cause.QUEUE_UNREACHABLE)
    assert all(on.of(unit).closed for unit in (BAD, Unit("a"), HOST))


def test_deaths_at_the_start_open_the_queue_and_an_answered_poll_forgives_them() -> None:
    on = board()
    for number in range(3):
        on.died("a", "a.0", f"a.0#{number}", Cause.HOST, "dead", number)
    on.answered("a", 3)
    on.died("a", "a.0", "a.0#9", Cause.HOST, "dead", 4)
    assert on.seats("a", 4) is None
    for number in range(4):
        on.died("a", f"a.{number}", f"a.{number}#1", Cause.HOST, "dead", 5)
    assert on.seats("a", 5) == 0 and on.given_up("a")
    assert on.seats("b", 5) is None, "one queue never stops another"
    assert on.host.closed
    assert on.seats("a", 105) == 1, "one seat, to see"
    on.answered("a", 106)
    assert on.seats("a", 106) is None


def test_a_host_that_fails_at_everything_stops_and_what_it_did_is_blamed_on_nobody_else() -> None:
    on = board()
    for number in range(2):
        fail(on, Unit("a", f"a{number}.py"), str(number), number)
        fail(on, Unit("b", f"b{number}.py"), str(number), number)
    assert on.host.state is BreakerState.OPEN
    assert on.held("a", "a.0").everything and on.held("b", "b.0").everything
    assert on.why("a") is not None and on.why("b") is not None
    assert {one.unit for one in on.status(5, 1005)} == {BreakerUnit.HOST}
    assert on.next_at(5) == 11


def test_one_queue_alone_does_not_stop_the_host_while_there_is_another() -> None:
    on = board()
    for number in range(20):
        fail(on, Unit("a", f"a{number}.py"), str(number), number)
    assert on.host.closed
    alone = board("a")
    for number in range(20):
        fail(alone, Unit("a", f"a{number}.py"), str(number), number)
    assert not alone.host.closed


def test_one_problem_does_not_stop_a_host_that_has_one_queue_however_often_it_is_tried() -> None:
    on, now = board("a"), 0.0
    for number in range(20):
        now += 50
        on.try_problems("a", "a.0", now)
        die(on, BAD, str(number), now)
        assert on.host.closed


def test_the_hosts_trial_is_one_poll_of_one_queue_after_the_other() -> None:
    on = board()
    for number in range(2):
        fail(on, Unit("a", f"a{number}.py"), str(number), 0)
        fail(on, Unit("b", f"b{number}.py"), str(number), 0)
    assert on.probe(["a", "b"], 9) is None, "not yet"
    assert on.probe(["a", "b"], 10) == "a"
    on.probes("a", "a.0", 10)
    assert on.probe(["a", "b"], 10) is None, "one at a time"
    assert not on.held("a", "a.0").everything and on.held("a", "a.1").everything
    on.idle("a.0", 10.5)  # the queue was empty
    assert on.probe(["a", "b"], 10.6) is None
    assert on.probe(["a", "b"], 11.5) == "b", "it is the other one's turn"
    on.probes("b", "b.0", 11.5)
    on.begun("b", "b.0", Begun("b0.py", "x"))
    assert on.held("b", "b.0").everything, "one submission, no more"
    on.tick(60)
    assert on.host.state is BreakerState.HALF_OPEN, "a grading may take its time"
    on.graded("b", "b.0", 61)
    assert on.host.closed and not on.held("a", "a.0").everything


def test_a_problem_is_tried_by_one_worker_and_by_another_when_that_one_is_gone() -> None:
    on = board("a")
    for number in range(3):
        die(on, BAD, str(number), 0)
    on.try_problems("a", "a.0", 9)
    assert on.of(BAD).state is BreakerState.OPEN
    on.try_problems("a", "a.0", 10)
    on.try_problems("a", "a.1", 10)
    assert on.held("a", "a.0") == Hold() and on.held("a", "a.1") == Hold(("bad.py",))
    on.left("a.0", 11)
    on.try_problems("a", "a.1", 13)
    assert on.held("a", "a.1") == Hold()
    on.begun("a", "a.1", Begun("bad.py", "anna"))
    assert on.held("a", "a.1") == Hold(("bad.py",))
    on.graded("a", "a.1", 14)
    assert on.held("a", "a.0") == Hold() and list(on.status(14, 14)) == []


def test_a_result_that_nobody_ran_for_proves_nothing() -> None:
    on = board("a")
    for number in range(3):
        die(on, BAD, str(number), 0)
    on.graded("a", "a.0", 1)
    on.failed("a", "a.0", Cause.HOST, "its time was over", 1)
    assert not on.of(BAD).closed


def test_the_first_opening_and_every_failed_trial_are_told_as_errors() -> None:
    on = board("a")
    for number in range(3):
        die(on, BAD, str(number), 0)
    on.try_problems("a", "a.0", 10)
    on.idle("a.0", 11)
    on.tick(20)  # nobody had one to try
    on.try_problems("a", "a.0", 23)
    die(on, BAD, "anna", 24)
    levels = [told(change)[0] for change in on.changes()]
    states = [told(change)[1] for change in on.changes()]
    assert levels == [40, 20, 20, 20, 40] and states == []


def test_a_new_configuration_of_a_queue_forgets_what_failed() -> None:
    on = board()
    for number in range(3):
        die(on, BAD, str(number), 0)
    on.forget("a")
    on.serve("a")
    assert on.held("a", "a.0") == Hold()


SLOTS = ("a.0", "a.1", "b.0")
STEPS = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.sampled_from(SLOTS),
        st.sampled_from(["begun", "failed", "graded", "died", "left", "idle", "answered", "try", "probe"]),
        st.sampled_from(["x.py", "y.py", ""]),
        st.sampled_from("klmnop"),
        st.sampled_from(list(Cause)),
    ),
    max_size=150,
)


@given(STEPS)
def test_whatever_happens_somebody_may_try_again_in_time_and_a_success_at_work_heals(
    steps: list[tuple[float, str, str, str, str, Cause]],
) -> None:
    on, now = board(), 0.0
    for after, slot, what, grader, learner, cause in steps:
        now += after
        queue = slot[0]
        on.tick(now)
        match what:
            case "begun":
                on.begun(queue, slot, Begun(grader, learner))
            case "failed":
                on.failed(queue, slot, cause, "no", now)
            case "graded":
                on.graded(queue, slot, now)
            case "died":
                on.died(queue, slot, f"{slot}#{now}", cause, "dead", now)
            case "left":
                on.left(slot, now)
            case "idle":
                on.idle(slot, now)
            case "answered":
                on.answered(queue, now)
            case "try":
                on.try_problems(queue, slot, now)
            case _:
                if on.probe([queue], now) is not None:
                    on.probes(queue, slot, now)
        on.seats("a", now), on.seats("b", now)
        trying = [one for one in SLOTS if not on.held(one[0], one).everything]
        assert on.host.closed or len(trying) <= 1
        for one in on.status(now, now):
            assert one.cause is not None
            assert one.retry_at is None or one.retry_at <= now + 400.01
        assert (at := on.next_at(now)) is None or at > now
    now += 1000
    on.tick(now)
    for grader in ("x.py", "y.py"):
        for queue in "ab":
            if on.probe([queue], now) is not None:
                on.probes(queue, f"{queue}.0", now)
            succeed(on, Unit(queue, grader), now)
    on.answered("a", now)
    on.answered("b", now)
    assert list(on.status(now, now)) == []
