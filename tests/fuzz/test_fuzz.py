"""Whatever bytes come in, a reader answers with a value or with the error that it documents."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from graders.model import Cause
from supervisor import health, pauses, status
from supervisor.events import ChannelClosed, next_word, pair
from supervisor.pauses import Pause, PausesUnreadable
from supervisor.status import (
    Alert,
    QueueStatus,
    ServerStatus,
    ServiceState,
    SlotState,
    SlotStatus,
    Status,
    StatusUnreadable,
)
from tests.fuzz import codec

T = TypeVar("T")
NOW = 1_800_000_000.0

DOCUMENT = status.encode(
    Status(
        written_at=NOW,
        state=ServiceState.RUNNING,
        pid=7,
        started_at=NOW - 60,
        servers={"s": ServerStatus(url="http://127.0.0.1", last_ok_at=NOW, cause=Cause.AUTH, message="no")},
        queues={
            "q": QueueStatus(
                server="s",
                state=SlotState.RUNNING,
                since=NOW - 50,
                slots=(SlotStatus(id="q.0", state=SlotState.BACKOFF, since=NOW, cause=Cause.HOST),),
                backlog=3,
                backlog_oldest_at=NOW - 9,
                verdicts={"correct": 2},
            )
        },
        alerts=(Alert(at=NOW, cause=Cause.HOST, text="the disk is full"),),
    )
)
PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"\\ud800",
    b"\xff",
    b"0" * 400,
]


def mutated(*whole: bytes) -> st.SearchStrategy[bytes]:
    """One of `whole` with some places cut out, doubled, or replaced: nearly right, as damage is."""

    @st.composite
    def strategy(draw: Callable[[st.SearchStrategy[T]], T]) -> bytes:
        raw = draw(st.sampled_from(whole))
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(raw)))
            end = min(len(raw), start + draw(st.integers(0, 12)))
            piece = draw(st.sampled_from(PIECES) | st.binary(max_size=4) | st.just(raw[start:end] * 2))
            raw = raw[:start] + piece + raw[end:]
        return raw

    return strategy()


@settings(max_examples=300)
@given(mutated(*codec.seeds()) | st.binary(max_size=300))
def test_codec(raw: bytes) -> None:
    codec.one(raw)


@pytest.mark.parametrize("seed", codec.seeds())
def test_every_seed_is_read_to_its_end(seed: bytes) -> None:
    codec.READERS[seed[0]](seed[1:].decode())


@settings(max_examples=200)
@given(mutated(DOCUMENT) | st.binary(max_size=200))
@example(b"[" * 100_000)
@example(DOCUMENT)
def test_status(raw: bytes) -> None:
    try:
        found = status.decode(raw)
    except StatusUnreadable as error:
        assert str(error)
    else:
        assert status.decode(status.encode(found)) == found


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(raw=mutated(DOCUMENT) | st.binary(max_size=200), now=st.floats(0, 1e11))
@example(raw=b"[" * 100_000, now=NOW)
def test_health(tmp_path: Path, raw: bytes, now: float) -> None:
    file = tmp_path / "status.json"
    file.write_bytes(raw)
    try:
        line = health.judge(health.read(str(file)), now).line()
    except health.Unreadable as error:
        assert str(error)
    else:
        assert line.startswith("WARDEN ") and "\n" not in line


PAUSES = json.dumps(
    {"pauses": [{"queue": "q", "since": NOW, "until": NOW + 60, "message": "upgrade", "by": "root"}]}
).encode()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(mutated(PAUSES) | st.binary(max_size=200))
@example(PAUSES)
@example(b"[" * 100_000)
def test_pauses(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / pauses.FILE_NAME).write_bytes(raw)
    try:
        found = pauses.read(tmp_path, NOW)
    except PausesUnreadable as error:
        assert str(error)
    else:
        assert all(isinstance(pause, Pause) and not pause.over(NOW) for pause in found.values())


WORD = json.dumps(
    {
        "type": "word",
        "phase": "idle",
        "until": time.monotonic(),
        "wants_turn": True,
        "happened": [{"type": "polled", "how": "hit"}, {"type": "backlog", "count": 1, "oldest_at": None}],
    }
).encode()


@settings(max_examples=150)
@given(mutated(WORD).filter(bool))
@example(WORD)
@example(WORD.replace(b"phase", b"ph\xffse"))
@example(b"[" * 60_000)
def test_what_a_worker_says(raw: bytes) -> None:
    ours, theirs = pair()
    try:
        theirs.send(raw, socket.MSG_EOR)
        next_word(ours)
    except (msgspec.DecodeError, ChannelClosed):
        pass
    finally:
        ours.close()
        theirs.close()
