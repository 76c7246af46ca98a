"""All seats of this host: which there are, on which CPU, and which of them are wanted.

Runs in: supervisor. Nothing is started or ended here: the arbiter makes what is so what is wanted.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from supervisor.events import Phase
from supervisor.place import Place
from supervisor.plan import QueuePlan


class Seating:
    """The places. `cpus` are those that a queue without own ones may use."""

    def __init__(self, cpus: Sequence[int]) -> None:
        self._cpus = tuple(cpus)
        self._places: list[Place] = []
        self._of: dict[str, list[Place]] = {}  # the same, by queue: asked for at each turn of the loop
        self._shared: set[str] = set()  # queues on `cpus`

    def __iter__(self) -> Iterator[Place]:
        return iter(tuple(self._places))  # some may be forgotten on the way

    def __len__(self) -> int:
        return len(self._places)

    def of(self, queue: str) -> list[Place]:
        """The places of one queue, in the order of their numbers."""
        return list(self._of.get(queue, ()))

    def arrange(self, queue: QueuePlan) -> list[Place]:
        """Give the queue the seats that it wants. Those that stay keep their CPU if they may.

        Returns:
            the places that stay but have to move to another CPU: their workers must be renewed.
        """
        moved = []
        if queue.cpus is None:
            self._shared.add(queue.name)
        else:
            self._shared.discard(queue.name)
        allowed = queue.cpus or self._cpus
        by_id = {place.id: place for place in self.of(queue.name)}
        for number in range(max(queue.workers, queue.most or 0)):
            name = f"{queue.name}.{number}"
            place = by_id.pop(name, None)
            if place is None:
                cpu = self._emptiest() if queue.cpus is None else queue.cpus[number % len(queue.cpus)]
                own = number < queue.workers  # the others are borrowed, and wanted when they are needed
                place = Place(name, self._free_index(), queue.name, cpu, wanted=own)
                self._places.append(place)
                self._of.setdefault(queue.name, []).append(place)
                continue
            place.wanted, place.retired = place.wanted or number < queue.workers, False
            if place.cpu not in allowed or (
                queue.cpus is not None
                and number < queue.workers
                and place.cpu != queue.cpus[number % len(queue.cpus)]
            ):
                place.cpu = self._emptiest() if queue.cpus is None else queue.cpus[number % len(queue.cpus)]
                moved.append(place)
        for place in by_id.values():
            place.wanted, place.retired = False, True
        return moved

    def settle(self, place: Place, queue: QueuePlan) -> None:
        """Put an empty seat that is borrowed on the CPU with the least to do, of those of its queue."""
        busy: Counter[int | None] = Counter()
        there: Counter[int | None] = Counter()
        for other in self._places:
            if other is not place and (other.wanted or other.machine.alive):
                there[other.cpu] += 1
                busy[other.cpu] += other.phase in (Phase.GRADE, Phase.DELIVER)
        place.cpu = min(queue.cpus or self._cpus, key=lambda cpu: (busy[cpu], there[cpu]))

    def retire(self, queue: str) -> None:
        """The queue is gone: its seats are to be empty, and then forgotten."""
        for place in self.of(queue):
            place.wanted, place.retired = False, True

    def forget(self, place: Place) -> None:
        """The seat is empty and not wanted any more."""
        self._places.remove(place)
        self._of[place.queue].remove(place)

    def _free_index(self) -> int:
        """The smallest number that no seat has: user ids and control groups of its jails follow from it."""
        taken = {place.index for place in self._places}
        return next(number for number in itertools.count() if number not in taken)

    def _emptiest(self) -> int:
        """The CPU with the fewest seats of queues that share, without borrowed ones; the first of equals."""
        shared = (place for place in self._places if place.queue in self._shared and place.wanted)
        seats = Counter(place.cpu for place in shared)
        return min(self._cpus, key=lambda cpu: seats[cpu])
