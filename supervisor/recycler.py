"""Which workers have served long enough now: supervisor.recycling, asked of those that are there.

Runs in: supervisor. Reads sizes from /proc and decides nothing itself, except that of the workers of one
queue one leaves at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from supervisor.place import Place, memory_bytes
from supervisor.recycling import Bounds, due, hopeless
from supervisor.status import SlotState

log = logging.getLogger(__name__)


def leaving(places: Iterable[Place], bounds: Bounds, now: float) -> Iterator[tuple[Place, str]]:
    """Workers to be replaced, each with the reason; the oldest first, or one seat of a queue whose workers
    are always due would keep its neighbours from their turn.

    Renew each before the next one is asked for: while one of a queue is on its way the others stay.
    """
    places = list(places)
    for place in sorted(places, key=lambda place: place.life.born_at if place.life else float("inf")):
        life, child = place.life, place.child
        if life is None or child is None or place.machine.state is not SlotState.RUNNING:
            continue
        if bounds.memory_bytes and life.may_have_grown(now):
            life.size_bytes, life.sized_at, life.sized_after = memory_bytes(child.pid), now, life.graded
        memory = life.size_bytes
        if life.memory_bytes is None and memory is not None:
            life.memory_bytes = memory
            if hopeless(life, bounds):
                fields = {"slot": place.id, "cause": "CONFIG", "born_with_mib": memory >> 20}
                log.warning("recycle_memory_mib is too low to be of use", extra=fields)
        why = due(life, bounds, now, memory)
        if why and all(_settled(other) for other in places if other.queue == place.queue):
            yield place, why


def _settled(place: Place) -> bool:
    """It works, or it is not meant to."""
    state = place.machine.state
    return state is SlotState.RUNNING or (not place.wanted and state is SlotState.STOPPED)
