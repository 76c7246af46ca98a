"""The status document as Prometheus metrics: a table of what there is, and the text that it renders to.

Runs in: supervisor (renders), tools (the manual). Pure. The file is for the textfile collector of
node_exporter, or for anything that reads the text format 0.0.4; it is written beside the status file, as
atomically. docs/metrics.md is rendered from the table (`python -m supervisor.metrics` prints it).

Labels are names of the configuration (queue, server, sandbox, slot) and our own enums (verdict, cause,
state): so many series and no more, whatever learners and course authors do. No submission, learner or grader
is a label.

Counters belong to this life of the supervisor and begin at 0 with every value of an enum, so that rate() sees
the first one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from graders.model import Cause, Verdict
from supervisor import atomic
from supervisor.histogram import BUCKETS_S, Histogram
from supervisor.pacer import Poll
from supervisor.status import BreakerUnit, QueueStatus, ServiceState, SlotState, Status

PREFIX: Final = "warden_"

Sample = tuple[tuple[str, ...], float | Histogram]
"""The labels' values, in the order of `Metric.labels`, and what was measured."""


class Kind(StrEnum):
    """As `# TYPE` says it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family. `read` gives its samples from the document; `name` is without PREFIX."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    read: Callable[[Status], Iterable[Sample]]

    @property
    def full_name(self) -> str:
        return PREFIX + self.name


# --- how a family is read off the document ----------------------------------------------------------------


def _queues(read: Callable[[QueueStatus], float | None]) -> Callable[[Status], Iterator[Sample]]:
    """One sample for each queue that knows it."""

    def samples(status: Status) -> Iterator[Sample]:
        for name, queue in status.queues.items():
            if (value := read(queue)) is not None:
                yield (name,), value

    return samples


def _each(
    values: Iterable[StrEnum], read: Callable[[QueueStatus], Mapping[str, int] | Mapping[Cause, int]]
) -> Callable[[Status], Iterator[Sample]]:
    """One sample for each queue and each member of an enum; what was never counted is 0."""
    members = tuple(values)

    def samples(status: Status) -> Iterator[Sample]:
        for name, queue in status.queues.items():
            counts: Mapping[str, int] = {str(key): count for key, count in read(queue).items()}
            for member in members:
                yield (name, member.value), counts.get(member.value, 0)

    return samples


def _times(which: str) -> Callable[[Status], Iterator[Sample]]:
    def samples(status: Status) -> Iterator[Sample]:
        for name, queue in status.queues.items():
            if (histogram := queue.times.get(which)) is not None:
                yield (name,), histogram

    return samples


def _build(status: Status) -> Iterator[Sample]:
    yield (status.warden_version, status.host), 1


def _service_state(status: Status) -> Iterator[Sample]:
    for state in ServiceState:
        yield (state.value,), status.state is state


def _queue_state(status: Status) -> Iterator[Sample]:
    for name, queue in status.queues.items():
        for state in SlotState:
            yield (name, state.value), queue.state is state


def _slots(status: Status) -> Iterator[Sample]:
    for name, queue in status.queues.items():
        for state in SlotState:
            yield (name, state.value), sum(slot.state is state for slot in queue.slots)


def _queue_trouble(status: Status) -> Iterator[Sample]:
    for name, queue in status.queues.items():
        for cause in _FAILURES:
            yield (name, cause.value), queue.cause is cause


def _server_trouble(status: Status) -> Iterator[Sample]:
    for name, server in status.servers.items():
        for cause in _FAILURES:
            yield (name, cause.value), server.cause is cause


def _server_ok(status: Status) -> Iterator[Sample]:
    for name, server in status.servers.items():
        if server.last_ok_at is not None:
            yield (name,), server.last_ok_at


def _server_info(status: Status) -> Iterator[Sample]:
    for name, server in status.servers.items():
        yield (name, server.dialect or "unknown"), 1


def _oldest(status: Status) -> Iterator[Sample]:
    for name, queue in status.queues.items():
        oldest = queue.backlog_oldest_at
        yield (name,), 0.0 if oldest is None else max(0.0, status.written_at - oldest)


def _memory(status: Status) -> Iterator[Sample]:
    for name, queue in status.queues.items():
        for slot in queue.slots:
            if slot.memory_bytes is not None:
                yield (name, slot.id), slot.memory_bytes


def _isolation(status: Status) -> Iterator[Sample]:
    for sandbox, layers in status.isolation.items():
        for layer in dict.fromkeys(layers):
            yield (sandbox, layer), 1


def _breakers(status: Status) -> Iterator[Sample]:
    open_ones = [(one.unit, one.queue) for one in status.breakers]
    yield (BreakerUnit.HOST.value, ""), float(sum(unit is BreakerUnit.HOST for unit, _ in open_ones))
    for name in status.queues:
        for unit in (BreakerUnit.QUEUE, BreakerUnit.PROBLEM):
            yield (unit.value, name), open_ones.count((unit, name))


def _alarms(status: Status) -> Iterator[Sample]:
    for severity in ("warning", "critical"):
        yield (severity,), sum(one.severity == severity for one in status.alarms)


def _channels_waiting(status: Status) -> Iterator[Sample]:
    for name, channel in status.channels.items():
        yield (name,), channel.waiting


def _channels_failing(status: Status) -> Iterator[Sample]:
    for name, channel in status.channels.items():
        since = channel.failing_since
        yield (name,), 0.0 if since is None else max(0.0, status.written_at - since)


_FAILURES: Final = tuple(cause for cause in Cause if cause is not Cause.LEARNER)
_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_Q: Final = ("queue",)

METRICS: Final = (
    Metric("build_info", _G, ("version", "host"), "Always 1; the labels say which warden this is.", _build),
    Metric(
        "started_timestamp_seconds", _G, (), "When the supervisor started.", lambda s: [((), s.started_at)]
    ),
    Metric(
        "written_timestamp_seconds",
        _G,
        (),
        "When this file was written: if long ago, the supervisor is dead or stuck.",
        lambda s: [((), s.written_at)],
    ),
    Metric(
        "service_state", _G, ("state",), "1 for the state that the service is in, else 0.", _service_state
    ),
    Metric(
        "paused",
        _G,
        _Q,
        "1 while the queue is paused, else 0.",
        _queues(lambda q: q.paused_since is not None),
    ),
    Metric(
        "alerts",
        _G,
        (),
        "Entries in the status document's list of what a person should know.",
        lambda s: [((), len(s.alerts))],
    ),
    Metric("alarms", _G, ("severity",), "Troubles that people were told of and that last.", _alarms),
    Metric(
        "alert_waiting", _G, ("channel",), "Alerts that the channel has not delivered yet.", _channels_waiting
    ),
    Metric(
        "alert_failing_seconds",
        _G,
        ("channel",),
        "For how long the channel has delivered nothing that it should; 0 if it works.",
        _channels_failing,
    ),
    Metric(
        "reload_ok",
        _G,
        (),
        "0 while a new configuration stands refused and the old one is in force, else 1.",
        lambda s: [((), s.reload is None or s.reload.ok)],
    ),
    Metric(
        "breakers_open",
        _G,
        ("unit", "queue"),
        "Breakers that are not closed: of the host, of queues, of problems (graders).",
        _breakers,
    ),
    Metric("queue_state", _G, (*_Q, "state"), "1 for the state that the queue is in, else 0.", _queue_state),
    Metric(
        "queue_trouble",
        _G,
        (*_Q, "cause"),
        "1 for the cause why the queue is not well now, else 0.",
        _queue_trouble,
    ),
    Metric("slots", _G, (*_Q, "state"), "Seats of workers in each state.", _slots),
    Metric(
        "worker_memory_bytes",
        _G,
        (*_Q, "slot"),
        "Resident memory of the worker, without its sandboxes.",
        _memory,
    ),
    Metric(
        "worker_starts_total",
        _C,
        _Q,
        "Workers that were started, the first included.",
        _queues(lambda q: q.starts),
    ),
    Metric(
        "worker_deaths_total",
        _C,
        (*_Q, "cause"),
        "Workers that ended and were not meant to.",
        _each(_FAILURES, lambda q: q.deaths),
    ),
    Metric(
        "workers_recycled_total",
        _C,
        _Q,
        "Workers that were replaced on purpose.",
        _queues(lambda q: q.recycled),
    ),
    Metric("polls_total", _C, (*_Q, "result"), "Polls, by how they ended.", _each(Poll, lambda q: q.polled)),
    Metric(
        "submissions_received_total",
        _C,
        _Q,
        "Submissions pulled for the first time.",
        _queues(lambda q: q.received),
    ),
    Metric(
        "submissions_again_total",
        _C,
        _Q,
        "Submissions that the server handed out though they were known already.",
        _queues(lambda q: q.again),
    ),
    Metric(
        "submissions_graded_total",
        _C,
        (*_Q, "verdict"),
        "Submissions graded, by verdict; ungraded: the course or the service is to blame.",
        _each(Verdict, lambda q: q.verdicts),
    ),
    Metric(
        "replies_delivered_total", _C, _Q, "Results that the server took.", _queues(lambda q: q.delivered)
    ),
    Metric(
        "dead_letters_total",
        _C,
        (*_Q, "cause"),
        "Submissions that a person must look at.",
        _each(_FAILURES, lambda q: q.dead_causes),
    ),
    Metric(
        "failures_total",
        _C,
        (*_Q, "cause"),
        "All that went wrong and was not the learner's, each time: polls, gradings, replies, workers.",
        _each(_FAILURES, lambda q: q.failures),
    ),
    Metric(
        "backlog",
        _G,
        _Q,
        "Submissions in hand: pulled, not yet delivered. Survives a restart.",
        _queues(lambda q: q.backlog),
    ),
    Metric(
        "backlog_held",
        _G,
        _Q,
        "Of the submissions in hand: not to be begun at present, for an open breaker.",
        _queues(lambda q: q.held),
    ),
    Metric("slots_wanted", _G, _Q, "Seats that the queue is to have now.", _queues(lambda q: q.slots_wanted)),
    Metric("backlog_oldest_age_seconds", _G, _Q, "Age of the oldest of them; 0 if there is none.", _oldest),
    Metric(
        "queue_length",
        _G,
        _Q,
        "Submissions that wait on the server; only where it tells.",
        _queues(lambda q: q.queue_length),
    ),
    Metric(
        "last_poll_ok_timestamp_seconds",
        _G,
        _Q,
        "The last poll that was answered, with a submission or without.",
        _queues(lambda q: q.last_poll_ok_at),
    ),
    Metric(
        "last_submission_timestamp_seconds",
        _G,
        _Q,
        "The last submission that was pulled.",
        _queues(lambda q: q.last_submission_at),
    ),
    Metric(
        "last_delivered_timestamp_seconds",
        _G,
        _Q,
        "The last result that the server took.",
        _queues(lambda q: q.last_delivered_at),
    ),
    Metric(
        "last_dead_letter_timestamp_seconds",
        _G,
        _Q,
        "The last dead letter.",
        _queues(lambda q: q.last_dead_at),
    ),
    Metric("queue_wait_seconds", _H, _Q, "From submitting to the start of grading.", _times("wait")),
    Metric("grading_seconds", _H, _Q, "From the start of grading to its result.", _times("grading")),
    Metric(
        "delivery_seconds", _H, _Q, "From the result to the server's word that it has it.", _times("delivery")
    ),
    Metric("total_seconds", _H, _Q, "From submitting to the server's word.", _times("total")),
    Metric("server_last_ok_timestamp_seconds", _G, ("server",), "The server's last good answer.", _server_ok),
    Metric(
        "server_trouble",
        _G,
        ("server", "cause"),
        "1 for the cause why the server does not serve us now, else 0.",
        _server_trouble,
    ),
    Metric("server_info", _G, ("server", "dialect"), "Always 1; which XQueue it is.", _server_info),
    Metric(
        "isolation_layer",
        _G,
        ("sandbox", "layer"),
        "Always 1; the layers of isolation in force in a sandbox.",
        _isolation,
    ),
)


class MetricsFile:
    """Writes the file each time the status document is written: an observer of supervisor.publisher."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def published(self, document: Status, ledger: object) -> None:
        """Replace the file.

        Raises:
            OSError: it cannot be written; the old one still stands, and its age tells.
        """
        atomic.replace(self._path, encode(document))


