"""The handler for programs: compile, run once per test, compare what was printed.

Runs in: worker, tools. No course code and no learner code runs here. Compilers, learners' programs and the
course's own validators run in jails (sandbox.program); those of validators are apart from those of learners.

    sources --compile--> program --run, once per test: input on stdin--> output --compare or validate--> mark

The answer of a test never enters a jail that runs a learner's program. A validator sees input and answer as
files and the learner's output as its standard input; it is staff code, but it reads what learners wrote, so
it is jailed, and when it fails that is the course's fault.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from graders.comparison import Comparison, compare
from graders.errors import CourseError, PassFailed, PayloadError
from graders.languages import change_limits
from graders.model import Blame, Cause, Judgement, TestResult, Verdict, Work
from graders.payload import Payload, parse_payload
from graders.scoring import Case, Group, Mark, full_marks, together
from graders.testcases import ProgramProblem, Solution, TestCatalogue, Validator
from graders.verdict import MOST_SHOWN, of_outcome, shorten
from graders.words import Words, english
from sandbox.jail import Jail
from sandbox.model import BUNDLE, SCRATCH, Limits, Outcome, OutcomeKind, Runner, Usage
from sandbox.program import Compiled, CompileFailed, Language, Opened, Programs

MOST_SOURCE: Final = 1 << 20
"""Bytes of all source files of a submission together."""
MOST_SOURCES: Final = 64

ACCEPTED, WRONG = 42, 43
"""Exit statuses of a validator."""
_CASE: Final = "warden-case"
_MESSAGES: Final = ("judgemessage.txt", "teammessage.txt", "score.txt")
_KEPT_VALIDATORS: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}){0,3}")
_FOLDERS: Final = re.compile(
    rf"{BUNDLE}/|{SCRATCH}/"
    # Of a reduced jail, which has no root of its own.
    r"|(?:/[^\s/]{1,64}){0,6}/warden-[^\s/]{1,64}/(?:scratch|course/[0-9a-f]{64})/"
)


class Toolchains:
    """The jails of all languages that one slot needs, each opened on first use.

    `learners` are the languages that learners write in, `languages` all that validators may be written in.
    `slot` is the first of `len(learners) + 1` numbers set aside for these jails. `watch` as in `Programs`,
    with a label such as "c run".
    """

    def __init__(
        self,
        languages: Mapping[str, Language],
        learners: Sequence[str],
        slot: int = 0,
        watch: Callable[[str, Jail], Opened] = lambda label, jail: jail,
    ) -> None:
        self.languages = dict(languages)
        self.learners = tuple(dict.fromkeys(learners))
        self._slot = slot
        self._watch = watch
        self._open: dict[tuple[str, str], Programs] = {}

    def learner(self, name: str) -> Programs:
        """For what learners wrote in the language `name`, one of `learners`."""
        return self._programs(name, "", self._slot + 1 + self.learners.index(name))

    def validator(self, name: str) -> Programs:
        """For the course's own code in the language `name`."""
        return self._programs(name, f"{name}-check-", self._slot)

    def open(self) -> None:
        """Open what learners' programs need, now.

        Raises:
            SandboxUnavailable: a language cannot be used on this machine. SandboxError: it failed otherwise.
        """
        for name in self.learners:
            self.learner(name).open()

    def close(self) -> None:
        """Kill what is in the jails."""
        for programs in self._open.values():
            programs.close()
        self._open.clear()

    def _programs(self, name: str, part: str, slot: int) -> Programs:
        found = self._open.get((name, part))
        if found is None:
            label = f"{name} validator" if part else name
            found = Programs(
                self.languages[name], slot, part, lambda step, jail: self._watch(f"{label} {step}", jail)
            )
            self._open[name, part] = found
        return found


