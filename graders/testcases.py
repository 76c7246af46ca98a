"""Problems with tests in files: found under the grader root, read, and understood.

Runs in: worker, tools. Two layouts of a problem's folder are known.

A plain folder holds pairs N.in and N.out (or N.ans), also in sub-folders, and perhaps a tests.toml with
groups, points, limits, comparison and which tests are public. Tests called sample… are public.

A Kattis problem package has a problem.yaml: data/sample is public, data/secret is not, testdata.yaml files
say how groups are marked, output_validators/ (or output_validator/) holds a validator if it has its own.

Both may have include/ (files compiled with every submission) and submissions/accepted/, …/wrong_answer/ and
so on, by which `warden check` proves the problem. No path is followed out of the grader root.
"""

from __future__ import annotations

import fnmatch
import math
import os
import re
import shlex
import stat
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import tomli

from graders.catalogue import Reading, Signature, parts_of, unchanged
from graders.comparison import Comparison, ComparisonError, Mode, of_flags
from graders.errors import CatalogueError
from graders.languages import change_limits
from graders.model import Verdict
from graders.scoring import Acceptance, Aggregation, Case, Group
from sandbox.model import Bundle, Limits

TESTS_FILE: Final = "tests.toml"
PACKAGE_FILE: Final = "problem.yaml"
INCLUDE: Final = "include"
SUBMISSIONS: Final = "submissions"
VALIDATORS: Final = ("output_validators", "output_validator")

MOST_BYTES: Final = 64 << 20
MOST_FILES: Final = 4096
MOST_INPUT: Final = 16 << 20
"""Bytes of one test's input or answer."""
_MOST_TEXT: Final = 256 << 10
_MOST_DEPTH: Final = 6
_KEPT_BYTES: Final = 128 << 20

EXPECTED: Final[Mapping[str, frozenset[Verdict]]] = {
    "accepted": frozenset({Verdict.CORRECT}),
    "wrong_answer": frozenset({Verdict.INCORRECT}),
    "time_limit_exceeded": frozenset({Verdict.TIMEOUT}),
    "run_time_error": frozenset({Verdict.ERROR, Verdict.MEMORY, Verdict.LIMIT}),
    "memory_limit_exceeded": frozenset({Verdict.MEMORY, Verdict.ERROR}),
    "output_limit_exceeded": frozenset({Verdict.LIMIT}),
    "compile_error": frozenset({Verdict.ERROR}),
    "rejected": frozenset(set(Verdict) - {Verdict.CORRECT, Verdict.UNGRADED}),
    "partially_accepted": frozenset(set(Verdict) - {Verdict.UNGRADED}),
}
"""Folder below submissions/ -> the verdicts that are right for what lies in it."""


@dataclass(frozen=True, slots=True)
class Validator:
    """A checker of the course's own: its sources. `scores`: it may give a score."""

    sources: Bundle
    scores: bool = False
    compile_limits: Mapping[str, int | float] = field(default_factory=dict)
    run_limits: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProgramProblem:
    """A problem, ready to be judged. `tests` is the tree of all tests, never empty.

    `partial`: a submission may earn a part of the marks. `languages` are those allowed, () for any that the
    handler allows. `include` maps a language's name or "default" to files compiled with each submission.
    """

    name: str
    title: str
    tests: Group
    partial: bool
    limits: Mapping[str, int | float] = field(default_factory=dict)
    compile_limits: Mapping[str, int | float] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    include: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    validator: Validator | None = None
    ignore_exit_status: bool = False
    digest: str = ""  # SHA-256 (hex) of its files


@dataclass(frozen=True, slots=True)
class Solution:
    """A submission of the staff's, and the verdicts that are right for it."""

    name: str
    files: Mapping[str, bytes]
    expected: frozenset[Verdict]


