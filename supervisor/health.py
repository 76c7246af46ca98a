"""Health: one level, one line and some numbers, judged from the status document alone.

Runs in: tools. `judge` is pure. It asks for progress, not for processes: is the document fresh, do polls get
answers, does what came in go out again? A service whose processes all run and that grades nothing is ill.

This module is started by cron every minute and has 100 ms with the interpreter's own start, so it imports
next to nothing and reads the few fields that it judges by itself (supervisor.status has the whole schema).
Fields that are missing count as unknown, so that it can judge documents of older and newer minor versions.
"""

from __future__ import annotations

import json
import os
import time
from enum import IntEnum
from typing import Any, NamedTuple

MAJOR = "1"
"""Of the schema that is read here; the same as in supervisor.status.SCHEMA."""

MAX_BYTES = 8 * 1024 * 1024
MAX_FINDINGS = 6
"""So many stand in the line; the rest is counted."""


class Level(IntEnum):
    """The exit codes of monitoring plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Thresholds(NamedTuple):
    """When something that lasts is bad, in seconds."""

    stale_s: float = 30.0  # the document is older: the supervisor is dead or stuck: CRITICAL
    start_s: float = 60.0  # longer in STARTING: CRITICAL
    fatal_s: float = 60.0  # a queue FATAL, or without any working slot, for longer: CRITICAL; before: WARNING
    unreachable_s: float = 60.0  # polls fail for longer: WARNING; CRITICAL if it is so for all queues
    asked_s: float = 60.0  # a poll is not answered for longer: as if it had failed
    trouble_s: float = 60.0  # a queue tells of trouble for longer and gets on with nothing: WARNING
    lost_s: float = 600.0  # polls fail, or there are none, for longer: CRITICAL
    hung_s: float = 30.0  # a slot's promise is broken for longer: WARNING
    backlog_s: float = 120.0  # the oldest submission in hand is older: WARNING
    stuck_s: float = 300.0  # submissions in hand for longer and none delivered since: CRITICAL
    dead_s: float = 3600.0  # a dead letter is news for so long: WARNING


class SlotView(NamedTuple):
    id: str
    state: str
    since: float | None
    until: float | None
    cause: str
    message: str


class QueueView(NamedTuple):
    name: str
    state: str
    since: float | None
    cause: str
    message: str
    slots: tuple[SlotView, ...]
    last_poll_at: float | None
    last_poll_ok_at: float | None
    last_delivered_at: float | None
    last_dead_at: float | None
    delivered: int
    dead: int
    backlog: int
    backlog_oldest_at: float | None
    paused_since: float | None = None
    paused_until: float | None = None
    paused_message: str = ""
    resumed_at: float | None = None

    def paused(self, now: float) -> bool:
        """Planned maintenance, and its time is not over."""
        return self.paused_since is not None and (self.paused_until is None or now < self.paused_until)

    def expected_at(self) -> float:
        """Since when polls are to be expected (0.0: always): the end of the last pause."""
        over_at = _or(self.paused_until, 0.0) if self.paused_since is not None else 0.0
        return max(over_at, _or(self.resumed_at, 0.0))


class ReloadView(NamedTuple):
    at: float | None
    ok: bool
    message: str


class BreakerView(NamedTuple):
    unit: str
    queue: str
    grader: str
    state: str
    since: float | None
    cause: str
    message: str


class View(NamedTuple):
    """What health looks at. Times are unix seconds, None if unknown."""

    written_at: float
    state: str
    pid: int
    started_at: float
    queues: tuple[QueueView, ...]
    reload: ReloadView | None = None
    breakers: tuple[BreakerView, ...] = ()


class Health(NamedTuple):
    """The answer. `line()` is what the plugin prints."""

    level: Level
    text: str
    perfdata: str = ""

    def line(self) -> str:
        """WARDEN LEVEL - text | perfdata, in one line."""
        tail = f" | {self.perfdata}" if self.perfdata else ""
        return f"WARDEN {self.level.name} - {one_line(self.text)}{tail}"


class Unreadable(Exception):
    """There is no status document, or not one that can be judged. The message is for people."""


# --- reading -----------------------------------------------------------------------------------------


def read(path: str) -> View:
    """The document at `path`, as far as health looks at it.

    Raises:
        Unreadable: no file, no permission, not a status document, another major version.
    """
    try:
        # pathlib costs 5 ms to import. A pipe in the file's place must not make us wait.
        with open(path, "rb", opener=unwaiting) as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise Unreadable(f"there is no status file {path}: the service has never run here") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Unreadable(f"the status file {path} cannot be read: {reason}") from error
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"{path} is larger than {MAX_BYTES} bytes; this is not a status file")
    try:
        return view(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path} is not a status document") from error
    except Unreadable as error:
        raise Unreadable(f"{path}: {error}") from error


def unwaiting(path: str, flags: int) -> int:
    """An opener (see open()) that does not wait, whatever stands there."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def view(document: object) -> View:
    """What health looks at, from a decoded document.

    Raises:
        Unreadable: it is not a status document, or of another major version.
    """
    if not isinstance(document, dict):
        raise Unreadable("not a status document")
    schema = document.get("schema")
    if not isinstance(schema, str) or schema.partition(".")[0] != MAJOR:
        raise Unreadable(f"its schema is {str(schema)[:20]!r}; this warden judges {MAJOR}.x")
    written_at, started_at = _time(document, "written_at"), _time(document, "started_at")
    if written_at is None or started_at is None:
        raise Unreadable("it does not say when it was written")
    queues = document.get("queues")
    if not isinstance(queues, dict) or not all(isinstance(queue, dict) for queue in queues.values()):
        raise Unreadable("its queues cannot be read")
    return View(
        written_at,
        _text(document, "state"),
        _count(document, "pid"),
        started_at,
        tuple(_queue(name, queue) for name, queue in queues.items()),
        _reload(document.get("reload")),
        tuple(_breakers(document.get("breakers"))),
    )


