"""The seat's state machine: the transitions that matter by name, the invariants by random walks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graders.model import Cause
from supervisor import slot
from supervisor.slot import (
    Action,
    Asked,
    Drain,
    Exited,
    KillNow,
    Policy,
    Renew,
    Slot,
    Spoke,
    Start,
    Succeeded,
    Tick,
)
from supervisor.status import SlotState

POLICY = Policy()
CRASH = Exited(orderly=False, cause=Cause.HOST, message="it crashed")


def walk(*steps: tuple[float, slot.Event], start: Slot | None = None) -> tuple[Slot, list[Action]]:
    """The slot after events at times, and all actions on the way."""
    machine, done = start or Slot(), []
    for now, event in steps:
        machine, actions = slot.step(machine, event, POLICY, now, 0.0)
        done += actions
    return machine, done


def test_a_worker_is_starting_until_it_says_that_it_is_ready() -> None:
    starting, _ = walk((0, Start()), (1, Spoke(31, ready=False)))
    assert starting.state is SlotState.STARTING
    running, actions = walk((2, Spoke(32)), start=starting)
    assert running.state is SlotState.RUNNING
    assert actions == []


def test_a_broken_promise_is_a_kill_after_the_grace_and_not_before() -> None:
    running, _ = walk((0, Start()), (1, Spoke(11)))
    early, actions = walk((11 + POLICY.grace_s - 0.1, Tick()), start=running)
    assert actions == [] and not early.killed
    late, actions = walk((11 + POLICY.grace_s, Tick()), start=running)
    assert actions == [Action.KILL] and late.killed
    dead, _ = walk((17, CRASH), start=late)
    assert dead.state is SlotState.BACKOFF
    assert "hung" in dead.message and dead.cause is Cause.HOST


def test_a_kept_promise_moves_the_deadline() -> None:
    _, actions = walk((0, Start()), (1, Spoke(11)), (10, Spoke(70)), (60, Tick()))
    assert actions == [Action.SPAWN]


def test_a_question_not_answered_in_time_is_a_hang_whatever_was_promised() -> None:
    _, actions = walk((0, Start()), (1, Spoke(1000)), (2, Asked()), (2 + POLICY.answer_s, Tick()))
    assert actions == [Action.SPAWN, Action.KILL]


def test_a_worker_that_dies_at_work_is_started_again_later_and_later_and_its_seat_not_given_up() -> None:
    machine, now = Slot(), 0.0
    for _ in range(POLICY.boot_deaths + 3):
        machine, _ = walk((now, Start()), (now + 1, Spoke(now + 31)), start=machine)
        machine, _ = walk((now + 2, replace(CRASH, at_work=True)), start=machine)
        assert machine.state is SlotState.BACKOFF and machine.deadline is not None
        now = machine.deadline
        machine, _ = walk((now, Tick()), start=machine)
    assert machine.crashes == POLICY.boot_deaths + 3
    assert machine.boot_deaths == ()


def test_a_worker_that_never_speaks_is_killed() -> None:
    _, actions = walk((0, Start()), (POLICY.start_s, Tick()))
    assert actions == [Action.SPAWN, Action.KILL]


def test_waits_grow_with_each_death_and_a_success_makes_them_short_again() -> None:
    machine, waits, now = Slot(), [], 0.0
    machine, _ = walk((now, Start()), start=machine)
    for _ in range(3):
        machine, _ = walk((now, Spoke(now + 9)), (now, CRASH), start=machine)
        assert machine.deadline is not None
        waits.append(machine.deadline - now)
        now = machine.deadline
        machine, _ = walk((now, Tick()), start=machine)
    assert waits == [1, 2, 4]
    machine, _ = walk((now, Spoke(now + 9)), (now, Succeeded()), (now, CRASH), start=machine)
    assert machine.deadline == now + 1


def boot_loop() -> Slot:
    machine, _ = walk((0, Start()))
    for _ in range(POLICY.boot_deaths - 1):
        machine, _ = walk((0, CRASH), start=machine)
        assert machine.state is SlotState.BACKOFF and machine.deadline is not None
        machine, _ = walk((machine.deadline, Tick()), start=machine)
    machine, _ = walk((0, CRASH), start=machine)
    return machine


def test_deaths_without_one_success_end_in_fatal_and_a_late_single_try() -> None:
    fatal = boot_loop()
    assert fatal.state is SlotState.FATAL and fatal.deadline == POLICY.half_open_s
    tried, actions = walk((fatal.deadline, Tick()), start=fatal)
    assert tried.state is SlotState.STARTING and actions == [Action.SPAWN]
    again, _ = walk((fatal.deadline + 20, CRASH), start=tried)
    assert again.state is SlotState.FATAL


def test_a_half_open_try_that_succeeds_closes_the_breaker() -> None:
    fatal = boot_loop()
    assert fatal.deadline is not None
    well, _ = walk((fatal.deadline, Tick()), (901, Spoke(950)), (902, Succeeded()), (903, CRASH), start=fatal)
    assert well.state is SlotState.BACKOFF


def test_a_worker_that_says_useless_is_fatal_at_once() -> None:
    hopeless = Exited(orderly=False, cause=Cause.SANDBOX_UNAVAILABLE, message="no namespaces", hopeless=True)
    machine, _ = walk((0, Start()), (1, hopeless))
    assert machine.state is SlotState.FATAL
    assert (machine.cause, machine.message) == (Cause.SANDBOX_UNAVAILABLE, "no namespaces")


def test_a_bad_configuration_is_fatal_for_good() -> None:
    machine = slot.fatal(Cause.CONFIG, "no such folder", 0)
    assert walk((1e9, Tick()), start=machine) == (machine, [])


def test_draining_asks_then_waits_then_kills() -> None:
    draining, actions = walk((0, Start()), (1, Spoke(500)), (2, Drain(32)))
    assert draining.state is SlotState.DRAINING and actions[1:] == [Action.ASK_DRAIN]
    _, actions = walk((31, Spoke(999)), (31.9, Tick()), start=draining)
    assert actions == []
    killed, actions = walk((32, Tick()), start=draining)
    assert actions == [Action.KILL]
    gone, _ = walk((32.1, CRASH), start=killed)
    assert gone.state is SlotState.STOPPED


def test_who_ends_in_order_without_being_asked_is_replaced_at_once() -> None:
    orderly = Exited(orderly=True, cause=Cause.HOST, message="")
    machine, actions = walk((0, Start()), (1, Spoke(9)), (2, orderly))
    assert machine.state is SlotState.STARTING and actions == [Action.SPAWN, Action.SPAWN]
    assert machine.crashes == 0


def test_one_that_ends_in_order_before_it_was_ready_is_no_loop() -> None:
    orderly = Exited(orderly=True, cause=Cause.HOST, message="")
    machine, _ = walk((0, Start()), (0, orderly))
    assert machine.state is SlotState.BACKOFF


ORDERLY = Exited(orderly=True, cause=Cause.HOST, message="")


def test_a_renewed_worker_ends_in_its_own_time_and_another_one_starts() -> None:
    leaving, actions = walk((0, Start()), (1, Spoke(9)), (2, Renew()), (8, Spoke(60)), (50, Tick()))
    assert leaving.state is SlotState.DRAINING and actions == [Action.SPAWN, Action.ASK_DRAIN]
    back, actions = walk((55, ORDERLY), start=leaving)
    assert back.state is SlotState.STARTING and actions == [Action.SPAWN]
    assert (back.crashes, back.anew, back.patient) == (0, False, False)


def test_a_renewed_worker_that_breaks_its_promise_is_killed_and_replaced() -> None:
    hung, actions = walk((0, Start()), (1, Spoke(9)), (2, Renew()), (500, Tick()))
    assert actions[-1] is Action.KILL and "hung" in hung.killed_why
    back, actions = walk((501, CRASH), start=hung)
    assert back.state is SlotState.STARTING and actions == [Action.SPAWN]
    assert (back.crashes, back.cause) == (1, Cause.HOST)


def test_a_drain_is_stronger_than_a_renewal() -> None:
    machine, actions = walk((0, Start()), (1, Spoke(9)), (2, Renew()), (3, Drain(20)), (4, Spoke(99)))
    assert machine.deadline == 20 and actions.count(Action.ASK_DRAIN) == 1
    gone, actions = walk((5, ORDERLY), start=machine)
    assert gone.state is SlotState.STOPPED and actions == []
    killed, _ = walk((5, KillNow()), (6, CRASH), start=machine)
    assert killed.state is SlotState.STOPPED


def test_who_drains_without_a_deadline_only_has_to_keep_its_promises() -> None:
    machine, actions = walk((0, Start()), (1, Spoke(9)), (2, Drain(None)), (8, Spoke(60)), (50, Tick()))
    assert machine.state is SlotState.DRAINING and Action.KILL not in actions
    gone, actions = walk((55, ORDERLY), start=machine)
    assert gone.state is SlotState.STOPPED and actions == []


@pytest.mark.parametrize("state", [SlotState.BACKOFF, SlotState.FATAL])
def test_a_seat_that_was_given_up_is_tried_at_once_when_it_is_renewed(state: SlotState) -> None:
    machine = replace(Slot(), state=state, deadline=900.0, failures=5, boot_deaths=(1.0, 2.0))
    renewed, actions = slot.step(machine, Renew(), POLICY, 3, 0.5)
    assert renewed.state is SlotState.STARTING and actions == (Action.SPAWN,)
    assert (renewed.failures, renewed.boot_deaths) == (0, ())


@pytest.mark.parametrize("state", [SlotState.BACKOFF, SlotState.FATAL, SlotState.STOPPED])
def test_an_empty_seat_is_drained_at_once(state: SlotState) -> None:
    machine = replace(Slot(), state=state, deadline=5.0)
    for event in (Drain(9), KillNow()):
        drained, actions = slot.step(machine, event, POLICY, 1, 0.5)
        assert drained.state is SlotState.STOPPED and actions == ()


EVENTS = st.one_of(
    st.just(Start()),
    st.builds(Spoke, st.floats(0, 500), st.booleans()),
    st.just(Asked()),
    st.just(Succeeded()),
    st.builds(Drain, st.none() | st.floats(0, 500)),
    st.just(Renew()),
    st.just(KillNow()),
    st.just(Tick()),
    st.builds(Exited, st.booleans(), st.sampled_from(Cause), st.text(max_size=5), st.booleans()),
)


@given(st.lists(st.tuples(st.floats(0, 60), EVENTS, st.floats(0, 1)), max_size=60))
def test_invariants_hold_on_every_path(steps: list[tuple[float, slot.Event, float]]) -> None:
    machine, now, processes = Slot(), 0.0, 0
    for pause, event, draw in steps:
        now += pause
        if isinstance(event, Exited):
            if not processes:
                continue  # nobody there who could exit
            processes -= 1
        before = machine
        machine, actions = slot.step(machine, event, POLICY, now, draw)
        processes += actions.count(Action.SPAWN)
        assert processes in (0, 1), "a seat never has two processes"
        assert machine.alive == (processes == 1), "the state says whether there is a process"
        if Action.KILL in actions or Action.ASK_DRAIN in actions:
            assert before.alive
        if machine.alive and not machine.killed:
            assert machine.deadline is not None, "whoever lives has a deadline: no hang without an end"
        if before.killed and machine.killed:
            assert Action.KILL not in actions, "killed once"
        if machine.state in (SlotState.BACKOFF, SlotState.FATAL):
            assert machine.deadline is not None and machine.deadline > before.since, "it comes back"
        if machine.state is SlotState.STOPPED:
            assert machine.deadline is None
        assert machine.crashes >= before.crashes
