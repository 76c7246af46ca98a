"""How many seats each queue has now: a queue in a burst borrows idle cores, an idle one gives them back.

Runs in: supervisor. Pure: `decide(states, loads, cores, policy, now, draw)`. The arbiter starts and drains
the workers; a seat that is given back finishes first what it has in hand, and costs nothing when it is empty.

    its own      the least, always there, whatever the others do
    borrowed     what a queue has beyond that: only for work that waits while all its workers are busy, and
                 only as many, of all queues together, as there are cores without a busy worker in a seat of
                 its queue's own
    shared       where several queues want more than there is, one that has borrowed more than its share
                 gives back to one that has less
    given back   when it was too many for `linger_s` on end; so many stay as were needed at most meanwhile

A server that tells how long a queue is says what is needed; with others a queue in a burst is one whose polls
all hit while all its workers are busy, and it borrows one seat after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

HITS: Final = 3
"""So many polls in a row that brought a submission are a burst, where the server does not tell the length."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers, in seconds. `jitter` is the share by which a wait is drawn shorter."""

    grow_s: float = 0.5  # between two seats borrowed by hits alone
    yield_s: float = 2.0  # others lack a seat, or a core is busy, for so long before one is given up for it
    linger_s: float = 30.0
    jitter: float = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """What is seen of a queue now."""

    least: int  # seats of its own
    most: int
    busy: int = 0  # workers with something in hand
    coming: int = 0  # seats whose workers are being started
    leaving: int = 0  # seats given back whose workers still finish something
    length: int | None = None  # waiting on the server; None: it does not tell
    hits: int = 0  # polls in a row that brought something

    def need(self, seats: int) -> int:
        """How many seats could be used now, within the queue's bounds."""
        if self.length is not None:
            wanted = self.busy + self.length
        elif self.hits >= HITS and not self.coming and self.busy >= seats:
            wanted = seats + 1
        else:
            wanted = self.busy + self.coming
        return min(self.most, max(self.least, wanted))

    def own_used(self, seats: int) -> int:
        """How many of its own seats have work; in a burst all, though one may just be between two."""
        if self.hits >= HITS or self.need(seats) > self.least:
            return self.least
        return min(self.busy, self.least)


@dataclass(frozen=True, slots=True)
class Share:
    """What was decided for a queue. Times are None where nothing is to be waited for."""

    seats: int
    grown_at: float = float("-inf")
    idle_until: float | None = None  # needs less than it has; then it gives back
    peak: int = 0  # the most it has needed in that time
    over_until: float | None = None  # has more than its share; then it gives one up

    @property
    def next_at(self) -> float | None:
        """When there is something to decide without anything happening."""
        return min((at for at in (self.idle_until, self.over_until) if at is not None), default=None)


def shares(needs: Mapping[str, int], has: Mapping[str, int], budget: int) -> dict[str, int]:
    """`budget` seats among queues that could use `needs`, as evenly as can be: nobody gets more than he
    needs, nobody lacks one while another has two more. Who `has` one keeps it where that is as fair.
    """
    given = dict.fromkeys(needs, 0)
    for _ in range(budget):
        wanting = [name for name in needs if given[name] < needs[name]]
        if not wanting:
            break
        first = min(wanting, key=lambda name: (given[name], has[name] <= given[name]))
        given[first] += 1
    return given


def decide(
    states: Mapping[str, Share],
    loads: Mapping[str, Load],
    cores: int,
    policy: Policy,
    now: float,
    draw: float,
) -> dict[str, Share]:
    """The shares of all queues of `loads`; one without a state begins with its least.

    Args:
        cores: how many this service may use.
        now: seconds that never go back. draw: random in 0..1, for jitter.
    """
    states = {name: states[name] if name in states else Share(load.least) for name, load in loads.items()}
    states = {name: _within(state, loads[name]) for name, state in states.items()}
    has = {name: state.seats - loads[name].least for name, state in states.items()}
    needs = {name: load.need(states[name].seats) - load.least for name, load in loads.items()}
    # Cores on which no queue's own worker is busy; one seat of its own is always a queue's, on whatever core.
    budget = max(0, cores - sum(load.own_used(states[name].seats) for name, load in loads.items()))
    # What a queue keeps for a while though it does not need it is not in the way of one that needs it.
    fair = shares(needs, has, budget)
    free = budget - sum(has.values()) - sum(load.leaving for load in loads.values())
    wait_s = 1.0 - policy.jitter * draw
    decided = {}
    lacking = any(fair[name] > has[name] for name in loads) and free <= 0
    for name, state in states.items():
        load = loads[name]
        more = min(fair[name] - has[name], free)
        if load.length is None:
            more = min(more, 1 if now >= state.grown_at + policy.grow_s else 0)
        if more > 0:
            free -= more
            decided[name] = Share(state.seats + more, grown_at=now)
            continue
        over = has[name] > fair[name] and (lacking or sum(has.values()) > budget)
        state = _yield(state, over, now, policy.yield_s * wait_s)
        decided[name] = _linger(state, load, now, policy.linger_s * wait_s)
    return decided


def _within(state: Share, load: Load) -> Share:
    """The bounds may have changed with the configuration."""
    seats = min(load.most, max(load.least, state.seats))
    return state if seats == state.seats else Share(seats)


def _yield(state: Share, over: bool, now: float, wait_s: float) -> Share:
    """Give one seat up to somebody who lacks it, if that has been so for long enough."""
    if not over:
        return replace(state, over_until=None) if state.over_until is not None else state
    if state.over_until is None:
        return replace(state, over_until=now + wait_s)
    if now < state.over_until:
        return state
    return replace(state, seats=state.seats - 1, over_until=None)


def _linger(state: Share, load: Load, now: float, wait_s: float) -> Share:
    """Give back what was not needed for long enough."""
    need = load.need(state.seats)
    if need >= state.seats:
        return replace(state, idle_until=None, peak=0) if state.idle_until is not None else state
    if state.idle_until is None:
        return replace(state, idle_until=now + wait_s, peak=need)
    peak = max(state.peak, need)
    if now < state.idle_until:
        return replace(state, peak=peak) if peak != state.peak else state
    return replace(state, seats=max(load.least, peak), idle_until=None, peak=0)
