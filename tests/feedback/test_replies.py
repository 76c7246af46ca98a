"""What is sent, before the LMS's own code: never "Invalid grader reply", and why the codec is strict."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings

from graders.feedback import Feedback
from graders.model import Judgement
from tests.feedback.judgements import judgements
from tests.lms.client import LmsJudge
from xqueue.errors import ProtocolError
from xqueue.protocol import Reply, encode_reply

FEEDBACK = Feedback()


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(judgements)
def test_whatever_a_learner_prints_the_lms_takes_the_reply(lms: LmsJudge, work: Judgement) -> None:
    result = FEEDBACK.render(work)
    judged = lms.judge(encode_reply(Reply(result.correct, result.score, result.msg)))
    assert judged.valid
    assert not judged.error
    assert not judged.queued
    assert (judged.correct, judged.points) == (result.correct, result.score)
    assert "Invalid grader reply" not in judged.text


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[1]",
        "5",
        '{"correct": true, "score": 1}',
        '{"score": 1, "msg": "<p/>"}',
        '{"correct": true, "msg": "x"}',
    ],
)
def test_what_is_no_reply_destroys_even_a_newer_attempt(lms: LmsJudge, body: str) -> None:
    """So nothing but a whole reply may ever leave."""
    for current in (True, False):
        judged = lms.judge(body, current=current)
        assert not judged.valid
        assert not judged.queued or judged.error


@pytest.mark.parametrize("correct", ["false", "False", "partially-correct", 1, [0]])
def test_correct_counts_by_its_truth_so_it_must_be_a_boolean(lms: LmsJudge, correct: object) -> None:
    assert lms.judge(json.dumps({"correct": correct, "score": 0, "msg": "<p>x</p>"})).correct is True
    with pytest.raises(ProtocolError):
        encode_reply(Reply(correct, 0, "<p>x</p>"))  # type: ignore[arg-type]


@pytest.mark.parametrize("score", ["1", None, [1]])
def test_a_score_that_is_no_number_raises_in_the_lms(lms: LmsJudge, score: object) -> None:
    assert "TypeError" in lms.judge(json.dumps({"correct": True, "score": score, "msg": "<p>x</p>"})).error
    with pytest.raises(ProtocolError):
        encode_reply(Reply(True, score, "<p>x</p>"))  # type: ignore[arg-type]


@pytest.mark.parametrize("msg", [None, 5, ["x"]])
def test_a_message_that_is_no_text_raises_in_the_lms(lms: LmsJudge, msg: object) -> None:
    assert "TypeError" in lms.judge(json.dumps({"correct": True, "score": 1, "msg": msg})).error
    with pytest.raises(ProtocolError):
        encode_reply(Reply(True, 1, msg))  # type: ignore[arg-type]


@pytest.mark.parametrize(("score", "points"), [(5, 5), (0.25, 0.25), (-1, 0), (True, 1), (False, 0)])
def test_points_are_absolute_and_not_clamped_above(lms: LmsJudge, score: float, points: float) -> None:
    assert lms.judge(json.dumps({"correct": True, "score": score, "msg": "<p>x</p>"})).points == points


def test_the_tick_and_the_points_are_independent(lms: LmsJudge) -> None:
    judged = lms.judge(encode_reply(Reply(False, 0.5, "<p>half</p>")))
    assert (judged.correct, judged.points) == (False, 0.5)
