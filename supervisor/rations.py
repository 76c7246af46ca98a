"""How many seats each queue has now, and on which CPUs: what the load asks for, within what breakers leave.

Runs in: supervisor. Says which places are wanted; the arbiter makes it so. What is decided, and why, stands
in supervisor.elastic and supervisor.switchboard; here is what they look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from supervisor import elastic
from supervisor.elastic import Load, Share
from supervisor.events import Phase
from supervisor.place import Place
from supervisor.plan import QueuePlan
from supervisor.seating import Seating
from supervisor.status import SlotState
from supervisor.switchboard import Switchboard
from supervisor.turns import Turns

AT_WORK = (Phase.GRADE, Phase.DELIVER)


class Rations:
    """The seats of all queues. `cores`: how many this service may use. `dice` is random in 0..1."""

    def __init__(
        self,
        seating: Seating,
        turns: Turns,
        switchboard: Switchboard,
        cores: int,
        policy: elastic.Policy,
        dice: Callable[[], float],
    ) -> None:
        self._seating = seating
        self._turns = turns
        self._switchboard = switchboard
        self._cores = cores
        self._policy = policy
        self._dice = dice
        self._shares: dict[str, Share] = {}

    def decide(self, queues: Iterable[QueuePlan], now: float) -> None:
        """Say of each place of these queues whether it is wanted."""
        served = [queue for queue in queues if not queue.refused]
        if any((queue.most or 0) > queue.workers for queue in served):
            loads = {queue.name: self._load(queue) for queue in served}
            self._shares = elastic.decide(self._shares, loads, self._cores, self._policy, now, self._dice())
        else:  # nobody may borrow: there is nothing to decide, or to wait for
            self._shares = {queue.name: Share(queue.workers) for queue in served}
        for queue in served:
            seats = self._shares[queue.name].seats
            allowed = self._switchboard.seats(queue.name, now)
            if allowed is not None:
                seats = min(seats, allowed)
            for number, place in enumerate(self._present(queue.name)):
                wanted = number < seats
                if wanted and not place.wanted and number >= queue.workers and not place.machine.alive:
                    self._seating.settle(place, queue)
                place.wanted = wanted

    def shares(self) -> Mapping[str, Share]:
        """What was decided last, by queue."""
        return self._shares

    def next_at(self) -> float | None:
        """When there is something to decide though nothing happens (monotonic seconds)."""
        times = [share.next_at for share in self._shares.values() if share.next_at is not None]
        return min(times, default=None)

    def _present(self, queue: str) -> list[Place]:
        return [place for place in self._seating.of(queue) if not place.retired]

    def _load(self, queue: QueuePlan) -> Load:
        places = self._present(queue.name)
        polling = self._turns.state(queue.name)
        running = [place for place in places if place.machine.state is SlotState.RUNNING]
        return Load(
            least=queue.workers,
            most=max(queue.workers, queue.most or 0),
            busy=sum(place.phase in AT_WORK for place in running),
            coming=sum(place.machine.state is SlotState.STARTING for place in places),
            leaving=sum(place.machine.state is SlotState.DRAINING for place in places),
            length=polling.length,
            hits=polling.hits,
        )
