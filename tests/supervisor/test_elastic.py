"""How many seats a queue has: bursts, fairness, and that nothing flaps."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from supervisor import elastic
from supervisor.elastic import HITS, Load, Policy, Share

POLICY = Policy(grow_s=0.5, yield_s=2.0, linger_s=30.0, jitter=0.25)
CORES = 4


def decide(
    states: Mapping[str, Share], loads: Mapping[str, Load], now: float, cores: int = CORES, draw: float = 0.0
) -> dict[str, Share]:
    return elastic.decide(states, loads, cores, POLICY, now, draw)


def seats(states: Mapping[str, Share]) -> dict[str, int]:
    return {name: state.seats for name, state in states.items()}


def test_without_work_a_queue_has_its_least() -> None:
    assert seats(decide({}, {"a": Load(1, 4), "b": Load(2, 2)}, 0)) == {"a": 1, "b": 2}


def test_a_known_length_is_answered_at_once_with_as_many_seats_as_there_are_idle_cores() -> None:
    assert seats(decide({}, {"a": Load(1, 4, busy=1, length=2)}, 0)) == {"a": 3}
    assert seats(decide({}, {"a": Load(1, 9, busy=1, length=50)}, 0)) == {"a": 4}
    assert seats(decide({}, {"a": Load(1, 3, busy=1, length=50)}, 0)) == {"a": 3}


def test_a_core_on_which_another_queue_works_is_not_borrowed() -> None:
    loads = {"a": Load(1, 4, busy=1, length=50), "b": Load(2, 2, busy=2)}
    assert seats(decide({}, loads, 0)) == {"a": 2, "b": 2}


def test_by_hits_alone_one_seat_after_another_is_borrowed_while_all_are_busy() -> None:
    states = decide({}, {"a": Load(1, 4, busy=1, hits=HITS - 1)}, 0)
    assert states["a"].seats == 1, "two hits are no burst"
    states = decide(states, {"a": Load(1, 4, busy=1, hits=HITS)}, 1)
    assert states["a"].seats == 2
    states = decide(states, {"a": Load(1, 4, busy=1, coming=1, hits=HITS)}, 2)
    assert states["a"].seats == 2, "the second is not there yet"
    states = decide(states, {"a": Load(1, 4, busy=2, hits=HITS + 1)}, 3)
    assert states["a"].seats == 3


def test_a_worker_between_two_submissions_of_a_burst_is_not_taken_for_an_idle_core() -> None:
    between = {"a": Load(1, 4, busy=0, length=50), "b": Load(1, 1)}
    assert decide({}, between, 0, cores=2)["a"].seats == 2
    assert decide({}, {"a": Load(1, 4, busy=0, length=0, hits=HITS)}, 0, cores=1)["a"].seats == 1


def test_what_is_not_needed_is_given_back_after_a_while_and_not_before() -> None:
    states = decide({}, {"a": Load(1, 4, busy=1, length=9)}, 0)
    idle = {"a": Load(1, 4, busy=0, length=0)}
    states = decide(states, idle, 10)
    assert states["a"].next_at == 40
    assert seats(decide(states, idle, 39.9)) == {"a": 4}
    assert seats(decide(states, idle, 40)) == {"a": 1}


def test_so_many_stay_as_were_needed_meanwhile() -> None:
    states = decide({}, {"a": Load(1, 4, busy=1, length=9)}, 0)
    for now, busy in ((10, 0), (20, 2), (25, 1), (40, 0)):
        states = decide(states, {"a": Load(1, 4, busy=busy, length=0)}, now)
    assert seats(states) == {"a": 2}


def test_a_second_queue_in_a_burst_gets_its_share_of_the_first_ones_seats_one_by_one() -> None:
    states = decide({}, {"a": Load(1, 9, busy=1, length=50), "b": Load(1, 9)}, 0, cores=6)
    assert seats(states) == {"a": 6, "b": 1}
    history = []
    leaving = 0
    for now in range(1, 20):
        loads = {
            "a": Load(1, 9, busy=states["a"].seats, length=50, leaving=leaving),
            "b": Load(1, 9, busy=states["b"].seats, length=50),
        }
        before, states = states, decide(states, loads, now, cores=6)
        leaving = max(0, before["a"].seats - states["a"].seats)
        history.append(tuple(seats(states).values()))
    assert history[-1] == (3, 3)
    assert [a for a, _ in history] == sorted((a for a, _ in history), reverse=True), "a only gives"
    assert [b for _, b in history] == sorted(b for _, b in history), "b only gets"
    assert all(a + b <= 7 for a, b in history)


def test_a_lone_submission_elsewhere_does_not_cost_a_seat_but_a_core_busy_for_long_does() -> None:
    burst = Load(1, 2, busy=2, length=50)
    states = decide({}, {"a": burst, "b": Load(1, 1)}, 0, cores=2)
    assert states["a"].seats == 2
    busy = {"a": burst, "b": Load(1, 1, busy=1)}
    states = decide(states, busy, 1, cores=2)
    states = decide(states, {"a": burst, "b": Load(1, 1)}, 2, cores=2)
    states = decide(states, busy, 3, cores=2)
    assert states["a"].seats == 2
    assert decide(states, busy, 5, cores=2)["a"].seats == 1


def test_new_bounds_hold_at_once() -> None:
    states = {"a": Share(4), "gone": Share(3)}
    assert seats(decide(states, {"a": Load(1, 2, busy=4, length=9)}, 0)) == {"a": 2}
    assert seats(decide(states, {"a": Load(6, 8)}, 0)) == {"a": 6}


# -- invariants ------------------------------------------------------------------------------------------

BOUNDS = st.tuples(st.integers(1, 4), st.integers(0, 6)).map(lambda b: (b[0], b[0] + b[1]))
SCENES = st.fixed_dictionaries(
    {
        "bounds": st.lists(BOUNDS, min_size=1, max_size=4),
        "cores": st.integers(1, 12),
        "steps": st.lists(
            st.tuples(
                st.floats(0, 20),
                st.lists(st.tuples(st.integers(0, 12), st.none() | st.integers(0, 40), st.integers(0, 9))),
                st.floats(0, 1),
            ),
            max_size=40,
        ),
    }
)


def loads_of(
    bounds: list[tuple[int, int]],
    seen: list[tuple[int, int | None, int]],
    states: Mapping[str, Share],
    cores: int,
) -> dict[str, Load]:
    loads = {}
    for number, (least, most) in enumerate(bounds):
        name = str(number)
        busy, length, hits = seen[number] if number < len(seen) else (0, 0, 0)
        has = states[name].seats if name in states else least
        loads[name] = Load(least, most, busy=min(busy, has), length=length, hits=hits)
    return loads


@given(SCENES)
def test_never_below_the_least_nor_above_the_most_nor_more_borrowed_than_there_are_cores(scene: dict) -> None:  # type: ignore[type-arg]
    states: dict[str, Share] = {}
    now = 0.0
    for after, seen, draw in scene["steps"]:
        now += after
        loads = loads_of(scene["bounds"], seen, states, scene["cores"])
        before, states = states, decide(states, loads, now, scene["cores"], draw)
        borrowed = 0
        for name, load in loads.items():
            assert load.least <= states[name].seats <= load.most
            borrowed += states[name].seats - load.least
            if name in before and states[name].seats > before[name].seats:
                assert load.need(before[name].seats) > before[name].seats, "nobody borrows without need"
        assert borrowed <= scene["cores"]


@given(
    st.lists(st.tuples(BOUNDS, st.integers(0, 40)), min_size=1, max_size=4),
    st.integers(1, 12),
    st.lists(st.integers(0, 5), min_size=4, max_size=4),
    st.floats(0, 1),
)
def test_under_a_steady_load_the_shares_become_fair_and_then_rest(
    queues: list[tuple[tuple[int, int], int]], cores: int, borrowed: list[int], draw: float
) -> None:
    """From any start. Every worker is busy, the rest of the work waits on the server."""
    states = {
        str(number): Share(min(most, least + borrowed[number]))
        for number, ((least, most), _) in enumerate(queues)
    }
    history = []
    for second in range(400):
        loads = {
            str(number): Load(
                least,
                most,
                busy=min(work, states[str(number)].seats),
                length=max(0, work - states[str(number)].seats),
            )
            for number, ((least, most), work) in enumerate(queues)
        }
        states = decide(states, loads, float(second), cores, draw)
        history.append(seats(states))
    assert history[-1] == history[-100], "nothing flaps"
    extra = {name: states[name].seats - load.least for name, load in loads.items()}
    lacks = {name for name, load in loads.items() if load.need(states[name].seats) > states[name].seats}
    assert all(extra[name] + 1 >= max(extra.values()) for name in lacks), (extra, loads)
    idle = cores - sum(min(load.busy, load.least) for load in loads.values()) - sum(extra.values())
    assert not (lacks and idle > 0), "no core is idle while somebody lacks one"


@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 3), st.integers(0, 9)), max_size=100),
    st.floats(0, 1),
)
def test_a_load_that_comes_and_goes_within_the_wait_takes_no_seat_away(
    steps: list[tuple[float, int, int]], draw: float
) -> None:
    states, now, grown_at = {"a": Share(1)}, 0.0, 0.0
    for after, busy, length in steps:
        now += after
        before = states["a"].seats
        states = decide(states, {"a": Load(1, 4, busy=min(busy, before), length=length)}, now, draw=draw)
        if states["a"].seats > before:
            grown_at = now
        if states["a"].seats < before:
            assert now - grown_at >= POLICY.linger_s * (1 - POLICY.jitter) - 1e-6
