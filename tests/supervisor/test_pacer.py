"""When a queue is polled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor import pacer
from supervisor.backoff import Backoff
from supervisor.pacer import Pace, Pacer, Poll

PACE = Pace(floor_s=0.2, ceiling_s=5.0)


def test_one_poll_in_flight_however_many_ask() -> None:
    held = pacer.grant(Pacer(), "a", 0.0)
    assert not held.may_grant(1e9)


def test_after_a_hit_the_next_poll_may_begin_at_once() -> None:
    after = pacer.ended(pacer.grant(Pacer(empties=9, failures=3), "a", 7.0), Poll.HIT, PACE, 7.0, 0.5)
    assert after.may_grant(7.0)
    assert (after.empties, after.failures) == (0, 0)


def test_the_grant_of_a_dead_holder_is_free_again() -> None:
    after = pacer.ended(pacer.grant(Pacer(empties=4), "a", 7.0), Poll.LOST, PACE, 7.0, 0.5)
    assert not after.may_grant(7.0 + PACE.floor_s)
    assert after.may_grant(7.0 + PACE.floor_s * (1 + PACE.jitter))
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
        state = pacer.ended(pacer.grant(state, "a", now), how, PACE, now, draw)
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


def test_the_length_is_asked_for_with_the_first_hit_and_then_not_for_a_while() -> None:
    idle = pacer.ended(pacer.grant(Pacer(), "a", 0.0), Poll.EMPTY, PACE, 0.0, 0.0, length=0)
    first = pacer.grant(idle, "a", 1.0)
    assert first.asks, "polls that brought nothing have asked nothing"
    state = pacer.ended(first, Poll.HIT, PACE, 1.1, 0.0, length=7)
    assert (state.length, state.may_grant(1.1)) == (7, True)
    for now in (1.2, 2.0, 4.0):
        state = pacer.grant(state, "a", now)
        assert not state.asks
        state = pacer.ended(state, Poll.HIT, PACE, now, 0.0)
    assert (state.length, state.hits) == (4, 4), "what is left of the last answer"
    assert pacer.grant(state, "a", 4.2).asks


def test_that_none_wait_holds_until_one_comes_and_is_asked_again_soon() -> None:
    state = pacer.ended(pacer.grant(Pacer(), "a", 0.0), Poll.HIT, PACE, 0.0, 0.0, length=0)
    state = pacer.grant(state, "a", 0.2)
    assert (state.length, state.asks) == (0, False)
    state = pacer.ended(state, Poll.HIT, PACE, 0.3, 0.0)
    assert state.length is None, "there were more than it told"
    assert pacer.grant(state, "a", 0.6).asks


def test_a_server_that_does_not_answer_the_question_is_not_asked_more_often() -> None:
    state = pacer.ended(pacer.grant(Pacer(), "a", 0.0), Poll.HIT, PACE, 0.0, 0.0)
    assert state.length is None
    assert not pacer.grant(state, "a", 2.9).asks


def test_an_empty_queue_has_no_length_and_one_that_fails_an_unknown_one() -> None:
    state = Pacer(length=5, hits=3)
    empty = pacer.ended(state, Poll.EMPTY, PACE, 0.0, 0.0, length=0)
    assert (empty.length, empty.hits) == (0, 0)
    assert pacer.ended(state, Poll.EMPTY, PACE, 0.0, 0.0).length == 5, "handed out again is not empty"
    assert pacer.ended(state, Poll.ERROR, PACE, 0.0, 0.0).length is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Poll)), st.floats(0, 2), st.floats(0, 1), st.none() | st.integers(0, 9)
        ),
        max_size=99,
    )
)
def test_however_polls_end_the_length_is_not_asked_for_more_than_once_in_a_while(
    ends: list[tuple[Poll, float, float, int | None]],
) -> None:
    state, now, asked_at, least = Pacer(), 0.0, float("-inf"), 0.0
    for how, after, draw, told in ends:
        now = max(now, state.next_at) + after
        state = pacer.grant(state, "a", now)
        asks = state.asks and how is Poll.HIT
        if asks:
            assert now - asked_at >= least - 1e-9
            asked_at = now
            least = 0.75 * (pacer.LENGTH_OF_NONE if told == 0 else pacer.LENGTH).first_s
        state = pacer.ended(state, how, PACE, now, draw, told if asks else None)
        assert state.length is None or state.length >= 0
