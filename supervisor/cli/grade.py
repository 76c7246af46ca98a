"""`warden grade`: judge files here and now. No queue, no configuration, no root needed.

Runs in: tools. The same handlers, passes and jails as the service's; only what brings the work differs.

Theory of operation: N threads, each with jails and a handler of its own, take files from one pool; a thread
does little but wait for its jail. The main thread prints in the order of the arguments as results come in.
stdout carries the answer only. Whatever ends the command (done, Ctrl-C, SIGTERM, a closed pipe), the jails
are killed first, which ends the threads' waits, then the threads are joined.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import click

from graders.languages import built_in
from graders.model import Blame, Cause, Judgement, Verdict, Work
from graders.program import ProgramHandler, Toolchains
from graders.python import MOST_CHARACTERS, GradelibHandler, profile
from graders.testcases import list_problems
from sandbox import cgroup
from sandbox.jail import Jail
from sandbox.model import Isolation, Limits, SandboxError, SandboxUnavailable
from sandbox.program import Language
from supervisor.cli import progress
from supervisor.plain import plain

EXIT_UNGRADED, EXIT_ISOLATION, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 3, 130, 143

STDIN = "-"
PROGRESS_FROM = 8
"""From so many files on a progress bar is shown."""
_MOST_BYTES = 4 * MOST_CHARACTERS + 4
_MOST_LINES = 40

_COLUMNS = (
    *("submission", "verdict", "correct", "score", "passed", "tests", "outcome", "blame", "cause"),
    *("wall_s", "cpu_s", "memory_bytes", "isolation", "message"),
)
_COLOURS = {Verdict.CORRECT: "green", Verdict.INCORRECT: "red", Verdict.UNGRADED: "magenta"}


@dataclass(frozen=True, slots=True)
class Order:
    """What is graded with what. `grader` is relative to `root`.

    `languages` are those of the submissions to a problem with tests in files, empty for one with a grader.py;
    `changes` are then the limits that were asked for. `language` is the one given by name, "" if by suffix.
    `preload` are modules that the zygote imports, for a grader.py.
    """

    root: Path
    grader: str
    lang: str
    seed: int
    limits: Limits
    interpreter: str
    require: Isolation
    languages: Mapping[str, Language] = field(default_factory=dict)
    changes: Mapping[str, int | float] = field(default_factory=dict)
    language: str = ""
    preload: tuple[str, ...] = ()

    def work(self, name: str, data: bytes) -> Work:
        """The work that a file's contents are."""
        file_name = os.path.basename(name).encode("utf-8", "replace").decode()  # noqa: PTH119
        if self.languages:
            language = self.language or language_of(name, self.languages)
            payload = json.dumps({"grader": self.grader, "language": language})
            if name == STDIN:
                file_name = self.languages[language].source
            return Work(payload, "", {file_name: data}, random_seed=self.seed)
        payload = json.dumps({"grader": self.grader, "lang": self.lang})
        if len(data) >= _MOST_BYTES:
            # Too long for the handler in any case, and perhaps cut within a character.
            return Work(payload, data.decode("utf-8", "ignore"), random_seed=self.seed)
        try:
            return Work(payload, data.decode("utf-8"), random_seed=self.seed)
        except UnicodeDecodeError:  # the handler's own rule for submitted files says what that means
            return Work(payload, "", {file_name: data}, random_seed=self.seed)


@dataclass(frozen=True, slots=True)
class Graded:
    """One file and its judgement."""

    submission: str
    judgement: Judgement


# ------------------------------------------------------------------------------------------------- grading


