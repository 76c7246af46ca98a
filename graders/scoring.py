"""Tests in groups, and what they are worth together. Pure.

Runs in: worker, tools. One shape serves both kinds of problem folders: a tree of groups, each with a rule for
its score and one for its acceptance, as in the Kattis problem package format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from graders.comparison import Comparison


class Aggregation(StrEnum):
    """A group's score from those of its members."""

    SUM = "sum"
    AVERAGE = "avg"
    MIN = "min"
    MAX = "max"


class Acceptance(StrEnum):
    """Whether a group is accepted, from whether its members are."""

    ALL = "all"
    ANY = "any"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Case:
    """One test: what goes in, and what should come out. `public` ones may be shown to learners."""

    name: str
    input: bytes = field(repr=False)
    answer: bytes = field(repr=False)
    public: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Tests and groups, in the order in which they are run.

    `stop`: after the first member that is not accepted, the rest is not run. `full` is the score of full
    marks if it cannot be known from the members (a validator gives scores). `limits` are changes to the
    limits of a run, `flags` are handed to a validator.
    """

    name: str
    members: tuple[Case | Group, ...]
    aggregation: Aggregation = Aggregation.SUM
    acceptance: Acceptance = Acceptance.ALL
    counted: bool = True
    stop: bool = False
    accept_score: float = 1.0
    reject_score: float = 0.0
    full: float | None = None
    comparison: Comparison = Comparison()
    flags: tuple[str, ...] = ()
    limits: Mapping[str, int | float] = field(default_factory=dict)

    def cases(self) -> Iterator[Case]:
        """All tests below, in order."""
        for member in self.members:
            if isinstance(member, Group):
                yield from member.cases()
            else:
                yield member


@dataclass(frozen=True, slots=True)
class Mark:
    """What a test or group got."""

    accepted: bool
    score: float
    counted: bool = True


def together(group: Group, marks: Sequence[Mark]) -> Mark:
    """The group's mark from those of its first members; the others were not run."""
    accepted = [mark.accepted for mark in marks]
    match group.acceptance:
        case Acceptance.ALL:
            well = all(accepted) and len(marks) == len(group.members)
        case Acceptance.ANY:
            well = any(accepted)
        case Acceptance.ALWAYS:
            well = True
        case _:
            assert_never(group.acceptance)
    missing = [group.reject_score] * sum(_counts(member) for member in group.members[len(marks) :])
    scores = [mark.score for mark in marks if mark.counted] + missing
    return Mark(well, _aggregate(group.aggregation, scores), group.counted)


def full_marks(group: Group) -> float:
    """The score of a group all of whose tests are accepted."""
    if group.full is not None:
        return group.full
    scores = [
        full_marks(member) if isinstance(member, Group) else group.accept_score
        for member in group.members
        if _counts(member)
    ]
    return _aggregate(group.aggregation, scores)


def _counts(member: Case | Group) -> bool:
    return member.counted if isinstance(member, Group) else True


def _aggregate(rule: Aggregation, scores: Sequence[float]) -> float:
    if not scores:
        return 0.0
    match rule:
        case Aggregation.SUM:
            return sum(scores)
        case Aggregation.AVERAGE:
            return sum(scores) / len(scores)
        case Aggregation.MIN:
            return min(scores)
        case Aggregation.MAX:
            return max(scores)
        case _:
            assert_never(rule)