class TestCatalogue:
    """Reads the problems under one root, and keeps them while their files stay as they are.

    `comparison` is used where a problem says nothing of its own; a Kattis package always does.
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(self, root: Path, comparison: Comparison = Comparison()) -> None:
        self.root = Path(root).absolute()
        self._comparison = comparison
        self._kept: OrderedDict[str, tuple[Signature, int, ProgramProblem]] = OrderedDict()

    def problem(self, name: str) -> ProgramProblem:
        """The problem whose folder is `name`, relative to the root.

        Raises:
            CatalogueError: there is none, or what it says cannot be followed; the message says where.
        """
        kept = self._kept.get(name)
        if kept is not None and unchanged(kept[0]):
            self._kept.move_to_end(name)
            return kept[2]
        self._kept.pop(name, None)
        reading = Reading(self.root, MOST_BYTES, MOST_FILES)
        problem = replace(self._read(reading, name), digest=reading.digest)
        size = sum(len(case.input) + len(case.answer) for case in problem.tests.cases())
        self._kept[name] = (tuple(reading.seen), size, problem)
        while len(self._kept) > 1 and sum(size for _, size, _ in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return problem

    def solutions(self, name: str) -> tuple[Solution, ...]:
        """The staff's submissions to a problem, by folder and name. Read anew each time.

        Raises:
            CatalogueError: as `problem`.
        """
        folder = _Folder(Reading(self.root, MOST_BYTES, MOST_FILES), parts_of(name))
        found = []
        with _told(name, self.root):
            for kind, expected in EXPECTED.items():
                place = folder.below(SUBMISSIONS, kind)
                for entry in place.entries() if place.is_folder() else ():
                    one = place.below(entry)
                    files = one.files() if one.is_folder() else {entry: one.contents()}
                    found.append(Solution(f"{SUBMISSIONS}/{kind}/{entry}", files, expected))
        return tuple(found)

    def _read(self, reading: Reading, name: str) -> ProgramProblem:
        with _told(name, self.root):
            parts = parts_of(name)
            if parts and parts[-1] in (TESTS_FILE, PACKAGE_FILE):
                parts = parts[:-1]
            folder = _Folder(reading, parts)
            if not folder.is_folder():
                raise CatalogueError(f"problem {name!r} under {self.root}: there is no such folder")
            if PACKAGE_FILE in folder.entries():
                problem = _read_package(folder)
            else:
                problem = _read_plain(folder, self._comparison)
        if next(problem.tests.cases(), None) is None:
            raise CatalogueError(f"problem {name!r} under {self.root}: it has no tests")
        return problem


def list_problems(root: Path) -> list[str]:
    """Every folder under the root that is a problem, as a path relative to it, sorted."""
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = set(files)
        pairs = any(
            name.endswith(".in") and (f"{name[:-3]}.out" in names or f"{name[:-3]}.ans" in names)
            for name in names
        )
        if PACKAGE_FILE in names or TESTS_FILE in names or pairs:
            found.append(Path(place).relative_to(root).as_posix())
            folders.clear()
    return sorted(found)


# ------------------------------------------------------------------------------------------- reading folders


class _told:
    """Errors of the system become errors of the catalogue that say which problem."""

    def __init__(self, name: str, root: Path) -> None:
        self._where = f"problem {name!r} under {root}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CatalogueError):
            if not str(error).startswith("problem "):
                raise CatalogueError(f"{self._where}: {error}") from error
        elif isinstance(error, OSError):
            raise CatalogueError(f"{self._where}: {error.filename or ''}: {error.strerror}") from error
        elif isinstance(error, RecursionError):
            raise CatalogueError(f"{self._where}: nested too deep") from None


@dataclass(frozen=True, slots=True)
class _Folder:
    """A place under the root, looked at by the rules of the catalogue."""

    reading: Reading
    parts: list[str]

    def below(self, *names: str) -> _Folder:
        return _Folder(self.reading, [*self.parts, *names])

    def is_folder(self) -> bool:
        try:
            with self.reading.opened(self.parts) as place:
                return stat.S_ISDIR(place.info.st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def entries(self) -> list[str]:
        """Names in it, without hidden ones, numbers in their order."""
        names = self.reading.names(self.parts)
        return sorted(
            (name for name in names if name[0] != "." and name.isprintable() and name[-1] != "~"), key=natural
        )

    def contents(self) -> bytes:
        return self.reading.file(self.parts)

    def text(self) -> str:
        data = self.contents()
        if len(data) > _MOST_TEXT:
            raise CatalogueError(f"{'/'.join(self.parts)}: larger than {_MOST_TEXT >> 10} KiB")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CatalogueError(f"{'/'.join(self.parts)}: not UTF-8: {error}") from None

    def files(self, depth: int = 0) -> dict[str, bytes]:
        """All regular files below, by their path."""
        if depth > _MOST_DEPTH:
            raise CatalogueError(f"{'/'.join(self.parts)}: folders too deep")
        found: dict[str, bytes] = {}
        for name in self.entries():
            place = self.below(name)
            if place.is_folder():
                if name != "__pycache__":
                    found |= {f"{name}/{path}": data for path, data in place.files(depth + 1).items()}
            else:
                found[name] = place.contents()
        return found


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A key to sort by in which 10 comes after 9."""
    return tuple(
        (0, int(piece)) if piece.isdecimal() and piece.isascii() and len(piece) < 19 else (1, piece)
        for piece in re.split(r"([0-9]+)", name)
        if piece
    )


