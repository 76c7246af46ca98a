"""Whose turn it is to poll: one grant per queue, to the worker that has waited longest.

Runs in: supervisor. No I/O: who waits and what a poll came to is told, what may be granted is asked. When a
queue may be polled says its pacer (supervisor.pacer); a queue that is held back is not polled at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from supervisor import pacer
from supervisor.pacer import Pace, Pacer, Poll
from supervisor.place import Place


@dataclass(slots=True)
class _Line:
    """The workers of one queue that wait, in the order in which they came."""

    pace: Pace
    pacer: Pacer = field(default_factory=Pacer)
    waiting: list[Place] = field(default_factory=list)
    held_back: set[str] = field(default_factory=set)  # why


class Turns:
    """The lines of all queues. `dice` is random in 0..1."""

    def __init__(self, dice: Callable[[], float]) -> None:
        self._dice = dice
        self._lines: dict[str, _Line] = {}

    def open(self, queue: str, pace: Pace) -> None:
        """A queue that can be polled; or a new pace for one."""
        line = self._lines.get(queue)
        if line is None:
            self._lines[queue] = _Line(pace)
        else:
            line.pace = pace

    def close(self, queue: str) -> None:
        """The queue is gone, and so are its workers."""
        self._lines.pop(queue, None)

    def hold_back(self, queue: str, why: str, held: bool) -> None:
        """Grant no polls of this queue, or none for this reason any more. A poll in flight is not touched."""
        reasons = self._lines[queue].held_back
        (reasons.add if held else reasons.discard)(why)

    def heard(self, place: Place, wants_turn: bool) -> None:
        """The worker said whether it waits for a grant."""
        line = self._lines[place.queue]
        holds = line.pacer.holder == place.owner  # its word and our grant crossed
        if wants_turn and place not in line.waiting and not holds:
            line.waiting.append(place)
        elif not wants_turn and place in line.waiting:
            line.waiting.remove(place)

    def left(self, place: Place, now: float) -> None:
        """The worker is gone: it waits no more, and a grant that it held is free."""
        line = self._lines[place.queue]
        if place in line.waiting:
            line.waiting.remove(place)
        self.ended(place, Poll.LOST, now)

    def ended(self, place: Place, how: Poll, now: float, length: int | None = None) -> None:
        """The poll that was granted to this worker has ended so; `length` as in supervisor.pacer.ended."""
        line = self._lines[place.queue]
        if line.pacer.holder == place.owner:
            line.pacer = pacer.ended(line.pacer, how, line.pace, now, self._dice(), length)

    def granted(self, place: Place, now: float) -> None:
        """The worker has been given the grant."""
        line = self._lines[place.queue]
        line.pacer = pacer.grant(line.pacer, place.owner, now)

    def due(self, now: float) -> Iterator[Place]:
        """Workers to give a grant to, each taken out of its line. Say `granted` of those that took it."""
        for line in self._lines.values():
            while line.waiting and not line.held_back and line.pacer.may_grant(now):
                yield line.waiting.pop(0)

    def ready(self, now: float) -> list[str]:
        """Queues of which a worker could be given a grant."""
        return [
            name
            for name, line in self._lines.items()
            if line.waiting and not line.held_back and line.pacer.may_grant(now)
        ]

    def take(self, queue: str) -> Place:
        """The worker of a ready queue that has waited longest, out of its line."""
        return self._lines[queue].waiting.pop(0)

    def state(self, queue: str) -> Pacer:
        """How the polling of this queue stands."""
        return self._lines[queue].pacer

    def waits(self, place: Place) -> bool:
        """Has this worker nothing to do, and waits for a grant?"""
        return place in self._lines[place.queue].waiting

    def next_at(self) -> float | None:
        """When there is something to grant (monotonic seconds), None if nobody waits."""
        times = [
            line.pacer.next_at
            for line in self._lines.values()
            if line.waiting and not line.held_back and not line.pacer.holder
        ]
        return min(times, default=None)
