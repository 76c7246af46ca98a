"""The handler for gradelib problems: a submission in, a judgement out, by passes in a jail.

Runs in: worker, tools. No course code and no learner code runs here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import compat
from graders.catalogue import Catalogue, list_graders
from graders.errors import CourseError
from graders.model import Blame, Cause, Judgement, Verdict, Work
from graders.passes import Compared, Setting, run_attempt, run_compare, run_prepare, run_reference
from graders.payload import Payload, parse_payload
from graders.reference import Reference, ReferenceKey, References, attempt_limits
from graders.verdict import Finding, is_whole, judge, shorten, told_kind
from graders.words import Words, english
from sandbox.model import Isolation, Limits, Outcome, Profile, Runner

__all__ = ["PRELOAD", "GradelibHandler", "list_graders", "profile", "self_check"]

MOST_CHARACTERS = 500_000
"""Length of a learner's text. The LMS sends at most 100 kB by itself; files may be longer."""

PRELOAD = (
    "harness.run",
    "grader_support.gradelib",
    "gradelib",
    "graderutil",
    # What graders and learners usually import. Every page of the zygote costs each child a little.
    "ast",
    "bisect",
    "collections",
    "copy",
    "datetime",
    "functools",
    "gettext",
    "heapq",
    "itertools",
    "math",
    "operator",
    "random",
    "re",
    "string",
    "time",
    "typing",
)


def profile(
    interpreter: str = "", preload: Sequence[str] = (), require: Isolation = Isolation.FULL
) -> Profile:
    """The sandbox profile of gradelib problems: the passes and the grader libraries, preloaded.

    `interpreter` and `require` as in `Profile`; `preload` is imported besides, e.g. ("numpy",).
    """
    library = {
        "harness": Path(__file__).resolve().parent / "harness",
        "grader_support": compat.ROOT / "grader_support",
        "gradelib": compat.ROOT / "gradelib.py",
        "graderutil": compat.ROOT / "graderutil.py",
    }
    return Profile(interpreter, (*PRELOAD, *preload), library, require)


class GradelibHandler:
    """Judges gradelib problems under one root. Satisfies `graders.model.Handler`.

    `graders` maps names that a payload may use to grader paths. `seeds` is how many random seeds the learners
    of a problem share. `modules` are folders of shared helper modules, relative to the root. `interpreter`
    names what the runner runs, for the memory of references. `words` are those to speak to the learner.
    """

    def __init__(
        self,
        grader_root: Path,
        graders: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        seeds: int = 8,
        modules: Sequence[str] = (),
        interpreter: str = "",
        words: Words | None = None,
    ) -> None:
        self._words = words or english()
        self.catalogue = Catalogue(Path(grader_root), modules)
        self._graders = dict(graders or {})
        self._limits = limits or Limits()
        self._seeds = max(1, seeds)
        self._interpreter = interpreter
        self._references = References()

    def grade(self, work: Work, runner: Runner) -> Judgement:
        """Judge one submission.

        Raises:
            sandbox.model.SandboxError: the service's fault; the caller may try again later.
        """
        name = digest = ""
        try:
            payload = parse_payload(work.payload, self._graders)
            name = payload.grader
            if payload.skip_grader:
                return Judgement(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER, 1.0, grader=name)
            setting = self._setting(payload, work, runner)
            name, digest = setting.problem.name, setting.problem.digest
            found = self._judge(setting, payload, work)
        except CourseError as error:
            found = Judgement(Verdict.UNGRADED, Blame.COURSE, error.cause, 0.0, detail=str(error))
        return replace(found, grader=name, grader_digest=digest)

    def raising_tests(self, path: str, runner: Runner) -> list[tuple[str, str]]:
        """Tests that raise on the staff's own answer, so that a traceback is what is expected of learners.

        Each by its number and name, and with the last line of what it printed. One with a comparison of its
        own may mean it, and is not named.

        Raises:
            CourseError: there is no reference.
            sandbox.model.SandboxError
        """
        work = Work(json.dumps({"grader": path}), "")
        reference = self._reference(self._setting(parse_payload(work.payload, self._graders), work, runner))
        return [
            (f"test {number} ({shorten(test.short, 200)})", _last_line(test.output))
            for number, test in enumerate(reference.tests, 1)
            if test.raised and not test.custom
        ]

    def _setting(self, payload: Payload, work: Work, runner: Runner) -> Setting:
        problem = self.catalogue.problem(payload.grader, payload.lang)
        return Setting(problem, payload.lang, self._seed(work), self._limits, runner, self._words)

    def _judge(self, setting: Setting, payload: Payload, work: Work) -> Judgement:
        words = self._words
        text, problem = _text_of(work, words)
        if problem:
            return _refused([problem], words)
        reference = self._reference(setting)
        prepared = run_prepare(setting, text, reference.recipe)
        if prepared.errors:
            return replace(_refused(prepared.errors, words), detail=shorten(prepared.detail))
        limits = attempt_limits(self._limits, reference)
        outcome, report = run_attempt(replace(setting, limits=limits), prepared.text)
        compared = Compared({})
        if report is not None and is_whole(reference.tests, outcome, report):
            compared = run_compare(setting, reference, report.outputs)
        finding = judge(reference.tests, outcome, report, compared.results, limits, words)
        outcome = replace(outcome, kind=told_kind(outcome, report, finding.verdict))
        return _judgement(finding, payload, outcome, compared)

    def _reference(self, setting: Setting) -> Reference:
        problem = setting.problem
        answer = hashlib.sha256(problem.answer.encode()).hexdigest()
        key = ReferenceKey(
            problem.bundle.digest, problem.file, answer, setting.seed, setting.lang, self._interpreter
        )
        found = self._references.get(key)
        if found is None:
            found = run_reference(setting)
            self._references.put(key, found)
        return found

    def _seed(self, work: Work) -> int:
        # The same learner meets the same data again; not all learners meet the same.
        digest = hashlib.sha256(f"{work.random_seed}:{work.student_key}".encode("utf-8", "replace")).digest()
        return 1 + int.from_bytes(digest[:8], "big") % self._seeds


