"""The verdict is a total, pure function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graders.model import Verdict
from graders.passes import AttemptReport
from graders.reference import Comparison, ExpectedTest, Reference, attempt_limits, reference_limits
from graders.verdict import MOST_SHOWN, judge, of_outcome, shorten
from sandbox.model import Limits, Outcome, OutcomeKind

TABLE = {
    OutcomeKind.OK: None,
    OutcomeKind.WALL: Verdict.TIMEOUT,
    OutcomeKind.CPU: Verdict.TIMEOUT,
    OutcomeKind.MEMORY: Verdict.MEMORY,
    OutcomeKind.OUTPUT: Verdict.LIMIT,
    OutcomeKind.PROCESSES: Verdict.LIMIT,
    OutcomeKind.DISK: Verdict.LIMIT,
    OutcomeKind.FORBIDDEN: Verdict.FORBIDDEN,
    OutcomeKind.SIGNAL: Verdict.ERROR,
    OutcomeKind.EXIT: Verdict.ERROR,
}

texts = st.text(max_size=20)
expected_tests = st.lists(
    st.builds(ExpectedTest, texts, texts, texts, st.booleans(), st.booleans()), max_size=6
)
reports = st.none() | st.builds(
    AttemptReport,
    outputs=st.lists(texts, max_size=6),
    error=st.sampled_from(["", "", "Traceback"]),
    hint=st.sampled_from(["", "memory", "processes", "disk"]),
    interference=st.booleans(),
)
comparisons = st.dictionaries(st.integers(0, 5), st.builds(Comparison, st.booleans(), texts, texts))


@pytest.mark.parametrize("kind", OutcomeKind)
def test_each_outcome_has_its_verdict(kind: OutcomeKind) -> None:
    assert of_outcome(kind) is TABLE[kind]


@given(expected_tests, st.sampled_from(OutcomeKind), reports, comparisons)
def test_it_always_decides_and_never_for_nothing(
    expected: list[ExpectedTest],
    kind: OutcomeKind,
    report: AttemptReport | None,
    compared: dict[int, Comparison],
) -> None:
    found = judge(expected, Outcome(kind, signal=11), report, compared, Limits())
    assert 0 <= found.score <= 1
    assert (found.score == 1) == (found.verdict is Verdict.CORRECT)
    assert found.tests or found.errors
    if found.verdict is Verdict.CORRECT:
        assert kind is OutcomeKind.OK
        assert report is not None and not report.error and not report.interference
        assert len(report.outputs) == len(expected) > 0
        assert all(
            compared[number].same if test.custom else test.output == report.outputs[number]
            for number, test in enumerate(expected)
        )
    if found.tests:
        assert found.score == sum(test.correct for test in found.tests) / len(expected)
        assert [test.short for test in found.tests] == [test.short for test in expected]


def test_a_cut_is_visible_and_says_how_much() -> None:
    assert shorten("x" * MOST_SHOWN) == "x" * MOST_SHOWN
    cut = shorten("x" * (MOST_SHOWN + 7))
    assert cut.startswith("x" * MOST_SHOWN + "\n")
    assert "7 more characters" in cut


def test_a_slow_answer_gives_the_attempt_twice_its_time() -> None:
    limits = Limits(cpu_s=2, wall_s=8)
    assert reference_limits(limits).cpu_s == 6
    assert attempt_limits(limits, Reference((), None, cpu_s=0.1, wall_s=0.1)) == limits
    slow = attempt_limits(limits, Reference((), None, cpu_s=2.5, wall_s=6))
    assert (slow.cpu_s, slow.wall_s) == (5, 12)
