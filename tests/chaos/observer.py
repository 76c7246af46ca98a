"""Looks at the service from outside while it runs: the journal's rows as they change, status and health.

Runs in: tools. One thread; nothing here asks the service anything.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from supervisor.health import Level, Thresholds, Unreadable, judge, read
from tests.chaos.service import Service, Unavailable

EVERY_S: Final = 0.4
THRESHOLDS: Final = Thresholds(unreachable_s=4.0, lost_s=30.0, backlog_s=600.0, stuck_s=900.0, dead_s=0.5)
"""A drill lasts seconds, not minutes. What lies in the dead letters was put there by the script."""
USUAL: Final = Thresholds(dead_s=0.5)

_COLUMNS: Final = (
    "id, student_key, submission_id, state, attempts + interruptions AS tries, pulled_at, graded_at,"
    " closed_at, body"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Status and health at one time (unix seconds). `causes` of queues and their seats, without Nones."""

    at: float
    written_at: float
    causes: frozenset[str]
    running: bool  # every seat is RUNNING, and so is the service
    level: Level
    text: str
    usual: Level  # with the thresholds that health has by itself


class Observer:
    """A thread between `start` and `stop`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._graded: dict[int, tuple[float, int, str]] = {}  # row -> when, attempts, body
        self._looked_at = 0.0
        self.samples: list[Sample] = []
        self.violations: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._look()
            self.samples.append(sample(self._service))

    def _look(self) -> None:
        """A row that was graded stays as it was graded: the same reply, no further attempt, never back."""
        since = self._looked_at - 5.0
        with contextlib.suppress(Unavailable):  # it may not be there yet, or be busy
            rows = self._service.rows(_COLUMNS, "closed_at IS NULL OR closed_at > ?", since)
            self._looked_at = time.time()
            for row in rows:
                self._compare(row)

    def _compare(self, row: Mapping[str, Any]) -> None:
        known = self._graded.get(row["id"])
        name = f"row {row['id']} ({row['student_key']})"
        if known is None:
            if row["graded_at"] is not None:
                self._graded[row["id"]] = (row["graded_at"], row["tries"], row["body"])
            return
        if row["state"] == "RECEIVED":
            self.violations.append(f"{name}: was graded, and is RECEIVED again")
        if (row["graded_at"], row["tries"], row["body"]) != known:
            self.violations.append(f"{name}: was graded again: {known[:2]} -> {tuple(row)[4:7]}")
            self._graded[row["id"]] = (row["graded_at"], row["tries"], row["body"])


def sample(service: Service) -> Sample:
    """Status and health now."""
    now = time.time()
    try:
        view = read(str(service.status_file))
        health = judge(view, now, THRESHOLDS)
        level, text, usual = health.level, health.text, judge(view, now, USUAL).level
    except Unreadable as error:
        level, text, usual = Level.UNKNOWN, str(error), Level.UNKNOWN
    status = service.status()
    queues = status.get("queues", {}).values()
    slots = [slot for queue in queues for slot in queue["slots"]]
    causes = {part["cause"] for part in (*queues, *slots) if part["cause"]}
    running = (
        status.get("state") == "RUNNING" and bool(slots) and all(slot["state"] == "RUNNING" for slot in slots)
    )
    return Sample(now, status.get("written_at", 0.0), frozenset(causes), running, level, text, usual)


def worst(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
