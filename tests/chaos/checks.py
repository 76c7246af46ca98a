"""What must be true at the end, judged from what was sent, what came back and what the journal says. Pure.

Runs in: tools.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from graders.model import Verdict
from tests.chaos.lms import Callback
from tests.chaos.script import Item, Kind


@dataclass(frozen=True, slots=True)
class Hit:
    """A blow that landed on something that may have been grading, at `at` (unix seconds).

    `until`: when its victim worked again, or was replaced, at the latest.
    """

    at: float
    until: float
    what: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the journal as far as it is judged."""

    key: str
    state: str
    attempts: int
    pulled_at: float
    graded_at: float | None
    dead: bool
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known at the end. `current` maps an item's key to the name of its last submission."""

    items: Sequence[Item]
    current: Mapping[str, str]
    callbacks: Sequence[Callback]
    journal: Sequence[Line]
    hits: Sequence[Hit]


Judge = Callable[[str], str]
"""What the LMS has against a reply's text, "" if it takes it."""


def violations(found: Evidence, judge: Judge) -> Iterator[str]:
    """Everything that breaks a promise, one line each."""
    yield from _effective(found, judge)
    yield from _rows(found)


def _effective(found: Evidence, judge: Judge) -> Iterator[str]:
    """Exactly one effective result for each submission at the LMS, and the expected one."""
    bodies: dict[str, list[str]] = defaultdict(list)
    for callback in found.callbacks:
        bodies[callback.key].append(callback.body)
    known = {name: item for item in found.items for name in _names(item, found.current)}
    for name in bodies.keys() - known.keys():
        yield f"{name}: a result that nobody asked for"
    for name, texts in bodies.items():
        if len(set(texts)) > 1:
            yield f"{name}: {len(texts)} results that differ: {sorted(set(texts))[:2]}"
        for text in set(texts):
            if problem := judge(text):
                yield f"{name}: the LMS does not take {text[:200]!r}: {problem}"
    for item in found.items:
        texts = bodies.get(found.current.get(item.key, ""), [])
        if not texts:
            yield f"{item.key}: no result"
            continue
        if problem := _wrong(item, texts[0]):
            yield f"{item.key} ({item.name}): {problem}"


def _names(item: Item, current: Mapping[str, str]) -> Iterator[str]:
    """Every name under which this item may have been submitted: the last and those before it."""
    last = current.get(item.key, "")
    stem, dot, number = last.rpartition(".")
    yield last
    if dot and number.isdigit():
        for earlier in range(int(number)):
            yield f"{stem}.{earlier}"


def _wrong(item: Item, text: str) -> str:
    reply = json.loads(text)
    right = item.expected == {Verdict.CORRECT}
    if reply["correct"] is not right:
        return f"correct is {reply['correct']!r}, expected {'/'.join(sorted(item.expected))}"
    if right and reply["score"] != 1:
        return f"the score is {reply['score']!r}, expected 1"
    if not right and not 0 <= reply["score"] < 1:
        return f"the score of a wrong program is {reply['score']!r}"
    if item.kind is not Kind.PLAIN and reply["score"] != 0:
        return f"an ungraded one has the score {reply['score']!r}"
    return ""


def _rows(found: Evidence) -> Iterator[str]:
    """The journal: all closed, verdicts right, dead letters where they were made, attempts explained."""
    items = {name: item for item in found.items for name in _names(item, found.current)}
    seen: set[str] = set()
    for line in found.journal:
        item = items.get(line.key)
        if item is None:
            yield f"{line.key}: a row of nobody"
            continue
        if line.key in seen:
            yield f"{line.key}: two rows in the journal"
        seen.add(line.key)
        if line.state != "DELIVERED":
            yield f"{line.key}: its row ends as {line.state}: {line.reason}"
        if line.verdict not in item.expected:
            wanted = "/".join(sorted(item.expected))
            yield f"{line.key} ({item.name}): verdict {line.verdict}, expected {wanted}: {line.reason}"
        if line.dead and item.kind is Kind.PLAIN:
            yield f"{line.key}: a dead letter that the script did not make: {line.reason}"
        if not line.dead and item.kind is not Kind.PLAIN:
            yield f"{line.key}: no dead letter, though it should be one"
        end = line.graded_at or float("inf")
        hits = sum(hit.at <= end and hit.until >= line.pulled_at for hit in found.hits)
        if line.attempts > 1 + hits:
            yield f"{line.key}: {line.attempts} attempts, and {hits} blows while it was being graded"
    for item in found.items:
        if found.current.get(item.key, "") not in seen:
            yield f"{item.key}: no row in the journal"
