"""What holds for every message, whatever the learner's program printed."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from graders.comparison import first_difference
from graders.feedback import Feedback
from graders.message import (
    LIMIT_BYTES_MAX,
    LIMIT_BYTES_MIN,
    VOID,
    MessageError,
    clean,
    cost,
    finish,
    fit,
    lint,
    shares,
)
from graders.model import Blame, Judgement, TestResult, Verdict
from sandbox.model import OutcomeKind, Usage
from tests.feedback.judgements import failed, judgement, judgements, shown, texts

FEEDBACK = Feedback()
SMALL = Feedback(limit_bytes=LIMIT_BYTES_MIN)
# Everything the built-in templates write; wbr stands after a dollar.
ELEMENTS = {"div", "header", "section", "h4", "p", "dl", "dt", "dd", "pre", "ul", "li", "wbr"}
POST_LIMIT_BYTES = 2_621_440


def forbidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(judgements, st.sampled_from([FEEDBACK, SMALL]))
def test_every_message_is_fit_for_the_lms(work: Judgement, feedback: Feedback) -> None:
    faults = feedback.faults
    result = feedback.render(work)
    root = etree.fromstring(result.msg)
    assert feedback.faults == faults  # not by the way of last resort
    assert root.tag == "div" and root.get("class") == "test"
    assert {element.tag for element in root.iter()} <= ELEMENTS
    assert not any(map(forbidden, result.msg)) and "\ufffe" not in result.msg and "\uffff" not in result.msg
    assert "$" not in result.msg
    assert re.findall(r"&#36;(?!<wbr/>)", result.msg) == []
    assert len(result.msg.encode()) <= feedback.limit_bytes
    assert all(element.text or len(element) or element.tag in VOID for element in root.iter())
    assert "operator" not in result.msg
    assert 0.0 <= result.score <= 1.0
    assert result.correct is (work.verdict is Verdict.CORRECT)
    lint(result.msg)


@pytest.mark.parametrize("tests", [1, 11, 200])
@pytest.mark.parametrize("character", ["<", "\n", '"', "\\", "$", "\x07", "\u4e2d", "\U0001f600"])
def test_the_largest_possible_message_stays_under_the_servers_limit(tests: int, character: str) -> None:
    feedback = Feedback(limit_bytes=LIMIT_BYTES_MAX)
    work = judgement(Verdict.INCORRECT, *[failed(character * (800_000 // tests), "")] * tests)
    msg = feedback.render(work).msg
    body = json.dumps({"correct": False, "score": 0, "msg": msg})
    assert len(msg.encode()) <= LIMIT_BYTES_MAX
    assert len(quote_plus(body)) < POST_LIMIT_BYTES


def pre_texts(msg: str, kind: str = "result-actual-output") -> list[str]:
    root = etree.fromstring(msg)
    return ["".join(pre.itertext()) for pre in root.iterfind(f".//dd[@class='{kind}']/pre")]


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        ("a < b && c > d", "a < b && c > d"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("cost: $seed", "cost: $seed"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        ("bell\x07", "bell\u2407"),
        ("nul\0", "nul\u2400"),
        ("lone \ud83d", "lone \ufffd"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
        ("\x85\x9c", "\ufffd\ufffd"),
        ("del\x7f", "del\u2421"),
        ("one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        ("page\x0ctwo", "page\ntwo"),
        ("tab\there", "tab\there"),
        ("\U0001f600 \u00e9", "\U0001f600 \u00e9"),
        ("", "(nothing)"),
        ("{{ page }}", "{{ page }}"),
    ],
)
def test_output_is_shown_as_it_was_printed_as_far_as_can_be(printed: str, seen: str) -> None:
    assert pre_texts(FEEDBACK.render(shown(printed)).msg) == [seen]


def test_shape_that_the_lms_styles() -> None:
    work = judgement(
        Verdict.INCORRECT,
        TestResult("adds", "add(1, 2)", True, "3", "3"),
        failed("5", "4"),
        failed("hidden actual", "hidden expected", hide_output=True),
        errors=("Traceback",),
    )
    root = etree.fromstring(FEEDBACK.render(work).msg)
    assert root.findtext("header") == "Test results"
    assert root.find("section/div[@class='shortform']") is not None
    longform = root.find("section/div[@class='longform']")
    assert longform is not None
    assert longform.findtext("div[@class='result-errors']/ul/li/pre") == "Traceback"
    correct, incorrect, hidden = longform.findall("div[h4]")
    assert correct.get("class") == "result-output result-correct"
    assert incorrect.get("class") == "result-output result-incorrect"
    assert [dt.text for dt in correct.iter("dt")] == ["Output:"]
    assert [dt.text for dt in incorrect.iter("dt")] == ["Your output:", "Correct output:"]
    assert [pre.text for pre in incorrect.iter("pre")] == ["5", "4"]
    assert hidden.find("dl") is None
    assert "hidden expected" not in "".join(root.itertext())
    assert "hidden actual" not in "".join(root.itertext())
    assert "1 of 3 tests passed." in "".join(root.find("section/div[@class='shortform']").itertext())


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_says_something_before_the_learner_unfolds_the_rest(verdict: Verdict) -> None:
    root = etree.fromstring(FEEDBACK.render(judgement(verdict)).msg)
    assert len("".join(root.find(".//div[@class='shortform']").itertext()).split()) >= 2
    # The LMS puts a link "See full output" there in any case; it must lead somewhere.
    assert "".join(root.find(".//div[@class='longform']").itertext()).strip()


def said(work: Judgement) -> str:
    root = etree.fromstring(FEEDBACK.render(work).msg)
    return " ".join("".join(root.find(".//div[@class='shortform']").itertext()).split())


def test_a_limit_is_named() -> None:
    usage = Usage(wall_s=8.04, cpu_s=2.01)
    limits = {kind: judgement(Verdict.LIMIT, outcome=kind) for kind in OutcomeKind}
    assert "still running after 8.0 seconds" in said(
        judgement(Verdict.TIMEOUT, outcome=OutcomeKind.WALL, usage=usage)
    )
    assert "2.0 seconds of computing" in said(
        judgement(Verdict.TIMEOUT, outcome=OutcomeKind.CPU, usage=usage)
    )
    assert "memory" in said(judgement(Verdict.MEMORY, outcome=OutcomeKind.MEMORY))
    assert "printed more" in said(limits[OutcomeKind.OUTPUT])
    assert "processes or threads" in said(limits[OutcomeKind.PROCESSES])
    assert "to files" in said(limits[OutcomeKind.DISK])


def test_ungraded_is_neutral_and_tells_nothing_of_the_fault() -> None:
    work = judgement(
        Verdict.UNGRADED,
        failed("learner's output", "the answer"),
        errors=("grader.py line 3 failed",),
        blame=Blame.COURSE,
        detail="disk full on host9",
        score=0.7,
    )
    result = FEEDBACK.render(work)
    assert (result.correct, result.score) == (False, 0.0)
    assert "says nothing about your program" in result.msg
    for secret in ("grader.py", "host9", "answer", "0 of 1"):
        assert secret not in result.msg


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -1.0, 7.0])
def test_score_is_always_between_0_and_1(score: float) -> None:
    assert FEEDBACK.render(judgement(Verdict.INCORRECT, score=score)).score in (0.0, 1.0)


# -- room


def test_long_output_is_cut_with_a_mark_and_does_not_starve_the_others() -> None:
    work = judgement(
        Verdict.INCORRECT,
        failed("A" * 300_000, "B" * 300_000),
        failed("short and whole", "also whole"),
        failed("C" * 300_000, "D"),
    )
    msg = FEEDBACK.render(work).msg
    first, second, third = pre_texts(msg)
    assert re.search(r"… \d+ characters left out …", first)
    assert second == "short and whole"
    assert len(third) > len(first) > 5_000
    assert len(msg.encode()) > FEEDBACK.limit_bytes * 0.7  # the room is used
    left_out = int(re.search(r"… (\d+) characters", first)[1])
    assert left_out + first.count("A") == 300_000


def test_cut_outputs_still_show_where_they_differ() -> None:
    common = "same line\n" * 20_000
    work = judgement(Verdict.INCORRECT, failed(common + "WRONG" + common, common + "RIGHT" + common))
    msg = FEEDBACK.render(work).msg
    assert "WRONG" in pre_texts(msg)[0]
    assert "RIGHT" in pre_texts(msg, "result-expected-output")[0]


def test_of_too_many_tests_the_failed_ones_are_shown() -> None:
    passed = TestResult("passes", "", True, "1", "1")
    work = judgement(Verdict.INCORRECT, *[passed] * 700, failed("late"), *[passed] * 700)
    msg = FEEDBACK.render(work).msg
    assert "late" in pre_texts(msg)
    hidden = re.search(r"(\d+) more tests are not shown here; (\d+) of them passed", msg)
    assert hidden[1] == hidden[2]
    assert int(hidden[1]) + len(pre_texts(msg)) == 1401


@given(st.lists(st.integers(0, 1000), max_size=12), st.integers(-5, 3000))
def test_shares_are_fair(wants: list[int], room: int) -> None:
    given_out = shares(wants, room)
    assert sum(given_out) <= max(room, 0)
    assert all(0 <= got <= want for got, want in zip(given_out, wants, strict=True))
    if sum(wants) <= room:
        assert given_out == wants
    starved = [got for got, want in zip(given_out, wants, strict=True) if got < want]
    if starved:
        assert max(given_out) <= min(starved) + len(wants)  # nobody has more than the least of the hungry
        assert sum(given_out) == max(room, 0)


@given(texts, st.integers(0, 5000), st.integers(0, 100_000))
def test_a_fitted_text_costs_no_more_than_its_room(text: str, room: int, focus: int) -> None:
    fitted = fit(text, room, "… {count} characters left out …", min(focus, len(text)))
    assert cost(fitted) <= room
    if cost(clean(text)) <= room and len(text) <= room:
        assert fitted == clean(text)


@given(st.text(max_size=50).map(clean))
def test_cost_is_what_the_text_takes_in_the_message(text: str) -> None:
    bare, filled = (len(finish(f"<p>{before}</p>").encode()) for before in ("x", f"x{escaped(text)}"))
    assert filled - bare == cost(text)


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@given(st.text(), st.text(), st.text())
def test_first_difference(common: str, one: str, other: str) -> None:
    at = first_difference(common + one, common + other)
    assert at >= len(common)
    assert (common + one)[:at] == (common + other)[:at]
    assert (common + one)[at : at + 1] != (common + other)[at : at + 1] or common + one == common + other


@given(texts)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert not any(map(forbidden, once))


@pytest.mark.parametrize("limit", [0, LIMIT_BYTES_MIN - 1, LIMIT_BYTES_MAX + 1])
def test_a_senseless_limit_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="limit_bytes"):
        Feedback(limit_bytes=limit)


# -- lint


@pytest.mark.parametrize(
    "msg",
    [
        "",
        "  \n",
        "plain text",
        "<p>one</p><p>two</p>",
        "<p>open",
        "<p>a < b</p>",
        "<p>&nbsp;</p>",
        "<p>bell \x07</p>",
        "<p>lone \ud800</p>",
        "<p>bell &#7;</p>",
        "<p>return &#13;</p>",
        "<p>\ufffe</p>",
        "<p>$seed</p>",
        "<p/>",
        "<div><pre></pre>text</div>",
        "<p>  </p>",
        "<?xml version='1.0' encoding='utf-8'?><p>x</p>",
        "<p>x<!-- c --></p>",
        "<p><![CDATA[x]]></p>",
        "<p>x<?php y ?></p>",
        "<!DOCTYPE p [<!ENTITY e 'x'>]><p>&e;</p>",
        "<p>x<script>y</script></p>",
        "<p onclick='x()'>y</p>",
        "<p xmlns='urn:x'>y</p>",
    ],
)
def test_lint_refuses(msg: str) -> None:
    with pytest.raises(MessageError):
        lint(msg)


@pytest.mark.parametrize("msg", ["<p>ok</p>", "<div>a<br/><b>b</b></div>", "<p>&#36;<wbr/>seed</p>"])
def test_lint_accepts(msg: str) -> None:
    lint(msg)


def test_lint_refuses_what_is_too_long() -> None:
    with pytest.raises(MessageError, match="more than 100"):
        lint(f"<p>{'x' * 100}</p>", limit_bytes=100)


def test_finish_mends_what_browsers_would_misread() -> None:
    assert finish("<div><pre></pre><br></br>x<!-- c --></div>") == "<div><pre>\u200b</pre><br/>x</div>"
    assert finish("<p title='$a'>$b</p>") == '<p title="\uff04a">&#36;<wbr/>b</p>'
    assert finish("<pre>\nfirst line</pre>") == "<pre>\n\nfirst line</pre>"


def test_a_message_that_no_template_can_render_is_neutral_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    feedback = Feedback(on_problem=told.append)
    # A judgement from a handler that does not keep the contract: a text that is no text.
    broken = replace(shown("x"), errors=(None,))  # type: ignore[arg-type]
    result = feedback.render(broken)
    lint(result.msg)
    assert "tell the course staff" in result.msg
    assert feedback.faults == 1 and len(told) == 1 and "verdict incorrect" in told[0]