def _breakers(breakers: object) -> list[BreakerView]:
    if not isinstance(breakers, list | tuple):
        return []
    return [
        BreakerView(
            _text(one, "unit"),
            _text(one, "queue"),
            _text(one, "grader"),
            _text(one, "state"),
            _time(one, "since"),
            _text(one, "cause"),
            _text(one, "message"),
        )
        for one in breakers
        if isinstance(one, dict)
    ]


def _reload(reload: object) -> ReloadView | None:
    if not isinstance(reload, dict):
        return None
    return ReloadView(_time(reload, "at"), reload.get("ok") is not False, _text(reload, "message"))


def _queue(name: str, queue: dict[str, Any]) -> QueueView:
    slots = queue.get("slots")
    return QueueView(
        name,
        _text(queue, "state"),
        _time(queue, "since"),
        _text(queue, "cause"),
        _text(queue, "message"),
        tuple(_slot(slot) for slot in slots if isinstance(slot, dict))
        if isinstance(slots, list | tuple)
        else (),
        _time(queue, "last_poll_at"),
        _time(queue, "last_poll_ok_at"),
        _time(queue, "last_delivered_at"),
        _time(queue, "last_dead_at"),
        _count(queue, "delivered"),
        _count(queue, "dead"),
        _count(queue, "backlog"),
        _time(queue, "backlog_oldest_at"),
        _time(queue, "paused_since"),
        _time(queue, "paused_until"),
        _text(queue, "paused_message"),
        _time(queue, "resumed_at"),
    )


def _slot(slot: dict[str, Any]) -> SlotView:
    return SlotView(
        _text(slot, "id"),
        _text(slot, "state"),
        _time(slot, "since"),
        _time(slot, "until"),
        _text(slot, "cause"),
        _text(slot, "message"),
    )


