"""The words of judging: a piece of work, what its tests showed, whose fault a failure is, and the result.

Runs in: worker, tools. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from sandbox.model import OutcomeKind, Runner, Usage


class Verdict(StrEnum):
    """What the outcomes mean. `correct` on the wire is true for CORRECT only."""

    CORRECT = "correct"
    INCORRECT = "incorrect"  # its tests ran; at least one differed
    INPUT_ERROR = "input_error"  # an input check refused the text; nothing was run
    ERROR = "error"  # learner code raised on import, died, or ended early
    TIMEOUT = "timeout"  # wall or CPU
    MEMORY = "memory"
    LIMIT = "limit"  # output, processes, disk
    FORBIDDEN = "forbidden"  # forbidden system call
    INTERFERENCE = "interference"  # it swallowed EndTest, or its report was not the harness's
    UNGRADED = "ungraded"  # blame is course or service: says nothing about the learner


class Blame(StrEnum):
    """Whose move it is."""

    LEARNER = "learner"  # a result like any other (full marks included)
    COURSE = "course"  # neutral words to the learner, alert to the course contact, dead letter
    SERVICE = "service"  # no result yet: retry, at last dead letter


class Cause(StrEnum):
    """The one code that every failure carries."""

    LEARNER = "LEARNER"
    CONFIG = "CONFIG"
    AUTH = "AUTH"
    QUEUE_UNREACHABLE = "QUEUE_UNREACHABLE"
    QUEUE_ERROR = "QUEUE_ERROR"
    REPLY_REFUSED = "REPLY_REFUSED"
    GRADER_BUG = "GRADER_BUG"
    REFERENCE_FAILED = "REFERENCE_FAILED"
    SANDBOX_UNAVAILABLE = "SANDBOX_UNAVAILABLE"
    RESOURCE = "RESOURCE"
    HOST = "HOST"


@dataclass(frozen=True, slots=True)
class Work:
    """One submission as a handler sees it, whatever brought it (a queue or a person at a terminal).

    `payload` is the grader_payload as it came: JSON text, a plain string, or "". `files` maps sanitised
    names to contents. `student_key` is any stable text for the learner ("" if unknown): it picks the seed.
    """

    payload: str
    response: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    student_key: str = ""
    random_seed: int = 1


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test, as shown to the learner. Texts come from untrusted processes; feedback escapes them."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    short: str
    long: str
    correct: bool
    expected: str
    actual: str
    hide_output: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict and all that feedback and operators may want to know of how it came about.

    `errors` are shown to the learner (input checks, a traceback with his own lines, "time limit of 2 s");
    `detail` is for operators and never shown to him. `score` is in 0..1.
    """

    verdict: Verdict
    blame: Blame
    cause: Cause
    score: float
    tests: tuple[TestResult, ...] = ()
    errors: tuple[str, ...] = ()
    detail: str = ""
    outcome: OutcomeKind | None = None
    usage: Usage = Usage()
    isolation: tuple[str, ...] = ()
    grader: str = ""  # the grader's name, relative to its root
    grader_digest: str = ""  # SHA-256 (hex) of the problem's files as they were, the answer included

    @property
    def correct(self) -> bool:
        return self.verdict is Verdict.CORRECT


@dataclass(frozen=True, slots=True)
class Result:
    """What the learner gets: `msg` is well-formed XHTML with one root, never empty; score in 0..1."""

    correct: bool
    score: float
    msg: str


class Handler(Protocol):
    """Anything that can judge a piece of work. It never raises for the learner's or the course's faults."""

    def grade(self, work: Work, runner: Runner) -> Judgement:
        """Judge.

        Raises:
            sandbox.model.SandboxError: the service's fault; the caller may try again later.
        """
        ...