class ProgramHandler:
    """Judges problems with tests in files. Satisfies `graders.model.Handler`; the runner is not used.

    Args:
        grader_root: the folder that grader paths are relative to; a grader is a problem's folder.
        toolchains: where programs run.
        languages: what learners may write in: all of its `learners`, unless fewer are named here.
        graders: names that a payload may use for paths.
        limits: changes to the languages' own limits for a run; a problem's own lie over them.
        comparison: for problems that say nothing about it.
        ignore_exit_status: whether a program may end with any status, everywhere.
        budget_s: after so many seconds no further test is begun.
        words: those to speak to the learner, English if not given.
    """

    def __init__(
        self,
        grader_root: Path,
        toolchains: Toolchains,
        languages: Sequence[str] = (),
        graders: Mapping[str, str] | None = None,
        limits: Mapping[str, int | float] | None = None,
        comparison: Comparison = Comparison(),
        ignore_exit_status: bool = False,
        budget_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        words: Words | None = None,
    ) -> None:
        self.words = words or english()
        self.catalogue = TestCatalogue(Path(grader_root), comparison)
        self._toolchains = toolchains
        self._languages = tuple(languages) or toolchains.learners
        self._graders = dict(graders or {})
        self._limits = dict(limits or {})
        self._ignore_exit_status = ignore_exit_status
        self._budget_s = budget_s
        self._clock = clock
        self._validators: OrderedDict[str, tuple[Programs, Compiled]] = OrderedDict()

    def grade(self, work: Work, runner: Runner | None = None) -> Judgement:
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
            problem = self.catalogue.problem(payload.grader)
            name, digest = problem.name, problem.digest
            language = self._language(payload, problem, work)
            sources = sources_of(work, language, payload.config.get("main"), self.words)
            if isinstance(sources, str):
                found = _refused(sources, self.words)
            else:
                found = self._judge(problem, language, sources)
            if payload.hide_output:
                found = replace(found, tests=tuple(replace(test, hide_output=True) for test in found.tests))
        except CourseError as error:
            found = Judgement(Verdict.UNGRADED, Blame.COURSE, error.cause, 0.0, detail=str(error))
        return replace(found, grader=name, grader_digest=digest)

    def languages_of(self, problem: ProgramProblem) -> list[Language]:
        """The languages that learners may write in for a problem.

        Raises:
            CourseError: none is left.
        """
        allowed = [name for name in self._languages if name in (problem.languages or (name,))]
        if not allowed:
            raise PayloadError(
                f"problem {problem.name!r} allows {', '.join(problem.languages)}, the handler"
                f" {', '.join(self._languages)}"
            )
        return [self._toolchains.languages[name] for name in allowed]

    def _language(self, payload: Payload, problem: ProgramProblem, work: Work) -> Language:
        allowed = {language.name: language for language in self.languages_of(problem)}
        wanted = payload.config.get("language")
        if wanted is not None:
            if not isinstance(wanted, str) or wanted not in allowed:
                raise PayloadError(f'"language" in grader_payload must be {" or ".join(allowed)}')
            return allowed[wanted]
        # "lang" may also be the language that the learner reads.
        wanted = payload.config.get("lang")
        if isinstance(wanted, str) and wanted in allowed:
            return allowed[wanted]
        if len(allowed) == 1:
            return next(iter(allowed.values()))
        by_suffix = [
            one for one in allowed.values() if any(name.endswith(one.suffixes) for name in work.files)
        ]
        if len(by_suffix) == 1:
            return by_suffix[0]
        raise PayloadError(f'grader_payload has no "language"; it must be {" or ".join(allowed)}')

    def _judge(self, problem: ProgramProblem, language: Language, sources: Sources) -> Judgement:
        deadline = self._clock() + self._budget_s
        included = {**problem.include.get("default", {}), **problem.include.get(language.name, {})}
        programs = self._toolchains.learner(language.name)
        compile_limits = None
        if language.compile is not None:
            compile_limits = change_limits(language.compile.limits, problem.compile_limits)
        try:
            compiled = programs.compile({**sources.files, **included}, sources.main, compile_limits)
        except CompileFailed as failed:
            return _not_compiled(failed, compile_limits or Limits(), self.words)
        trial = _Trial(self, problem, language, programs, compiled, deadline)
        mark = trial.group(problem.tests, {**self._limits, **problem.limits})
        return trial.judgement(mark)

    def _validator(self, validator: Validator) -> tuple[Programs, Compiled]:
        """Where the validator runs, and the validator, compiled once."""
        kept = self._validators.get(validator.sources.digest)
        if kept is not None:
            self._validators.move_to_end(validator.sources.digest)
            return kept
        found = [
            (language, name)
            for name in sorted(validator.sources.files)
            for language in self._toolchains.languages.values()
            if language.suffixes and name.endswith(language.suffixes)
        ]
        if not found:
            raise CourseError("the validator is in no language that is configured")
        if len({language.name for language, _ in found}) > 1:
            raise CourseError("the validator is in more than one language")
        language, main = found[0]
        if language.source in validator.sources.files:
            main = language.source
        programs = self._toolchains.validator(language.name)
        limits = None
        if language.compile is not None:
            limits = change_limits(language.compile.limits, validator.compile_limits)
        try:
            compiled = programs.compile(validator.sources.files, main, limits)
        except CompileFailed as failed:
            raise PassFailed(
                f"the validator cannot be compiled: {failed.reason}\n{_said(failed.outcome, english())}",
                Cause.GRADER_BUG,
            ) from None
        self._validators[validator.sources.digest] = programs, compiled
        while len(self._validators) > _KEPT_VALIDATORS:
            self._validators.popitem(last=False)
        return programs, compiled


