"""Is what a program printed what it should have printed? Pure, and linear in what it reads.

Runs in: worker, tools. One side comes from learners: it may be huge, binary, or made to make a comparison
slow. Texts are walked token by token and left at the first difference; nothing is split as a whole.

The options are those of the default validator of the Kattis problem package format, read by `of_flags`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import AnyStr, Final, TypeAlias

from graders.words import DifferenceWords, english


class Mode(StrEnum):
    """How two outputs are compared."""

    EXACT = "exact"  # byte for byte
    TOKENS = "tokens"  # the words between white space
    FLOATS = "floats"  # as tokens, but numbers may differ by the tolerances


DEFAULT_TOLERANCE: Final = 1e-6
"""Absolute and relative, of Mode.FLOATS without any given."""

MOST_DIGITS: Final = 400
"""A longer token is no number. The largest float has 309 digits before its point."""

_SHOWN: Final = 60
_SMALL: Final = 1 << 20
_NUMBER: Final = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TOKEN: Final = re.compile(rb"[^ \t\n\r\f\v]+")
_LINED: Final = re.compile(rb"\n|[^ \t\n\r\f\v]+")
_PIECE: Final = re.compile(rb"[ \t\n\r\f\v]+|[^ \t\n\r\f\v]+")
_SPACES: Final = b" \t\n\r\f\v"


class ComparisonError(ValueError):
    """Options that make no sense; the message says which."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The options. A number is right if it is within the absolute or within the relative tolerance.

    `line_change_sensitive`: each line must have the words that it should have; empty lines at the end do not
    matter. `space_change_sensitive`: all white space must be as expected.

    Raises:
        ComparisonError: a tolerance is no finite number of at least 0, or the mode does not know the option.
    """

    mode: Mode = Mode.TOKENS
    case_sensitive: bool = True
    line_change_sensitive: bool = False
    space_change_sensitive: bool = False
    float_absolute_tolerance: float | None = None
    float_relative_tolerance: float | None = None

    def __post_init__(self) -> None:
        given = [
            one for one in (self.float_absolute_tolerance, self.float_relative_tolerance) if one is not None
        ]
        for one in given:
            if not math.isfinite(one) or one < 0:
                raise ComparisonError("a tolerance must be a finite number, 0 or more")
        if given and self.mode is not Mode.FLOATS:
            raise ComparisonError(f'tolerances need the mode "floats", not "{self.mode}"')
        if self.mode is Mode.EXACT and not self.case_sensitive:
            raise ComparisonError('the mode "exact" compares bytes: it cannot pass over case')


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where outputs differ, in words that quote both sides: only for tests that are shown."""

    message: str


def of_flags(flags: Sequence[str]) -> Comparison:
    """The options that the flags of Kattis's default validator mean.

    Raises:
        ComparisonError: an unknown flag, or one without its number.
    """
    case = space = False
    absolute: float | None = None
    relative: float | None = None
    words = iter(flags)
    for flag in words:
        if flag == "case_sensitive":
            case = True
        elif flag == "space_change_sensitive":
            space = True
        elif flag in ("float_tolerance", "float_absolute_tolerance", "float_relative_tolerance"):
            try:
                value = float(next(words))
            except (StopIteration, ValueError):
                raise ComparisonError(f"the flag {flag} needs a number after it") from None
            if flag != "float_relative_tolerance":
                absolute = value
            if flag != "float_absolute_tolerance":
                relative = value
        else:
            raise ComparisonError(f"unknown validator flag {flag[:40]!r}")
    mode = Mode.TOKENS if absolute is None and relative is None else Mode.FLOATS
    return Comparison(mode, case, False, space, absolute, relative)


