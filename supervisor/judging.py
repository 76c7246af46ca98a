"""From a row of the journal to a reply: the queue's handlers, their jails, their feedback.

Runs in: worker. Course code and learner code run in the jails; an operator's own Grader class runs here.
"""

from __future__ import annotations

import fnmatch
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from graders.base import ClassHandler
from graders.errors import CourseError
from graders.feedback import Feedback
from graders.model import Blame, Cause, Judgement, Result, Verdict, Work
from graders.payload import parse_payload
from graders.program import ProgramHandler, Toolchains
from graders.python import GradelibHandler, profile
from graders.words import WordsError, words_of
from sandbox.jail import Jail
from sandbox.model import Outcome, OutcomeKind, SandboxError, Task
from supervisor.config import MOST_JAILS
from supervisor.deadline import LEGACY_DELAY_S
from supervisor.events import Happened, Layers, Phase
from supervisor.settings import Config, GradelibSettings, HandlerSettings, ProgramSettings, Queue
from xqueue.protocol import ProtocolError, Reply, encode_reply

log = logging.getLogger(__name__)

OPEN_S: Final = 75.0
"""The longest that a jail takes to open: two answers of at most 30 s each, and the launcher's end."""
ANSWER_S: Final = 20.0
"""What a run may take besides its wall-clock limit; sandbox.jail allows the zygote 10 s."""
JAILS_PER_SLOT: Final = MOST_JAILS
"""Numbers (user ids, control groups) set aside for the jails of one slot."""
LEAST_S: Final = 0.05
"""With less time no run is begun."""
BUDGET: Final = 0.8
"""The part of a queue's processing_delay_s after which the tests of a program are not begun any more."""


class Tells(Protocol):
    """What a bench needs of a voice. `supervisor.heartbeat.Voice` is one."""

    def say(self, phase: Phase, for_s: float, *, wants_turn: bool = False) -> None:
        """Speak, and promise to speak again within `for_s` seconds."""
        ...

    def happened(self, *events: Happened) -> None:
        """Remember for the next word."""
        ...


class TooLate(SandboxError):
    """The grading had to end before this run could."""


