"""Sample problems and the verdicts their submissions must get: what the demo, the tests and the bench send.

Two forms are read. A course keeps its samples in a tree of their own, `<grader_root>/submissions/`, so that
no pass ever shows them to learner code; docs/course-authors.md describes the files. A data folder holds
python_problems.jsonl and python_submissions.jsonl, one JSON object a line.

Runs in: tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import tomli

from graders.model import Verdict

SUBMISSIONS = "submissions"
CHEATS = "cheats"
MANIFEST = "manifest.toml"

_ANY_FAILURE = frozenset(set(Verdict) - {Verdict.CORRECT, Verdict.TIMEOUT, Verdict.UNGRADED})
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_BROKEN = frozenset({Verdict.UNGRADED})


class ManifestError(ValueError):
    """A manifest or a data file is not what it should be; the message names the file and the place in it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One submission and the verdicts that are right for it. `name` is unique within its problem."""

    name: str
    response: str
    expected: frozenset[Verdict]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem with its samples.

    `grader` is the path of its grader relative to the grader root, `payload` the grader_payload to send (JSON
    text, "grader" included), `title` a few words for people.
    """

    grader: str
    title: str
    payload: str
    submissions: tuple[Sample, ...]


def load(root: Path) -> tuple[Problem, ...]:
    """Problems of the course at `root` that have samples, in the order of their paths.

    Raises:
        ManifestError: a manifest is wrong, or does not agree with the files beside it.
    """
    home = root / SUBMISSIONS
    cheats = _load_cheats(home / CHEATS)
    manifests = [path for path in sorted(home.rglob(MANIFEST)) if path.parent != home / CHEATS]
    if not manifests:
        raise ManifestError(f"{home}: no {MANIFEST} below it")
    return tuple(_load_problem(root, path, cheats) for path in manifests)


def load_data(folder: Path, unpack_into: Path) -> tuple[Problem, ...]:
    """Problems of a data folder, their files laid out under `unpack_into`, which then is a grader root.

    The data's word `incorrect` stands for everything that is neither correct nor a timeout.

    Raises:
        ManifestError: a row is not of the documented form, or its names would lead out of `unpack_into`.
        OSError: the folder cannot be read, or `unpack_into` not be written.
    """
    files: dict[str, dict[str, str]] = {}
    for place, row in _rows(folder / "python_problems.jsonl", _ProblemRow):
        problem = _grader_folder(place, row.set, row.problem)
        if problem in files or not {"grader.py", "answer.py"} <= set(row.files):
            raise ManifestError(f"{place}: {problem} is there twice, or has no grader.py and answer.py")
        files[problem] = {_checked(place, name): text for name, text in row.files.items()}
    samples: dict[str, dict[str, Sample]] = {problem: {} for problem in files}
    for place, sent in _rows(folder / "python_submissions.jsonl", _SubmissionRow):
        problem = _grader_folder(place, sent.set, sent.problem)
        if problem not in files or sent.id in samples[problem]:
            raise ManifestError(f"{place}: no problem {problem}, or a second submission {sent.id}")
        expected = _ANY_FAILURE if sent.expect == "incorrect" else frozenset({Verdict(sent.expect)})
        samples[problem][sent.id] = Sample(sent.id, sent.student_response, expected)
    for problem, texts in files.items():
        target = unpack_into / problem
        target.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (target / name).write_bytes(text.encode())
    return tuple(
        Problem(f"{problem}/grader.py", problem, _payload(f"{problem}/grader.py", {}), tuple(sent.values()))
        for problem, sent in sorted(samples.items())
    )


# The files' forms

_Verdicts = Verdict | list[Verdict]
_Options = dict[str, bool | int | float | str]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Uses(_Strict, frozen=True):
    """Which cheats a problem is tried with, and on top of which of its own wrong programs."""

    base: str = msgspec.field(name="with")
    use: list[str]
    expect: dict[str, _Verdicts] = {}


class _Manifest(_Strict, frozen=True):
    title: str
    samples: dict[str, _Verdicts]
    payload: _Options = {}
    cheats: _Uses | None = None


class _Cheat(_Strict, frozen=True):
    place: Literal["before", "after"]
    expect: _Verdicts


class _ProblemRow(_Strict, frozen=True):
    set: str
    problem: str
    files: dict[str, str]


class _SubmissionRow(_Strict, frozen=True):
    set: str
    problem: str
    student_response: str
    expect: Literal["correct", "incorrect", "timeout"]
    id: str


_T = TypeVar("_T")


# A course


@dataclass(frozen=True, slots=True)
class _SharedCheat:
    name: str
    text: str
    before: bool
    expected: frozenset[Verdict]

    def joined_to(self, program: str) -> str:
        first, second = (self.text, program) if self.before else (program, self.text)
        return f"{first.rstrip()}\n\n\n{second}"