def compare(
    expected: bytes,
    actual: bytes,
    options: Comparison = Comparison(),
    words: DifferenceWords | None = None,
) -> Difference | None:
    """None if `actual` is as good as `expected`, else the first difference, in `words` (default English)."""
    if expected == actual:
        return None
    say = words or english().difference
    if options.mode is Mode.EXACT:
        return _bytes_differ(expected, actual, say)
    absolute, relative = options.float_absolute_tolerance, options.float_relative_tolerance
    if options.mode is Mode.FLOATS and absolute is None and relative is None:
        absolute = relative = DEFAULT_TOLERANCE
    tolerance = (absolute or 0.0, relative or 0.0) if options.mode is Mode.FLOATS else None
    # Most outputs are right, and small enough to be split as a whole, which is quicker.
    white = options.space_change_sensitive or options.line_change_sensitive
    if len(actual) <= _SMALL and not white and expected.split() == actual.split():
        return None
    pattern = _PIECE if options.space_change_sensitive else _LINED if white else _TOKEN
    ours, theirs = pattern.finditer(expected), pattern.finditer(actual)
    number = 0
    while True:
        mine, other = _next(ours), _next(theirs)
        if mine is None and other is None:
            return None
        if mine is None or other is None:
            if pattern is _LINED:
                mine, other = _after_empty_lines(mine, ours), _after_empty_lines(other, theirs)
                if mine is None and other is None:
                    return None
            return _length_differs(mine, other, actual, number, say)
        spaces = mine[0][0] in _SPACES
        number += not spaces
        if not _same(mine[0], other[0], options.case_sensitive, tolerance):
            if spaces and pattern is _LINED:
                return Difference(say.more_words.format(line=_line(actual, other), found=show(other[0])))
            if pattern is _LINED and other[0] == b"\n":
                line = _line(actual, other)
                return Difference(say.line_ends.format(line=line, expected=show(mine[0])))
            if spaces or other[0][0] in _SPACES:
                where = _after(number if spaces else number - 1, say)
                return Difference(say.white_space.format(line=_line(actual, other), where=where))
            expects, found = show(mine[0]), show(other[0])
            line = _line(actual, other)
            return Difference(say.word.format(line=line, word=number, expected=expects, found=found))


_Found: TypeAlias = re.Match[bytes] | None


def _next(matches: Iterator[re.Match[bytes]]) -> _Found:
    return next(matches, None)


def _after_empty_lines(found: _Found, matches: Iterator[re.Match[bytes]]) -> _Found:
    while found is not None and found[0] == b"\n":
        found = _next(matches)
    return found


def _same(mine: bytes, other: bytes, case: bool, tolerance: tuple[float, float] | None) -> bool:
    if mine == other:
        return True
    if not case and len(mine) == len(other) and mine.lower() == other.lower():
        return True
    if tolerance is None:
        return False
    wanted, given = _number(mine), _number(other)
    if wanted is None or given is None:
        return False
    gap = abs(wanted - given)  # inf - inf is not a number, which is never within a tolerance
    return gap <= tolerance[0] or gap <= tolerance[1] * abs(wanted)


def _number(token: bytes) -> float | None:
    """The finite number that it is. "nan" and "inf" are words like any other: equal only to themselves."""
    if len(token) > MOST_DIGITS or not _NUMBER.fullmatch(token):
        return None
    value = float(token)
    return value if math.isfinite(value) else None


def _length_differs(
    mine: _Found, other: _Found, actual: bytes, number: int, say: DifferenceWords
) -> Difference:
    if mine is not None:
        if mine[0][0] in _SPACES:
            return Difference(say.white_space_missing.format(where=_after(number, say)))
        return Difference(say.ends_before_word.format(word=number + 1, expected=show(mine[0])))
    assert other is not None  # noqa: S101 - one of the two went on
    if other[0][0] in _SPACES:
        where = _after(number, say)
        return Difference(say.more_white_space.format(line=_line(actual, other), where=where))
    return Difference(say.more_output.format(line=_line(actual, other), found=show(other[0])))


def _after(number: int, say: DifferenceWords) -> str:
    return say.after_word.format(word=number) if number else say.at_beginning


def _line(text: bytes, found: re.Match[bytes]) -> int:
    return text.count(b"\n", 0, found.start()) + 1


def _bytes_differ(expected: bytes, actual: bytes, say: DifferenceWords) -> Difference:
    at = first_difference(expected, actual)
    line = actual.count(b"\n", 0, at) + 1
    if at == len(actual):
        return Difference(say.ends.format(line=line, expected=show(expected[at:])))
    if at == len(expected):
        return Difference(say.more_output.format(line=line, found=show(actual[at:])))
    expects, found = show(expected[at:]), show(actual[at:])
    return Difference(say.bytes.format(line=line, expected=expects, found=found))


def first_difference(one: AnyStr, other: AnyStr) -> int:
    """How many bytes or characters at the beginning are the same; quick for texts of megabytes."""
    low, high = 0, min(len(one), len(other))
    step = 1 << 16
    while low < high and one[low : low + step] == other[low : low + step]:
        low += step
    low = min(low, high)
    high = min(low + step, high)
    while low < high:  # within this piece, by halves
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def show(token: bytes) -> str:
    """A short piece of output in quotes, in characters that can be printed."""
    text = token[: 4 * _SHOWN].decode("utf-8", "replace")
    cut = len(text) > _SHOWN or len(token) > 4 * _SHOWN
    quoted = "".join(char if char.isprintable() else _escaped(char) for char in text[:_SHOWN])
    return f'"{quoted}…"' if cut else f'"{quoted}"'


def _escaped(char: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, f"\\x{ord(char):02x}")