def _pairs(folder: _Folder, endings: Sequence[str], names: Sequence[str]) -> list[Case]:
    """The tests of which both files lie in this very folder; a lone input is an error."""
    there = set(names)
    found = []
    for name in names:
        if not name.endswith(".in"):
            continue
        stem = name[: -len(".in")]
        answers = [f"{stem}{ending}" for ending in endings if f"{stem}{ending}" in there]
        where = "/".join([*folder.parts, name])
        if len(answers) != 1:
            what = "no" if not answers else "more than one"
            raise CatalogueError(f"{where}: there is {what} {' or '.join(endings)} file beside it")
        both = folder.below(name).contents(), folder.below(answers[0]).contents()
        if max(map(len, both)) > MOST_INPUT:
            raise CatalogueError(f"{where}: a test has more than {MOST_INPUT >> 20} MiB")
        found.append(Case(stem, *both))
    return found


def _include(folder: _Folder) -> dict[str, dict[str, bytes]]:
    """Files of include/ itself are for every language, those of include/NAME for that one."""
    place = folder.below(INCLUDE)
    if not place.is_folder():
        return {}
    found: dict[str, dict[str, bytes]] = {}
    for name in place.entries():
        one = place.below(name)
        if one.is_folder():
            found.setdefault(name, {}).update(one.files())
        else:
            found.setdefault("default", {})[name] = one.contents()
    return found


# ---------------------------------------------------------------------------------------------- plain folders


