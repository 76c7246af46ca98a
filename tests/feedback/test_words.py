"""The catalogues: each whole, each fit for the LMS; and what an operator may change."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import tomli
from lxml import etree

from graders.feedback import SAMPLES, Feedback
from graders.model import Blame, Cause, Judgement, Verdict
from graders.words import (
    BUILT_IN,
    WordsError,
    english,
    filled,
    locales,
    placeholders,
    problems_of,
    texts,
    words_of,
)
from sandbox.model import Limits, OutcomeKind
from tests.feedback.judgements import failed, judgement
from tests.lms.client import LmsJudge

ROOT = Path(__file__).parents[2]
ENGLISH = dict(texts(tomli.loads((BUILT_IN / "en.toml").read_text())))
OTHERS = [locale for locale in locales() if locale != "en"]
UNGRADED = Judgement(Verdict.UNGRADED, Blame.SERVICE, Cause.RESOURCE, 0.0, detail="/srv/secret")


def catalogue(locale: str) -> dict[str, str]:
    return dict(texts(tomli.loads((BUILT_IN / f"{locale}.toml").read_text(encoding="utf-8"))))


def test_these_languages_are_there() -> None:
    assert locales() == ["ar", "de", "en", "es", "fr", "pt-br", "zh-cn"]


@pytest.mark.parametrize("locale", OTHERS)
def test_every_text_is_translated_with_its_placeholders(locale: str) -> None:
    found = catalogue(locale)
    assert list(found) == list(ENGLISH)  # in the same order, so that they can be read side by side
    for path, text in found.items():
        assert text.strip() == text != "", path
        assert placeholders(text) == placeholders(ENGLISH[path]), path
        filled(text)
    same = [path for path, text in found.items() if text == ENGLISH[path]]
    # "ERROR" is Spanish, "Test 3" is German.
    assert len(same) <= 4, same


def test_english_has_a_text_for_whatever_can_happen() -> None:
    words = english()
    for table in (words.headlines, words.summaries, words.hints):
        assert set(table) == set(Verdict)
    assert set(words.stopped) == set(OutcomeKind) - {OutcomeKind.OK}
    limits = Limits(wall_s=2.5, memory_mib=64)
    assert "2.5 s" in words.ended(OutcomeKind.WALL, limits, None)
    assert words.ended(OutcomeKind.MEMORY, limits, None, compiler=True).startswith("The compiler")
    assert words.ended(OutcomeKind.OK, limits, None) == ""


def test_english_has_all_that_gradelib_says() -> None:
    tree = ast.parse((ROOT / "compat/grader_support/gradelib.py").read_text())
    marked = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_"
    }
    assert marked == set(english().gradelib)
    assert all(text == translated for text, translated in english().gradelib.items())


@pytest.mark.parametrize("locale", locales())
def test_the_lms_takes_every_message_of_every_language(lms: LmsJudge, locale: str) -> None:
    told: list[str] = []
    feedback = Feedback(words=words_of(locale), on_problem=told.append)
    for sample in (*SAMPLES, UNGRADED):
        result = feedback.render(sample)
        judged = lms.message(result.msg, correct=result.correct, score=result.score)
        assert judged.valid and not judged.error and judged.msg == result.msg
        headline = words_of(locale).headlines[sample.verdict]
        assert headline in judged.text
    assert told == []


@pytest.mark.parametrize("locale", locales())
def test_the_message_says_its_language_and_direction(locale: str) -> None:
    words = words_of(locale)
    root = etree.fromstring(Feedback(words=words).render(judgement(Verdict.INCORRECT, failed("x"))).msg)
    assert root.get("lang") == locale
    assert root.get("dir") == ("rtl" if locale == "ar" else None)
    # What programs print is usually in Latin letters, whatever stands around it.
    assert {pre.get("dir") for pre in root.iter("pre")} == ({"auto"} if locale == "ar" else {None})


@pytest.mark.parametrize("locale", locales())
def test_when_it_is_not_the_learners_fault_he_is_told_so_in_his_language(locale: str) -> None:
    msg = Feedback(words=words_of(locale)).render(UNGRADED).msg
    text = "".join(etree.fromstring(msg).itertext())
    assert words_of(locale).summaries[Verdict.UNGRADED] in text
    assert words_of(locale).hints[Verdict.UNGRADED] in text
    assert "secret" not in msg


# -- an operator's own


def own(folder: Path, locale: str, text: str) -> Path:
    (folder / f"{locale}.toml").write_text(text, encoding="utf-8")
    return folder


def test_an_operators_text_lies_over_ours_and_the_others_stay(tmp_path: Path) -> None:
    folder = own(tmp_path, "de", '[summaries]\nungraded = "Frag Frau Maier."\n')
    words = words_of("de", folder)
    assert words.summaries[Verdict.UNGRADED] == "Frag Frau Maier."
    assert words.summaries[Verdict.CORRECT] == words_of("de").summaries[Verdict.CORRECT]
    assert words_of("fr", folder) == words_of("fr")
    assert problems_of(folder) == []


def test_an_operator_may_add_a_language_bit_by_bit(tmp_path: Path) -> None:
    folder = own(tmp_path, "eo", 'title = "Rezultoj"\n[said]\ntest = "Provo {number}: {fate}"\n')
    assert "eo" in locales(folder)
    words = words_of("eo", folder)
    assert (words.locale, words.title, words.output) == ("eo", "Rezultoj", english().output)
    assert problems_of(folder) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('titel = "x"', "titel is unknown"),
        ('[said]\nnever = "x"', "said.never is unknown"),
        ("title = 7", "title must be a text"),
        ('title = " "', "title must be a text"),
        ('title = "a\\u0007"', "title must be a text"),
        ('passed = "{pased}"', "unknown {pased}"),
        ('passed = "{passed.__class__}"', "unknown {passed.__class__}"),
        ('passed = "{passed"', "cannot be filled in"),
        ('passed = "{passed:z}"', "cannot be filled in"),
        ('direction = "up"', "direction"),
        ("title = ", "is not TOML"),
        ("[[said]]", "said"),
    ],
)
def test_a_wrong_catalogue_is_named_and_never_used(tmp_path: Path, text: str, said: str) -> None:
    folder = own(tmp_path, "de", text)
    (problem,) = problems_of(folder)
    assert str(folder / "de.toml") in problem and said in problem
    with pytest.raises(WordsError):
        words_of("de", folder)


def test_a_file_that_is_no_locale_is_named(tmp_path: Path) -> None:
    (problem,) = problems_of(own(tmp_path, "de_AT", ""))
    assert "de_AT.toml" in problem and "pt-br" in problem


def test_an_unknown_locale_is_refused() -> None:
    with pytest.raises(WordsError, match="there is ar, de, en"):
        words_of("xx")
