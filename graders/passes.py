"""The four passes as tasks, and their reports, read strictly. A report is bytes from an untrusted process.

Runs in: worker, tools. See graders/harness/run.py for the other side.

Staff code that meets a learner's text (`prepare`, `compare`) may come to a limit, or die, because of that
text: a regular expression that backtracks without end, a parser that overflows. Whose fault it was is tried
out in fresh children: the same pass on harmless texts, the empty one and the staff's own. If that fails too,
it is the course's. If not, the learner's text has a second chance, because the machine, or what an earlier
text left in a resident, may have been the reason. If it fails again, it is the text. Where nothing fails,
this costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import msgspec

from graders.catalogue import Problem
from graders.errors import PassFailed
from graders.model import Cause
from graders.reference import Comparison, ExpectedTest, Reference, Step, reference_limits
from graders.words import ENGLISH, Words, english
from sandbox.model import Limits, Outcome, OutcomeKind, Runner, Task

MOST_TESTS = 1000
_MOST_TRACE = 20_000


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    pass


class _Failure(_Strict, frozen=True):
    stage: str
    trace: str


class _Failed(_Strict, frozen=True):
    failed: _Failure


class _Described(_Strict, frozen=True):
    short: str
    long: str
    hide: bool
    custom: bool


class _ReferenceReport(_Strict, frozen=True):
    tests: list[_Described]
    outputs: list[str]
    raised: list[int]
    recipe: list[Step] | None


class _CompareOne(_Strict, frozen=True):
    same: bool
    message: str
    trace: str


class _CompareReport(_Strict, frozen=True):
    results: list[_CompareOne]


class _PrepareReport(_Strict, frozen=True):
    errors: list[str]
    text: str
    too_much: bool  # staff code cannot cope with so long or so deep a text


class AttemptReport(_Strict, frozen=True):
    """What an attempt says of itself: the tests' texts, or why the module could not be imported."""

    outputs: list[str]
    error: str
    hint: Literal["", "memory", "processes", "disk"]
    interference: bool


_T = TypeVar("_T", bound=_Strict)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the input checks said and, if they said nothing, the text to run. `detail` is for operators."""

    errors: Sequence[str]
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """What staff code said of outputs, by test number. `detail` is for operators."""

    results: Mapping[int, Comparison]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Unfit:
    """No report, and it is the learner's text. `detail`: the pass, how it ended, and what it works on."""

    detail: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What all passes of one submission have in common. `words` are those to speak to the learner."""

    problem: Problem
    lang: str
    seed: int
    limits: Limits
    runner: Runner
    words: Words = field(default_factory=english)

    def task(self, entry: str, resident: bool = False, **more: object) -> Task:
        """The task for one pass. `resident`: of staff code on learners' texts, so of no learner code."""
        request = {
            "grader": self.problem.file,
            "folders": self.problem.folders,
            "catalogue": self.problem.catalogue,
            "lang": self.lang,
            "seed": self.seed,
            **more,
        }
        return Task(f"harness.run:{entry}", _encode(request), self.limits, self.problem.bundle, resident)


def run_reference(setting: Setting) -> Reference:
    """The tests on the staff's answer.

    Raises:
        PassFailed: the grader or the answer does not work.
        sandbox.model.SandboxError
    """
    task = setting.task("reference", answer=setting.problem.answer)
    outcome = setting.runner.run(replace(task, limits=reference_limits(setting.limits)))
    report = _staff_report(outcome, _ReferenceReport, "reference", Cause.REFERENCE_FAILED)
    if len(report.tests) != len(report.outputs) or len(report.tests) > MOST_TESTS:
        raise PassFailed(
            f"reference: {len(report.outputs)} outputs of {len(report.tests)} tests; at most {MOST_TESTS}",
            Cause.GRADER_BUG,
        )
    tests = tuple(
        ExpectedTest(test.short, test.long, output, test.hide, test.custom, number in report.raised)
        for number, (test, output) in enumerate(zip(report.tests, report.outputs, strict=True))
    )
    recipe = None if report.recipe is None else tuple(report.recipe)
    return Reference(tests, recipe, outcome.usage.cpu_s, outcome.usage.wall_s)


def run_prepare(setting: Setting, text: str, recipe: Sequence[Step] | None) -> Prepared:
    """Input checks and preprocessors on the learner's text; without a child where a recipe says it all.

    A text that they cannot be done with, though they work on others, is an input error.

    Raises:
        PassFailed: a check or a preprocessor does not work.
        sandbox.model.SandboxError
    """
    if recipe is not None:
        for step in recipe:
            text = _STEPS[step](text)
        return Prepared([], text)
    harmless = {"an empty text": {"text": ""}, "the staff's answer": {"text": setting.problem.answer}}
    words = setting.words
    # Of gradelib's own checks; what is in English there needs no telling.
    spoken = {} if words.locale == ENGLISH else {"words": words.gradelib}
    report = _on_learners(setting, "prepare", _PrepareReport, {"text": text, **spoken}, harmless)
    if isinstance(report, _Unfit):
        return Prepared([words.said.not_checked], "", report.detail)
    if report.too_much:
        return Prepared([words.said.not_checked], "")
    return Prepared(report.errors, report.text)