class _Compared(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    mode: Mode = Mode.TOKENS
    case_sensitive: bool = True
    line_change_sensitive: bool = False
    space_change_sensitive: bool = False
    float_absolute_tolerance: float | None = None
    float_relative_tolerance: float | None = None


class _GroupTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    tests: list[str] | None = None
    points: float | None = None
    score: Literal["all", "each"] = "all"
    stop: bool | None = None
    public: bool = False
    comparison: dict[str, Any] | None = None
    limits: dict[str, int | float] = {}
    checker_flags: list[str] | None = None


class _TestsTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    title: str = ""
    languages: list[str] = []
    public: list[str] = []
    score: Literal["all", "each"] = "each"
    stop: bool = False
    points: float | None = None
    comparison: dict[str, Any] | None = None
    limits: dict[str, int | float] = {}
    checker: str = ""
    checker_flags: list[str] = []
    ignore_exit_status: bool = False
    groups: dict[str, _GroupTable] = {}


def comparison_of(table: Mapping[str, Any], beneath: Comparison | None = None) -> Comparison:
    """The comparison that a table of the configuration or of tests.toml means.

    Raises:
        ComparisonError: unknown key, wrong type, or options that make no sense.
    """
    try:
        given = msgspec.convert(dict(table), _Compared)
    except msgspec.ValidationError as error:
        raise ComparisonError(str(error).replace(" - at `$.", " at `")) from None
    values = {name: getattr(given, name) for name in _Compared.__struct_fields__ if name in table}
    if "mode" not in table and ({"float_absolute_tolerance", "float_relative_tolerance"} & set(table)):
        values["mode"] = Mode.FLOATS
    return replace(beneath or Comparison(), **values)


def _read_plain(folder: _Folder, comparison: Comparison) -> ProgramProblem:
    names = folder.entries()
    table = _TestsTable()
    if TESTS_FILE in names:
        try:
            table = msgspec.convert(tomli.loads(folder.below(TESTS_FILE).text()), _TestsTable)
        except (tomli.TOMLDecodeError, msgspec.ValidationError) as error:
            raise CatalogueError(f"{TESTS_FILE}: {error}") from None
    cases = _plain_cases(folder, names, table)
    comparison = _compared(table.comparison, comparison, "comparison")
    flags = tuple(table.checker_flags)
    groups: list[Case | Group] = []
    for name, group in table.groups.items():
        patterns = group.tests if group.tests is not None else [f"{name}/*"]
        mine = [case for case in cases.values() if _fits(case.name, patterns)]
        if not mine:
            raise CatalogueError(f"{TESTS_FILE}: groups.{name}: no test is called {' or '.join(patterns)}")
        for case in mine:
            del cases[case.name]
        groups.append(
            _plain_group(
                name,
                [replace(case, public=case.public or group.public) for case in mine],
                group.score,
                group.stop if group.stop is not None else group.score == "all",
                group.points,
                _compared(group.comparison, comparison, f"groups.{name}.comparison"),
                flags if group.checker_flags is None else tuple(group.checker_flags),
                _limits(group.limits, f"{TESTS_FILE}: groups.{name}.limits"),
            )
        )
    rest = _plain_group(
        "", list(cases.values()), table.score, table.stop, table.points, comparison, flags, {}
    )
    tests = rest if not groups else Group("", (*((rest,) if rest.members else ()), *groups))
    return ProgramProblem(
        name="/".join(folder.parts),
        title=table.title,
        tests=tests,
        partial=True,
        limits=_limits(table.limits, f"{TESTS_FILE}: limits"),
        languages=tuple(table.languages),
        include=_include(folder),
        validator=_checker(folder, table.checker),
        ignore_exit_status=table.ignore_exit_status,
    )


_NO_TESTS: Final = (INCLUDE, SUBMISSIONS, *VALIDATORS)


def _plain_cases(folder: _Folder, names: Sequence[str], table: _TestsTable) -> dict[str, Case]:
    found = _pairs(folder, (".out", ".ans"), names)
    for name in names:
        place = folder.below(name)
        if name not in _NO_TESTS and name != table.checker.split("/")[0] and place.is_folder():
            found += [
                replace(case, name=f"{name}/{case.name}")
                for case in _pairs(place, (".out", ".ans"), place.entries())
            ]
    public = [*table.public, "sample*"]
    return {case.name: replace(case, public=_fits(case.name, public)) for case in found}


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _plain_group(
    name: str,
    cases: Sequence[Case],
    score: str,
    stop: bool,
    points: float | None,
    comparison: Comparison,
    flags: tuple[str, ...],
    limits: Mapping[str, int | float],
) -> Group:
    worth = float(len(cases)) if points is None else points
    if not math.isfinite(worth) or worth < 0:
        raise CatalogueError(f"{TESTS_FILE}: points of {name or 'the problem'} must be 0 or more")
    whole = score == "all"
    return Group(
        name=name,
        members=tuple(cases),
        aggregation=Aggregation.MIN if whole else Aggregation.SUM,
        stop=stop,
        accept_score=worth if whole else worth / max(1, len(cases)),
        comparison=comparison,
        flags=flags,
        limits=limits,
    )


def _compared(table: Mapping[str, Any] | None, beneath: Comparison, where: str) -> Comparison:
    try:
        return comparison_of(table, beneath) if table is not None else beneath
    except ComparisonError as error:
        raise CatalogueError(f"{TESTS_FILE}: {where}: {error}") from None


def _limits(changes: Mapping[str, int | float], where: str) -> Mapping[str, int | float]:
    try:
        change_limits(Limits(), changes)
    except ValueError as error:
        raise CatalogueError(f"{where}: {error}") from None
    return changes


def _checker(folder: _Folder, name: str) -> Validator | None:
    if not name:
        return None
    place = folder.below(*parts_of(name))
    files = place.files() if place.is_folder() else {place.parts[-1]: place.contents()}
    return Validator(Bundle.of(files), scores=True)


# -------------------------------------------------------------------------------------------- Kattis packages


def _yaml(folder: _Folder, name: str) -> _Map:
    try:
        import yaml
    except ImportError:
        raise CatalogueError(
            f"{name}: reading it needs PyYAML, which is not installed; install xqueue-warden[yaml]"
        ) from None
    try:
        value = yaml.safe_load(folder.below(name).text())
    except (yaml.YAMLError, ValueError) as error:
        raise CatalogueError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    where = "/".join([*folder.parts, name])
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise CatalogueError(f"{where}: must be a table")
    return _Map(where, value)


@dataclass(frozen=True, slots=True)
class _Map:
    """A table from YAML, asked key by key. Unknown keys are for other judges, and passed over."""

    where: str
    values: Mapping[Any, Any]

    def table(self, key: str) -> _Map:
        value = self.values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise CatalogueError(f"{self.where}: {key} must be a table")
        return _Map(f"{self.where}: {key}", value)

    def text(self, key: str, default: str = "") -> str:
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool | list | dict):
            raise CatalogueError(f"{self.where}: {key} must be text")
        return str(value)

    def words(self, key: str) -> tuple[str, ...] | None:
        """Words of a text (or a list of texts); None if the key is not there."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, list):
            return tuple(str(one) for one in value)
        try:
            return tuple(shlex.split(self.text(key)))
        except ValueError as error:
            raise CatalogueError(f"{self.where}: {key}: {error}") from None

    def number(self, key: str, default: float | None = None) -> float | None:
        value = self.values.get(key)
        if value is None:
            return default
        try:
            if isinstance(value, bool):
                raise ValueError
            found = float(value)
        except (TypeError, ValueError, OverflowError):
            raise CatalogueError(f"{self.where}: {key} must be a number") from None
        if not math.isfinite(found):
            raise CatalogueError(f"{self.where}: {key} must be a finite number")
        return found


def _read_package(folder: _Folder) -> ProgramProblem:
    package = _yaml(folder, PACKAGE_FILE)
    kinds = package.words("type") or ("pass-fail",)
    for kind in kinds:
        if kind not in ("pass-fail", "scoring"):
            raise CatalogueError(f"{PACKAGE_FILE}: type {kind!r} is not supported; pass-fail and scoring are")
    partial = "scoring" in kinds
    legacy = package.text("problem_format_version", "legacy") == "legacy"
    if partial and not legacy:
        raise CatalogueError(
            f"{PACKAGE_FILE}: type scoring is supported in problem_format_version legacy only"
        )
    names = folder.entries()
    validation = (package.text("validation", "default") or "default").split()
    custom = validation[0] == "custom" if legacy else VALIDATORS[1] in names
    if "interactive" in validation or validation[0] not in ("default", "custom"):
        raise CatalogueError(f"{PACKAGE_FILE}: validation {' '.join(validation)!r} is not supported")
    limits = package.table("limits")
    validator = _package_validator(folder, names, limits, "score" in validation) if custom else None
    top = _Marking(
        custom=custom,
        flags=package.words("validator_flags") or (),
        aggregation=Aggregation.SUM,
    )
    data = folder.below("data")
    if not data.is_folder():
        raise CatalogueError("data: there is no such folder")
    tests = _package_group(data, "", top, public=False)
    if partial and not tests.full and validator is not None and validator.scores:
        raise CatalogueError(
            "data/testdata.yaml: its validator gives scores; add a range, so that full marks are known"
        )
    title = package.values.get("name")
    return ProgramProblem(
        name="/".join(folder.parts),
        title=str(next(iter(title.values()), "")) if isinstance(title, dict) else str(title or ""),
        tests=tests,
        partial=partial,
        limits=_package_limits(folder, limits),
        compile_limits=_seconds(limits.number("compilation_time"))
        | _mebibytes(limits.number("compilation_memory")),
        include=_include(folder),
        validator=validator,
    )


def _package_limits(folder: _Folder, limits: _Map) -> dict[str, int | float]:
    """Limits of a run. The time is not derived from the staff's solutions: it must be given, or is ours."""
    found = _mebibytes(limits.number("memory"))
    if output := limits.number("output"):
        found["output_kib"] = min(max(1, int(output * 1024)), 65_536)
    time_s = limits.number("time_limit")
    if time_s is None:
        try:
            time_s = float(folder.below(".timelimit").text())
        except FileNotFoundError:
            pass
        except ValueError:
            raise CatalogueError(".timelimit: not a number") from None
    return found | _seconds(time_s)