class Pool:
    """Threads with a jail each. Jails are opened when a thread gets its first file."""

    def __init__(self, order: Order, jobs: int, stdin: bytes) -> None:
        self._order = order
        self._stdin = stdin
        self._executor = ThreadPoolExecutor(jobs, thread_name_prefix="grade")
        self._own = threading.local()
        self._jails: list[Jail] = []
        self._threads = 0
        self._lock = threading.Lock()
        self._stopping = False

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopping = True
            jails = list(self._jails)
        self._executor.shutdown(wait=False, cancel_futures=True)
        for jail in jails:
            # A thread that waits for this jail gets a SandboxError at once. close() is left to a time when
            # no thread uses it any more; until then the process is ours, unreaped, and the pid stays its own.
            if pid := jail.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._executor.shutdown(wait=True)
        for jail in jails:
            jail.close()

    def results(self, submissions: Sequence[str]) -> Iterator[Graded]:
        """Grade all; yield in their order.

        Raises:
            SandboxUnavailable: nothing can be graded on this machine.
        """
        waiting: list[Future[Graded]] = [self._executor.submit(self._grade, name) for name in submissions]
        for future in waiting:
            yield future.result()

    def _grade(self, name: str) -> Graded:
        try:
            work = self._work(name)
        except OSError as error:
            return Graded(name, _not_graded(Cause.HOST, f"cannot be read: {error.strerror or error}"))
        return Graded(name, self._judge(work))

    def _work(self, name: str) -> Work:
        if name == STDIN:
            data = self._stdin
        else:
            with open(name, "rb") as file:  # noqa: PTH123 - a name, maybe not in UTF-8; Path adds nothing
                data = file.read(_MOST_BYTES)
        return self._order.work(name, data)

    def _judge(self, work: Work) -> Judgement:
        grade = self._bench()
        try:
            return grade(work)
        except SandboxUnavailable:
            raise
        except SandboxError:
            if self._stopping:
                raise
        try:
            return grade(work)  # the jail opens anew; once may be chance
        except SandboxUnavailable:
            raise
        except SandboxError as error:
            return _not_graded(Cause.HOST, f"the sandbox failed twice: {error}")

    def _bench(self) -> Callable[[Work], Judgement]:
        """This thread's own handler, with its own jails."""
        bench: Callable[[Work], Judgement] | None = getattr(self._own, "bench", None)
        if bench is None:
            order = self._order
            with self._lock:
                # As root the slot picks the uid; keep clear of a service's slots, which are small numbers.
                slot = os.getpid() * 64 + self._threads * 8
                self._threads += 1
            if order.languages:
                toolchains = Toolchains(order.languages, list(order.languages), slot, self._adopted)
                bench = ProgramHandler(order.root, toolchains, limits=order.changes).grade
            else:
                jail = self._adopted("", Jail(profile(order.interpreter, order.preload, order.require), slot))
                handler = GradelibHandler(order.root, limits=order.limits, interpreter=order.interpreter)
                bench = lambda work: handler.grade(work, jail)  # noqa: E731 - of the two kinds of handlers one
            self._own.bench = bench
        return bench

    def _adopted(self, label: str, jail: Jail) -> Jail:
        """The jail, to be killed with the pool."""
        with self._lock:
            if self._stopping:
                raise SandboxError("stopping")
            self._jails.append(jail)
        return jail


def _not_graded(cause: Cause, detail: str) -> Judgement:
    return Judgement(Verdict.UNGRADED, Blame.SERVICE, cause, 0.0, detail=detail)


# ------------------------------------------------------------------------------------------------- choosing


def find_grader(grader: Path, root: Path | None) -> tuple[Path, str]:
    """Root and the grader's name relative to it. Without a root it is the grader's own folder.

    Raises:
        click.UsageError: it is not there, or not under the root.
    """
    file = grader / "grader.py" if grader.is_dir() else grader
    if is_program(grader):
        root = (root or grader).resolve()
        if not grader.resolve().is_relative_to(root):
            raise click.UsageError(f"{plain(grader)} is not under the root {plain(root)}")
        return root, grader.resolve().relative_to(root).as_posix()
    if not file.is_file():
        raise click.UsageError(f"no grader there: {plain(file)}")
    if root is None:
        file = file.resolve()
        return file.parent, file.name
    try:
        # Only the folder is resolved: whether a link may be followed is for the catalogue to say.
        return root.resolve(), (file.parent.resolve() / file.name).relative_to(root.resolve()).as_posix()
    except ValueError:
        raise click.UsageError(f"{plain(file)} is not under the root {plain(root)}") from None