def run_attempt(setting: Setting, text: str) -> tuple[Outcome, AttemptReport | None]:
    """The tests on the learner's code. The report is None if the outcome is not OK, or it is none of ours.

    Raises:
        sandbox.model.SandboxError
    """
    outcome = setting.runner.run(setting.task("attempt", text=text))
    if outcome.kind is not OutcomeKind.OK:
        return outcome, None
    return outcome, _read(outcome.report, AttemptReport)


def run_compare(setting: Setting, reference: Reference, outputs: Sequence[str]) -> Compared:
    """What staff code says of the outputs of the tests that have a comparison of their own.

    Outputs that cannot be compared within the limits, though others can, are not those expected.

    Raises:
        PassFailed: a comparison does not work.
        sandbox.model.SandboxError
    """
    numbers = [number for number, test in enumerate(reference.tests) if test.custom]
    known = {number: reference.compared.get((number, outputs[number])) for number in numbers}
    found = {number: comparison for number, comparison in known.items() if comparison is not None}
    asked = [number for number in numbers if number not in found]
    if not asked:
        return Compared(found)
    expected = [(number, reference.tests[number].output) for number in asked]
    harmless = {
        "empty outputs": {"cases": [(number, text, "") for number, text in expected]},
        "the outputs of the staff's answer": {"cases": [(number, text, text) for number, text in expected]},
    }
    cases = [(number, text, outputs[number]) for number, text in expected]
    report = _on_learners(setting, "compare", _CompareReport, {"cases": cases}, harmless)
    if isinstance(report, _Unfit):
        # Which of them it was is not known; like the attempt itself, they share the limits.
        return Compared(
            found | dict.fromkeys(asked, Comparison(False, setting.words.said.not_compared)), report.detail
        )
    if len(report.results) != len(asked):
        raise PassFailed(f"compare: {len(report.results)} results of {len(asked)} cases", Cause.GRADER_BUG)
    for number, result in zip(asked, report.results, strict=True):
        found[number] = Comparison(result.same, result.message, result.trace)
        reference.remember(number, outputs[number], found[number])
    return Compared(found)


def _fix_line_endings(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _wrap_in_string(text: str) -> str:
    return "submission_code = " + repr(text)


# The same as in compat/grader_support/gradelib.py; a test holds them together.
_STEPS = {"fix_line_endings": _fix_line_endings, "wrap_in_string": _wrap_in_string}

_FAILURES = {"answer": Cause.REFERENCE_FAILED}


def _on_learners(
    setting: Setting,
    name: str,
    kind: type[_T],
    request: Mapping[str, object],
    harmless: Mapping[str, Mapping[str, object]],
) -> _T | _Unfit:
    """The report of staff code on what a learner wrote. `harmless`: requests without it, by what they hold.

    Raises:
        PassFailed: it is not the learner's text that makes the pass fail.
        sandbox.model.SandboxError
    """
    run = setting.runner.run
    outcome = run(setting.task(name, resident=True, **request))
    if outcome.kind is not OutcomeKind.OK:
        first = f"{name}: {outcome.kind}: {outcome.detail}"
        for what, other in harmless.items():
            try:
                _staff_report(run(setting.task(name, resident=False, **other)), kind, name, Cause.GRADER_BUG)
            except PassFailed as error:
                raise PassFailed(f"{first}; and so on {what}:\n{error}", error.cause) from None
        outcome = run(setting.task(name, resident=False, **request))
        if outcome.kind is not OutcomeKind.OK:
            works = " and ".join(harmless)
            return _Unfit(f"{first}; again, in a fresh process: {outcome.kind}; it works on {works}")
    return _staff_report(outcome, kind, name, Cause.GRADER_BUG)


def _staff_report(outcome: Outcome, kind: type[_T], name: str, cause: Cause) -> _T:
    if outcome.kind is not OutcomeKind.OK:
        said = outcome.stderr[-2000:].decode("utf-8", "replace").strip()
        raise PassFailed(f"{name}: {outcome.kind}: {outcome.detail}\n{said}".strip(), cause)
    report = _read(outcome.report, kind)
    if report is not None:
        return report
    failed = _read(outcome.report, _Failed)
    if failed is None:
        raise PassFailed(f"{name}: its report cannot be read", cause)
    stage, trace = failed.failed.stage, failed.failed.trace[-_MOST_TRACE:]
    raise PassFailed(f"{name}: the {stage} failed\n{trace}", _FAILURES.get(stage, Cause.GRADER_BUG))


def _read(report: bytes | None, kind: type[_T]) -> _T | None:
    if report is None:
        return None
    try:
        return msgspec.json.decode(report, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