def _seconds(value: float | None) -> dict[str, int | float]:
    if value is None:
        return {}
    if not 0 < value <= 3600:
        raise CatalogueError(f"a time limit of {value:g} s makes no sense")
    return {"cpu_s": value}


def _mebibytes(value: float | None) -> dict[str, int | float]:
    if value is None:
        return {}
    if not 1 <= value <= 1 << 20:
        raise CatalogueError(f"a memory limit of {value:g} MiB makes no sense")
    return {"memory_mib": max(16, int(value))}


def _package_validator(folder: _Folder, names: Sequence[str], limits: _Map, scores: bool) -> Validator:
    places = [folder.below(name) for name in VALIDATORS if name in names]
    if not places:
        raise CatalogueError(f"{VALIDATORS[0]}: there is no such folder, but validation is custom")
    place = places[0]
    below = [place.below(name) for name in place.entries()]
    folders = [one for one in below if one.is_folder()]
    if len(folders) > 1 or (folders and len(folders) < len(below)):
        raise CatalogueError(f"{place.parts[-1]}: more than one validator is not supported")
    files = (folders[0] if folders else place).files()
    if not files or {"build", "run"} & set(files):
        raise CatalogueError(
            f"{place.parts[-1]}: must hold source files; own build and run scripts are not run"
        )
    run = _seconds(limits.number("validation_time")) | _mebibytes(limits.number("validation_memory"))
    if output := limits.number("validation_output"):
        run["output_kib"] = min(max(1, int(output * 1024)), 65_536)
    compiling = _seconds(limits.number("compilation_time")) | _mebibytes(limits.number("compilation_memory"))
    return Validator(Bundle.of(files), scores, compiling, run)