def is_program(grader: Path) -> bool:
    """Whether it is the folder of a problem with tests in files."""
    return grader.is_dir() and not (grader / "grader.py").is_file() and list_problems(grader) == ["."]


def language_of(name: str, languages: Mapping[str, Language]) -> str:
    """The language of a file by its name, "" if it tells none."""
    return next((one.name for one in languages.values() if one.suffixes and name.endswith(one.suffixes)), "")


def languages_of(files: Sequence[str], named: str, require: Isolation) -> dict[str, Language]:
    """The languages that the files are written in.

    Raises:
        click.UsageError: a file's name tells none, and none is named.
    """
    known = built_in()
    if named and named not in known:
        raise click.UsageError(f"--language {plain(named)} is not known; there is {', '.join(known)}")
    found = {name: named or language_of(name, known) for name in files}
    for name, language in found.items():
        if not language:
            raise click.UsageError(f"{plain(name)}: its name tells no language; say --language")
    return {name: replace(known[name], require=require) for name in dict.fromkeys(found.values())}


def expand(arguments: Iterable[str], suffixes: tuple[str, ...] = (".py",)) -> list[str]:
    """Files as they are; folders become what ends so within, sorted, without hidden ones and __pycache__.

    Raises:
        click.UsageError: with one line per argument that names nothing to grade.
    """
    found: list[str] = []
    problems: list[str] = []
    for argument in arguments:
        if argument != STDIN and Path(argument).is_dir():
            files = _files(Path(argument), suffixes, problems)
            if not files and not problems:
                problems.append(f"{plain(argument)}: no {' or '.join(suffixes)} file in this folder")
            found += files
        elif argument == STDIN or Path(argument).exists():
            found.append(argument)
        else:
            problems.append(f"{plain(argument)}: no such file or folder")
    if found.count(STDIN) > 1:
        problems.append("stdin (-) can be read only once")
    if problems:
        raise click.UsageError("\n  ".join(["nothing was graded:", *problems]))
    return found


def _files(folder: Path, suffixes: tuple[str, ...], problems: list[str]) -> list[str]:
    def complain(error: OSError) -> None:
        problems.append(f"{plain(error.filename)}: {error.strerror}")

    found = []
    for path, folders, files in os.walk(folder, onerror=complain):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        found += [
            str(Path(path) / name) for name in sorted(files) if name.endswith(suffixes) and name[0] != "."
        ]
    return found


# -------------------------------------------------------------------------------------------------- showing