# ------------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True)
class Sources:
    """What a learner sent, ready for the compiler."""

    files: Mapping[str, bytes]
    main: str


def sources_of(
    work: Work, language: Language, main: object = None, words: Words | None = None
) -> Sources | str:
    """The submission's source files, or why there is nothing to run, in words for the learner.

    `main` is the main file's name as the payload gives it, if it does.
    """
    said = (words or english()).said
    files = dict(work.files)
    if work.response.strip() or not files:
        if "\0" in work.response:
            return said.nul_character
        try:
            text = work.response.removeprefix("\ufeff").encode()
        except UnicodeEncodeError:
            return said.bad_unicode
        files[_own_name(work.response, language)] = text
    if len(files) > MOST_SOURCES:
        return said.too_many_files.format(count=len(files), most=MOST_SOURCES)
    if sum(map(len, files.values())) > MOST_SOURCE:
        return said.too_large.format(most_kib=MOST_SOURCE >> 10)
    for name in files:
        if not _NAME.fullmatch(name):
            return said.bad_file_name.format(name=name[:100])
    programs = [name for name in sorted(files) if not language.suffixes or name.endswith(language.suffixes)]
    if not programs and len(files) == 1 and language.suffixes:
        # One file with another ending: it must be the program.
        files = {language.source: next(iter(files.values()))}
        programs = [language.source]
    if not programs:
        return said.no_program.format(suffixes=" / ".join(language.suffixes))
    if isinstance(main, str) and main in files:
        return Sources(files, main)
    if len(programs) == 1:
        return Sources(files, programs[0])
    for name in programs:
        if PurePosixPath(name).name.lower() == language.source.lower():
            return Sources(files, name)
    if language.compile is not None and not _needs_main(language):
        return Sources(files, programs[0])
    return said.which_main.format(name=language.source)


def _own_name(text: str, language: Language) -> str:
    """What a text without a file name has to be called."""
    if language.named_by:
        found = re.search(language.named_by, text[:MOST_SOURCE], re.ASCII)
        if found and _NAME.fullmatch(found[1]):
            return found[1] + PurePosixPath(language.source).suffix
    return language.source


def _needs_main(language: Language) -> bool:
    steps = [language.run, *([language.compile] if language.compile else [])]
    return any("{main}" in word or "{source}" in word for step in steps for word in step.command)


