"""When a queue is polled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor import pacer
from supervisor.backoff import Backoff
from supervisor.pacer import Pace, Pacer, Poll

PACE = Pace(floor_s=0.2, ceiling_s=5.0)


def test_one_poll_in_flight_however_many_ask() -> None:
    held = pacer.grant(Pacer(), "a")
    assert not held.may_grant(1e9)


def test_after_a_hit_the_next_poll_may_begin_at_once() -> None:
    after = pacer.ended(pacer.grant(Pacer(empties=9, failures=3), "a"), Poll.HIT, PACE, 7.0, 0.5)
    assert after.may_grant(7.0)
    assert (after.empties, after.failures) == (0, 0)


def test_the_grant_of_a_dead_holder_is_free_again() -> None:
    after = pacer.ended(pacer.grant(Pacer(empties=4), "a"), Poll.LOST, PACE, 7.0, 0.5)
    assert after.may_grant(7.0 + PACE.floor_s)
    assert after.empties == 4


def test_errors_back_off_and_the_first_answer_forgets_them() -> None:
    state, waits = Pacer(), []
    for _ in range(8):
        state = pacer.ended(state, Poll.ERROR, PACE, 0.0, 0.0)
        waits.append(state.next_at)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pacer.ended(state, Poll.EMPTY, PACE, 0.0, 0.0).failures == 0


@given(
    st.lists(st.tuples(st.sampled_from([Poll.EMPTY, Poll.ERROR, Poll.LOST]), st.floats(0, 1)), max_size=99)
)
def test_an_empty_queue_is_never_polled_faster_than_the_floor_nor_slower_than_the_ceiling(
    ends: list[tuple[Poll, float]],
) -> None:
    state, now = Pacer(), 0.0
    for how, draw in ends:
        state = pacer.ended(pacer.grant(state, "a"), how, PACE, now, draw)
        wait = state.next_at - now
        assert wait >= PACE.floor_s * 0.999
        assert wait <= (PACE.errors.ceiling_s if how is Poll.ERROR else PACE.ceiling_s) * 1.001
        now = state.next_at


def test_an_empty_queue_is_polled_slower_and_slower() -> None:
    state, now, waits = Pacer(), 0.0, []
    for _ in range(12):
        state = pacer.ended(state, Poll.EMPTY, PACE, now, 0.0)
        waits.append(round(state.next_at - now, 6))
        now = state.next_at
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.2, 5.0)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_backoff_is_bounded_however_often_it_failed(failures: int, draw: float) -> None:
    backoff = Backoff(first_s=1, ceiling_s=60)
    assert 0.75 <= backoff.delay(failures, draw) <= 60
