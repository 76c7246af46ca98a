"""A queue's own templates: what they may do, and that a broken one never breaks grading."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from graders.feedback import BUILT_IN, Feedback
from graders.message import lint
from graders.model import Verdict
from tests.feedback.judgements import failed, judgement, shown


def own(folder: Path, told: list[str] | None = None, **templates: str) -> Feedback:
    for name, text in templates.items():
        (folder / f"{name}.html").write_text(text)
    return Feedback(folder, on_problem=(told if told is not None else []).append)


def test_a_template_of_the_same_name_wins_and_the_others_stay(tmp_path: Path) -> None:
    feedback = own(tmp_path, test="<div class='mine'><b>{{ test.short }}</b>: {{ test.actual }}</div>")
    assert feedback.problems == ()
    msg = feedback.render(shown("<i>$seed</i>")).msg
    root = etree.fromstring(msg)
    assert root.get("class") == "test"  # the frame is the built-in one
    assert "".join(root.find(".//div[@class='mine']").itertext()) == "short: <i>$seed</i>"
    assert root.find(".//i") is None


def test_own_templates_are_escaped_and_mended_too(tmp_path: Path) -> None:
    feedback = own(
        tmp_path,
        feedback="<!-- ours --><div title='{{ page.errors | join }}'>US$ {{ page.headline }}<p></p></div>",
    )
    msg = feedback.render(judgement(Verdict.ERROR, errors=("'><script>$seed",))).msg
    assert feedback.faults == 0
    lint(msg)
    assert etree.fromstring(msg).get("title") == "'><script>\uff04seed"


def test_a_template_may_bring_helpers_of_its_own(tmp_path: Path) -> None:
    feedback = own(tmp_path, test="{% include 'mine.html' %}", mine="<p>{{ test.short }}</p>")
    assert feedback.problems == ()
    assert "<p>short</p>" in feedback.render(shown("x")).msg


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        ({"test": "{% if %}"}, "test.html, line 1"),
        ({"test": "<p>{{ test.shrot }}</p>"}, "shrot"),
        ({"test": "<p>{{ tset.short }}</p>"}, "tset"),
        ({"test": "<p>{{ test.short }}"}, "not well-formed"),
        ({"test": "<p>&nbsp;</p>"}, "nbsp"),
        ({"feedback": "<p>a</p><p>b</p>"}, "not well-formed"),
        ({"feedback": "plain"}, "not well-formed"),
        ({"feedback": "{# nothing #}"}, "not well-formed"),
        ({"feedback": "<div><script>x</script></div>"}, "script"),
        ({"feedback": "<div onclick='x'>x</div>"}, "onclick"),
        ({"feedback": "<div>{% include 'gone.html' %}</div>"}, "gone.html"),
        ({"tests": "<p>misspelled name</p>"}, "replaces no built-in template"),
        ({"feedback": "<p>{{ page.verdict.__class__.__mro__ }}</p>"}, "__class__"),
        ({"feedback": "<p>{{ page.__class__ }}</p>"}, "__class__"),
        ({"feedback": "<p>{{ 1 // 0 }}</p>"}, "ZeroDivisionError"),
        ({"feedback": "<p>{{ page.words.title * 90000 }}</p>"}, "more than"),
        ({"feedback": "<p>{{ page.errors.append('x') }}</p>"}, "append"),
    ],
)
def test_a_broken_template_is_named_at_load_and_the_built_in_ones_are_used(
    tmp_path: Path, templates: dict[str, str], said: str
) -> None:
    told: list[str] = []
    feedback = own(tmp_path, told, **templates)
    assert feedback.problems and any(said in problem for problem in feedback.problems)
    assert all(str(tmp_path) in problem for problem in feedback.problems)
    assert len(told) == len(feedback.problems)
    assert feedback.render(shown("x")) == Feedback().render(shown("x"))
    assert feedback.faults == 0


def test_all_broken_templates_are_named_at_once(tmp_path: Path) -> None:
    feedback = own(tmp_path, test="{% if %}", errors="{{ }")
    assert len(feedback.problems) == 2


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "binary"])
def test_a_folder_that_is_none_is_a_problem(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / kind
    if kind == "file":
        folder.write_text("x")
    elif kind != "missing":
        folder.mkdir()
    if kind == "binary":
        (folder / "test.html").write_bytes(b"\xff\xfe<p>")
    feedback = Feedback(folder, on_problem=lambda _: None)
    assert len(feedback.problems) == 1 and str(folder) in feedback.problems[0]
    assert feedback.render(shown("x")).msg


def test_what_breaks_only_at_a_learners_text_falls_back_and_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    feedback = own(tmp_path, told, test="<p>{{ 1 // (test.actual != 'seldom') }}</p>")
    assert feedback.problems == () and told == []
    work = judgement(Verdict.INCORRECT, failed("seldom"))
    assert feedback.render(work) == Feedback().render(work)
    assert feedback.faults == 1 and "own templates" in told[0] and "ZeroDivisionError" in told[0]


def test_check_sees_templates_as_they_are_now(tmp_path: Path) -> None:
    feedback = own(tmp_path, test="<p>{{ test.short }}</p>")
    assert feedback.check() == []
    (tmp_path / "test.html").write_text("{% if %}")
    assert feedback.check() and feedback.problems == ()
    assert "<p>short</p>" in feedback.render(shown("x")).msg  # what runs is what was loaded


def test_the_built_in_templates_pass_their_own_check(tmp_path: Path) -> None:
    for file in BUILT_IN.glob("*.html"):
        (tmp_path / file.name).write_text(file.read_text())
    assert own(tmp_path).problems == ()
