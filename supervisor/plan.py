"""What the arbiter shall run: queues, seats, paces, as plain values.

Runs in: supervisor. Made from the configuration (supervisor.cli.run), which the arbiter itself does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.pacer import Pace
from supervisor.slot import Policy


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """A queue as the arbiter needs it. `refused` says why its configuration is bad ("" = it is good).

    `workers` seats are always there; of `most` (None: as many) the rest is borrowed in a burst.
    """

    name: str
    server: str
    workers: int = 1
    most: int | None = None
    cpus: tuple[int, ...] | None = None
    pace: Pace = Pace()  # noqa: RUF009 (frozen)
    refused: str = ""
    backlog: int = 0
    backlog_oldest_at: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the arbiter does not decide itself. `servers` maps names to URLs without credentials."""

    queues: tuple[QueuePlan, ...]
    servers: Mapping[str, str]
    status_path: Path
    drain_s: float = 30.0
    policy: Policy = Policy()  # noqa: RUF009 (frozen)
    config_path: str = ""
    config_digest: str = ""
