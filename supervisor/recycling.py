"""When a worker has served long enough: by submissions, by age, by memory.

Runs in: supervisor. Pure. What leaks, leaks slowly; a worker that is replaced between two submissions costs
half a second of its seat. Each limit is drawn a little lower for each worker, so that those who were born
together do not leave together. 0 switches a limit off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

JITTER: Final = 0.2
"""A limit is lowered by at most this part of it."""
ROOM: Final = 0.8
"""A worker that is born with more than this part of the limit cannot be mended by another birth."""
IDLE_LOOK_S: Final = 30.0
"""So often the size of a worker that has graded nothing since is looked at."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The numbers of the configuration; 0: never."""

    submissions: int = 0
    age_s: float = 0.0
    memory_bytes: int = 0


@dataclass(slots=True)
class Life:
    """One worker. `draw` is random in 0..1; times are monotonic; `memory_bytes` is what it was born with, and
    `size_bytes` what it had when it was last looked at: at `sized_at`, after `sized_after` gradings."""

    born_at: float
    draw: float
    graded: int = 0
    memory_bytes: int | None = None
    size_bytes: int | None = None
    sized_at: float = float("-inf")
    sized_after: int = 0

    def may_have_grown(self, now: float) -> bool:
        """Is its size worth another look? One that does nothing hardly grows."""
        return self.graded != self.sized_after or now >= self.sized_at + IDLE_LOOK_S


def due(life: Life, bounds: Bounds, now: float, memory_bytes: int | None) -> str:
    """Why the worker should be replaced ("" = it should not); `memory_bytes` of it and its zygotes now."""
    lowered = 1.0 - JITTER * life.draw
    if bounds.submissions and life.graded >= max(1, bounds.submissions * lowered):
        return f"{life.graded} submissions"
    if bounds.age_s and now - life.born_at >= bounds.age_s * lowered:
        return f"{now - life.born_at:.0f} s of age"
    if (
        bounds.memory_bytes
        and memory_bytes is not None
        and memory_bytes >= bounds.memory_bytes * max(lowered, ROOM)
        and not hopeless(life, bounds)
    ):
        return f"{memory_bytes >> 20} MiB of memory"
    return ""


def hopeless(life: Life, bounds: Bounds) -> bool:
    """Was it born so large that the bound of memory is of no use? It would be replaced without an end."""
    return bool(bounds.memory_bytes) and (life.memory_bytes or 0) > bounds.memory_bytes * ROOM
