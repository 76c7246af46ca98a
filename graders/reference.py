"""What the answer produced, and the memory of it: one reference serves all submissions of a problem.

Runs in: worker, tools.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from sandbox.model import Limits

Step = Literal["fix_line_endings", "wrap_in_string"]

_MOST_COMPARISONS = 4096


@dataclass(frozen=True, slots=True)
class ExpectedTest:
    """One test as the staff's answer passed it.

    `custom`: its texts are compared by staff code. `raised`: it ended with an exception other than EndTest,
    and `output` with its traceback.
    """

    short: str
    long: str
    output: str
    hide_output: bool
    custom: bool
    raised: bool = False


class Comparison(NamedTuple):
    """What staff code said of two texts. `trace`, for operators, if it could not read the actual one."""

    same: bool
    message: str = ""
    trace: str = ""


class ReferenceKey(NamedTuple):
    """All that a reference depends on."""

    bundle: str
    grader: str
    answer: str
    seed: int
    lang: str
    interpreter: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The expected side. `recipe`: built-in steps that are all of preparing a text; None if a pass must.

    `compared` remembers comparisons by (test number, actual text). A comparison is a function of two texts,
    and learners' texts repeat.
    """

    tests: tuple[ExpectedTest, ...]
    recipe: tuple[Step, ...] | None
    cpu_s: float = 0.0  # what the answer took
    wall_s: float = 0.0
    compared: dict[tuple[int, str], Comparison] = field(default_factory=dict, repr=False, compare=False)

    def remember(self, number: int, actual: str, comparison: Comparison) -> None:
        """Keep a comparison, unless its text is long or enough are kept."""
        if len(actual) <= 1024 and len(self.compared) < _MOST_COMPARISONS:
            self.compared[number, actual] = comparison


SLACK = 3
"""The answer may take so many times the limits before the course is blamed."""


def reference_limits(limits: Limits) -> Limits:
    """Limits of the answer itself."""
    return replace(limits, cpu_s=SLACK * limits.cpu_s, wall_s=SLACK * limits.wall_s)


def attempt_limits(limits: Limits, reference: Reference) -> Limits:
    """Limits of an attempt: as configured, but never less time than twice what the answer took.

    A slow host, or a problem whose answer is slow, is no learner's fault.
    """
    return replace(
        limits,
        cpu_s=max(limits.cpu_s, round(2 * reference.cpu_s, 1)),
        wall_s=max(limits.wall_s, round(2 * reference.wall_s, 1)),
    )


class References:
    """The references that were used last."""

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._kept: OrderedDict[ReferenceKey, Reference] = OrderedDict()

    def get(self, key: ReferenceKey) -> Reference | None:
        """The reference, if it is kept."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: ReferenceKey, reference: Reference) -> None:
        """Keep a reference, forget the one not used for longest if there are too many."""
        self._kept[key] = reference
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
