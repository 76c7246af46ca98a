"""By when a submission has to be answered: the server's processing delay, less a margin for the answer's way.

Runs in: worker. Pure. After the delay a legacy XQueue hands the submission out again, under a new key: a
result that is late goes under that one, so there is no deadline. The LMS's own server hands it out again,
too, under the old key, but at the head of the queue and nothing else meanwhile: there a late answer holds up
everybody, and a neutral one in time is better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xqueue.answer import Dialect

LEGACY_DELAY_S: Final = 60.0
LMS_DELAY_S: Final = 300.0
"""The processing delays as the servers have them; see docs/protocol.md."""


def delay_of(configured: float | None, dialect: Dialect) -> float:
    """The processing delay of a queue in seconds, from its setting (None: as the server's kind has it)."""
    if configured is not None:
        return configured
    return LMS_DELAY_S if dialect is Dialect.LMS else LEGACY_DELAY_S


def budget_of(delay_s: float, margin_s: float) -> float:
    """What a grading may take, from the hand-out to the stored reply: never less than half of the delay."""
    return max(delay_s - margin_s, delay_s / 2)


def patience_of(delay_s: float, margin_s: float) -> float:
    """How long a reply waits for that of an earlier attempt of its learner, from the pull of that one: longer
    than its grading may take, so that its answer, late as it is, goes first; not as long as the delay.
    """
    return (budget_of(delay_s, margin_s) + delay_s) / 2


@dataclass(frozen=True, slots=True)
class Deadline:
    """Times in unix seconds. `answer_by` is the last moment to answer without holding up others."""

    answer_by: float
    margin_s: float
    budget_s: float  # the whole of what a grading may take

    def stop_at(self, now: float, tried: bool) -> float | None:
        """When an attempt that would begin `now` has to end; None: it must not begin, answer at once.

        `tried`: an attempt has failed before. A submission that has waited so long without one (the service
        was down) holds up the queue already; it gets its one attempt, as if it came now.
        """
        if now < self.answer_by - self.margin_s:
            return self.answer_by
        return None if tried else now + self.budget_s


def deadline_of(handed_at: float, delay_s: float, margin_s: float, dialect: Dialect) -> Deadline | None:
    """The deadline of a submission that was handed out at `handed_at`; None: it may be late."""
    if dialect is not Dialect.LMS:
        return None
    budget_s = budget_of(delay_s, margin_s)
    return Deadline(handed_at + budget_s, margin_s, budget_s)
