"""Status documents to show and to judge."""

from __future__ import annotations

from typing import Any

from supervisor.status import QueueStatus, ServiceState, SlotState, SlotStatus, Status, total

NOW = 1_800_000_000.0


def a_slot(now: float = NOW, **changes: Any) -> SlotStatus:
    """A slot that is well."""
    values: dict[str, Any] = {
        "id": "demo/0",
        "state": SlotState.RUNNING,
        "since": now - 3000,
        "pid": 4711,
        "cpu": 1,
        "phase": "poll",
        "until": now + 5,
        "graded": 12,
        "memory_bytes": 40 << 20,
    }
    return SlotStatus(**(values | changes))


def a_queue(now: float = NOW, **changes: Any) -> QueueStatus:
    """A queue that is well."""
    values: dict[str, Any] = {
        "server": "main",
        "state": SlotState.RUNNING,
        "since": now - 3000,
        "slots": (a_slot(now),),
        "polls": 100,
        "last_poll_at": now - 1,
        "last_poll_ok_at": now - 1,
        "last_submission_at": now - 20,
        "last_delivered_at": now - 19,
        "received": 12,
        "graded": 12,
        "delivered": 12,
        "verdicts": {"correct": 7, "incorrect": 5},
    }
    return QueueStatus(**(values | changes))


def a_status(now: float = NOW, **changes: Any) -> Status:
    """A service that is well, one second after it wrote."""
    queues = changes.pop("queues", {"demo": a_queue(now)})
    values: dict[str, Any] = {
        "written_at": now - 1,
        "state": ServiceState.RUNNING,
        "pid": 4700,
        "started_at": now - 3600,
        "warden_version": "0.1.0",
        "config_path": "config.toml",
        "queues": queues,
        "totals": total(queues),
    }
    return Status(**(values | changes))