def message(judgement: Judgement) -> str:
    """One line: what kept it from being graded, or the end of the first error shown to the learner.

    The end, because that is where a traceback names the exception.
    """
    ungraded = judgement.verdict is Verdict.UNGRADED
    text = judgement.detail if ungraded else next(iter(judgement.errors), "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if ungraded and len(lines) > 1:
        return plain(f"{lines[0]} … {lines[-1]}")
    return plain(lines[-1]) if lines else ""


def as_record(graded: Graded, details: bool) -> dict[str, Any]:
    """The object of --json."""
    judgement = graded.judgement
    record: dict[str, Any] = {
        "submission": graded.submission,
        "verdict": judgement.verdict.value,
        "correct": judgement.correct,
        "score": judgement.score,
        "passed": sum(test.correct for test in judgement.tests),
        "tests": len(judgement.tests),
        "outcome": judgement.outcome.value if judgement.outcome else None,
        "isolation": list(judgement.isolation),
        "blame": judgement.blame.value,
        "cause": judgement.cause.value,
        "wall_s": round(judgement.usage.wall_s, 6),
        "cpu_s": round(judgement.usage.cpu_s, 6),
        "memory_bytes": judgement.usage.memory_bytes,
        "grader": judgement.grader,
        "errors": list(judgement.errors),
        "detail": judgement.detail,
    }
    if details:
        record["results"] = [
            {
                "short": test.short,
                "long": test.long,
                "correct": test.correct,
                "expected": test.expected,
                "actual": test.actual,
            }
            for test in judgement.tests
        ]
    return record


def as_cells(graded: Graded) -> list[object]:
    """The row of --csv, in the order of its header."""
    record = as_record(graded, details=False)
    record["correct"] = "true" if record["correct"] else "false"
    record["isolation"] = " ".join(record["isolation"])
    record["message"] = message(graded.judgement)
    return [record[column] for column in _COLUMNS]


def as_row(graded: Graded) -> str:
    """The line of the table. The name stands last, as it may be of any length."""
    judgement = graded.judgement
    passed = sum(test.correct for test in judgement.tests)
    tests = f"{passed}/{len(judgement.tests)}" if judgement.tests else "-"
    took = f"{judgement.usage.wall_s * 1000:.1f} ms" if judgement.usage.wall_s else "-"
    verdict = click.style(f"{judgement.verdict.value:<12}", fg=_COLOURS.get(judgement.verdict, "yellow"))
    note = f"  ({message(judgement)})" if message(judgement) else ""
    return f"{verdict} {judgement.score:>5.2f} {tests:>7} {took:>10}  {plain(graded.submission)}{note}"


HEADER = f"{'VERDICT':<12} {'SCORE':>5} {'TESTS':>7} {'TIME':>10}  SUBMISSION"


def as_details(graded: Graded) -> Iterator[str]:
    """The lines of --details below the table's row. Every line is printable: texts come from learners."""
    judgement = graded.judgement
    for error in judgement.errors:
        yield from _indented(error, "    ")
    if judgement.verdict is Verdict.UNGRADED:
        yield from _indented(judgement.detail, "    ")
    for test in judgement.tests:
        yield f"    {'ok  ' if test.correct else 'FAIL'}  {plain(test.short)}"
        secret = test.hide_output and not (test.expected or test.actual)
        if not test.correct and not secret:
            if test.long and test.long != test.short:
                yield from _indented(test.long, "          ")
            yield "          expected:"
            yield from _indented(test.expected, "            ")
            yield "          actual:"
            yield from _indented(test.actual, "            ")


def _indented(text: str, indent: str) -> Iterator[str]:
    lines = text.expandtabs().splitlines() or ["(nothing)"]
    for line in lines[:_MOST_LINES]:
        yield indent + plain(line)
    if len(lines) > _MOST_LINES:
        yield f"{indent}… {len(lines) - _MOST_LINES} more lines"


def by_reason(lost: Iterable[Graded]) -> dict[str, list[str]]:
    """Whose fault it is and why -> the submissions that it kept from being graded."""
    found: dict[str, list[str]] = {}
    for item in lost:
        judgement = item.judgement
        whose = "the grader's fault" if judgement.blame is Blame.COURSE else "this machine's fault"
        reason = f"{whose}, {judgement.cause.value}: {message(judgement)}"
        found.setdefault(reason, []).append(item.submission)
    return found


def totals(graded: Sequence[Graded], seconds: float) -> str:
    """The line that ends the talk."""
    counts = Counter(item.judgement.verdict for item in graded)
    parts = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])
    files = "1 file" if len(graded) == 1 else f"{len(graded)} files"
    return f"{files}: {parts} · {seconds:.2f} s, {len(graded) / max(seconds, 1e-9):.0f}/s"


def mends(read: Callable[[str], str]) -> list[str]:
    """What usually keeps this machine from isolating, with the line that mends it.

    Args:
        read: contents of a file, "" if it is not there.
    """
    found = []
    if read("/proc/sys/user/max_user_namespaces").strip() == "0":
        found.append("user namespaces are switched off: sysctl -w user.max_user_namespaces=15000")
    if read("/proc/sys/kernel/unprivileged_userns_clone").strip() == "0":
        found.append("only root may make user namespaces: sysctl -w kernel.unprivileged_userns_clone=1")
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").strip() == "1":
        found.append(
            "AppArmor restricts user namespaces: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, "
            "or give warden an AppArmor profile with `userns,`"
        )
    if read("/proc/1/environ").find("container=") >= 0 or Path("/.dockerenv").exists():
        found.append(
            "this is a container: it must be allowed to make namespaces and mounts (Docker: "
            "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --cap-add SYS_ADMIN)"
        )
    return found


