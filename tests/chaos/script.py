"""What a run of chaos does, as a plan: what is submitted, which answers are spoilt, who is killed and when.

Runs in: tools. Pure: the same seed, size and samples give the same plan, so a run that failed is played
again by its seed. What the machine makes of it (who holds which row when a signal lands) differs; what is
tried does not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from graders.manifest import Problem
from graders.model import Verdict
from tests.chaos.faults import Fault, faults_of

QUEUES: Final = ("left", "right")
ROUND: Final = 1009
"""So many requests of a verb have a fate in the plan, then it begins again."""

AHEAD: Final = 40
"""So many submissions wait or are in hand at most: the learners of a busy hour, not of a whole term."""


class Kind(StrEnum):
    """What a submission is there for."""

    PLAIN = "plain"  # a real program; its verdict is known
    POISON = "poison"  # its worker is killed whenever it is graded: a dead letter, a neutral reply
    STRANGE = "strange"  # names no grader that exists: a dead letter, a neutral reply


@dataclass(frozen=True, slots=True)
class Item:
    """One submission. `key` names the learner; `expected` are the verdicts that are right."""

    key: str
    queue: str
    kind: Kind
    payload: str
    grader: str  # what the LMS's own queue passes on instead of the payload
    response: str
    expected: frozenset[Verdict]
    name: str


class Target(StrEnum):
    """Who is hit."""

    SUPERVISOR = "supervisor"
    WORKER = "worker"
    LAUNCHER = "launcher"
    ZYGOTE = "zygote"
    CHILD = "child"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Blow:
    """One signal. `stop_s`: None is SIGKILL; else SIGSTOP, and SIGCONT after so long (inf: never).

    `wait_s` is the pause since the blow before it; `draw` in 0..1 picks one of several.
    """

    wait_s: float
    target: Target
    stop_s: float | None
    draw: float

    def __str__(self) -> str:
        how = "KILL" if self.stop_s is None else f"STOP {self.stop_s:.1f} s"
        return f"after {self.wait_s:.2f} s {how} to a {self.target} ({self.draw:.3f})"


class Trouble(StrEnum):
    """A drill: something is broken on purpose for a while, and must be told by its right name."""

    REFUSED = "refused"  # nobody listens at the queue's address
    QUEUE_KILLED = "queue killed"
    QUEUE_HANGS = "queue hangs"  # SIGSTOP: connections are taken, and nothing is said
    PASSWORD = "password"  # the queue's users got new passwords
    DISK_FULL = "disk full"


@dataclass(frozen=True, slots=True)
class Drill:
    """`trouble` for `hold_s` seconds, between the submission number `at` and the one before it.

    The results of all before it have arrived; those after it come in while the trouble lasts. There are no
    blows and no faults meanwhile.
    """

    at: int
    trouble: Trouble
    hold_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run. `faults` maps a verb to the fates of its requests, in their order, round and round."""

    seed: int
    items: tuple[Item, ...]
    faults: Mapping[str, tuple[Fault | None, ...]]
    blows: tuple[Blow, ...]
    drills: tuple[Drill, ...]

    def lines(self) -> Iterator[str]:
        """The plan for eyes and for `diff`."""
        kinds = Counter(item.kind for item in self.items)
        yield f"seed {self.seed}: " + ", ".join(f"{kinds[kind]} {kind}" for kind in Kind)
        for drill in self.drills:
            yield f"drill: {drill.trouble} for {drill.hold_s:.0f} s before item {drill.at}"
        for verb, fates in self.faults.items():
            for number, fault in enumerate(fates):
                if fault is not None:
                    yield f"fault: {verb} {number}: {fault}"
        for blow in self.blows:
            yield f"blow: {blow}"
        for item in self.items:
            yield f"item: {item.key} {item.queue} {item.kind} {item.name}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """How hard a run is."""

    submissions: int = 3000
    server: str = "embedded"
    fault_rate: float = 0.04
    blow_s: float = 2.0  # between two blows, on average
    drills: tuple[tuple[Trouble, float], ...] = ()
    poison: int = 3
    strange: int = 5
    longest_stop_s: float = 3.0
    never: bool = True  # some of the stopped are never let go


# Of a hundred blows. A child that is stopped for long is a learner's program that sleeps, to all the world:
# it is let go in time. A supervisor that is stopped for ever is killed by its watchdog, which is played here.
_BLOWS: Final[Mapping[tuple[Target, str], int]] = {
    (Target.WORKER, "kill"): 22,
    (Target.ZYGOTE, "kill"): 20,
    (Target.CHILD, "kill"): 20,
    (Target.LAUNCHER, "kill"): 3,
    (Target.SUPERVISOR, "kill"): 8,
    (Target.QUEUE, "kill"): 5,
    (Target.WORKER, "stop"): 6,
    (Target.ZYGOTE, "stop"): 5,
    (Target.CHILD, "stop"): 4,
    (Target.SUPERVISOR, "stop"): 2,
    (Target.QUEUE, "stop"): 2,
    (Target.WORKER, "never"): 1,
    (Target.ZYGOTE, "never"): 1,
    (Target.SUPERVISOR, "never"): 1,
}


def plan(seed: int, problems: Sequence[Problem], wishes: Wishes) -> Plan:
    """The plan of this seed."""
    dice = random.Random(seed)
    drills = tuple(
        Drill((number + 1) * wishes.submissions // (len(wishes.drills) + 1), trouble, hold_s)
        for number, (trouble, hold_s) in enumerate(wishes.drills)
    )
    items = _items(dice, problems, wishes, [drill.at for drill in drills])
    return Plan(
        seed=seed,
        items=items,
        faults={verb: _fates(dice, faults, wishes) for verb, faults in faults_of(wishes.server).items()},
        blows=tuple(_blows(dice, wishes)),
        drills=drills,
    )


def _items(
    dice: random.Random, problems: Sequence[Problem], wishes: Wishes, drills: Sequence[int]
) -> tuple[Item, ...]:
    samples = [
        (QUEUES[number % 2], problem, sample)
        for number, problem in enumerate(problems)
        for sample in problem.submissions
    ]
    dice.shuffle(samples)
    plain = wishes.submissions - wishes.poison - wishes.strange
    found = []
    for number in range(plain):
        queue, problem, sample = samples[number % len(samples)]
        found.append((queue, Kind.PLAIN, problem, sample.response, sample.expected, sample.name))
    right = [(p, s) for _, p, s in samples if s.expected == {Verdict.CORRECT}]
    for _ in range(wishes.strange):
        problem, sample = dice.choice(right)
        neutral = frozenset({Verdict.UNGRADED})
        found.append((dice.choice(QUEUES), Kind.STRANGE, problem, sample.response, neutral, sample.name))
    dice.shuffle(found)
    # Not among those that come in during a drill, when nobody is killed.
    safe = [n for n in range(wishes.submissions) if not any(at <= n < at + AHEAD for at in drills)]
    for place in sorted(dice.sample(safe, wishes.poison)):
        problem, sample = dice.choice(right)
        slowly = "import time\ntime.sleep(12)\n" + sample.response
        neutral = frozenset({Verdict.UNGRADED})
        found.insert(place, (dice.choice(QUEUES), Kind.POISON, problem, slowly, neutral, sample.name))
    return tuple(
        Item(
            key=f"{kind}-{number}",
            queue=queue,
            kind=kind,
            payload='{"grader": "no/such/grader.py"}' if kind is Kind.STRANGE else problem.payload,
            grader="no/such/grader.py" if kind is Kind.STRANGE else problem.grader,
            response=response,
            expected=expected,
            name=f"{problem.title}/{name}",
        )
        for number, (queue, kind, problem, response, expected, name) in enumerate(found)
    )


def _fates(dice: random.Random, faults: Sequence[Fault], wishes: Wishes) -> tuple[Fault | None, ...]:
    """Every fault comes at least once a round, where there are any at all."""
    count = round(ROUND * wishes.fault_rate)
    spoilt = [faults[number % len(faults)] for number in range(max(count, len(faults) if count else 0))]
    fates: list[Fault | None] = [*spoilt, *([None] * (ROUND - len(spoilt)))]
    dice.shuffle(fates)
    return tuple(fates)


def _blows(dice: random.Random, wishes: Wishes) -> Iterator[Blow]:
    """Bounded, so that the end of a long run is in sight; a short one ends before they do."""
    ways = [way for way in _BLOWS if wishes.never or way[1] != "never"]
    weights = [_BLOWS[way] for way in ways]
    for target, how in dice.choices(ways, weights, k=50 + wishes.submissions // 8):
        stop_s = {"kill": None, "stop": dice.uniform(0.2, wishes.longest_stop_s), "never": float("inf")}[how]
        if target is Target.CHILD and stop_s is not None:
            stop_s = min(stop_s, 1.0)
        yield Blow(dice.uniform(0.5, 1.5) * wishes.blow_s, target, stop_s, dice.random())
