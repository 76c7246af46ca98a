"""Feedback: a judgement becomes the message that the learner reads in the LMS.

Runs in: worker, tools. The only module that imports Jinja2. The fixed texts are in graders.words, steps 1, 2
and 4 in graders.message.

The LMS puts `msg` into the page as it is: it sanitises nothing, replaces the whole message by "Invalid grader
reply" when a control character stands in it, expands `$name` from the problem's own variables, and hides
`div.longform` behind a link.  So the message is made in four steps, each closing its own traps:

1. clean    every text loses ANSI escapes, control characters, surrogates; CR LF becomes LF.
2. fit      texts share the room there is: short ones whole, long ones cut in the middle with a visible mark.
3. template Jinja2, sandboxed, everything escaped; a queue's own folder may replace templates by name.
4. finish   the markup is parsed, mended as a tree and written anew, so it is well-formed whatever a template
            did: comments go, no element is left empty (the page is written as XML and read as HTML, where
            `<pre/>` never ends), `$` is written `&#36;<wbr/>`.  `&#36;` alone is not enough: the LMS parses
            and writes the message again before it expands names, so the dollar must not touch the name.

Then `lint` reads it with the LMS's own parser.  What fails on the way falls back, own templates to built-in
ones, those to a fixed neutral text, and is told to the operator through `on_problem`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from graders.comparison import first_difference
from graders.message import (
    LIMIT_BYTES_MAX,
    LIMIT_BYTES_MIN,
    MessageError,
    clean,
    cost,
    finish,
    fit,
    lint,
    shares,
)
from graders.model import Blame, Cause, Judgement, Result, TestResult, Verdict
from graders.words import Words, english
from sandbox.model import OutcomeKind, Usage

LIMIT_BYTES = 64 * 1024
"""Default size of a message in UTF-8."""

BUILT_IN = Path(__file__).with_name("templates")
FRAME = "feedback.html"

log = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------------------- the page


@dataclass(frozen=True, slots=True)
class ShownTest:
    """One test as templates see it: clean texts of bounded size. Hidden ones have no texts."""

    short: str
    long: str
    correct: bool
    expected: str
    actual: str
    hidden: bool


@dataclass(frozen=True, slots=True)
class Page:
    """What templates see, as `page`. Texts are clean and bounded; escaping is done by the environment."""

    title: str
    verdict: str  # value of graders.model.Verdict
    correct: bool
    score: float  # 0..1
    headline: str
    summary: str
    errors: tuple[str, ...]
    tests: tuple[ShownTest, ...]
    notes: tuple[str, ...]
    passed: int
    total: int
    grader: str
    language: str  # as in the attribute lang
    direction: str  # of its script: ltr or rtl
    words: Words


def _summary(judgement: Judgement, words: Words) -> str:
    parts = [words.summaries[judgement.verdict]]
    special = words.limits.get(judgement.outcome) if judgement.outcome else None
    limited = judgement.verdict in (Verdict.TIMEOUT, Verdict.LIMIT)
    if special and limited and (judgement.verdict is Verdict.LIMIT or judgement.usage.wall_s > 0):
        parts = [special.format(wall_s=judgement.usage.wall_s, cpu_s=judgement.usage.cpu_s)]
    if judgement.tests and judgement.verdict is not Verdict.UNGRADED:
        passed = sum(test.correct for test in judgement.tests)
        parts.append(words.passed.format(passed=passed, total=len(judgement.tests)))
    return " ".join(parts)


def _choose(tests: Sequence[TestResult], most: int) -> list[TestResult]:
    """At most so many tests, in their order; failed ones go before passed ones."""
    if len(tests) <= most:
        return list(tests)
    ranked = sorted(range(len(tests)), key=lambda i: (tests[i].correct, i))
    return [tests[i] for i in sorted(ranked[:most])]


def compose(judgement: Judgement, words: Words, room: int) -> Page:
    """Choose and cut what the page shows, so that its texts take about `room` bytes of message."""
    ungraded = judgement.verdict is Verdict.UNGRADED
    errors = () if ungraded else judgement.errors
    everything = () if ungraded else judgement.tests
    tests = _choose(everything, max(room // 600, 1))
    errors = errors[: max(room // 600, 1)]

    # A unit is an error or a test; units share the room, then the texts of a unit share the unit's part.
    units: list[tuple[str, ...]] = [(error,) for error in errors]
    for test in tests:
        shown = ("", "") if test.hide_output else (test.actual, "" if test.correct else test.expected)
        units.append((test.short, test.long, *shown))
    # A text that cannot be shown whole in any case is cleaned later, and only what remains of it.
    units = [tuple(text if len(text) > room else clean(text) for text in unit) for unit in units]
    wants = [[len(text) if len(text) > room else cost(text) for text in unit] for unit in units]
    given = shares([sum(want) for want in wants], room)
    texts = [
        [
            fit(text, size, words.cut, _focus(unit, number))
            for number, (text, size) in enumerate(zip(unit, shares(want, part), strict=True))
        ]
        for unit, want, part in zip(units, wants, given, strict=True)
    ]
    notes = [words.hints[judgement.verdict]]
    if hidden := len(everything) - len(tests):
        passed = sum(test.correct for test in everything) - sum(test.correct for test in tests)
        notes.insert(0, words.more_tests.format(count=hidden, passed=passed))
    return Page(
        title=words.title,
        verdict=judgement.verdict.value,
        correct=judgement.correct,
        score=_score(judgement),
        headline=words.headlines[judgement.verdict],
        summary=_summary(judgement, words),
        errors=tuple(text for (text,) in texts[: len(errors)]),
        tests=tuple(
            ShownTest(short, long, test.correct, expected, actual, test.hide_output)
            for test, (short, long, actual, expected) in zip(tests, texts[len(errors) :], strict=True)
        ),
        notes=tuple(notes),
        passed=sum(test.correct for test in everything),
        total=len(everything),
        grader=clean(judgement.grader)[:200],
        language=words.locale,
        direction=words.direction,
        words=words,
    )


def _focus(unit: tuple[str, ...], number: int) -> int:
    """Where a long text must stay visible: actual and expected at their first difference."""
    if len(unit) == 1 or number < 2 or not (unit[2] and unit[3]):
        return 0
    return first_difference(unit[2], unit[3])


def _score(judgement: Judgement) -> float:
    if judgement.verdict is Verdict.UNGRADED or not math.isfinite(judgement.score):
        return 0.0
    return min(max(judgement.score, 0.0), 1.0)


# ------------------------------------------------------------------------------------------------ rendering


class Feedback:
    """Renders judgements. Make one per queue and keep it: templates are compiled once.

    Args:
        templates: folder of own templates; one that has the name of a built-in one (feedback.html,
            errors.html, test.html) replaces it. If they are broken, `problems` says how, and the built-in
            ones are used.
        limit_bytes: most that a message may take in UTF-8, 4 KiB to 384 KiB.
        words: the fixed texts, English if not given.
        on_problem: told of everything an operator should know: one line each. The default logs an error.

    Attributes:
        problems: what `check` found at load.
        faults: how many messages since then were not rendered by the templates meant for them.
    """

    def __init__(
        self,
        templates: Path | None = None,
        limit_bytes: int = LIMIT_BYTES,
        words: Words | None = None,
        on_problem: Callable[[str], None] = log.error,
    ) -> None:
        if not LIMIT_BYTES_MIN <= limit_bytes <= LIMIT_BYTES_MAX:
            raise ValueError(
                f"limit_bytes is {limit_bytes}; {LIMIT_BYTES_MIN} to {LIMIT_BYTES_MAX} is possible"
            )
        self.limit_bytes = limit_bytes
        self.words = words or english()
        self.faults = 0
        self.templates = templates
        self._on_problem = on_problem
        self._built_in = _frame([BUILT_IN])
        self._own: Template | None = None
        self.problems = tuple(self.check())
        if templates is not None and not self.problems:
            self._own = _frame([templates, BUILT_IN])
        for problem in self.problems:
            on_problem(f"feedback templates: {problem}; the built-in templates are used")

    def check(self) -> list[str]:
        """Problems of the own templates as they are now, each with its file. Empty if there are none.

        Compiles every file and renders one judgement of every verdict.
        """
        folder = self.templates
        if folder is None:
            return []
        if not folder.is_dir():
            return [f"{folder}: no such folder"]
        environment = _environment([folder, BUILT_IN])
        names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.html"))
        if not names:
            return [f"{folder}: has no .html file"]
        problems, referenced = [], {file.name for file in BUILT_IN.glob("*.html")}
        for name in names:
            try:
                source = (folder / name).read_text(encoding="utf-8")
                tree = environment.parse(source, name)
                environment.get_template(name)
                referenced.update(filter(None, meta.find_referenced_templates(tree)))
            except TemplateError as error:
                where = f", line {line}" if (line := getattr(error, "lineno", None)) else ""
                problems.append(f"{folder / name}{where}: {error.message}")
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{folder / name}: {error}")
        problems += [
            f"{folder / name}: replaces no built-in template and no other one uses it"
            for name in names
            if name not in referenced and not problems
        ]
        if problems:
            return problems
        template = environment.get_template(FRAME)
        for sample in SAMPLES:
            try:
                self._markup(template, sample)
            # Templates run code of their own; whatever it raises is their fault and must be said, not raised.
            except Exception as error:
                problems.append(f"{folder}: verdict {sample.verdict}: {_why(error)}")
        return list(dict.fromkeys(problems))

    def render(self, judgement: Judgement) -> Result:
        """The result that goes to the learner. Never raises for what stands in the judgement."""
        msg = None
        for template in filter(None, (self._own, self._built_in)):
            try:
                msg = self._markup(template, judgement)
                break
            # As in check(); a learner waits for an answer, so the next template has its turn.
            except Exception as error:
                self.faults += 1
                kind = "own" if template is self._own else "built-in"
                self._on_problem(f"feedback: {kind} templates, verdict {judgement.verdict}: {_why(error)}")
        if msg is None:
            msg = f'<div class="test"><section><p>{self.words.nothing_left}</p></section></div>'
        return Result(judgement.correct, _score(judgement), msg)

    def _markup(self, template: Template, judgement: Judgement) -> str:
        """Finished, linted message, at most limit_bytes long; the texts shrink until it fits."""
        room = self.limit_bytes * 7 // 8
        while True:
            page = compose(judgement, self.words, room)
            msg = finish(template.render(page=page))
            if len(msg) * 4 <= self.limit_bytes or (size := len(msg.encode())) <= self.limit_bytes:
                lint(msg, self.limit_bytes)
                return msg
            if room < 64:
                raise MessageError(f"{size} bytes without any text of a test, more than {self.limit_bytes}")
            room = min(room * self.limit_bytes // size, room // 2)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with a short way to the values that we hand in ourselves (half of the rendering time)."""

    def getattr(self, obj: object, attribute: str) -> object:
        if attribute in _FIELDS.get(type(obj), ()):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)


