"""The same messages before the LMS's own code: does it take them, and does the page show what we mean?"""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings

from graders.feedback import SAMPLES, Feedback
from graders.model import Judgement, Verdict
from tests.feedback.judgements import NASTY, judgement, judgements, shown
from tests.feedback.test_message import ELEMENTS
from tests.lms.client import LmsJudge

FEEDBACK = Feedback()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(judgements)
def test_the_lms_takes_every_message(lms: LmsJudge, work: Judgement) -> None:
    result = FEEDBACK.render(work)
    judged = lms.message(result.msg, correct=result.correct, score=result.score)
    assert not judged.error
    assert judged.valid and not judged.queued
    assert judged.correct is result.correct
    assert judged.points == result.score
    assert judged.msg == result.msg
    assert set(judged.tags) <= ELEMENTS  # no element by the learner, none lost to a repair
    assert "EXPANDED" not in judged.text and "424242" not in judged.text.replace(" ", "")


@pytest.mark.parametrize("printed", NASTY[:-1])
def test_the_page_shows_the_learners_text_and_nothing_breaks_out(lms: LmsJudge, printed: str) -> None:
    calm, nasty = (lms.message(FEEDBACK.render(shown(text)).msg) for text in ("calm", printed))
    dollars = printed.count("$")
    assert [tag for tag in nasty.tags if tag != "wbr"] == list(calm.tags)
    assert nasty.tags.count("wbr") == dollars
    assert nasty.text.count("Correct output:") == 1  # what stands after the text is still there


def test_names_after_a_dollar_are_not_expanded(lms: LmsJudge) -> None:
    for name in ("seed", "anonymous_student_id", "secret_answer"):
        assert f"${name}" in lms.message(FEEDBACK.render(shown(f"${name}")).msg).text
        # and this is why the dollar needs more than a character reference:
        assert f"${name}" not in lms.message(f"<p>&#36;{name}</p>").text


def test_a_leading_newline_survives_the_browser(lms: LmsJudge) -> None:
    judged = lms.message(FEEDBACK.render(shown("\n\nthird line")).msg)
    assert "<pre>\n\nthird" in judged.html  # html5lib has dropped one of three


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_every_verdict_is_taken(lms: LmsJudge, number: int) -> None:
    result = FEEDBACK.render(SAMPLES[number])
    judged = lms.message(result.msg, correct=result.correct, score=result.score)
    assert judged.valid and judged.tags[:2] == ("div", "header")
    assert judged.html.rstrip().endswith("</div>")


# What the LMS does with the traps themselves: if one of these changes, clean() or lint() can be relaxed.


@pytest.mark.parametrize("msg", ["", "<p>\x1b[1m</p>", "<p>\x07</p>", "<p>&#7;</p>", "<p>\ufffe</p>"])
def test_the_lms_refuses_the_whole_message(lms: LmsJudge, msg: str) -> None:
    judged = lms.message(msg)
    assert not judged.valid
    assert judged.text == "Invalid grader reply. Please contact the course staff."


def test_the_lms_loses_what_stands_after_a_stray_end_tag(lms: LmsJudge) -> None:
    assert "after" not in lms.message("before</div></div><p>after</p>").text


def test_the_lms_fails_at_an_encoding_declaration(lms: LmsJudge) -> None:
    assert "ValueError" in lms.message("<?xml version='1.0' encoding='utf-8'?><p>x</p>").error


def test_the_browser_loses_its_way_in_an_empty_element(lms: LmsJudge) -> None:
    judged = lms.message("<div><pre></pre><p>after</p></div>")
    assert "<pre><p>after" in judged.html.replace("\n", "")


def test_a_reply_to_an_older_attempt_changes_nothing(lms: LmsJudge) -> None:
    work = judgement(Verdict.CORRECT, score=1.0)
    body = json.dumps({"correct": True, "score": 1, "msg": FEEDBACK.render(work).msg})
    judged = lms.judge(body, current=False)
    assert judged.valid and judged.queued and judged.correct is None