def _refused(error: str, words: Words) -> Judgement:
    shown = (shorten(error, words=words),)
    return Judgement(Verdict.INPUT_ERROR, Blame.LEARNER, Cause.LEARNER, 0.0, errors=shown)


def _not_compiled(failed: CompileFailed, limits: Limits, words: Words) -> Judgement:
    outcome = failed.outcome
    said, failure = _said(outcome, words), words.said.not_compiled
    match outcome.kind:
        case OutcomeKind.EXIT | OutcomeKind.OK:
            text = said or failure
        case OutcomeKind.OUTPUT:
            text = f"{failure}\n{said}"
        case _:
            text = words.ended(outcome.kind, limits, outcome.signal, compiler=True) or failed.reason
            text = f"{failure} {text}\n{said}"
    return Judgement(
        Verdict.ERROR,
        Blame.LEARNER,
        Cause.LEARNER,
        0.0,
        errors=(f"{words.said.compilation_failed}\n{shorten(text.strip(), words=words)}",),
        detail=shorten(f"compile: {failed.reason}"),
        outcome=outcome.kind,
        usage=outcome.usage,
        isolation=outcome.isolation,
    )


def _said(outcome: Outcome, words: Words) -> str:
    """What a compiler said, without the jail's folders."""
    return clean_paths(_text(outcome.stderr + outcome.stdout, words)).strip()


def clean_paths(text: str) -> str:
    """The text with names of files as the learner knows them."""
    return _FOLDERS.sub("", text)


# --------------------------------------------------------------------------------------------------- tests


@dataclass(frozen=True, slots=True)
class _Ran:
    """One test that was run."""

    number: int
    case: Case
    verdict: Verdict
    outcome: Outcome
    limits: Limits
    message: str = ""  # where the output differs, or what the validator said to the learner
    judge_said: str = ""