_FIELDS: Mapping[type, frozenset[str]] = {
    Page: frozenset(Page.__dataclass_fields__),
    ShownTest: frozenset(ShownTest.__dataclass_fields__),
    Words: frozenset(Words.__struct_fields__),
}


def _environment(folders: Sequence[Path]) -> _Environment:
    return _Environment(
        loader=FileSystemLoader([str(folder) for folder in folders]),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _frame(folders: Sequence[Path]) -> Template:
    environment = _environment(folders)
    for (
        name
    ) in environment.list_templates():  # now: what runs is what was checked, whatever becomes of the files
        environment.get_template(name)
    return environment.get_template(FRAME)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, MessageError) else str(error)


_PASSED = TestResult("first <test>", "it & is $passed", True, "1\n", "1\n")
_FAILED = TestResult("second", "", False, "", "<b>\x1b[1m")
_HIDDEN = TestResult("third", "", False, "expected", "actual", hide_output=True)

SAMPLES: tuple[Judgement, ...] = tuple(
    replace(
        Judgement(verdict, Blame.LEARNER, Cause.LEARNER, 0.5, usage=Usage(1.0, 1.0, 1)),
        tests=tests,
        errors=errors,
        outcome=outcome,
    )
    for verdict in Verdict
    for tests, errors, outcome in (
        ((_PASSED, _FAILED, _HIDDEN), ("Traceback:\n  <module>",), OutcomeKind.WALL),
        ((), (), None),
    )
)
"""What own templates are tried on: each verdict, with tests and without."""
