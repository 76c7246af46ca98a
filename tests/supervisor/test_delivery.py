"""What becomes of a reply, by the server's answer."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from graders.model import Blame, Cause, Verdict
from supervisor.delivery import NEWER_S, UNCERTAIN_TRIES, Aside, Done, Later, Outbox, Refused, decide
from supervisor.events import Dead, Delivered, Trouble, Well, next_word, pair
from supervisor.heartbeat import Voice
from supervisor.journal import FILE_NAME, MOST_ASIDES, PATIENCE_S, Journal, Mark, Row, State
from tests.supervisor.test_journal import LATER, NOW, PULLED
from xqueue import errors

REFUSED = errors.ReplyRefused("wrong key")
UNCERTAIN = errors.ReplyUncertain("answered 500", 500)


def row(**changes: object) -> Row:
    plain = Row(
        id=1,
        submission_id="7",
        state=State.GRADED,
        header="h",
        payload="",
        response="",
        student_key="",
        random_seed=1,
        files={},
        files_here=True,
        problem="",
        submitted_at=None,
        pulled_at=0.0,
        handed_at=0.0,
        started_at=None,
        graded_at=None,
        attempts=1,
        tries=0,
        refusals=0,
        uncertain=False,
        body="reply",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (None, Done),
        (REFUSED, Refused),
        (UNCERTAIN, Later),
        (errors.ServerError("502", 502), Later),
        (errors.Unreachable("refused"), Later),
        (errors.LoginRefused("no"), Later),
        (errors.NotPermitted("no"), Later),
        (errors.SessionNotKept("no"), Later),
        (errors.Misconfigured("moved"), Later),
        (errors.UnknownQueue("who"), Later),
    ],
)
def test_only_a_refusal_closes_a_reply(error: errors.QueueError | None, decision: type) -> None:
    assert isinstance(decide(row(), error), decision)


def test_a_fault_of_the_server_holds_all_replies_and_one_row_s_fault_only_that_row() -> None:
    assert decide(row(), errors.Unreachable("x")) == Later(Cause.QUEUE_UNREACHABLE, "x", all_rows=True)
    assert decide(row(), errors.ServerError("x")) == Later(Cause.QUEUE_ERROR, "x", all_rows=False)


def test_uncertain_often_enough_counts_as_accepted() -> None:
    assert isinstance(decide(row(tries=UNCERTAIN_TRIES - 2), UNCERTAIN), Later)
    assert isinstance(decide(row(tries=UNCERTAIN_TRIES - 1), UNCERTAIN), Done)


class Server:
    """Answers put_result as written down, in order; then takes everything."""

    def __init__(self, *answers: errors.QueueError) -> None:
        self.answers = list(answers)
        self.taken: list[tuple[str, str]] = []
        self.aside: list[str] = []

    def put_result(self, header: str, body: str) -> None:
        if self.answers:
            raise self.answers.pop(0)
        self.taken.append((header, body))

    def set_aside(self, header: str) -> None:
        if self.answers:
            raise self.answers.pop(0)
        self.aside.append(header)


class Post:
    """An outbox with one graded row, its server, its journal and the supervisor's ear."""

    def __init__(self, path: Path, ear: socket.socket, mouth: socket.socket) -> None:
        self.now = NOW
        self.ear = ear
        self.server = Server()
        self.journal = Journal(path / FILE_NAME, "s", "q", "q.0#1")
        self.voice = Voice(mouth, time.monotonic)
        clock = lambda: self.now  # noqa: E731
        self.outbox = Outbox(self.journal, self.server, self.voice, 9.0, clock, clock, lambda: 0.0)
        _, received = self.journal.receive(PULLED, NOW)
        self.id = received.id
        self.journal.record(self.id, "reply", Mark(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER), NOW)

    def flush(self, *answers: errors.QueueError) -> bool:
        self.server.answers = list(answers)
        return self.outbox.flush()

    def takes_another(self) -> None:
        """The LMS takes the result of another submission, a second from now."""
        self.now += 1
        other = replace(PULLED, submission_id=f"other {self.now}", student_key="bert")
        _, received = self.journal.receive(other, self.now)
        self.journal.record(
            received.id, "reply", Mark(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER), self.now
        )
        assert self.journal.delivered(received.id, other.header, self.now)

    @property
    def state(self) -> State:
        return self.journal.row(self.id).state

    def heard(self) -> list[type]:
        self.voice.say("idle", 1.0)  # type: ignore[arg-type]
        found: list[type] = []
        while (word := next_word(self.ear)) is not None:
            found += map(type, word.happened)
        return found


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    ear, mouth = pair()
    with ear, mouth:
        made = Post(tmp_path, ear, mouth)
        yield made
        made.journal.close()