class Clock:
    """The time that the grading in hand has: `stop_at` in monotonic seconds, None: enough."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.stop_at: float | None = None

    def left_s(self) -> float:
        """Seconds that are left, perhaps infinitely many."""
        return math.inf if self.stop_at is None else self.stop_at - self._now()


class Announced:
    """A jail that tells before each run how long it may take; opened when first needed, and again if lost."""

    def __init__(self, sandbox: str, jail: Jail, voice: Tells, clock: Clock) -> None:
        self._sandbox = sandbox
        self._jail = jail
        self._voice = voice
        self._clock = clock

    def open(self) -> None:
        """Launch the zygote unless it runs.

        Raises:
            SandboxUnavailable: never with less isolation than required. SandboxError: it failed otherwise.
        """
        if self._jail.pid:
            return
        self._voice.say(Phase.START, OPEN_S)
        self._jail.open()
        self._voice.happened(Layers(self._sandbox, self._jail.layers))

    def run(self, task: Task) -> Outcome:
        """Run a task.

        Raises:
            TooLate: there is no time for it, or not as much as its limit and as it would have taken.
            SandboxError: as `open`.
        """
        self.open()
        wall_s = min(task.limits.wall_s, self._clock.left_s())
        if wall_s < LEAST_S:
            raise TooLate("no time is left for a run")
        self._voice.say(Phase.GRADE, wall_s + ANSWER_S)
        if wall_s == task.limits.wall_s:
            return self._jail.run(task)
        outcome = self._jail.run(replace(task, limits=replace(task.limits, wall_s=wall_s)))
        if outcome.kind is OutcomeKind.WALL:
            raise TooLate(
                f"a run was stopped after {wall_s:.1f} of the {task.limits.wall_s:g} s of its limit"
            )
        return outcome

    def close(self) -> None:
        """Kill the zygote and all in the jail."""
        self._jail.close()


@dataclass(frozen=True, slots=True)
class _Judge:
    match: str
    graders: Mapping[str, str]
    grade: Callable[[Work], Judgement]
    feedback: Feedback


class Chooses(Protocol):
    """What decides whether a handler takes a submission: its settings have it."""

    @property
    def match(self) -> str: ...

    @property
    def graders(self) -> Mapping[str, str]: ...


def chosen(handlers: Sequence[Chooses], payload: str) -> int | None:
    """The number of the first handler that takes a submission with this payload, None if none does."""
    for index, handler in enumerate(handlers):
        try:
            grader = parse_payload(payload, handler.graders).grader
        except CourseError:
            return index  # it names no grader; any handler says what is wrong with it
        if fnmatch.fnmatchcase(grader, handler.match):
            return index
    return None


class Bench:
    """The judges of one queue in one slot. `plain` is the English feedback without own templates.

    Raises:
        CourseError: a handler of kind "class", or a catalogue of translations, cannot be loaded.
    """

    def __init__(self, config: Config, queue: Queue, slot: int, voice: Tells, plain: Feedback) -> None:
        first = slot * JAILS_PER_SLOT
        self._jails: dict[str, Announced] = {}
        self._clock = Clock()
        for number, name in enumerate(config.sandboxes_of(queue)):
            sandbox = config.sandboxes[name]
            jail = Jail(profile(sandbox.interpreter, sandbox.preload, sandbox.require), slot=first + number)
            self._jails[name] = Announced(name, jail, voice, self._clock)
        self._toolchains = Toolchains(
            config.languages,
            config.languages_of(queue),
            first + len(self._jails),
            lambda label, jail: Announced(label, jail, voice, self._clock),
        )
        self._translations = config.warden.translations
        self._english = plain
        self._plain = self._feedback(queue.locale)
        self._judges = [self._judge(config, queue, handler) for handler in queue.handlers]

    def _judge(self, config: Config, queue: Queue, settings: HandlerSettings) -> _Judge:
        feedback = self._feedback(settings.locale, settings.templates)
        words = feedback.words
        if isinstance(settings, ProgramSettings):
            program = ProgramHandler(
                settings.grader_root,
                self._toolchains,
                settings.languages,
                settings.graders,
                settings.limits,
                settings.comparison,
                settings.ignore_exit_status,
                BUDGET * (queue.processing_delay_s or LEGACY_DELAY_S),
                words=words,
            )
            return _Judge(settings.match, settings.graders, program.grade, feedback)
        jail = self._jails[settings.sandbox]
        if isinstance(settings, GradelibSettings):
            handler = GradelibHandler(
                settings.grader_root,
                settings.graders,
                settings.limits,
                settings.seeds,
                settings.modules,
                config.sandboxes[settings.sandbox].interpreter,
                words,
            )
            return _Judge(settings.match, settings.graders, lambda work: handler.grade(work, jail), feedback)
        own = ClassHandler(
            settings.class_path, settings.grader_root, settings.options, settings.graders, words
        )
        return _Judge(settings.match, settings.graders, lambda work: own.grade(work, jail), feedback)

    def _feedback(self, locale: str, templates: Path | None = None) -> Feedback:
        try:
            words = words_of(locale, self._translations)
        except WordsError as error:  # the file was good when the configuration was read
            raise CourseError(str(error)) from error
        if templates is None and words == self._english.words:
            return self._english
        return Feedback(templates, words=words)

    def open(self) -> None:
        """Open every jail now, so that a machine that cannot isolate pulls nothing.

        Raises:
            SandboxUnavailable, SandboxError
        """
        for jail in self._jails.values():
            jail.open()
        self._toolchains.open()

    def close(self) -> None:
        """End the jails."""
        for jail in self._jails.values():
            jail.close()
        self._toolchains.close()

    def judge(self, work: Work, stop_at: float | None = None) -> Judgement:
        """The judgement of the first judge that fits, by `stop_at` (monotonic seconds).

        Raises:
            TooLate: not by then.
            SandboxError: the service's fault.
        """
        self._clock.stop_at = stop_at
        judge = self._choose(work.payload)
        if judge is None:
            detail = "no handler of this queue matches the submission's grader; see handlers.match"
            return Judgement(Verdict.UNGRADED, Blame.COURSE, Cause.CONFIG, 0.0, detail=detail)
        return judge.grade(work)

    def grader_of(self, payload: str) -> str:
        """The grader that a payload asks for, "" if it names none."""
        judge = self._choose(payload)
        if judge is None:
            return ""
        try:
            return parse_payload(payload, judge.graders).grader
        except CourseError:
            return ""

    def reply(self, work: Work, judgement: Judgement, whole: bool = False) -> str:
        """The reply to `work`, as xqueue_body. `whole`: no partial credit."""
        judge = self._choose(work.payload)
        result = (judge.feedback if judge else self._plain).render(judgement)
        try:
            return encode_reply(Reply(result.correct, _mark(result, whole), result.msg))
        except ProtocolError as error:
            # The marks stand; the words cannot be sent.
            log.error("feedback not sendable", extra={"cause": "GRADER_BUG", "why": str(error)})
            plain = self._plain.render(
                Judgement(judgement.verdict, judgement.blame, judgement.cause, judgement.score)
            )
            return encode_reply(Reply(plain.correct, _mark(plain, whole), plain.msg))

    def _choose(self, payload: str) -> _Judge | None:
        index = chosen(self._judges, payload)
        return None if index is None else self._judges[index]


def _mark(result: Result, whole: bool) -> float:
    return float(result.correct) if whole else result.score
