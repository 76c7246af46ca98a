"""How long things take: counts in fixed buckets, as the status document and the metrics file hold them.

Runs in: supervisor (counts), tools (read). The buckets are the same for all times of all queues and all
lives, so that counts may be added up; they span from a warm grading (10 ms) to a night without the server.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

BUCKETS_S: Final = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0),
    *(120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0),
)
"""Upper bounds in seconds, included; what is longer is counted beside the last."""


class Histogram(msgspec.Struct, frozen=True):
    """Times that were counted: one count for each bucket, and one more for what is longer than all."""

    counts: tuple[int, ...] = ()
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """The time (s) that `share` (0..1) of all did not exceed, straight lines drawn within a bucket.

        None if nothing was counted. What is longer than all buckets counts as the last bound.
        """
        total = self.count
        if not total or len(self.counts) != len(BUCKETS_S) + 1:  # another version's buckets: not ours to read
            return None
        rank, below = share * total, 0
        low = 0.0
        for bound, count in zip(BUCKETS_S, self.counts, strict=False):
            if count and below + count >= rank:
                return low + (bound - low) * max(0.0, rank - below) / count
            below += count
            low = bound
        return BUCKETS_S[-1]


def together(parts: Iterable[Histogram]) -> Histogram:
    """The sum; parts with other buckets than ours are left out."""
    counts = [0] * (len(BUCKETS_S) + 1)
    sum_s = 0.0
    for part in parts:
        if len(part.counts) == len(counts):
            counts = [one + other for one, other in zip(counts, part.counts, strict=True)]
            sum_s += part.sum_s
    return Histogram(tuple(counts), sum_s)


@dataclass(slots=True)
class Tally:
    """A histogram that grows."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, took_s: float) -> None:
        """Count one time. A negative one (the clock was set back) counts as none at all."""
        took_s = max(0.0, took_s)
        self.counts[bisect_left(BUCKETS_S, took_s)] += 1
        self.sum_s += took_s

    def histogram(self) -> Histogram:
        """As it is now."""
        return Histogram(tuple(self.counts), round(self.sum_s, 6))
