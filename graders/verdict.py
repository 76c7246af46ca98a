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
from sandbox.model import Limits, Outcome, OutcomeKind

MOST_SHOWN = 5000
"""Characters of an output or error that a result carries. Cut after the comparison, both sides alike."""

_BY_HINT = {"memory": Verdict.MEMORY, "processes": Verdict.LIMIT, "disk": Verdict.LIMIT}
_KIND_BY_HINT = {
    "memory": OutcomeKind.MEMORY,
    "processes": OutcomeKind.PROCESSES,
    "disk": OutcomeKind.DISK,
}

_INTERFERED = "Your program interfered with the grading."


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
) -> Finding:
    """The finding. `comparisons` has an entry for every test with a comparison of its own, if `is_whole`."""
    verdict = of_outcome(outcome.kind)
    if verdict is not None:
        return Finding(verdict, 0.0, errors=(words(outcome, limits),))
    if report is None or report.interference:
        return Finding(Verdict.INTERFERENCE, 0.0, errors=(_INTERFERED,))
    if report.error:
        return Finding(_BY_HINT.get(report.hint, Verdict.ERROR), 0.0, errors=(shorten(report.error),))
    if not is_whole(expected, outcome, report):
        return Finding(Verdict.INTERFERENCE, 0.0, errors=(_INTERFERED,))
    tests = tuple(
        _test_result(test, actual, comparisons.get(number))
        for number, (test, actual) in enumerate(zip(expected, report.outputs, strict=True))
    )
    if not tests:
        return Finding(Verdict.INCORRECT, 0.0, errors=("No tests were run.",))
    passed = sum(test.correct for test in tests)
    if passed == len(tests):
        return Finding(Verdict.CORRECT, 1.0, tests)
    return Finding(_BY_HINT.get(report.hint, Verdict.INCORRECT), passed / len(tests), tests)


def shorten(text: str, most: int = MOST_SHOWN) -> str:
    """The text, cut if it is longer than `most` characters, with a mark that says so."""
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[... {len(text) - most} more characters are not shown]"


def _test_result(test: ExpectedTest, actual: str, comparison: Comparison | None) -> TestResult:
    compared = comparison is not None and comparison.same
    correct = compared if test.custom else test.output == actual
    shown = shorten(actual)
    if comparison is not None and comparison.message:
        shown = f"{shown}\n{shorten(comparison.message)}"
    return TestResult(
        shorten(test.short), shorten(test.long), correct, shorten(test.output), shown, test.hide_output
    )


def words(outcome: Outcome, limits: Limits) -> str:
    """What became of the learner's program, in words for him."""
    match outcome.kind:
        case OutcomeKind.WALL:
            return f"Your program was stopped: it ran longer than the time limit of {limits.wall_s:g} s."
        case OutcomeKind.CPU:
            return f"Your program was stopped: it used more than the time limit of {limits.cpu_s:g} s."
        case OutcomeKind.MEMORY:
            return f"Your program was stopped: it used more than the memory limit of {limits.memory_mib} MiB."
        case OutcomeKind.OUTPUT:
            return "Your program was stopped: it printed too much."
        case OutcomeKind.PROCESSES:
            return f"Your program was stopped: it started more than {limits.processes} processes or threads."
        case OutcomeKind.DISK:
            return f"Your program was stopped: it wrote more than {limits.scratch_mib} MiB to files."
        case OutcomeKind.FORBIDDEN:
            return "Your program was stopped: it tried something that programs may not do here."
        case OutcomeKind.SIGNAL:
            return f"Your program crashed (signal {outcome.signal})."
        case OutcomeKind.EXIT:
            return "Your program ended before its tests were finished."
        case OutcomeKind.OK:
            return ""
        case _:
            assert_never(outcome.kind)