def test_a_reply_is_sent_once(post: Post) -> None:
    assert post.flush()
    assert post.state is State.DELIVERED
    assert not post.flush()
    assert post.server.taken == [(PULLED.header, "reply")]
    assert post.heard() == [Delivered]


def test_an_unreachable_server_is_not_hammered_and_the_reply_not_lost(post: Post) -> None:
    assert post.flush(errors.Unreachable("down"))
    assert not post.flush(), "held"
    post.now += 1.01
    assert post.flush(errors.Unreachable("down"))
    post.now += 1.01
    assert not post.flush(), "held longer"
    post.now += 1.01
    assert post.flush()
    assert post.state is State.DELIVERED
    assert post.heard() == [Trouble, Trouble, Well, Delivered]


def test_a_refused_reply_waits_for_a_newer_key(post: Post) -> None:
    post.flush(REFUSED)
    assert post.state is State.GRADED
    post.journal.receive(LATER, post.now)
    assert post.flush()
    assert post.state is State.DELIVERED
    assert post.server.taken == [(LATER.header, "reply")]
    assert Dead not in post.heard()


def test_a_reply_refused_twice_is_a_dead_letter(post: Post) -> None:
    post.flush(REFUSED)
    assert not post.flush()
    post.now += NEWER_S
    post.flush(REFUSED)
    assert post.state is State.DEAD
    post.now += 1e6
    assert not post.flush()
    assert post.heard() == [Dead]


def test_a_reply_that_may_have_been_accepted_ends_in_the_end(post: Post) -> None:
    rounds = 0
    while post.state is State.GRADED:
        rounds += post.flush(UNCERTAIN)
        post.now += 10
    assert rounds == UNCERTAIN_TRIES
    assert post.state is State.DELIVERED


def test_a_reply_that_fails_after_the_same_key_came_again_is_set_aside_for_the_others(post: Post) -> None:
    for number in range(1, MOST_ASIDES + 1):
        key = replace(PULLED, header=f"key {number}")
        post.journal.receive(key, post.now)
        post.takes_another()
        assert post.flush(UNCERTAIN), "a first failure says nothing yet"
        assert post.server.aside == [f"key {one}" for one in range(1, number)]
        post.journal.receive(key, post.now)
        post.now += 10
        assert post.flush(UNCERTAIN)
        assert not post.flush(), "it waits for its next key"
    assert post.server.aside == [f"key {one}" for one in range(1, MOST_ASIDES + 1)]
    assert post.state is State.DEAD
    assert post.heard().count(Dead) == 1


def test_an_lms_that_takes_nothing_at_all_does_not_use_up_the_asides(post: Post) -> None:
    for key in (replace(PULLED, header="key 1"), replace(PULLED, header="key 2")):
        post.journal.receive(key, post.now)
        post.flush(UNCERTAIN)
        post.journal.receive(key, post.now)
        post.now += 10
        post.flush(UNCERTAIN)
    assert post.server.aside == ["key 1"]
    for _ in range(20):
        post.now += 120
        post.journal.receive(key, post.now)
        post.flush(UNCERTAIN)
    assert (post.server.aside, post.state) == (["key 1"], State.GRADED)
    post.now += PATIENCE_S
    post.flush(UNCERTAIN)
    assert post.server.aside == ["key 1", "key 2"]


def test_a_reply_that_was_accepted_after_all_is_not_set_aside_for_ever(post: Post) -> None:
    post.flush(UNCERTAIN)
    post.journal.receive(PULLED, post.now)
    rounds = 0
    while post.state is State.GRADED:
        post.now += 200
        rounds += post.flush(UNCERTAIN, UNCERTAIN)
    assert rounds == UNCERTAIN_TRIES - 1
    assert (post.state, post.server.aside) == (State.DELIVERED, [])


def test_a_timeout_sets_nothing_aside() -> None:
    assert isinstance(decide(row(stale=3), errors.ReplyUncertain("timed out")), Later)
    assert isinstance(decide(row(stale=3), UNCERTAIN), Aside)
    assert isinstance(decide(row(stale=0), UNCERTAIN), Later)


def test_a_hand_out_during_the_put_is_answered_under_its_own_key(post: Post) -> None:
    class Racing(Server):
        def put_result(self, header: str, body: str) -> None:
            if not self.taken:
                post.journal.receive(LATER, post.now)
            super().put_result(header, body)

    racing = Racing()
    outbox = Outbox(post.journal, racing, post.voice, 9.0, lambda: post.now, lambda: post.now, random.random)
    assert outbox.flush() and post.state is State.GRADED
    assert outbox.flush() and post.state is State.DELIVERED
    assert [header for header, _ in racing.taken] == [PULLED.header, LATER.header]
