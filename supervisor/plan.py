"""What the arbiter shall run: queues, seats, paces, as plain values; and how it gets to know of others.

Runs in: supervisor. Made from the configuration (supervisor.cli.run), which the arbiter itself does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graders.model import Cause
from supervisor import elastic
from supervisor.pacer import Pace
from supervisor.recycling import Bounds
from supervisor.slot import Policy
from supervisor.spawn import Main
from supervisor.switchboard import Policies


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
    breakers: Policies = Policies()  # noqa: RUF009
    bursts: elastic.Policy = elastic.Policy()  # noqa: RUF009
    recycling: Bounds = Bounds()  # noqa: RUF009
    config_path: str = ""
    config_digest: str = ""
    notes: tuple[tuple[Cause, str], ...] = ()  # what was found before the start, and somebody should know


@dataclass(frozen=True, slots=True)
class Change:
    """A new plan, with the main of the workers born from now on.

    `renew` names the queues whose workers must be replaced; `message` says for people what has changed.
    """

    plan: Plan
    main: Main
    renew: Collection[str] = ()
    message: str = ""


class NotReloaded(Exception):
    """The new configuration is bad; the old one stays. `problems` are for people, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


Reloader = Callable[[], Change]
"""Reads the configuration again. Raises: NotReloaded."""
