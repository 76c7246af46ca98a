"""Which result is tried when: decided without a clock, a thread or a socket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xqueue.service.callback import Fate, Schedule, backoff_s


def schedule(per_origin: int = 3) -> Schedule:
    return Schedule(first_s=1, max_silent_s=30, per_origin=per_origin)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_zero_and_never_much_longer_than_the_longest(failures: int, draw: float) -> None:
    assert 0.8 <= backoff_s(failures, 1, 600, draw=draw) <= 720


def test_waits_double_up_to_the_longest() -> None:
    assert [backoff_s(n, 1, 10, draw=0.5) for n in (1, 2, 3, 4, 5, 99)] == [1, 2, 4, 8, 10, 10]


def test_the_longest_due_is_taken_first_and_nothing_before_its_time() -> None:
    plan = schedule()
    plan.add("x", 1, 20.0)
    plan.add("y", 2, 10.0)
    assert plan.take(9.0) is None
    assert plan.next_at() == 10.0
    assert [plan.take(25.0), plan.take(25.0), plan.take(25.0)] == [("y", 2), ("x", 1), None]


def test_one_origin_never_takes_all_threads() -> None:
    plan = schedule(per_origin=2)
    for number in range(5):
        plan.add("slow", number, 0.0)
    plan.add("quick", 9, 1.0)
    assert [plan.take(2.0) for _ in range(4)] == [("slow", 0), ("slow", 1), ("quick", 9), None]
    assert plan.next_at() is None


def test_a_silent_origin_is_tried_with_one_result_at_a_time_and_later_and_later() -> None:
    plan = schedule()
    for number in range(4):
        plan.add("x", number, 0.0)
    now, waits = 0.0, []
    for _ in range(7):
        taken = plan.take(now)
        assert taken is not None
        if now:
            assert plan.take(now) is None
        plan.settle("x", Fate.UNREACHABLE, now, draw=0.5)
        plan.add("x", taken[1], now)
        next_at = plan.next_at()
        assert next_at is not None
        waits.append(next_at - now)
        now = next_at
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_failures_together_count_once() -> None:
    plan = schedule()
    for number in range(3):
        plan.add("x", number, 0.0)
    assert [plan.take(0.0) for _ in range(3)] == [("x", 0), ("x", 1), ("x", 2)]
    for number in range(3):
        plan.settle("x", Fate.UNREACHABLE, 0.1, draw=0.5)
        plan.add("x", number, 0.1)
    assert plan.next_at() == 1.1


def test_when_it_is_back_everything_is_due_at_once() -> None:
    plan = schedule()
    for number in range(3):
        plan.add("x", number, 0.0)
    assert plan.take(0.0) == ("x", 0)
    plan.settle("x", Fate.UNREACHABLE, 5.0, draw=0.5)
    plan.add("x", 0, 5.0)
    assert plan.take(5.5) is None
    assert plan.take(6.0) == ("x", 1)
    plan.settle("x", Fate.ACCEPTED, 6.1, draw=0.5)
    assert [plan.take(6.1), plan.take(6.1)] == [("x", 2), ("x", 0)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Fate))), max_size=40))
def test_nothing_is_ever_lost(steps: list[tuple[str, Fate]]) -> None:
    plan = schedule(per_origin=1)
    waiting = set()
    for number, (origin, _) in enumerate(steps):
        plan.add(origin, number, 0.0)
        waiting.add(number)
    now = 0.0
    fates = iter([fate for _, fate in steps])
    while waiting:
        at = plan.next_at()
        assert at is not None
        now = max(now, at)
        taken = plan.take(now)
        assert taken is not None
        origin, number = taken
        fate = next(fates, Fate.ACCEPTED)
        plan.settle(origin, fate, now, draw=0.0)
        if fate is Fate.ACCEPTED:
            waiting.remove(number)
        else:
            plan.add(origin, number, now + 1)
    assert plan.next_at() is None
