"""`warden check`: is the configuration right, and does every grader give its own answer full marks?

Runs in: tools. It reads what the service would read and starts what the service would start (the sandboxes),
but polls nothing and changes nothing. All findings are gathered first and shown at the end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graders.model import Cause, Judgement
from sandbox import cgroup
from sandbox.model import SandboxError
from supervisor.alerts.lanes import lanes_of
from supervisor.alerts.post import MISSING, known
from supervisor.cli import progress
from supervisor.cli.options import config_options
from supervisor.config import (
    ClassSettings,
    Config,
    ConfigError,
    GradelibSettings,
    Problem,
    ProgramSettings,
    load,
)
from supervisor.foreign import refusal
from supervisor.log import plain
from supervisor.secrets import SecretError, read_secret
from supervisor.settings import Audience, Sandbox

if TYPE_CHECKING:
    from graders.program import ProgramHandler
    from graders.python import GradelibHandler
    from sandbox.jail import Jail


@dataclass(frozen=True, slots=True)
class SandboxRow:
    """What came of starting one sandbox."""

    name: str
    interpreter: str
    version: str = ""
    isolation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GraderRow:
    """What came of grading one grader's own answer."""

    grader: str
    root: str
    queues: tuple[str, ...]
    ok: bool
    verdict: str
    cause: str
    score: float
    tests: int
    wall_s: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LanguageRow:
    """What came of opening the jails of one language."""

    name: str
    isolation: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """Everything that was found."""

    config: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    sandboxes: list[SandboxRow] = field(default_factory=list)
    languages: list[LanguageRow] = field(default_factory=list)
    graders: list[GraderRow] = field(default_factory=list)
    loaded: Config | None = None

    @property
    def ok(self) -> bool:
        return not self.problems and all(row.ok for row in self.graders)

    def as_json(self) -> str:
        """One object."""
        document = {
            "ok": self.ok,
            "config": self.config,
            "problems": [asdict(problem) for problem in self.problems],
            "warnings": [asdict(warning) for warning in self.warnings],
            "queues": sorted(self.loaded.queues) if self.loaded else [],
            "sandboxes": [asdict(row) for row in self.sandboxes],
            "languages": [asdict(row) for row in self.languages],
            "graders": [asdict(row) for row in self.graders],
        }
        return json.dumps(document, ensure_ascii=False, indent=2)