@dataclass(frozen=True, slots=True)
class _Marking:
    """What testdata.yaml files said so far; a sub-folder inherits what its own does not say."""

    custom: bool
    flags: tuple[str, ...]
    aggregation: Aggregation
    acceptance: Acceptance = Acceptance.ALL
    stop: bool = True
    accept_score: float = 1.0
    reject_score: float = 0.0
    ignore_sample: bool = False
    full: float | None = None  # of this folder's own file, never inherited


_GRADER_FLAGS: Final[Mapping[str, tuple[str, object]]] = {
    "sum": ("aggregation", Aggregation.SUM),
    "avg": ("aggregation", Aggregation.AVERAGE),
    "min": ("aggregation", Aggregation.MIN),
    "max": ("aggregation", Aggregation.MAX),
    "worst_error": ("acceptance", Acceptance.ALL),
    "first_error": ("acceptance", Acceptance.ALL),
    "accept_if_any_accepted": ("acceptance", Acceptance.ANY),
    "always_accept": ("acceptance", Acceptance.ALWAYS),
    "ignore_sample": ("ignore_sample", True),
}


def _marking(said: _Map, above: _Marking) -> _Marking:
    changes: dict[str, Any] = {"full": None}
    reject = said.text("on_reject")
    if reject not in ("", "break", "continue"):
        raise CatalogueError(f"{said.where}: on_reject must be break or continue")
    if reject:
        changes["stop"] = reject == "break"
    if said.text("grading", "default") not in ("default", ""):
        raise CatalogueError(f"{said.where}: grading {said.text('grading')!r} is not supported; default is")
    flags = said.words("grader_flags")
    if flags is not None:
        changes |= {"aggregation": Aggregation.SUM, "acceptance": Acceptance.ALL, "ignore_sample": False}
        for flag in flags:
            if flag not in _GRADER_FLAGS:
                raise CatalogueError(f"{said.where}: unknown grader flag {flag!r}")
            key, value = _GRADER_FLAGS[flag]
            changes[key] = value
    for key in ("accept_score", "reject_score"):
        if (value := said.number(key)) is not None:
            changes[key] = value
    validator_flags = said.words("output_validator_flags")
    if validator_flags is None:
        validator_flags = said.words("output_validator_args")
    if validator_flags is not None:
        changes["flags"] = validator_flags
    if span := said.words("range"):
        try:
            high = float(span[1])
        except (IndexError, ValueError):
            raise CatalogueError(f"{said.where}: range must be two numbers") from None
        if math.isfinite(high) and high > 0:
            changes["full"] = high
    return replace(above, **changes)


