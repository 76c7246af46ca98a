"""Outputs compared: what counts as the same, where they differ first, and that nobody can make it slow."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graders.comparison import (
    Comparison,
    ComparisonError,
    Mode,
    compare,
    first_difference,
    of_flags,
    show,
)

EXACT = Comparison(Mode.EXACT)
TOKENS = Comparison()
ANY_CASE = Comparison(case_sensitive=False)
LINES = Comparison(line_change_sensitive=True)
SPACES = Comparison(space_change_sensitive=True)
FLOATS = Comparison(Mode.FLOATS)


def floats(absolute: float | None = None, relative: float | None = None) -> Comparison:
    return Comparison(Mode.FLOATS, float_absolute_tolerance=absolute, float_relative_tolerance=relative)


@pytest.mark.parametrize(
    ("options", "expected", "actual"),
    [
        (EXACT, b"1 2\n", b"1 2\n"),
        (TOKENS, b"1 2\n", b"  1\r\n\t2"),
        (TOKENS, b"", b" \n"),
        (ANY_CASE, b"Yes", b"yES"),
        (LINES, b"1 2\n3\n", b" 1   2 \r\n3"),
        (LINES, b"1\n\n2", b"1\n\n2\n\n\n"),
        (LINES, b"1\n\n", b"1"),
        (Comparison(Mode.FLOATS, line_change_sensitive=True), b"1.0\n2", b"1.0000001\n2\n"),
        (SPACES, b"a  b\n", b"a  b\n"),
        (FLOATS, b"1.0", b"1.0000001"),
        (FLOATS, b"3.14 x", b"3.14000001 x"),
        (FLOATS, b"1e3", b"1000"),
        (FLOATS, b".5", b"5e-1"),
        (FLOATS, b"nan inf", b"nan inf"),
        (floats(absolute=0.5), b"10", b"10.5"),
        (floats(relative=0.1), b"100", b"109"),
        (floats(relative=0.1), b"-100", b"-91"),
        (floats(absolute=0.5, relative=0.1), b"100", b"109"),
        (floats(absolute=1.0), b"9" * 4000, b"9" * 4000),
        (Comparison(Mode.FLOATS, space_change_sensitive=True), b"1.0 2\n", b"1.0000001 2\n"),
    ],
)
def test_the_same(options: Comparison, expected: bytes, actual: bytes) -> None:
    assert compare(expected, actual, options) is None


@pytest.mark.parametrize(
    ("options", "expected", "actual", "message"),
    [
        (EXACT, b"1 2\n", b"1 2", 'line 1: the output ends too soon; expected "\\n"'),
        (EXACT, b"1\n2\n", b"1\n3\n", 'line 2: expected "2\\n", found "3\\n"'),
        (EXACT, b"1\n", b"1\n2\n", 'line 2: more output than expected: "2\\n"'),
        (TOKENS, b"1 2\n3", b"1 2\n4", 'line 2, word 3: expected "3", found "4"'),
        (TOKENS, b"1 2", b"1", 'the output ends too soon: word 2 should be "2"'),
        (TOKENS, b"1", b"1\n2", 'line 2: more output than expected: "2"'),
        (TOKENS, b"1.0", b"1", 'line 1, word 1: expected "1.0", found "1"'),
        (TOKENS, b"Yes", b"yes", 'line 1, word 1: expected "Yes", found "yes"'),
        (TOKENS, b"12", b"1 2", 'line 1, word 1: expected "12", found "1"'),
        (LINES, b"1 2\n3\n", b"1\n2 3\n", 'line 1: the line ends too soon; expected "2"'),
        (LINES, b"1\n2\n", b"1 2\n", 'line 1: more words than expected: "2"'),
        (LINES, b"1\n\n2", b"1\n2", 'line 2: more words than expected: "2"'),
        (LINES, b"1\n2", b"1\n\n", 'line 2: the line ends too soon; expected "2"'),
        (LINES, b"1\n2", b"1\n", 'the output ends too soon: word 2 should be "2"'),
        (LINES, b"1\n", b"1\n\n\n2", 'line 4: more output than expected: "2"'),
        (SPACES, b"a b", b"a  b", "line 1: white space differs after word 1"),
        (SPACES, b"a\n", b"a", "white space is missing after word 1"),
        (SPACES, b"a", b"a\n", "line 1: more white space than expected after word 1"),
        (SPACES, b"a", b" a", "line 1: white space differs at the beginning"),
        (FLOATS, b"1.0", b"1.1", 'line 1, word 1: expected "1.0", found "1.1"'),
        (FLOATS, b"1.0", b"nan", 'line 1, word 1: expected "1.0", found "nan"'),
        (FLOATS, b"1e308", b"inf", 'line 1, word 1: expected "1e308", found "inf"'),
        (FLOATS, b"1e308", b"1e999", 'line 1, word 1: expected "1e308", found "1e999"'),
        (FLOATS, b"nan", b"inf", 'line 1, word 1: expected "nan", found "inf"'),
        (FLOATS, b"1", b"0x1", 'line 1, word 1: expected "1", found "0x1"'),
        (FLOATS, b"1", b"1_0", 'line 1, word 1: expected "1", found "1_0"'),
        (FLOATS, b"1", b"\xd9\xa1", 'line 1, word 1: expected "1", found "\u0661"'),
        (floats(absolute=0.5), b"10", b"10.6", 'line 1, word 1: expected "10", found "10.6"'),
        (floats(relative=0.0), b"10", b"10.000000001", 'line 1, word 1: expected "10", found "10.000000001"'),
        (TOKENS, b"a", b"\x00\xff", 'line 1, word 1: expected "a", found "\\x00\ufffd"'),
    ],
)
def test_not_the_same_and_where(options: Comparison, expected: bytes, actual: bytes, message: str) -> None:
    found = compare(expected, actual, options)
    assert found is not None
    assert found.message == message


def test_tolerances_must_make_sense() -> None:
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(ComparisonError, match="finite"):
            floats(absolute=wrong)
    with pytest.raises(ComparisonError, match='need the mode "floats"'):
        Comparison(float_absolute_tolerance=0.1)
    with pytest.raises(ComparisonError, match="case"):
        Comparison(Mode.EXACT, case_sensitive=False)


def test_the_flags_of_kattis() -> None:
    assert of_flags([]) == ANY_CASE
    assert of_flags(["case_sensitive", "space_change_sensitive"]) == SPACES
    both = of_flags(["float_tolerance", "1e-4"])
    assert (both.mode, both.float_absolute_tolerance, both.float_relative_tolerance) == (
        Mode.FLOATS,
        1e-4,
        1e-4,
    )
    one = of_flags(["float_relative_tolerance", "0.1"])
    assert (one.float_absolute_tolerance, one.float_relative_tolerance) == (None, 0.1)
    for flags in (["float_tolerance"], ["float_tolerance", "x"], ["case"], ["float_tolerance", "nan"]):
        with pytest.raises(ComparisonError):
            of_flags(flags)


HOSTILE = {
    "spaces": b" " * (8 << 20),
    "one long word": b"7" * (8 << 20),
    "many words": b"7 " * (4 << 20),
    "long numbers": (b"1" * 399 + b" ") * 20_000,
    "long exponents": (b"1e" + b"9" * 390 + b" ") * 20_000,
    "dots": b"." * (8 << 20),
    "digits and no end": (b"1" * 5000 + b"e ") * 1500,
    "binary": bytes(range(256)) * (32 << 10),
    "new lines": b"\n" * (8 << 20),
}


@pytest.mark.parametrize("options", [EXACT, TOKENS, ANY_CASE, LINES, SPACES, FLOATS])
@pytest.mark.parametrize("output", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_outputs_take_time_in_proportion(output: bytes, options: Comparison) -> None:
    """8 MiB at most; each against something short, and against its own self with another end."""
    started = time.process_time()
    assert compare(b"1\n", output, options) is not None
    compare(output[: 1 << 20] + b" 1 2", output[: 1 << 20] + b" 1 3", options)
    assert time.process_time() - started < 6, "it took longer than reading it a few times"


words = st.lists(st.binary(min_size=1, max_size=6).map(lambda raw: b"".join(raw.split()) or b"x"))
gaps = st.sampled_from([b" ", b"\n", b"  ", b"\t", b"\r\n"])


@given(words, st.lists(gaps, min_size=1), st.lists(gaps, min_size=1))
def test_white_space_between_the_words_does_not_matter(
    tokens: list[bytes], one: list[bytes], other: list[bytes]
) -> None:
    left = b"".join(token + one[i % len(one)] for i, token in enumerate(tokens))
    right = b"".join(other[i % len(other)] + token for i, token in enumerate(tokens))
    assert compare(left, right) is None
    assert compare(left, right, ANY_CASE) is None


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_tokens_agree_with_splitting(expected: bytes, actual: bytes) -> None:
    same = expected.split() == actual.split()
    assert (compare(expected, actual) is None) == same
    found = compare(expected, actual, SPACES)
    assert found is None if expected == actual else found is None or found.message


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_exact_is_equality_and_white_space_counts(expected: bytes, actual: bytes) -> None:
    assert (compare(expected, actual, EXACT) is None) == (expected == actual)
    assert (compare(expected, actual, SPACES) is None) == (expected == actual)


def lines_of(output: bytes) -> list[list[bytes]]:
    lines = [line.split() for line in output.split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


@given(st.text(alphabet="ab \n\t\r", max_size=12), st.text(alphabet="ab \n\t\r", max_size=12))
def test_lines_agree_with_splitting(expected: str, actual: str) -> None:
    one, other = expected.encode(), actual.encode()
    assert (compare(one, other, LINES) is None) == (lines_of(one) == lines_of(other))


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(numbers, numbers, st.floats(0, 1e300), st.floats(0, 1))
def test_floats_agree_with_the_definition(one: float, other: float, absolute: float, relative: float) -> None:
    same = abs(one - other) <= absolute or abs(one - other) <= relative * abs(one)
    found = compare(repr(one).encode(), repr(other).encode(), floats(absolute, relative))
    assert (found is None) == same


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 1 << 18))
def test_the_first_difference(one: bytes, other: bytes, before: int) -> None:
    head = b"x" * before
    at = first_difference(head + one, head + other)
    assert (head + one)[:at] == (head + other)[:at]
    assert (head + one)[at : at + 1] != (head + other)[at : at + 1] or head + one == head + other


@given(st.binary(max_size=1000))
def test_what_is_shown_is_short_and_printable(token: bytes) -> None:
    text = show(token)
    assert text.isprintable()
    assert len(text) < 300
