"""The public class to subclass for problems that are no gradelib problems, and the handler that runs it.

Runs in: worker, tools. The class is the operator's own code, installed beside warden and named in its
configuration; it runs in the worker, so what learners wrote must only ever run through its `runner`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graders.catalogue import parts_of
from graders.errors import CatalogueError, CourseError
from graders.model import Blame, Cause, Judgement, TestResult, Verdict, Work
from graders.payload import parse_payload
from graders.verdict import shorten
from graders.words import Words
from sandbox.model import Runner, SandboxError


class Grader:
    """Subclass it and write `grade`.

    `grader_root` is the folder that grader paths are relative to. `runner` is set before each call: hand it a
    `sandbox.model.Task` to run code of the learner's. `work` is the submission as it came, files included.
    """

    runner: Runner
    work: Work

    def __init__(self, grader_root: str | Path = ".", **options: Any) -> None:
        self.grader_root = Path(grader_root)
        self.options = options

    def grade(
        self, grader_path: Path, grader_config: Mapping[str, Any], student_response: str
    ) -> Mapping[str, Any] | Judgement:
        """Grade one response.

        Args:
            grader_path: the payload's "grader", under the grader root. It need not exist.
            grader_config: the payload, if it is an object.
            student_response: the learner's text; "" if he sent files.

        Returns:
            A mapping with "correct" (bool), "score" (0..1; 1 or 0 by "correct" if absent), "tests" (a list of
            (short description, long description, correct, expected output, actual output)) and "errors" (a
            list of str); or a Judgement.
        """
        raise NotImplementedError(f"{type(self).__name__} must have a method grade")


class ClassHandler:
    """Judges with a subclass of `Grader`, loaded from "package.module:Class" (or "package.module.Class").

    Satisfies `graders.model.Handler`. The class is instantiated once, with `grader_root` and `kwargs`.
    `words` are those to speak to the learner.

    Raises:
        CourseError: there is no such class, or it cannot be instantiated.
    """

    def __init__(
        self,
        target: str,
        grader_root: Path,
        kwargs: Mapping[str, Any] | None = None,
        graders: Mapping[str, str] | None = None,
        words: Words | None = None,
    ) -> None:
        self._words = words
        self._root = Path(grader_root).resolve()
        self._graders = dict(graders or {})
        self._grader = _load(target, self._root, kwargs or {})

    def grade(self, work: Work, runner: Runner) -> Judgement:
        """Judge one submission.

        Raises:
            sandbox.model.SandboxError: the service's fault; the caller may try again later.
        """
        name = ""
        try:
            payload = parse_payload(work.payload, self._graders)
            name = payload.grader
            if payload.skip_grader:
                return Judgement(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER, 1.0, grader=name)
            found = self._call(self._path(name), payload.config, work, runner)
            if payload.hide_output:
                tests = tuple(replace(test, hide_output=True) for test in found.tests)
                found = replace(found, tests=tests)
            return replace(found, grader=name)
        except CourseError as error:
            return Judgement(Verdict.UNGRADED, Blame.COURSE, error.cause, 0.0, detail=str(error), grader=name)

    def _call(self, path: Path, config: Mapping[str, Any], work: Work, runner: Runner) -> Judgement:
        grader = self._grader
        grader.runner = runner
        grader.work = work
        try:
            answer = grader.grade(path, dict(config), work.response)
        except (SandboxError, CourseError):
            raise
        except Exception as error:
            raise CourseError(f"{type(grader).__name__}.grade failed\n{traceback.format_exc()}") from error
        if isinstance(answer, Judgement):
            return answer
        return judgement_of(answer, self._words)

    def _path(self, name: str) -> Path:
        path = self._root.joinpath(*parts_of(name))
        if not path.resolve().is_relative_to(self._root):
            raise CatalogueError(f"grader {name!r}: a link leads out of {self._root}")
        return path


def judgement_of(answer: object, words: Words | None = None) -> Judgement:
    """The judgement that a mapping returned by `Grader.grade` means.

    Raises:
        CourseError: it is not of the documented shape.
    """
    if not isinstance(answer, Mapping):
        raise CourseError(f"grade returned {type(answer).__name__}; it must return a mapping or a Judgement")
    unknown = sorted(str(key) for key in answer if key not in ("correct", "score", "tests", "errors"))
    if unknown:
        raise CourseError(f"grade returned unknown keys: {', '.join(unknown)}")
    correct = answer.get("correct")
    if not isinstance(correct, bool):
        raise CourseError(f'grade returned "correct": {correct!r}; it must be True or False')
    score = answer.get("score", 1.0 if correct else 0.0)
    if not isinstance(score, int | float) or not math.isfinite(score) or not 0 <= score <= 1:
        raise CourseError(f'grade returned "score": {score!r}; it must be a number from 0 to 1')
    tests = tuple(_test(test, words) for test in _listed(answer, "tests"))
    errors = []
    for error in _listed(answer, "errors"):
        if not isinstance(error, str):
            raise CourseError(f'grade returned {error!r} in "errors"; it must be text')
        errors.append(shorten(error, words=words))
    verdict = Verdict.CORRECT if correct else Verdict.INCORRECT
    return Judgement(verdict, Blame.LEARNER, Cause.LEARNER, float(score), tests, tuple(errors))


def _listed(answer: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = answer.get(key, ())
    if not isinstance(value, list | tuple):
        raise CourseError(f'grade returned "{key}": {type(value).__name__}; it must be a list')
    return value


def _test(value: object, words: Words | None) -> TestResult:
    if not isinstance(value, list | tuple) or len(value) != 5:
        raise CourseError(f'grade returned {value!r} in "tests"; it must be a tuple of five')
    short, long, correct, expected, actual = value
    if not isinstance(correct, bool):
        raise CourseError(f'grade returned {correct!r} in "tests"; the third of five must be True or False')
    for text in (short, long, expected, actual):
        if not isinstance(text, str):
            raise CourseError(f'grade returned {text!r} in "tests"; it must be text')
    short, long, expected, actual = (shorten(text, words=words) for text in (short, long, expected, actual))
    return TestResult(short, long, correct, expected, actual)


def _load(target: str, root: Path, kwargs: Mapping[str, Any]) -> Grader:
    module, _, name = target.partition(":") if ":" in target else target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise CourseError(f"class {target!r} cannot be loaded\n{traceback.format_exc()}") from error
    if not inspect.isclass(found) or not issubclass(found, Grader):
        raise CourseError(f"{target!r} is no subclass of graders.Grader")
    try:
        return found(grader_root=root, **kwargs)
    except Exception as error:
        raise CourseError(
            f"{target!r} cannot be made with {json.dumps(sorted(kwargs))}\n{error!r}"
        ) from error