@dataclass(slots=True)
class _Trial:
    """One compiled submission on its way through the tests."""

    handler: ProgramHandler
    problem: ProgramProblem
    language: Language
    programs: Programs
    compiled: Compiled
    deadline: float
    ran: list[_Ran] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    late: bool = False

    def group(self, group: Group, limits: Mapping[str, int | float]) -> Mark:
        """Run a group's tests, as far as its rules say."""
        if not self.numbers:
            self.numbers = {case.name: number for number, case in enumerate(group.cases(), 1)}
        limits = {**limits, **group.limits}
        marks: list[Mark] = []
        for member in group.members:
            if isinstance(member, Group):
                marks.append(self.group(member, limits))
            else:
                marks.append(self.case(member, group, limits))
            if group.stop and not marks[-1].accepted:
                break
        return together(group, marks)

    def case(self, case: Case, group: Group, changes: Mapping[str, int | float]) -> Mark:
        """Run one test, unless there is no time left."""
        rejected = Mark(False, group.reject_score)
        if self.handler._clock() >= self.deadline:
            self.late = True
            return rejected
        limits = change_limits(self.language.run.limits, changes)
        if "wall_s" not in changes:
            limits = replace(limits, wall_s=max(limits.wall_s, 2 * limits.cpu_s + 1))
        outcome = self.programs.run(self.compiled, case.input, limits)
        ran = _Ran(self.numbers[case.name], case, self._verdict(outcome), outcome, limits)
        score = None
        if ran.verdict is Verdict.CORRECT and self.problem.validator is not None:
            ran, score = self._validated(ran, group)
        elif ran.verdict is Verdict.CORRECT:
            say = self.handler.words.difference
            difference = compare(case.answer, outcome.stdout, group.comparison, say)
            if difference is not None:
                ran = replace(ran, verdict=Verdict.INCORRECT, message=difference.message)
        self.ran.append(ran)
        if ran.verdict is not Verdict.CORRECT:
            return rejected
        return Mark(True, group.accept_score if score is None else score)

    def _verdict(self, outcome: Outcome) -> Verdict:
        """What the outcome means; CORRECT if the output has to decide."""
        ignored = self.handler._ignore_exit_status or self.problem.ignore_exit_status
        if outcome.kind is OutcomeKind.EXIT and outcome.exit_code is not None and ignored:
            return Verdict.CORRECT
        if outcome.kind in (OutcomeKind.EXIT, OutcomeKind.SIGNAL):
            end = outcome.stderr[-65_536:]
            if any(sign.encode() in end for sign in self.language.memory_signs):
                return Verdict.MEMORY
        return of_outcome(outcome.kind) or Verdict.CORRECT

    def _validated(self, ran: _Ran, group: Group) -> tuple[_Ran, float | None]:
        """What the course's validator says of an output.

        Raises:
            CourseError: it failed.
        """
        validator = self.problem.validator
        assert validator is not None  # noqa: S101 - the caller saw one
        programs, compiled = self.handler._validator(validator)
        files = {f"{_CASE}/input": ran.case.input, f"{_CASE}/answer": ran.case.answer}
        arguments = (f"{{bundle}}/{_CASE}/input", f"{{bundle}}/{_CASE}/answer", "{scratch}/", *group.flags)
        limits = change_limits(compiled.language.run.limits, validator.run_limits)
        limits = replace(limits, wall_s=max(limits.wall_s, 2 * limits.cpu_s + 1))
        found = programs.run(compiled, ran.outcome.stdout, limits, arguments, files, _MESSAGES)
        judge_said = _text(found.files.get("judgemessage.txt", b""), self.handler.words).strip()
        if found.kind is not OutcomeKind.EXIT or found.exit_code not in (ACCEPTED, WRONG):
            ended = f"exit status {found.exit_code}" if found.exit_code is not None else str(found.kind)
            raise PassFailed(
                f"the validator failed at test {ran.case.name}: {ended}, not {ACCEPTED} or {WRONG}; "
                f"{found.detail}\n{judge_said}\n{_said(found, english())}".strip(),
                Cause.GRADER_BUG,
            )
        team = _text(found.files.get("teammessage.txt", b""), self.handler.words).strip()
        verdict = Verdict.CORRECT if found.exit_code == ACCEPTED else Verdict.INCORRECT
        ran = replace(ran, verdict=verdict, message=team or judge_said, judge_said=judge_said)
        return ran, _score(found.files.get("score.txt")) if validator.scores else None

    def judgement(self, mark: Mark) -> Judgement:
        """What the marks and the tests come to."""
        full = full_marks(self.problem.tests)
        if not math.isfinite(full) or full <= 0:
            raise CourseError(f"the tests of {self.problem.name!r} are worth {full:g} points together")
        share = mark.score / full if self.problem.partial else float(mark.accepted)
        share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
        well = share >= 1 - 1e-9 if self.problem.partial else mark.accepted
        failed = next((ran for ran in self.ran if ran.verdict is not Verdict.CORRECT), None)
        left = len(self.numbers) - len(self.ran)
        words, said = self.handler.words, self.handler.words.said
        errors = []
        if well:
            verdict = Verdict.CORRECT
        elif failed is not None:
            verdict = failed.verdict
            if verdict is not Verdict.INCORRECT:
                errors.append(said.test.format(number=failed.number, fate=_fate(failed, words)))
        else:
            verdict = Verdict.TIMEOUT if self.late else Verdict.INCORRECT
        if left and self.late:
            errors.append(said.late)
        if left:
            errors.append(said.left.format(left=left, total=len(self.numbers)))
        told = failed if failed is not None and verdict is failed.verdict else None
        notes = [f"test {ran.case.name}: {ran.judge_said}" for ran in self.ran if ran.judge_said]
        if told is not None and told.outcome.detail:
            notes.insert(0, told.outcome.detail)
        last = self.ran[-1].outcome if self.ran else None
        return Judgement(
            verdict,
            Blame.LEARNER,
            Cause.LEARNER,
            1.0 if well else share,
            tuple(_result(ran, words) for ran in self.ran),
            tuple(errors),
            shorten("\n".join(notes)),
            told.outcome.kind if told is not None else OutcomeKind.OK,
            told.outcome.usage if told is not None else _usage(self.ran),
            last.isolation if last is not None else (),
        )