@click.command()
@config_options
@click.option("--no-graders", is_flag=True, help="Check the configuration and the secrets only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def check(config: Path, overrides: tuple[str, ...], no_graders: bool, as_json: bool) -> None:
    """Validate the configuration and every grader under the grader roots.

    Each grader has to give full marks to the answer.py beside it, in the sandbox and with the limits that the
    service would use; each problem with tests in files has to give the staff's submissions to it the verdicts
    that their folders promise. Exit code 0 if all is well (warnings included), else 1.
    """
    if reason := refusal():
        raise click.ClickException(reason)
    report = examine(config, overrides, graders=not no_graders)
    if as_json:
        sys.stdout.write(report.as_json() + "\n")
    elif sys.stdout.isatty():
        _draw(report)
    else:
        sys.stdout.write(_plain_text(report))
    raise SystemExit(0 if report.ok else 1)


def examine(path: Path, overrides: Sequence[str], *, graders: bool) -> Report:
    """Do all the checks. What is wrong stands in the report; nothing is raised for it."""
    report = Report(str(path))
    try:
        config = load(path, overrides)
    except ConfigError as error:
        report.problems += error.problems
        return report
    report.loaded = config
    report.warnings += config.warnings
    report.warnings += alert_remarks(config)
    report.problems += secret_problems(config)
    report.problems += alert_problems(config)
    report.problems += handler_problems(config)
    if graders:
        with cgroup.delegated():  # as `warden run` does
            _check_graders(config, report)
    return report


def secret_problems(config: Config) -> Iterator[Problem]:
    """Secrets that cannot be read by this user."""
    for server in config.servers.values():
        for ref in server.secrets:
            try:
                read_secret(ref)
            except SecretError as error:
                yield Problem(ref.setting, str(error).removeprefix(f"{ref.setting}: "))


def alert_remarks(config: Config) -> Iterator[Problem]:
    """Who would not hear of trouble. None of it stops the service."""
    channels = config.alerts.channels
    reached = {audience for channel in channels for audience in channel.audience}
    if not channels:
        yield Problem("alerts", "there is no channel: nobody is told of trouble; see docs/alerts.md")
    for audience in (Audience.TEAM, Audience.ADMIN):
        if channels and audience not in reached:
            yield Problem("alerts.channels", f'none reaches "{audience.value}"; add it to one of them')
    with_contact = [
        f"queues.{name}.handlers[{index}].contact"
        for name, queue in config.queues.items()
        for index, handler in enumerate(queue.handlers)
        if handler.contact
    ]
    if with_contact and channels and Audience.CONTACTS not in reached:
        yield Problem(with_contact[0], 'is never told: no channel of [alerts.channels] is for "contacts"')


def alert_problems(config: Config) -> Iterator[Problem]:
    """Channels that cannot work."""
    for channel in config.alerts.channels:
        here = f"alerts.channels.{channel.name}"
        if channel.command:
            if not os.access(channel.command[0], os.X_OK):
                yield Problem(f"{here}.command", f"{channel.command[0]} is not a program that can be started")
            continue
        try:
            lanes = lanes_of(channel, os.environ)
        except SecretError as error:
            setting, _, text = str(error).partition(": ")
            yield Problem(setting, text)
            continue
        for number, lane in enumerate(lanes, 1):
            if lane.url is not None and (why := known(lane.url.replace("{contact}", "a@example.org"))):
                yield Problem(here, f"URL {number} {why}" if why != MISSING else why)
    if config.alerts.ping is not None:
        try:
            read_secret(config.alerts.ping.url)
        except SecretError as error:
            setting, _, text = str(error).partition(": ")
            yield Problem(setting, text)


def handler_problems(config: Config) -> Iterator[Problem]:
    """Templates that do not compile, classes that cannot be loaded."""
    for name, queue in config.queues.items():
        for index, handler in enumerate(queue.handlers):
            here = f"queues.{name}.handlers[{index}]"
            if handler.templates is not None:
                from graders.feedback import Feedback

                feedback = Feedback(handler.templates, on_problem=lambda _: None)
                for text in feedback.problems:
                    yield Problem(f"{here}.templates", f"{plain(text)}; correct the template")
            if isinstance(handler, ClassSettings):
                from graders.base import ClassHandler
                from graders.errors import CourseError

                try:
                    ClassHandler(handler.class_path, handler.grader_root, handler.options, handler.graders)
                except CourseError as error:
                    lines = [line for line in str(error).splitlines() if line.strip()]
                    text = plain(": ".join(dict.fromkeys((lines[0], lines[-1]))))
                    yield Problem(f"{here}.class", f"{text}; correct the class or the name")


# --- the graders -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Job:
    """One grader in one setting, however many queues share it."""

    handler: GradelibSettings
    grader: str
    queues: list[str]


def _jobs(config: Config) -> list[_Job]:
    """What has to be graded: each grader once per different setting, by the handler that serves it."""
    from graders.python import list_graders

    listed: dict[Path, list[str]] = {}
    jobs: dict[str, _Job] = {}
    for name, queue in config.queues.items():
        served: set[tuple[Path, str]] = set()
        for handler in queue.handlers:
            if not isinstance(handler, GradelibSettings):
                continue
            root = handler.grader_root
            if root not in listed:
                listed[root] = list_graders(root)
            for grader in sorted({*listed[root], *handler.graders.values()}):
                if (root, grader) in served or not fnmatchcase(grader, handler.match):
                    continue
                served.add((root, grader))
                # `match` only decides who serves it, so two handlers that differ in it alone are one setting.
                key = repr((root, grader, handler.sandbox, handler.limits, handler.modules))
                job = jobs.setdefault(key, _Job(handler, grader, []))
                job.queues.append(name)
    return list(jobs.values())


def _check_graders(config: Config, report: Report) -> None:
    jobs = _jobs(config)
    for root, orphans in _without_answer(config).items():
        for orphan in orphans:
            report.warnings.append(
                Problem(str(root / orphan), "has no answer.py beside it; it is not checked")
            )
    if not jobs and any(isinstance(h, GradelibSettings) for q in config.queues.values() for h in q.handlers):
        report.warnings.append(
            Problem("graders", "there is none under the grader roots; correct grader_root")
        )
    programs = _program_jobs(config, report)
    used = {name for queue in config.queues.values() for name in config.sandboxes_of(queue)}
    with progress.bar("checking graders", len(jobs) + len(programs)) as advance:
        for name, sandbox in config.sandboxes.items():
            mine = [job for job in jobs if job.handler.sandbox == name]
            if name not in used:
                report.warnings.append(Problem(f"sandboxes.{name}", "no handler uses it"))
            else:
                _check_sandbox(sandbox, mine, report, advance)
        _check_programs(config, programs, report, advance)


def _check_sandbox(sandbox: Sandbox, jobs: list[_Job], report: Report, advance: Any) -> None:
    from graders.python import GradelibHandler, profile
    from sandbox.jail import Jail

    shown = sandbox.interpreter or "auto"
    jail = Jail(profile(sandbox.interpreter, sandbox.preload, sandbox.require), slot=_slot())
    try:
        jail.open()
        report.sandboxes.append(SandboxRow(sandbox.name, shown, jail.version, jail.layers))
        handlers: dict[str, GradelibHandler] = {}
        for job in jobs:
            settings = job.handler
            key = repr((settings.grader_root, settings.limits, settings.modules))
            if key not in handlers:
                handlers[key] = GradelibHandler(
                    settings.grader_root,
                    settings.graders,
                    settings.limits,
                    seeds=1,
                    modules=settings.modules,
                    interpreter=sandbox.interpreter,
                )
            row = _check_grader(handlers[key], job, jail)
            report.graders.append(row)
            if row.ok:
                report.warnings += _raising(handlers[key], job, jail)
            advance()
    except SandboxError as error:
        report.sandboxes.append(SandboxRow(sandbox.name, shown))
        report.problems.append(Problem(f"sandboxes.{sandbox.name}", f"cannot be started: {plain(error)}"))
    finally:
        jail.close()


def _slot() -> int:
    """A number for our jails: those of a service count from 0, and must share no user or group with ours."""
    return 30_000 + os.getpid() % 10_000


@dataclass(slots=True)
class _ProgramJob:
    """One problem with tests in files, in one setting."""

    handler: ProgramSettings
    problem: str
    queues: list[str]


def _program_jobs(config: Config, report: Report) -> list[_ProgramJob]:
    from graders.testcases import list_problems

    listed: dict[Path, list[str]] = {}
    jobs: dict[str, _ProgramJob] = {}
    for name, queue in config.queues.items():
        served: set[tuple[Path, str]] = set()
        for index, handler in enumerate(queue.handlers):
            if not isinstance(handler, ProgramSettings):
                continue
            root = handler.grader_root
            if root not in listed:
                listed[root] = list_problems(root)
            found = sorted({*listed[root], *handler.graders.values()})
            if not found:
                where = f"queues.{name}.handlers[{index}].grader_root"
                report.warnings.append(Problem(where, "holds no problem with tests; correct it"))
            for problem in found:
                if (root, problem) in served or not fnmatchcase(problem, handler.match):
                    continue
                served.add((root, problem))
                setting = (handler.languages, handler.limits, handler.comparison, handler.ignore_exit_status)
                jobs.setdefault(
                    repr((root, problem, setting)), _ProgramJob(handler, problem, [])
                ).queues.append(name)
    return list(jobs.values())


def _check_programs(config: Config, jobs: Sequence[_ProgramJob], report: Report, advance: Any) -> None:
    """Open the languages that are used, then grade the staff's submissions to each problem."""
    from graders.program import ProgramHandler, Toolchains

    names = [name for queue in config.queues.values() for name in config.languages_of(queue)]
    if not names:
        return
    jails: dict[str, Jail] = {}
    layers: dict[str, tuple[str, ...]] = {}

    def watched(label: str, jail: Jail) -> Jail:
        jails[label.split()[0]] = jail
        return jail

    toolchains = Toolchains(config.languages, names, _slot() + 100, watched)
    try:
        for name in toolchains.learners:
            try:
                toolchains.learner(name).open()
                layers[name] = jails[name].layers
                report.languages.append(LanguageRow(name, layers[name]))
            except SandboxError as error:
                report.languages.append(LanguageRow(name))
                report.problems.append(Problem(f"languages.{name}", f"cannot be used: {plain(error)}"))
        for job in jobs:
            settings = job.handler
            handler = ProgramHandler(
                settings.grader_root,
                toolchains,
                [name for name in settings.languages if name in layers],
                settings.graders,
                settings.limits,
                settings.comparison,
                settings.ignore_exit_status,
                budget_s=600.0,
            )
            if any(name in layers for name in settings.languages):
                report.graders.append(_check_program(handler, job, report))
            advance()
    finally:
        toolchains.close()


def _check_program(handler: ProgramHandler, job: _ProgramJob, report: Report) -> GraderRow:
    from graders.errors import CourseError
    from graders.program import prove

    started = time.monotonic()
    tests, cause, wrong, right = 0, "", [], 0
    try:
        tests = sum(1 for _ in handler.catalogue.problem(job.problem).tests.cases())
        for proof in prove(handler, job.problem):
            found = proof.judgement
            if found is None:
                continue
            right += proof.ok
            if not proof.ok:
                why = "; ".join(line for line in (found.detail, *found.errors) if line)
                wrong.append(f"{proof.solution.name} gets {found.verdict} ({found.score:g})\n{why}")
                cause = cause or (
                    found.cause.value if found.cause is not Cause.LEARNER else "REFERENCE_FAILED"
                )
        if not right and not wrong:
            where = str(job.handler.grader_root / job.problem)
            report.warnings.append(Problem(where, "has no submissions/accepted; its tests are not proved"))
    except CourseError as error:
        cause, wrong = error.cause.value, [str(error)]
    except SandboxError as error:
        cause, wrong = Cause.SANDBOX_UNAVAILABLE.value, [str(error)]
    return GraderRow(
        grader=job.problem,
        root=str(job.handler.grader_root),
        queues=tuple(job.queues),
        ok=not wrong,
        verdict="ungraded" if wrong else "correct",
        cause=cause,
        score=0.0 if wrong else 1.0,
        tests=tests,
        wall_s=round(time.monotonic() - started, 4),
        detail="\n".join(wrong),
    )


def _check_grader(handler: Any, job: _Job, jail: Jail) -> GraderRow:
    from graders.python import self_check

    started = time.monotonic()
    try:
        found: Judgement = self_check(handler, job.grader, jail)
        ok, verdict, cause, detail = found.correct, found.verdict.value, found.cause.value, found.detail
        score, tests = found.score, len(found.tests)
    except SandboxError as error:
        ok, verdict, cause, detail = False, "ungraded", Cause.SANDBOX_UNAVAILABLE.value, str(error)
        score, tests = 0.0, 0
    return GraderRow(
        grader=job.grader,
        root=str(job.handler.grader_root),
        queues=tuple(job.queues),
        ok=ok,
        verdict=verdict,
        cause="" if ok else cause,
        score=score,
        tests=tests,
        wall_s=round(time.monotonic() - started, 4),
        detail="" if ok else detail,
    )


def _raising(handler: GradelibHandler, job: _Job, jail: Jail) -> list[Problem]:
    """Tests that a traceback passes."""
    from graders.errors import CourseError

    where = str(job.handler.grader_root / job.grader)
    try:
        found = handler.raising_tests(job.grader, jail)
    except (CourseError, SandboxError):  # it has just been graded; what is wrong now is no finding of this
        return []
    return [
        Problem(
            where, f"{test}: raises on the staff's own answer, and learners are expected to do so: {line}"
        )
        for test, line in found
    ]


def _without_answer(config: Config) -> dict[Path, list[str]]:
    """Graders that nobody can check, by root."""
    roots = {
        handler.grader_root
        for queue in config.queues.values()
        for handler in queue.handlers
        if isinstance(handler, GradelibSettings)
    }
    found = {}
    for root in sorted(roots):
        orphans = [
            file.relative_to(root).as_posix()
            for file in sorted(root.rglob("grader.py"))
            if not (file.parent / "answer.py").exists()
            and not any(part.startswith(".") for part in file.relative_to(root).parts)
        ]
        if orphans:
            found[root] = orphans
    return found


# --- showing -----------------------------------------------------------------------------------------


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    for row in report.graders:
        first = plain(row.detail.splitlines()[0]) if row.detail else ""
        yield (
            "ok" if row.ok else "FAILED",
            row.grader,
            ", ".join(row.queues),
            str(row.tests),
            f"{row.score:g}",
            f"{row.wall_s * 1000:.0f} ms",
            f"{row.cause}: {first}" if row.cause else "",
        )


_HEADINGS = ("", "grader", "queues", "tests", "score", "time", "")


def _details(report: Report) -> Iterator[str]:
    """More than the first line of what is wrong with a grader."""
    for row in report.graders:
        lines = row.detail.splitlines()
        if len(lines) > 1:
            yield f"{row.grader}:"
            yield from (f"    {plain(line)}" for line in lines[:30])


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _summary(report: Report) -> str:
    parts = [_number(len(report.problems), "problem"), _number(len(report.warnings), "warning")]
    if report.loaded:
        parts.insert(0, _number(len(report.loaded.queues), "queue"))
    if report.graders:
        good = sum(row.ok for row in report.graders)
        parts.append(f"{good} of {len(report.graders)} graders give their answer full marks")
    return f"{report.config}: {'well' if report.ok else 'NOT well'} ({', '.join(parts)})"


def _plain_text(report: Report) -> str:
    lines = [f"problem  {plain(problem)}" for problem in report.problems]
    lines += [f"warning  {plain(warning)}" for warning in report.warnings]
    for sandbox in report.sandboxes:
        if sandbox.isolation:
            lines.append(f"sandbox  {sandbox.name}: Python {sandbox.version}, {', '.join(sandbox.isolation)}")
    for language in report.languages:
        if language.isolation:
            lines.append(f"language {language.name}: {', '.join(language.isolation)}")
    rows = list(_rows(report))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(len(_HEADINGS))]
    lines += [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += _details(report)
    return "\n".join([*lines, _summary(report)]) + "\n"


def _draw(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for style, findings in (("bold red", report.problems), ("yellow", report.warnings)):
        if findings:
            console.print(_findings(style, findings))
    for sandbox in report.sandboxes:
        if sandbox.isolation:
            layers = ", ".join(sandbox.isolation)
            console.print(Text(f"sandbox {sandbox.name}: Python {sandbox.version}, {layers}", style="dim"))
    for language in report.languages:
        if language.isolation:
            console.print(Text(f"language {language.name}: {', '.join(language.isolation)}", style="dim"))
    if report.graders:
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
        for index, heading in enumerate(_HEADINGS):
            table.add_column(
                heading, justify="right" if index in (3, 4, 5) else "left", no_wrap=index in (0, 5)
            )
        for row in _rows(report):
            style = "green" if row[0] == "ok" else "bold red"
            table.add_row(Text(row[0], style=style), *(Text(plain(cell)) for cell in row[1:]))
        console.print(table)
    for line in _details(report):
        console.print(Text(line))
    console.print(Text(_summary(report), style="green" if report.ok else "bold red"))


def _findings(style: str, findings: Iterable[Problem]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(overflow="fold", style=style)
    table.add_column()
    for finding in findings:
        table.add_row(Text(plain(finding.path)), Text(plain(finding.message)))
    return table
