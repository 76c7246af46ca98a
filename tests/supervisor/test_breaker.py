"""The breaker: the transitions that matter by name, the invariants by random walks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graders.model import Cause
from supervisor import breaker
from supervisor.backoff import Backoff
from supervisor.breaker import Breaker, Failed, Policy, Succeeded, Tick, Tried, Undecided
from supervisor.status import BreakerState

POLICY = Policy(failures=3, pause=Backoff(100.0, 400.0, jitter=0.1), window_s=60.0, trial_s=30.0)


def failed(source: str, *, at_work: bool = True, unit: str = "") -> Failed:
    return Failed(source, Cause.RESOURCE, f"{source} failed", unit, at_work)


def walk(
    *steps: tuple[float, breaker.Event], start: Breaker | None = None, policy: Policy = POLICY
) -> Breaker:
    machine = start or Breaker()
    for now, event in steps:
        machine = breaker.step(machine, event, policy, now, 0.0)
    return machine


OPEN = walk((1, failed("a")), (2, failed("b")), (3, failed("c")))


def test_enough_failures_in_a_row_open_it_with_the_reason_of_the_last() -> None:
    assert walk((1, failed("a")), (2, failed("b"))).closed
    assert (OPEN.state, OPEN.cause, OPEN.message) == (BreakerState.OPEN, Cause.RESOURCE, "c failed")
    assert (OPEN.since, OPEN.retry_at) == (3, 103)


def test_one_source_opens_nothing_however_often_it_fails() -> None:
    assert walk(*((number, failed("poison")) for number in range(50))).closed


def test_failures_that_lie_far_apart_open_nothing() -> None:
    assert walk((0, failed("a")), (30, failed("b")), (61, failed("c"))).closed


def test_a_success_between_them_forgives_all() -> None:
    assert walk((1, failed("a")), (2, failed("b")), (3, Succeeded()), (4, failed("c"))).closed


def test_an_answered_poll_forgives_deaths_at_the_start_but_none_at_work() -> None:
    answered = Succeeded(at_work=False)
    boots = walk((1, failed("a", at_work=False)), (2, failed("b", at_work=False)), (3, answered))
    assert boots.failures == ()
    works = walk((1, failed("a")), (2, answered), (3, failed("b")), (4, answered), (5, failed("c")))
    assert works.state is BreakerState.OPEN
    trial = walk((103, Tried("s")), (104, answered), start=OPEN)
    assert trial.state is BreakerState.HALF_OPEN, "it opened at work: only work can close it"


def test_failures_of_one_unit_do_not_open_what_asks_for_two() -> None:
    policy = Policy(failures=3, pause=POLICY.pause, units=2)
    one = walk(*((number, failed(str(number), unit="a")) for number in range(9)), policy=policy)
    assert one.closed
    assert not walk((9, failed("b", unit="b")), start=one, policy=policy).closed


def test_nobody_is_let_through_before_the_pause_is_over_and_then_one() -> None:
    assert walk((102.9, Tried("s")), start=OPEN).state is BreakerState.OPEN
    trying = walk((103, Tried("s")), (103, Tried("t")), start=OPEN)
    assert (trying.state, trying.trial) == (BreakerState.HALF_OPEN, "s")


def test_a_trial_that_succeeds_closes_it_and_all_is_forgotten() -> None:
    assert walk((103, Tried("s")), (110, Succeeded()), start=OPEN) == Breaker(since=110)


def test_a_trial_that_fails_opens_it_for_longer_up_to_the_ceiling() -> None:
    machine, waits = OPEN, []
    for _ in range(4):
        assert machine.retry_at is not None
        now = machine.retry_at
        machine = walk((now, Tried("s")), (now, failed("a")), start=machine)
        assert machine.retry_at is not None
        waits.append(machine.retry_at - now)
    assert waits == [200, 400, 400, 400]
    assert machine.since == 3, "it has been so since it opened first"


def test_a_trial_that_tells_nothing_is_followed_by_another_one_soon() -> None:
    undecided = walk((103, Tried("s")), (104, Undecided()), start=OPEN)
    assert (undecided.state, undecided.retry_at) == (BreakerState.OPEN, 106)
    lost = walk((103, Tried("s")), (132, Tick()), (133, Tick()), start=OPEN)
    assert (lost.state, lost.retry_at) == (BreakerState.OPEN, 135)


def test_what_was_in_flight_when_it_opened_does_not_make_the_pause_longer() -> None:
    assert walk((5, failed("x")), (6, failed("y")), start=OPEN) == OPEN


EVENTS = st.one_of(
    st.builds(failed, st.sampled_from("abcdef"), at_work=st.booleans()),
    st.builds(Succeeded, st.booleans()),
    st.just(Tried("s")),
    st.just(Undecided()),
    st.just(Tick()),
)


@given(st.lists(st.tuples(st.floats(0, 200), EVENTS, st.floats(0, 1)), max_size=120))
def test_whatever_happens_it_opens_only_for_failures_closes_only_for_a_success_and_is_always_tried_again(
    steps: list[tuple[float, breaker.Event, float]],
) -> None:
    machine, now = Breaker(), 0.0
    for after, event, draw in steps:
        now += after
        before = machine
        machine = breaker.step(machine, event, POLICY, now, draw)
        assert (machine.retry_at is None) == machine.closed
        assert (machine.trial != "") == (machine.state is BreakerState.HALF_OPEN)
        if not machine.closed:
            assert machine.cause is not None and machine.openings >= 1
            assert machine.retry_at is not None and machine.retry_at <= now + POLICY.pause.ceiling_s
        sources = [failure.event.source for failure in machine.failures]
        assert len(sources) == len(set(sources))
        if before.closed and not machine.closed:
            assert isinstance(event, Failed) and len(sources) >= POLICY.failures
            assert machine.retry_at is not None and machine.retry_at >= now + 90
        if machine.closed and not before.closed:
            assert isinstance(event, Succeeded)
        if machine.state is BreakerState.HALF_OPEN and before.state is not BreakerState.HALF_OPEN:
            assert before.may_try(now)