def self_check(handler: GradelibHandler, path: str, runner: Runner) -> Judgement:
    """Grade the staff's own answer; anything but full marks is the course's fault and says why.

    Raises:
        sandbox.model.SandboxError
    """
    try:
        answer = handler.catalogue.problem(path).answer
    except CourseError as error:
        return Judgement(Verdict.UNGRADED, Blame.COURSE, error.cause, 0.0, detail=str(error), grader=path)
    found = handler.grade(Work(json.dumps({"grader": path}), answer), runner)
    if found.correct or found.blame is not Blame.LEARNER:
        return found
    failed = [test.short for test in found.tests if not test.correct]
    said = "\n".join([*found.errors, *failed])
    detail = f"the staff's answer gets {found.verdict} ({found.score:g}), not full marks\n{said}"
    return replace(
        found,
        verdict=Verdict.UNGRADED,
        blame=Blame.COURSE,
        cause=Cause.REFERENCE_FAILED,
        detail=f"{detail}\n{found.detail}".strip(),
    )


def _last_line(text: str) -> str:
    return shorten((text.rstrip().splitlines() or [""])[-1], 200)


def _text_of(work: Work, words: Words) -> tuple[str, str]:
    """The learner's text, or why there is none to grade, in words for him."""
    text, said = work.response, words.said
    if not text and len(work.files) == 1:
        (name, contents), *_ = work.files.items()
        try:
            text = contents.decode("utf-8")
        except UnicodeDecodeError:
            return "", said.unreadable_file.format(name=name)
    elif not text and len(work.files) > 1:
        return "", said.several_files
    if len(text) > MOST_CHARACTERS:
        return "", said.too_long.format(count=len(text), most=MOST_CHARACTERS)
    if "\0" in text:
        return "", said.nul_character
    try:
        text.encode()
    except UnicodeEncodeError:
        return "", said.bad_unicode
    return text.removeprefix("\ufeff"), ""


def _refused(errors: Sequence[str], words: Words) -> Judgement:
    shown = tuple(shorten(error, words=words) for error in errors)
    return Judgement(Verdict.INPUT_ERROR, Blame.LEARNER, Cause.LEARNER, 0.0, errors=shown)


def _judgement(finding: Finding, payload: Payload, outcome: Outcome, compared: Compared) -> Judgement:
    tests = finding.tests
    if payload.hide_output:
        tests = tuple(replace(test, hide_output=True) for test in tests)
    notes = [note for note in (outcome.detail, compared.detail) if note]
    notes += [
        f"the comparison of test {number + 1} could not read the learner's output\n{comparison.trace}"
        for number, comparison in sorted(compared.results.items())
        if comparison.trace
    ]
    return Judgement(
        finding.verdict,
        Blame.LEARNER,
        Cause.LEARNER,
        finding.score,
        tests,
        finding.errors,
        shorten("\n".join(notes)),
        outcome.kind,
        outcome.usage,
        outcome.isolation,
    )