def _contents(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


class Printer:
    """Writes results to stdout as they come, in one of the three forms."""

    def __init__(self, form: str, details: bool) -> None:
        self._form = form
        self._details = details
        self._rows = 0

    def __call__(self, graded: Graded) -> None:
        if self._form == "json":
            click.echo(json.dumps(as_record(graded, self._details)))
        elif self._form == "csv":
            import csv

            writer = csv.writer(sys.stdout, lineterminator="\n")
            if not self._rows:
                writer.writerow(_COLUMNS)
            writer.writerow(as_cells(graded))
            sys.stdout.flush()
        else:
            if not self._rows:
                click.echo(click.style(HEADER, bold=True))
            click.echo(as_row(graded))
            for line in as_details(graded) if self._details else ():
                click.echo(line)
        self._rows += 1


# -------------------------------------------------------------------------------------------------- command


def _modules(_context: click.Context, _option: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise click.BadParameter(f"{plain(name)} is no module name")
    return names


@click.command(context_settings={"show_default": True})
@click.argument("grader", type=click.Path(exists=True, path_type=Path), required=False)
@click.argument("submissions", nargs=-1, metavar="SUBMISSION...")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The course's grader root: what lies under it (helper modules, translations) the grader may use.",
    show_default="the grader's own folder",
)
@click.option(
    "--bundle",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Instead of GRADER and SUBMISSION: a folder that `warden dead show --bundle` has written.",
)
@click.option("--lang", default="en", metavar="LANG", help="Language of the grader's texts.")
@click.option(
    "--language",
    default="",
    metavar="NAME",
    help="Programming language, where GRADER is a folder of tests.",
    show_default="by the files' names",
)
@click.option("--seed", type=int, default=1, help="The random_seed that the LMS would send.")
@click.option("--json", "form", flag_value="json", help="One JSON object a line.")
@click.option("--csv", "form", flag_value="csv", help="CSV with a header.")
@click.option("--details", is_flag=True, help="Every test, with expected and actual output where it failed.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 256),
    help="Files graded at the same time.",
    show_default="number of CPUs",
)
@click.option("--cpu", type=click.FloatRange(0.01), default=Limits().cpu_s, help="CPU seconds for each file.")
@click.option(
    "--wall",
    type=click.FloatRange(0.01),
    help="Seconds by the clock for each file.",
    show_default=f"{Limits().wall_s:g}, or four times --cpu if that is more",
)
@click.option(
    "--memory", type=click.IntRange(16), default=Limits().memory_mib, help="MiB of memory for each file."
)
@click.option(
    "--interpreter",
    type=click.Path(exists=True, dir_okay=False, executable=True),
    help="Python that runs grader and submissions (CPython >= 3.8, may be a virtualenv's).",
    show_default="the one that runs warden",
)
@click.option(
    "--preload",
    multiple=True,
    metavar="MODULE",
    callback=_modules,
    help="Module imported once before all files, as a sandbox's preload, e.g. numpy. May be repeated.",
)
@click.option(
    "--require",
    type=click.Choice([level.value for level in Isolation]),
    default=Isolation.FULL.value,
    help="Isolation that must be in force; nothing runs with less.",
)
@click.pass_context
def grade(
    context: click.Context,
    grader: Path | None,
    submissions: tuple[str, ...],
    root: Path | None,
    bundle: Path | None,
    lang: str,
    language: str,
    seed: int,
    form: str | None,
    details: bool,
    jobs: int | None,
    cpu: float,
    wall: float | None,
    memory: int,
    interpreter: str | None,
    preload: tuple[str, ...],
    require: str,
) -> None:
    """Grade files here and now, without any queue or configuration.

    GRADER is a grader.py with its answer.py beside it, or their folder; or the folder of a problem with tests
    in files (N.in and N.out, or a Kattis package) for programs in any built-in language, with that language's
    limits unless others are given. SUBMISSION is a file, a folder (every .py within, or every source file) or
    - for stdin. Both stand in a --bundle, with the handler's settings.

    Exit code: 0 every file was graded, whatever the marks; 1 some could not be graded, through no fault of
    the learner's; 2 usage; 3 this machine cannot isolate; 130 interrupted.
    """
    if details and form == "csv":
        raise click.UsageError("--csv has one row per file; use --json with --details")
    if bundle is not None:
        if grader is not None:
            raise click.UsageError("--bundle names the grader and the submission; leave GRADER out")
        context.with_resource(cgroup.delegated())
        _grade_bundle(bundle, root, Printer(form or "table", details))
    if grader is None or not submissions:
        raise click.UsageError("name a GRADER and at least one SUBMISSION, or a --bundle")
    folder, name = find_grader(grader, root)
    program = is_program(grader)
    if program and preload:
        raise click.UsageError("--preload is for a grader.py; programs start an interpreter of their own")
    suffixes = (
        tuple(suffix for one in built_in().values() for suffix in one.suffixes) if program else (".py",)
    )
    files = expand(submissions, suffixes)
    given = {"cpu_s": ("cpu", cpu), "wall_s": ("wall", wall), "memory_mib": ("memory", memory)}
    order = Order(
        root=folder,
        grader=name,
        lang=lang,
        seed=seed,
        limits=Limits(
            wall_s=wall if wall is not None else max(Limits().wall_s, 4 * cpu), cpu_s=cpu, memory_mib=memory
        ),
        interpreter=os.path.abspath(interpreter) if interpreter else "",  # noqa: PTH100 - links stay: virtualenvs
        require=Isolation(require),
        languages=languages_of(files, language, Isolation(require)) if program else {},
        changes={
            key: value
            for key, (option, value) in given.items()
            if value is not None
            and context.get_parameter_source(option) is not click.core.ParameterSource.DEFAULT
        },
        language=language,
        preload=preload,
    )
    signal.signal(signal.SIGTERM, _terminated)
    context.with_resource(cgroup.delegated())
    done: list[Graded] = []
    try:
        _grade_all(order, files, jobs or os.cpu_count() or 1, Printer(form or "table", details), done)
    except KeyboardInterrupt:
        click.echo(f"interrupted: {len(done)} of {len(files)} files were graded", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except SandboxUnavailable as error:
        _cannot_isolate(error)
    lost = [item for item in done if item.judgement.verdict is Verdict.UNGRADED]
    for reason, names in by_reason(lost).items():
        click.echo(f"could not be graded: {reason}", err=True)
        for submission in names:
            click.echo(f"  {plain(submission)}", err=True)
    sys.exit(EXIT_UNGRADED if lost else 0)


def _grade_bundle(folder: Path, root: Path | None, show: Printer) -> NoReturn:
    from supervisor.cli.bundle import against, judged

    signal.signal(signal.SIGTERM, _terminated)
    try:
        bundle, judgement = judged(folder, root)
    except SandboxUnavailable as error:
        _cannot_isolate(error)
    show(Graded(str(folder), judgement))
    click.echo(against(bundle, judgement), err=True)
    sys.exit(EXIT_UNGRADED if judgement.verdict is Verdict.UNGRADED else 0)


def _cannot_isolate(error: SandboxUnavailable) -> NoReturn:
    click.echo(f"this machine cannot isolate submissions, so nothing was run: {plain(error)}", err=True)
    for mend in mends(_contents):
        click.echo(f"  {mend}", err=True)
    sys.exit(EXIT_ISOLATION)


def _grade_all(order: Order, files: list[str], jobs: int, show: Printer, done: list[Graded]) -> None:
    """Grade and show; `done` grows as results are shown."""
    stdin = sys.stdin.buffer.read(_MOST_BYTES) if STDIN in files else b""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names are bytes
    started = time.monotonic()
    with (
        Pool(order, min(jobs, len(files)), stdin) as pool,
        progress.bar("grading", len(files), PROGRESS_FROM) as advance,
    ):
        for graded in pool.results(files):
            done.append(graded)
            show(graded)
            advance()
    click.echo(totals(done, time.monotonic() - started), err=True)


def _terminated(*_: object) -> NoReturn:
    sys.exit(EXIT_TERMINATED)
