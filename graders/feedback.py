"""Feedback: a judgement becomes the message that the learner reads in the LMS.

Runs in: worker, tools. The only module that imports Jinja2 and lxml.

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
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lxml import etree

from graders.model import Blame, Cause, Judgement, Result, TestResult, Verdict
from sandbox.model import OutcomeKind, Usage

LIMIT_BYTES = 64 * 1024
"""Default size of a message in UTF-8. On the wire it grows at most sixfold (a quotation mark is %5C%22)."""

LIMIT_BYTES_MIN = 4 * 1024
LIMIT_BYTES_MAX = 384 * 1024
"""Sixfold is 2.25 MiB; both kinds of XQueue refuse forms over 2.5 MiB."""

BUILT_IN = Path(__file__).with_name("templates")
FRAME = "feedback.html"

log = logging.getLogger(__name__)


class FeedbackError(Exception):
    """A message that the LMS would refuse, spoil or show wrongly."""


# ---------------------------------------------------------------------------------------------------- words


@dataclass(frozen=True, slots=True)
class Words:
    """The fixed texts of one language. `headlines` and `summaries` have an entry per verdict."""

    title: str
    output: str
    your_output: str
    expected_output: str
    no_output: str
    hidden: str
    passed: str  # {passed}, {total}
    cut: str  # {count} characters
    more_tests: str  # {count}, {passed}
    headlines: Mapping[Verdict, str]
    summaries: Mapping[Verdict, str]
    hints: Mapping[Verdict, str]
    limits: Mapping[OutcomeKind, str]  # instead of the summary, where the outcome says more
    nothing_left: str  # the message of last resort


ENGLISH = Words(
    title="Test results",
    output="Output:",
    your_output="Your output:",
    expected_output="Correct output:",
    no_output="(nothing)",
    hidden="The output of this test is not shown.",
    passed="{passed} of {total} tests passed.",
    cut="… {count} characters left out …",
    more_tests="{count} more tests are not shown here; {passed} of them passed.",
    headlines={
        Verdict.CORRECT: "CORRECT",
        Verdict.INCORRECT: "INCORRECT",
        Verdict.INPUT_ERROR: "NOT RUN",
        Verdict.ERROR: "ERROR",
        Verdict.TIMEOUT: "TIME LIMIT EXCEEDED",
        Verdict.MEMORY: "MEMORY LIMIT EXCEEDED",
        Verdict.LIMIT: "LIMIT EXCEEDED",
        Verdict.FORBIDDEN: "FORBIDDEN",
        Verdict.INTERFERENCE: "ERROR",
        Verdict.UNGRADED: "NOT GRADED",
    },
    summaries={
        Verdict.CORRECT: "Well done.",
        Verdict.INCORRECT: "Your program does not do yet what is asked.",
        Verdict.INPUT_ERROR: "Your program was not run, because a check of its text failed.",
        Verdict.ERROR: "Your program stopped with an error.",
        Verdict.TIMEOUT: "Your program ran longer than it may and was stopped.",
        Verdict.MEMORY: "Your program needed more memory than it may have and was stopped.",
        Verdict.LIMIT: "Your program used more than it may and was stopped.",
        Verdict.FORBIDDEN: "Your program tried something that programs here may not do, and was stopped.",
        Verdict.INTERFERENCE: "Your program got in the way of the tests, so they could not be counted.",
        Verdict.UNGRADED: (
            "Your submission could not be graded, because of a problem on our side. "
            "This says nothing about your program."
        ),
    },
    hints={
        Verdict.CORRECT: "Nothing is left to do for this problem.",
        Verdict.INCORRECT: "Compare your output with the correct output, character by character.",
        Verdict.INPUT_ERROR: "Read the message, change your program and submit it again.",
        Verdict.ERROR: "The last line of an error message says what went wrong, those above it say where.",
        Verdict.TIMEOUT: "Look for a loop that never ends, for a wait for input, or for a quicker way.",
        Verdict.MEMORY: "Look for a list or a text that grows without end.",
        Verdict.LIMIT: "Look for a loop that never ends.",
        Verdict.FORBIDDEN: (
            "Programs here may not use the network, start other programs or look at the machine. "
            "The problem can be solved without."
        ),
        Verdict.INTERFERENCE: (
            "Catch only the exceptions that you expect (except ValueError:, never a bare except:), "
            "do not end the program yourself, and do not change functions that are not yours."
        ),
        Verdict.UNGRADED: (
            "You need not change anything. If this message stays, please tell the course staff."
        ),
    },
    limits={
        OutcomeKind.WALL: "Your program was still running after {wall_s:.1f} seconds and was stopped.",
        OutcomeKind.CPU: "Your program had used {cpu_s:.1f} seconds of computing time and was stopped.",
        OutcomeKind.OUTPUT: "Your program printed more than it may and was stopped.",
        OutcomeKind.PROCESSES: "Your program started more processes or threads than it may.",
        OutcomeKind.DISK: "Your program wrote more to files than it may.",
    },
    nothing_left="Your submission came in, but its results cannot be shown. Please tell the course staff.",
)

LANGUAGES: Mapping[str, Words] = {"en": ENGLISH}


def words_for(language: str) -> Words:
    """The words of a language tag ("de-CH", "de", "en_GB"), English where there are none."""
    return LANGUAGES.get(language) or LANGUAGES.get(re.split("[-_]", language)[0].lower()) or ENGLISH


# ---------------------------------------------------------------------------------------------------- clean

_DIRTY = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_RETURN = re.compile("&#13;")
_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: window title, links
    r"|\x1b[ -/]+[0-~]"  # character sets
    r"|\x1b[0-Z\\^_`-~]"  # the two-character ones
)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == 0x0C:
        return "\n"
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def clean(text: str) -> str:
    """The text without what XML 1.0 or the LMS cannot carry.

    ANSI escapes go, CR LF and CR become LF, control characters become their visible pictures (U+2400 ff.),
    C1 controls, surrogates, U+FFFE and U+FFFF become U+FFFD.
    """
    if not _DIRTY.search(text):
        return text
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _DIRTY.sub(_picture, text)


# ------------------------------------------------------------------------------------------------------ fit


def cost(text: str) -> int:
    """Bytes that a clean text takes in the finished message."""
    size = len(text) if text.isascii() else len(text.encode())
    if "&" in text:
        size += 4 * text.count("&")
    return size + 3 * (text.count("<") + text.count(">")) + 10 * text.count("$")


def shares(wants: Sequence[int], room: int) -> list[int]:
    """Divide `room` fairly: who wants little gets all of it, the others get equal parts of the rest."""
    given = list(wants)
    left, waiting = max(room, 0), sorted(range(len(wants)), key=lambda i: wants[i])
    for done, index in enumerate(waiting):
        given[index] = min(wants[index], left // (len(waiting) - done))
        left -= given[index]
    return given


def fit(text: str, room: int, mark: str, focus: int = 0) -> str:
    """The text, clean, in at most `room` bytes of message; what was left out is replaced by `mark`.

    Args:
        text: any text, not clean yet.
        mark: has {count}, the number of characters left out there.
        focus: index of a character that should stay visible, 0 for none: the cut keeps the beginning and
            the surroundings of the focus, or the beginning and the end.
    """
    if len(text) <= room:
        whole = clean(text)
        if cost(whole) <= room:
            return whole
    keep = room - cost(mark.format(count=len(text))) - 2
    while keep > 0:
        head = keep // 4 if focus > keep // 2 else keep * 3 // 4
        tail = keep - head
        start = min(max(focus - tail // 4, head), len(text) - tail) if focus > keep // 2 else len(text) - tail
        end = start + tail
        parts = [clean(text[:head])]
        if start > head:
            parts.append(mark.format(count=start - head))
        parts.append(clean(text[start:end]))
        if end < len(text):
            parts.append(mark.format(count=len(text) - end))
        cut = "\n".join(parts)
        size = cost(cut)
        if size <= room:
            return cut
        keep = min(keep * room // size, keep - 1)
    return "…" if room >= 3 else ""


def first_difference(one: str, other: str) -> int:
    """Length of the common beginning. Bisection, because texts may have a million characters."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