def _score(data: bytes | None) -> float | None:
    """The score that a validator wrote down, None if none."""
    if data is None:
        return None
    try:
        value = float(data[:100])
    except ValueError:
        raise PassFailed("the validator wrote a score.txt that is no number", Cause.GRADER_BUG) from None
    if not math.isfinite(value):
        raise PassFailed("the validator wrote a score.txt that is no finite number", Cause.GRADER_BUG)
    return value


def _usage(ran: Sequence[_Ran]) -> Usage:
    """All runs together; of memory the most."""
    usages = [one.outcome.usage for one in ran]
    return Usage(
        sum(usage.wall_s for usage in usages),
        sum(usage.cpu_s for usage in usages),
        max((usage.memory_bytes for usage in usages), default=0),
    )


def _fate(ran: _Ran, words: Words) -> str:
    """What became of the program, in words for the learner."""
    outcome = ran.outcome
    if ran.verdict is Verdict.MEMORY:
        return words.said.memory_needed.format(memory_mib=ran.limits.memory_mib)
    if outcome.kind is OutcomeKind.EXIT and outcome.exit_code is None:
        return words.said.not_started
    if outcome.kind is OutcomeKind.EXIT:
        return words.said.exit_status.format(status=outcome.exit_code)
    return words.ended(outcome.kind, ran.limits, outcome.signal)


def _result(ran: _Ran, words: Words) -> TestResult:
    """The test as the learner may see it: of a secret one, its number and one word."""
    case, said = ran.case, words.said
    correct = ran.verdict is Verdict.CORRECT
    short = said.test.format(number=ran.number, fate=words.fates.get(ran.verdict, ran.verdict.value))
    if not case.public:
        return TestResult(short, "", correct, "", "", hide_output=True)
    lines = [*([ran.message] if ran.message else []), said.input, _text(case.input, words)]
    actual = _text(ran.outcome.stdout, words)
    if not correct and ran.verdict is not Verdict.INCORRECT:
        complaint = clean_paths(_text(ran.outcome.stderr, words))
        parts = (actual.rstrip("\n"), f"[{_fate(ran, words)}]", complaint)
        actual = "\n".join(part for part in parts if part)
    long, actual = shorten("\n".join(lines), words=words), shorten(actual, words=words)
    return TestResult(short, long, correct, _text(case.answer, words), actual)


def _text(data: bytes, words: Words) -> str:
    """Bytes of a program as text of bounded length."""
    head = data[: 4 * MOST_SHOWN].decode("utf-8", "replace")
    if len(data) <= 4 * MOST_SHOWN:
        return shorten(head, words=words)
    return f"{head[:MOST_SHOWN]}\n{words.said.more_output}"


# ------------------------------------------------------------------------------------------ the staff's own


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of one of the staff's submissions. `judgement` is None if its language is not allowed."""

    solution: Solution
    judgement: Judgement | None
    ok: bool


def prove(handler: ProgramHandler, name: str) -> Iterator[Proof]:
    """Grade the staff's submissions to a problem; each must get a verdict that its folder promises.

    Raises:
        CourseError: the problem cannot be read.
        sandbox.model.SandboxError
    """
    problem = handler.catalogue.problem(name)
    allowed = handler.languages_of(problem)
    for solution in handler.catalogue.solutions(name):
        fitting = [
            one for one in allowed if any(file.endswith(one.suffixes or ("\0",)) for file in solution.files)
        ]
        if not fitting:
            yield Proof(solution, None, True)
            continue
        payload = json.dumps({"grader": name, "language": fitting[0].name})
        found = handler.grade(Work(payload, "", solution.files))
        yield Proof(solution, found, found.verdict in solution.expected)