def _package_group(folder: _Folder, name: str, above: _Marking, public: bool, depth: int = 0) -> Group:
    if depth > _MOST_DEPTH:
        raise CatalogueError(f"{'/'.join(folder.parts)}: folders too deep")
    names = folder.entries()
    said = next((one for one in ("testdata.yaml", "test_group.yaml") if one in names), "")
    marking = _marking(_yaml(folder, said), above) if said else replace(above, full=None)
    try:
        comparison = Comparison() if marking.custom else of_flags(marking.flags)
    except ComparisonError as error:
        raise CatalogueError(f"{'/'.join(folder.parts)}: {error}") from None
    members: list[tuple[str, Case | Group]] = [
        (case.name, replace(case, name=f"{name}/{case.name}".lstrip("/"), public=public))
        for case in _pairs(folder, (".ans",), names)
    ]
    for entry in names:
        place = folder.below(entry)
        if place.is_folder() and not entry.endswith(".files"):
            is_sample = not name and entry == "sample"
            group = _package_group(
                place, f"{name}/{entry}".lstrip("/"), marking, public or is_sample, depth + 1
            )
            if is_sample and marking.ignore_sample:  # run and shown, but it counts for nothing
                group = replace(group, counted=False, acceptance=Acceptance.ALWAYS)
            if group.members:
                members.append((entry, group))
    members.sort(key=lambda member: natural(member[0]))
    return Group(
        name=name,
        members=tuple(member for _, member in members),
        aggregation=marking.aggregation,
        acceptance=marking.acceptance,
        stop=marking.stop,
        accept_score=marking.accept_score,
        reject_score=marking.reject_score,
        full=marking.full,
        comparison=comparison,
        flags=marking.flags,
    )