# --- the text ----------------------------------------------------------------------------------------------


def encode(status: Status) -> bytes:
    """The whole file, for `atomic.replace`."""
    return "".join(f"{line}\n" for metric in METRICS for line in _lines(metric, status)).encode()


def _lines(metric: Metric, status: Status) -> Iterator[str]:
    name = metric.full_name
    yield f"# HELP {name} {metric.help}"
    yield f"# TYPE {name} {metric.kind}"
    for values, value in metric.read(status):
        labels = list(zip(metric.labels, values, strict=True))
        if isinstance(value, Histogram):
            yield from _histogram(name, labels, value)
        else:
            yield f"{name}{_labelled(labels)} {_number(value)}"


def _histogram(name: str, labels: list[tuple[str, str]], histogram: Histogram) -> Iterator[str]:
    so_far = 0
    for bound, count in zip((*BUCKETS_S, math.inf), histogram.counts, strict=True):
        so_far += count
        le = "+Inf" if math.isinf(bound) else f"{bound:g}"
        yield f"{name}_bucket{_labelled([*labels, ('le', le)])} {so_far}"
    yield f"{name}_sum{_labelled(labels)} {_number(histogram.sum_s)}"
    yield f"{name}_count{_labelled(labels)} {so_far}"


def _labelled(labels: list[tuple[str, str]]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels) + "}"


def _escaped(value: str) -> str:
    """Text format 0.0.4: backslash, quote and line feed. What cannot be UTF-8 is replaced."""
    text = value.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if isinstance(value, int):  # True is 1
        return str(int(value))
    return repr(value)


def reference() -> str:
    """Every metric, as a Markdown table."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for one in METRICS:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.full_name}` | {one.kind} | {labels} | {one.help} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(reference())