# --------------------------------------------------------------------------------------------------- finish

# Elements that HTML reads as closed although they are written <br/>.
VOID = frozenset({"area", "br", "col", "hr", "img", "input", "source", "track", "wbr"})
_NEVER = frozenset(
    {"script", "style", "iframe", "object", "embed", "base", "form", "meta", "link", "svg", "math"}
)
_FILLER = "\u200b"  # zero width
_PARSER = etree.XMLParser(remove_comments=True, remove_pis=True, resolve_entities=False, no_network=True)


def finish(markup: str) -> str:
    """Markup as the LMS and the browser both read it.

    Raises:
        FeedbackError: it is not one well-formed element.
    """
    try:
        root = etree.fromstring(markup.strip(), _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FeedbackError(f"not well-formed: {error}") from None
    dollars = "$" in markup
    for element in root.iter(etree.Element):
        text = element.text
        if not text:
            if len(element) == 0 and element.tag not in VOID:
                element.text = _FILLER
        elif text[0] == "\n" and element.tag == "pre":
            element.text = f"\n{text!s}"  # HTML drops the first newline of a <pre>
        if dollars:
            for name, value in element.items():
                element.set(name, str(value).replace("$", "\uff04"))  # an attribute has no room for <wbr/>
    return etree.tostring(root, encoding="unicode", with_tail=False).replace("$", "&#36;<wbr/>")


def lint(msg: str, limit_bytes: int = LIMIT_BYTES_MAX) -> None:
    """Nothing leaves without passing here: would the LMS take this message and show what we mean?

    Raises:
        FeedbackError: it would not; the text says why.
    """
    if not msg.strip():
        raise FeedbackError("empty")
    if (unfit := _DIRTY.search(msg)) or (unfit := _RETURN.search(msg)):
        raise FeedbackError(f"character {unfit[0]!a} at {unfit.start()}")
    if "$" in msg:
        raise FeedbackError("raw $: the LMS expands names after it")
    if msg.lstrip().startswith("<?") or "<!" in msg:
        raise FeedbackError("declaration, comment or CDATA section")
    if (size := len(msg.encode())) > limit_bytes:
        raise FeedbackError(f"{size} bytes, more than {limit_bytes}")
    try:
        root = etree.fromstring(msg)  # exactly what the LMS does with it
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FeedbackError(f"not well-formed with one root: {error}") from None
    for element in root.iter():
        tag = element.tag
        if not isinstance(tag, str):
            raise FeedbackError("processing instruction, comment or entity")
        if tag in _NEVER or tag.startswith("{"):
            raise FeedbackError(f"element <{tag}>")
        if not element.text and len(element) == 0 and tag not in VOID:
            raise FeedbackError(f"empty element <{tag}>: browsers would not see its end")
        for name, _ in element.items():
            if str(name).lower().startswith("on"):
                raise FeedbackError(f"element <{tag}> has the attribute {name!s}")
    if not "".join(map(str, root.itertext())).strip(f" \n{_FILLER}"):
        raise FeedbackError("no text")


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
    language: str
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


def compose(judgement: Judgement, words: Words, language: str, room: int) -> Page:
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
        language=language,
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
        language: tag of the fixed texts' language.
        on_problem: told of everything an operator should know: one line each. The default logs an error.

    Attributes:
        problems: what `check` found at load.
        faults: how many messages since then were not rendered by the templates meant for them.
    """

    def __init__(
        self,
        templates: Path | None = None,
        limit_bytes: int = LIMIT_BYTES,
        language: str = "en",
        on_problem: Callable[[str], None] = log.error,
    ) -> None:
        if not LIMIT_BYTES_MIN <= limit_bytes <= LIMIT_BYTES_MAX:
            raise ValueError(
                f"limit_bytes is {limit_bytes}; {LIMIT_BYTES_MIN} to {LIMIT_BYTES_MAX} is possible"
            )
        self.limit_bytes = limit_bytes
        self.language = language
        self.words = words_for(language)
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
            page = compose(judgement, self.words, self.language, room)
            msg = finish(template.render(page=page))
            if len(msg) * 4 <= self.limit_bytes or (size := len(msg.encode())) <= self.limit_bytes:
                lint(msg, self.limit_bytes)
                return msg
            if room < 64:
                raise FeedbackError(f"{size} bytes without any text of a test, more than {self.limit_bytes}")
            room = min(room * self.limit_bytes // size, room // 2)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with a short way to the values that we hand in ourselves (half of the rendering time)."""

    def getattr(self, obj: object, attribute: str) -> object:
        if attribute in _FIELDS.get(type(obj), ()):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)


_FIELDS: Mapping[type, frozenset[str]] = {
    kind: frozenset(kind.__dataclass_fields__) for kind in (Page, ShownTest, Words)
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
    return f"{type(error).__name__}: {error}" if not isinstance(error, FeedbackError) else str(error)


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
