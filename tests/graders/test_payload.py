"""What a grader_payload may look like."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graders.errors import PayloadError
from graders.payload import Payload, parse_payload

NAMES = {"hw1": "week1/hw1/grader.py"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"grader": "a/grader.py"}', Payload("a/grader.py", config={"grader": "a/grader.py"})),
        ('"a/grader.py"', Payload("a/grader.py")),
        ("  a/grader.py\n", Payload("a/grader.py")),
        ("hw1", Payload("week1/hw1/grader.py")),
        ('"hw1"', Payload("week1/hw1/grader.py")),
    ],
)
def test_accepted(text: str, expected: Payload) -> None:
    assert parse_payload(text, NAMES) == expected


def test_options() -> None:
    found = parse_payload('{"grader": "hw1", "lang": "fr", "skip_grader": "true", "hide_output": 1}', NAMES)
    assert (found.grader, found.lang) == ("week1/hw1/grader.py", "fr")
    assert (found.skip_grader, found.hide_output) == (True, True)
    assert parse_payload('{"grader": "x", "LANG": "de"}', {}).lang == "de"
    assert parse_payload('{"grader": "x", "lang": "../../etc"}', {}).lang == "en"
    assert parse_payload('{"grader": "x", "skip_grader": null}', {}).skip_grader is False


def test_an_object_that_became_a_string_is_still_an_object() -> None:
    assert parse_payload(json.dumps('{"grader": "x", "lang": "fr"}'), {}).lang == "fr"


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "null", "[]", "42", "1.5", "true", "NaN", '""', '"  "', "{}", "[" * 10_000, "x" * 70_000),
        *('{"grader": null}', '{"grader": 1}', '{"grader": ""}', '{"grader": ["a"]}', '{"grader": "a"', '"a'),
        *('{"grader": "a", "skip_grader": "maybe"}', '{"grader": "a", "hide_output": [1]}'),
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(PayloadError):
        parse_payload(text, NAMES)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse_payload(text, NAMES).grader
    except PayloadError as error:
        assert str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["grader", "lang", "skip_grader", "hide_output", "x"]), json_values))
def test_any_object_is_read_or_refused(value: dict[str, object]) -> None:
    try:
        found = parse_payload(json.dumps(value), NAMES)
    except PayloadError:
        return
    assert found.grader == NAMES.get(str(value["grader"]).strip(), str(value["grader"]).strip())