def _text(table: dict[str, Any], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _count(table: dict[str, Any], key: str) -> int:
    value = table.get(key)
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else 0


def _time(table: dict[str, Any], key: str) -> float | None:
    """Unix seconds that gmtime can say; NaN and nonsense are unknown."""
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        return None
    return float(value)


# --- judging -----------------------------------------------------------------------------------------


class Finding(NamedTuple):
    """One thing that is wrong.

    `topic` says what was looked at: service, reload, breaker, fatal, state, polls, slots, hang, trouble,
    progress or dead. `queue` is "" for the service itself, `cause` if none is known. `what` is in words, with
    cause and message; `since` (unix seconds) belongs after it, joined by `how`; None if it is unknown.
    """

    level: Level
    topic: str
    queue: str
    cause: str
    what: str
    since: float | None = None
    how: str = ", "

    def text(self, now: float) -> str:
        """In words, with the queue and since when."""
        where = f"queue {self.queue}: " if self.queue else ""
        return f"{where}{self.what}{self.how}{_since(self.since, now)}" if self.how else f"{where}{self.what}"


def judge(status: View, now: float, thresholds: Thresholds = Thresholds()) -> Health:  # noqa: B008 (frozen)
    """How the service is.

    Args:
        status: the document.
        now: unix seconds.
    """
    found = findings(status, now, thresholds)
    level = found[0].level if found else Level.OK
    text = (_sentence(found, now) if found else _well(status, now)) + _paused(status, now)
    return Health(level, text, _perfdata(status, now, thresholds))


def findings(status: View, now: float, thresholds: Thresholds) -> list[Finding]:
    """All that is wrong, the worst first; alarms (supervisor.alerts) and `judge` are made of it."""
    whole = _whole(status, now, thresholds)
    if whole and whole.level is Level.CRITICAL:
        return [whole]  # what the rest of the document says is no longer true
    found = [whole] if whole else []
    if status.reload and not status.reload.ok:
        why = _why("CONFIG", status.reload.message)
        text = f"the new configuration was refused, the old one is in force{why}"
        found.append(Finding(Level.WARNING, "reload", "", "CONFIG", text, status.reload.at))
    paused = {queue.name for queue in status.queues if queue.paused(now)}
    found += [_broken(one) for one in status.breakers if _matters(one, paused)]
    unreachable = 0
    for queue in status.queues:
        of_queue, silent = _queue_findings(queue, status, now, thresholds)
        found += of_queue
        unreachable += silent
    if status.queues and unreachable == len(status.queues):
        found.append(Finding(Level.CRITICAL, "polls", "", "", "no queue can be polled", how=""))
    if not status.queues:
        found.append(
            Finding(Level.CRITICAL, "service", "", "CONFIG", "there is no queue at all: CONFIG", how="")
        )
    found.sort(key=lambda finding: -finding.level)  # stable: the worst first, else in the order of the queues
    return found


def _matters(breaker: BreakerView, paused: set[str]) -> bool:
    """A queue's that is open makes the queue FATAL, and counts as that."""
    return breaker.queue not in paused and not (breaker.unit == "queue" and breaker.state == "OPEN")


def _broken(breaker: BreakerView) -> Finding:
    """Something that is left alone for a while."""
    why = _why(breaker.cause, breaker.message)
    if breaker.unit == "host":
        text = f"this host fails at everything, so nothing is polled{why}"
        return Finding(Level.CRITICAL, "breaker", "", "HOST", text, breaker.since)
    if breaker.unit == "queue":
        text = f"failed again and again, and is tried with one slot{why}"
    else:
        text = f"submissions of {breaker.grader} are held, it failed again and again{why}"
    return Finding(Level.WARNING, "breaker", breaker.queue, breaker.cause, text, breaker.since)


def _whole(status: View, now: float, limit: Thresholds) -> Finding | None:
    """What concerns the service as a whole."""
    age_s = now - status.written_at
    if status.state == "STOPPED":
        return _of_service(Level.CRITICAL, "", "the service was stopped", status.written_at)
    if age_s > limit.stale_s:
        text = f"the supervisor (pid {status.pid}) is dead or stuck: HOST: silent"
        return _of_service(Level.CRITICAL, "HOST", text, status.written_at)
    if age_s < -limit.stale_s:
        text = f"the status file is {span(-age_s)} ahead of the clock: HOST: the clock was set back"
        return _of_service(Level.WARNING, "HOST", text)
    if status.state == "STARTING" and now - status.started_at > limit.start_s:
        return _of_service(Level.CRITICAL, "HOST", "the service is still starting", status.started_at)
    if status.state == "DRAINING":
        return _of_service(Level.WARNING, "", "the service is draining: it takes no new submissions")
    if status.state not in ("STARTING", "RUNNING"):
        return _of_service(Level.CRITICAL, "", f"the service is in an unknown state {status.state[:20]!r}")
    return None


def _of_service(level: Level, cause: str, what: str, since: float | None = None) -> Finding:
    return Finding(level, "service", "", cause, what, since, how="" if since is None else " ")


def _queue_findings(
    queue: QueueView, status: View, now: float, limit: Thresholds
) -> tuple[list[Finding], bool]:
    """What is wrong with one queue, and whether it has not been polled for too long."""
    if queue.paused(now):
        return [], False
    found: list[Finding] = []
    why = _why(queue.cause, queue.message)
    if queue.state == "FATAL":
        # It has a cause of its own only where it was never started.
        first = next((slot for slot in queue.slots if slot.cause), None)
        cause = queue.cause
        if first and not cause:
            cause, why = first.cause, _why(first.cause, first.message)
        lasting = now - _or(queue.since, status.started_at) >= limit.fatal_s
        level = Level.CRITICAL if lasting else Level.WARNING
        return [Finding(level, "fatal", queue.name, cause, f"FATAL{why}", queue.since)], True
    if queue.state == "STOPPED" and status.state == "RUNNING":
        found.append(Finding(Level.WARNING, "state", queue.name, queue.cause, f"STOPPED{why}", queue.since))

    silent = _silence(queue, status, now, limit)
    if silent:
        found.append(silent)
    found += _slots(queue, status, now, limit)
    found += _progress(queue, now, limit)
    if not any(finding.topic != "dead" for finding in found):
        found += _trouble(queue, status, now, limit)
    return found, silent is not None


def _silence(queue: QueueView, status: View, now: float, limit: Thresholds) -> Finding | None:
    """Polls that fail, or that do not happen."""
    if queue.state == "STOPPED" or status.state == "DRAINING":
        return None
    well_at = max(_or(queue.last_poll_ok_at, 0.0), status.started_at, queue.expected_at())
    silent_s = now - well_at
    # A poll after the last good one that has not come back well: it failed, or it is in flight for too long.
    fails = queue.last_poll_at is not None and queue.last_poll_at > _or(queue.last_poll_ok_at, 0.0)
    # A network comes back by itself; a wrong password does not.
    hopeless = queue.cause in ("AUTH", "CONFIG")
    patience_s = limit.unreachable_s if queue.cause else max(limit.unreachable_s, limit.asked_s)
    if fails and (hopeless or silent_s > patience_s):
        lost_s = limit.unreachable_s if hopeless else limit.lost_s
        level = Level.CRITICAL if silent_s > lost_s else Level.WARNING
        cause = queue.cause or "QUEUE_UNREACHABLE"
        return Finding(level, "polls", queue.name, cause, f"polls fail{_why(cause, queue.message)}", well_at)
    # All workers busy is a reason not to poll; then progress is what counts.
    if not fails and not queue.backlog and silent_s > limit.lost_s:
        cause = queue.cause or "HOST"
        return Finding(
            Level.CRITICAL,
            "polls",
            queue.name,
            cause,
            f"is not polled{_why(cause, queue.message)}",
            well_at,
        )
    return None


def _slots(queue: QueueView, status: View, now: float, limit: Thresholds) -> list[Finding]:
    found: list[Finding] = []
    seats = [slot for slot in queue.slots if slot.state != "STOPPED"]  # the others are not needed now
    down = [slot for slot in seats if slot.state in ("BACKOFF", "FATAL")]
    if down:
        first = min(down, key=lambda slot: _or(slot.since, now))
        cause = first.cause or queue.cause
        why = _why(cause, first.message)
        level, text = Level.WARNING, f"{len(down)} of {len(seats)} slots {first.state}{why}"
        if len(down) == len(seats):
            # The youngest counts: as long as one sat there working, the queue was served.
            lasting = now - max(_or(slot.since, now) for slot in down) >= limit.fatal_s
            level, text = Level.CRITICAL if lasting else Level.WARNING, f"no slot works{why}"
        found.append(Finding(level, "slots", queue.name, cause, text, first.since))
    for slot in queue.slots:
        if (
            slot.state == "RUNNING"
            and slot.until is not None
            and status.written_at - slot.until > limit.hung_s
        ):
            text = f"slot {slot.id} hangs: HOST"
            found.append(Finding(Level.WARNING, "hang", queue.name, "HOST", text, slot.until))
    return found


def _progress(queue: QueueView, now: float, limit: Thresholds) -> list[Finding]:
    """What came in goes out again."""
    found: list[Finding] = []
    if queue.backlog and queue.backlog_oldest_at is not None:
        oldest_at = queue.backlog_oldest_at
        oldest_at = max(oldest_at, queue.expected_at())  # a pause is no delay
        progress_at = max(oldest_at, _or(queue.last_delivered_at, 0.0))
        why = _why(queue.cause, queue.message)
        if now - progress_at > limit.stuck_s:
            text = f"{queue.backlog} in hand and nothing delivered{why}"
            found.append(Finding(Level.CRITICAL, "progress", queue.name, queue.cause, text, progress_at))
        elif now - oldest_at > limit.backlog_s:
            text = f"{queue.backlog} in hand, the oldest{why}"
            found.append(Finding(Level.WARNING, "progress", queue.name, queue.cause, text, oldest_at))
    if queue.dead and queue.last_dead_at is not None and now - queue.last_dead_at <= limit.dead_s:
        letters = "1 dead letter" if queue.dead == 1 else f"{queue.dead} dead letters"
        found.append(
            Finding(Level.WARNING, "dead", queue.name, "", letters, queue.last_dead_at, how=", the last ")
        )
    return found


def _trouble(queue: QueueView, status: View, now: float, limit: Thresholds) -> list[Finding]:
    """What a queue complains of while neither a poll nor a delivery shows that it works all the same."""
    if not queue.cause or queue.state == "STOPPED":
        return []
    well_at = max(_or(queue.last_poll_ok_at, 0.0), status.started_at, queue.expected_at())
    if queue.backlog and queue.backlog_oldest_at is not None:
        well_at = min(well_at, max(queue.backlog_oldest_at, _or(queue.last_delivered_at, 0.0)))
    if now - well_at <= limit.trouble_s:
        return []
    text = f"trouble{_why(queue.cause, queue.message)}"
    return [Finding(Level.WARNING, "trouble", queue.name, queue.cause, text, well_at)]


# --- words -------------------------------------------------------------------------------------------


def _or(value: float | None, instead: float) -> float:
    return instead if value is None else value


def _why(cause: str, message: str) -> str:
    text = f": {cause}" if cause else ""
    return f"{text}: {message[:160]}" if message else text


def span(seconds: float) -> str:
    """2 s, 3 min, 5 h, 4 d."""
    seconds = max(0.0, seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _since(at: float | None, now: float) -> str:
    if at is None:
        return "since unknown"
    return f"since {stamp(at)} ({span(now - at)})"


def stamp(at: float) -> str:
    """2027-01-15 08:00:00Z; whatever stands in a file, it is no error."""
    if not 0 <= at < 1e11:
        return "an impossible time"
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


def _sentence(findings: list[Finding], now: float) -> str:
    texts = [finding.text(now) for finding in findings[:MAX_FINDINGS]]
    if len(findings) > MAX_FINDINGS:
        texts.append(f"and {len(findings) - MAX_FINDINGS} more")
    return "; ".join(texts)


def _well(status: View, now: float) -> str:
    running = sum(slot.state == "RUNNING" for queue in status.queues for slot in queue.slots)
    slots = sum(slot.state != "STOPPED" for queue in status.queues for slot in queue.slots)
    delivered = sum(queue.delivered for queue in status.queues)
    backlog = sum(queue.backlog for queue in status.queues)
    queues = "1 queue" if len(status.queues) == 1 else f"{len(status.queues)} queues"
    return (
        f"{queues}, {running} of {slots} slots running, "
        f"{delivered} delivered, {backlog} in hand, up {span(now - status.started_at)}"
    )


def _paused(status: View, now: float) -> str:
    """What is paused, behind the rest of the line."""
    texts = []
    for queue in status.queues:
        if queue.paused(now):
            until = "until it is resumed"
            if queue.paused_until is not None:
                until = f"until {time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(queue.paused_until))}"
            why = f": {queue.paused_message[:160]}" if queue.paused_message else ""
            texts.append(f"; queue {queue.name} is paused {until}{why}")
    return "".join(texts[:MAX_FINDINGS])


def _perfdata(status: View, now: float, limit: Thresholds) -> str:
    """label=value[unit];warning;critical;minimum, as monitoring plugins write it."""
    slots = [slot for queue in status.queues for slot in queue.slots if slot.state != "STOPPED"]
    oldest = [queue.backlog_oldest_at for queue in status.queues if queue.backlog_oldest_at is not None]
    oldest_s = max(0.0, now - min(oldest)) if oldest else 0.0
    return " ".join(
        (
            f"age={max(0.0, now - status.written_at):.1f}s;;{limit.stale_s:g};0",
            f"queues={len(status.queues)};;;0",
            f"slots={len(slots)};;;0",
            f"slots_running={sum(slot.state == 'RUNNING' for slot in slots)};;;0",
            f"backlog={sum(queue.backlog for queue in status.queues)};;;0",
            f"oldest={oldest_s:.1f}s;{limit.backlog_s:g};;0",
            f"delivered={sum(queue.delivered for queue in status.queues)}c;;;0",
            f"dead={sum(queue.dead for queue in status.queues)}c;;;0",
        )
    )


def one_line(text: str) -> str:
    """Printable, and without the bar that begins the perfdata."""
    return "".join(c if c.isprintable() else " " for c in text).replace("|", "/")