def _load_cheats(folder: Path) -> dict[str, _SharedCheat]:
    if not (folder / MANIFEST).exists():
        return {}
    described = _read(folder / MANIFEST, dict[str, _Cheat])
    texts = _texts(folder, set(described))
    cheats = {}
    for name, cheat in described.items():
        expected = _expected(folder / MANIFEST, name, cheat.expect, cheat=True)
        cheats[name] = _SharedCheat(name, texts[name], cheat.place == "before", expected)
    return cheats


def _load_problem(root: Path, path: Path, cheats: dict[str, _SharedCheat]) -> Problem:
    manifest = _read(path, _Manifest)
    grader = f"{path.parent.relative_to(root / SUBMISSIONS).as_posix()}/grader.py"
    if not (root / grader).is_file():
        raise ManifestError(f"{path}: there is no {root / grader}")
    if "grader" in manifest.payload:
        raise ManifestError(f"{path}: payload.grader: it follows from the place of this file")
    texts = _texts(path.parent, set(manifest.samples))
    samples = [
        Sample(name, texts[name], _expected(path, name, words)) for name, words in manifest.samples.items()
    ]
    if manifest.cheats is not None:
        samples += _cheating(path, manifest.cheats, texts, cheats)
    return Problem(grader, manifest.title, _payload(grader, manifest.payload), tuple(samples))


def _cheating(
    path: Path, uses: _Uses, texts: dict[str, str], cheats: dict[str, _SharedCheat]
) -> Iterator[Sample]:
    if uses.base not in texts:
        raise ManifestError(f"{path}: cheats.with: there is no sample {uses.base!r}")
    unknown = sorted((set(uses.use) - set(cheats)) | (set(uses.expect) - set(uses.use)))
    if unknown or len(set(uses.use)) != len(uses.use):
        raise ManifestError(f"{path}: cheats: not known, not used, or used twice: {', '.join(unknown)}")
    for name in uses.use:
        cheat = cheats[name]
        expected = cheat.expected
        if name in uses.expect:
            expected = _expected(path, name, uses.expect[name], cheat=True)
        yield Sample(f"{CHEATS}/{name}", cheat.joined_to(texts[uses.base]), expected)


def _expected(path: Path, name: str, words: _Verdicts, cheat: bool = False) -> frozenset[Verdict]:
    """The verdicts that a manifest allows. A file's name starts with one of them, or with "cheat"."""
    expected = frozenset(words if isinstance(words, list) else [words])
    if not expected or expected & _BROKEN:
        raise ManifestError(f"{path}: {name}: expect at least one verdict, and never {Verdict.UNGRADED}")
    first = name.partition("-")[0]
    cheat = cheat or first == "cheat"
    if cheat and Verdict.CORRECT in expected:
        raise ManifestError(f"{path}: {name}: a cheating program must never be {Verdict.CORRECT}")
    if not cheat and first not in expected:
        raise ManifestError(f"{path}: {name}: its name must start with a verdict it may get, or with cheat")
    return expected


def _texts(folder: Path, listed: set[str]) -> dict[str, str]:
    """Contents of the .py files of a folder by stem, line endings untouched; the manifest lists them all."""
    found = {path.stem: path for path in folder.glob("*.py")}
    if set(found) != listed:
        odd = ", ".join(sorted(set(found) ^ listed))
        raise ManifestError(f"{folder / MANIFEST}: listed but not there, or there but not listed: {odd}")
    try:
        return {name: path.read_bytes().decode("utf-8") for name, path in found.items()}
    except UnicodeDecodeError as error:
        raise ManifestError(f"{folder}: a submission is not UTF-8: {error}") from None


def _payload(grader: str, options: _Options) -> str:
    return json.dumps({"grader": grader, **options})


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(tomli.loads(path.read_text(encoding="utf-8")), kind)
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ManifestError(f"{path}: {error}") from None


# A data folder


def _rows(path: Path, kind: type[_T]) -> Iterator[tuple[str, _T]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{path}:{number}"
            if not line.strip():
                continue
            try:
                yield place, msgspec.json.decode(line, type=kind)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ManifestError(f"{place}: {error}") from None


def _grader_folder(place: str, collection: str, problem: str) -> str:
    return f"{_checked(place, collection)}/{_checked(place, problem)}"


def _checked(place: str, name: str) -> str:
    # One path component that cannot climb: it starts with a letter, a digit or "_".
    if not _NAME.fullmatch(name):
        raise ManifestError(f"{place}: {name!r} is not a name that a file may have here")
    return name
