"""Waiting longer after each failure: pure arithmetic.

Runs in: supervisor, worker.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the n-th failure in a row.

    `jitter` is the share by which a wait is drawn shorter, so that many units that failed together do not
    come back together. A wait is never longer than `ceiling_s`.
    """

    first_s: float
    ceiling_s: float
    factor: float = 2.0
    jitter: float = 0.25

    def delay(self, failures: int, draw: float) -> float:
        """Seconds to wait after `failures` failures in a row (1 or more); `draw` is random in 0..1."""
        # The exponent is capped: a float overflows at about 2 ** 1024.
        whole = min(self.ceiling_s, self.first_s * self.factor ** min(max(failures, 1) - 1, 64))
        return whole * (1.0 - self.jitter * draw)
