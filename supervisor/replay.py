"""Grading what was graded before once more, to compare: after a grader, a limit or an interpreter changed.

Runs in: tools. The same bench as a worker's (supervisor.judging), with nobody to talk to and nothing to
deliver; the journal is only read. What changed is decided in `compare`, pure.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import msgspec

from graders.feedback import Feedback
from graders.model import Blame, Cause, Judgement, Verdict, Work
from sandbox.model import SandboxError, SandboxUnavailable
from supervisor.archive import Content, Entry
from supervisor.events import Happened, Phase
from supervisor.judging import Bench
from supervisor.settings import Config, PartialCredit

FIRST_SEAT: Final = 1500
"""The service's seats count from 0, `warden doctor` takes slots from 40,000: between them is room."""
SEATS: Final = 900


class _Reply(msgspec.Struct, frozen=True):
    """What is compared of an xqueue_body."""

    correct: bool
    score: float
    msg: str


@dataclass(frozen=True, slots=True)
class Grade:
    """What a submission got. `score` as it went over the wire."""

    verdict: str
    score: float
    msg: str
    grader_digest: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """One submission graded again. `why` says what kept it from being graded now, "" if nothing did."""

    entry: Entry
    was: Grade
    now: Grade
    why: str = ""
    same_score: bool = True

    @property
    def same_verdict(self) -> bool:
        return self.was.verdict == self.now.verdict

    @property
    def same_msg(self) -> bool:
        return self.was.msg == self.now.msg

    @property
    def same(self) -> bool:
        """Verdict and score. Words may differ by what a program prints of times and addresses."""
        return self.same_verdict and self.same_score

    @property
    def same_grader(self) -> bool | None:
        """Whether the grader's files are what they were; None: not known."""
        if not (self.was.grader_digest and self.now.grader_digest):
            return None
        return self.was.grader_digest == self.now.grader_digest


class Quiet:
    """Nobody to tell: stands where a worker has its voice."""

    def say(self, phase: Phase, for_s: float, *, wants_turn: bool = False) -> None:
        """Nothing."""

    def happened(self, *events: Happened) -> None:
        """Nothing."""


class Replayer:
    """A bench for each queue that comes up, opened when it does. A context manager; jails end with it.

    Raises:
        graders.errors.CourseError: a queue's handlers cannot be loaded (from `grade`).
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._plain = Feedback()
        self._benches: dict[str, Bench] = {}

    def __enter__(self) -> Replayer:
        return self

    def __exit__(self, *_: object) -> None:
        for bench in self._benches.values():
            bench.close()

    def judge(self, queue: str, work: Work, problem: str = "") -> Judgement:
        """The judgement as a worker of this queue would come to it. `problem`: what is wrong with the body.

        Raises:
            SandboxUnavailable: this machine cannot isolate.
        """
        if problem:
            return Judgement(Verdict.UNGRADED, Blame.COURSE, Cause.CONFIG, 0.0, detail=problem)
        bench = self._bench(queue)
        try:
            try:
                return bench.judge(work)
            except SandboxUnavailable:
                raise
            except SandboxError:
                return bench.judge(work)  # the jail opens anew; once may be chance
        except SandboxUnavailable:
            raise
        except SandboxError as error:
            return Judgement(Verdict.UNGRADED, Blame.SERVICE, Cause.HOST, 0.0, detail=str(error))

    def again(self, entry: Entry, content: Content) -> Comparison:
        """Grade a submission again and compare.

        Raises:
            SandboxUnavailable
        """
        judgement = self.judge(entry.queue, content.work, content.problem)
        bench = self._bench(entry.queue)
        credit = self._config.queues[entry.queue].partial_credit
        bodies = [
            bench.reply(content.work, judgement, whole)
            for whole in ((False, True) if credit is PartialCredit.AUTO else (credit is PartialCredit.NONE,))
        ]
        return compare(entry, content.body, judgement, bodies)

    def _bench(self, queue: str) -> Bench:
        bench = self._benches.get(queue)
        if bench is None:
            seat = FIRST_SEAT + (os.getpid() + len(self._benches)) % SEATS
            bench = Bench(self._config, self._config.queues[queue], seat, Quiet(), self._plain)
            self._benches[queue] = bench
        return bench


def compare(entry: Entry, stored: str, judgement: Judgement, bodies: list[str]) -> Comparison:
    """What the journal says against what it is now.

    `bodies` are the replies that would be sent now: one, or that with partial credit and that without, where
    the kind of server decides. A score is the same if it is that of either.
    """
    then, *_ = _read(stored)
    replies = [reply for body in bodies for reply in _read(body)]
    now = next((reply for reply in replies if reply.score == then.score), replies[0])
    ungraded = judgement.verdict is Verdict.UNGRADED
    return Comparison(
        entry,
        Grade(entry.verdict or "", then.score, then.msg, entry.grader_digest),
        Grade(judgement.verdict, now.score, now.msg, judgement.grader_digest),
        f"{judgement.cause}: {judgement.detail}" if ungraded else "",
        then.score == now.score,
    )


def _read(body: str) -> list[_Reply]:
    try:
        return [msgspec.json.decode(body, type=_Reply)]
    except msgspec.DecodeError:
        return [_Reply(False, 0.0, "")]
