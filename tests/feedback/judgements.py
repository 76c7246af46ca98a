"""Judgements for the tests, and hypothesis strategies that make nasty ones."""

from __future__ import annotations

from hypothesis import strategies as st

from graders.model import Blame, Cause, Judgement, TestResult, Verdict
from sandbox.model import OutcomeKind, Usage

NASTY = (
    "<script>alert(1)</script>",
    "</pre></div></div></div>",
    "<!-- <![CDATA[ ]]> -->",
    "<?xml version='1.0' encoding='utf-8'?>",
    "<!DOCTYPE p [<!ENTITY x 'boom'>]>&x;",
    "&nbsp;&lt;&#7;&#xD;&#36;",
    "$seed $anonymous_student_id $secret_answer $",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b(B \x1b",
    "\x00\x01\x07\x08\x0b\x0c\x1f\x7f\x85\x9b31m",
    "\ud800 \udfff \ufffe \uffff",
    "a\r\nb\rc\n",
    "\n\nleading newlines",
    "\u202eright to left\u2066",
    "\U0001f600 \u00e9 \u4e2d",
    "{{ 7 * 7 }} {% for x in y %}",
    "{page} %s %(x)s {0}",
    "' onmouseover='alert(1)' \" x=\"",
    "",
)

texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=60),  # surrogates and controls too
    st.lists(st.sampled_from(NASTY), max_size=4).map("".join),
    st.builds(lambda text, times: text * times, st.sampled_from(NASTY), st.integers(0, 3000)),
)
tests = st.builds(TestResult, texts, texts, st.booleans(), texts, texts, st.booleans())
judgements = st.builds(
    Judgement,
    verdict=st.sampled_from(Verdict),
    blame=st.sampled_from(Blame),
    cause=st.sampled_from(Cause),
    score=st.floats(),
    tests=st.lists(tests, max_size=6).map(tuple),
    errors=st.lists(texts, max_size=4).map(tuple),
    detail=st.just("/srv/secret/path of the operator"),
    outcome=st.sampled_from([None, *OutcomeKind]),
    usage=st.builds(Usage, wall_s=st.floats(0, 1e6), cpu_s=st.floats(0, 1e6)),
    grader=texts,
)


def judgement(verdict: Verdict, *tests: TestResult, errors: tuple[str, ...] = (), **more) -> Judgement:
    """One of the learner's own."""
    values = {"blame": Blame.LEARNER, "cause": Cause.LEARNER, "score": 0.0, **more}
    return Judgement(verdict, tests=tests, errors=errors, **values)


def failed(actual: str, expected: str = "right", **more) -> TestResult:
    """A failed test with these outputs."""
    return TestResult("short", "long", False, expected, actual, **more)


def shown(actual: str) -> Judgement:
    """Incorrect, with one failed test that printed this."""
    return judgement(Verdict.INCORRECT, failed(actual))
