"""From outcome, report and comparisons to the verdict: pure, total, and the only place that decides.

Runs in: worker, tools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from graders.model import TestResult, Verdict
from graders.passes import AttemptReport
from graders.reference import Comparison, ExpectedTest
from graders.words import Words, english
from sandbox.model import Limits, Outcome, OutcomeKind

MOST_SHOWN = 5000
"""Characters of an output or error that a result carries. Cut after the comparison, both sides alike."""

_BY_HINT = {"memory": Verdict.MEMORY, "processes": Verdict.LIMIT, "disk": Verdict.LIMIT}
_KIND_BY_HINT = {
    "memory": OutcomeKind.MEMORY,
    "processes": OutcomeKind.PROCESSES,
    "disk": OutcomeKind.DISK,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a submission's attempt comes to. `score` is in 0..1."""

    verdict: Verdict
    score: float
    tests: tuple[TestResult, ...] = ()
    errors: tuple[str, ...] = ()


def told_kind(outcome: Outcome, report: AttemptReport | None, verdict: Verdict) -> OutcomeKind:
    """The outcome to be told. A limit that learner code ran into and lived to report is that limit's."""
    if outcome.kind is OutcomeKind.OK and report is not None and verdict in _BY_HINT.values():
        return _KIND_BY_HINT.get(report.hint, outcome.kind)
    return outcome.kind


def of_outcome(kind: OutcomeKind) -> Verdict | None:
    """The verdict that an outcome means by itself; None if the report has to say."""
    match kind:
        case OutcomeKind.OK:
            return None
        case OutcomeKind.WALL | OutcomeKind.CPU:
            return Verdict.TIMEOUT
        case OutcomeKind.MEMORY:
            return Verdict.MEMORY
        case OutcomeKind.OUTPUT | OutcomeKind.PROCESSES | OutcomeKind.DISK:
            return Verdict.LIMIT
        case OutcomeKind.FORBIDDEN:
            return Verdict.FORBIDDEN
        case OutcomeKind.SIGNAL | OutcomeKind.EXIT:
            return Verdict.ERROR
        case _:
            assert_never(kind)


def is_whole(expected: Sequence[ExpectedTest], outcome: Outcome, report: AttemptReport | None) -> bool:
    """Whether the attempt ended well and speaks of every test, so that there is something to compare."""
    if outcome.kind is not OutcomeKind.OK or report is None or report.interference or report.error:
        return False
    return len(report.outputs) == len(expected)


def judge(
    expected: Sequence[ExpectedTest],
    outcome: Outcome,
    report: AttemptReport | None,
    comparisons: Mapping[int, Comparison],
    limits: Limits,
    words: Words | None = None,
) -> Finding:
    """The finding. `comparisons` has an entry for every test with a comparison of its own, if `is_whole`.

    `words` are those to speak to the learner, English if not given.
    """
    words = words or english()
    verdict = of_outcome(outcome.kind)
    if verdict is not None:
        return Finding(verdict, 0.0, errors=(words.ended(outcome.kind, limits, outcome.signal),))
    if report is None or report.interference:
        return Finding(Verdict.INTERFERENCE, 0.0, errors=(words.said.interfered,))
    if report.error:
        return Finding(
            _BY_HINT.get(report.hint, Verdict.ERROR), 0.0, errors=(shorten(report.error, words=words),)
        )
    if not is_whole(expected, outcome, report):
        return Finding(Verdict.INTERFERENCE, 0.0, errors=(words.said.interfered,))
    tests = tuple(
        _test_result(test, actual, comparisons.get(number), words)
        for number, (test, actual) in enumerate(zip(expected, report.outputs, strict=True))
    )
    if not tests:
        return Finding(Verdict.INCORRECT, 0.0, errors=(words.said.no_tests,))
    passed = sum(test.correct for test in tests)
    if passed == len(tests):
        return Finding(Verdict.CORRECT, 1.0, tests)
    return Finding(_BY_HINT.get(report.hint, Verdict.INCORRECT), passed / len(tests), tests)


def shorten(text: str, most: int = MOST_SHOWN, words: Words | None = None) -> str:
    """The text, cut if it is longer than `most` characters, with a mark that says so."""
    if len(text) <= most:
        return text
    mark = (words or english()).said.more_characters.format(count=len(text) - most)
    return f"{text[:most]}\n{mark}"


def _test_result(test: ExpectedTest, actual: str, comparison: Comparison | None, words: Words) -> TestResult:
    compared = comparison is not None and comparison.same
    correct = compared if test.custom else test.output == actual

    def fitted(text: str) -> str:
        return shorten(text, words=words)

    shown = fitted(actual)
    if comparison is not None and comparison.message:
        shown = f"{shown}\n{fitted(comparison.message)}"
    return TestResult(
        fitted(test.short), fitted(test.long), correct, fitted(test.output), shown, test.hide_output
    )
