"""What the product itself says to learners, in the language of the course.

Runs in: worker, tools. One catalogue (TOML) per locale lies in graders/locales/; each of ours holds every
text. An operator's folder may hold files of the same form: of a locale that we have, they are laid over ours,
text by text; of another one, over English. What a course says (descriptions, messages of its checks) is the
course's own, in whatever language it is written.

Texts are templates of str.format. Their placeholders are checked when a catalogue is read, so that no text
can fail when a learner waits for it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Final, Literal

import msgspec
import tomli

from graders.model import Verdict
from sandbox.model import Limits, OutcomeKind

BUILT_IN: Final = Path(__file__).with_name("locales")
ENGLISH: Final = "en"
MOST_BYTES: Final = 256 * 1024
LOCALE: Final = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{2,8}){0,3}")
"""A locale is written in small letters with hyphens: "de", "pt-br"."""
_UNFIT: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class WordsError(Exception):
    """A catalogue cannot be used; the message names the file, the text, and what to do."""


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sentences about a submission."""

    interfered: str
    no_tests: str
    not_checked: str
    not_compared: str
    unreadable_file: str
    several_files: str
    too_long: str
    nul_character: str
    bad_unicode: str
    too_many_files: str
    too_large: str
    bad_file_name: str
    no_program: str
    which_main: str
    compilation_failed: str
    not_compiled: str
    memory_needed: str
    not_started: str
    exit_status: str
    test: str
    late: str
    left: str
    input: str
    more_characters: str
    more_output: str


class DifferenceWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how two outputs differ."""

    after_word: str
    at_beginning: str
    word: str
    bytes: str
    more_words: str
    line_ends: str
    white_space: str
    white_space_missing: str
    more_white_space: str
    ends_before_word: str
    ends: str
    more_output: str


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All texts of one locale. `direction` is that of the script; `gradelib` maps English to this one."""

    locale: str
    direction: Literal["ltr", "rtl"]
    title: str
    output: str
    your_output: str
    expected_output: str
    no_output: str
    hidden: str
    passed: str
    cut: str
    more_tests: str
    nothing_left: str  # the message of last resort
    headlines: Mapping[Verdict, str]
    summaries: Mapping[Verdict, str]
    hints: Mapping[Verdict, str]
    limits: Mapping[OutcomeKind, str]  # instead of the summary, where the outcome says more
    stopped: Mapping[OutcomeKind, str]
    compiler: Mapping[OutcomeKind, str]
    fates: Mapping[Verdict, str]
    said: Said
    difference: DifferenceWords
    gradelib: Mapping[str, str]

    def ended(self, kind: OutcomeKind, limits: Limits, signal: int | None, *, compiler: bool = False) -> str:
        """What became of the learner's program (or of the compiler), "" where there is nothing to say."""
        text = (self.compiler if compiler else self.stopped).get(kind, "")
        return text.format(
            wall_s=limits.wall_s,
            cpu_s=limits.cpu_s,
            memory_mib=limits.memory_mib,
            processes=limits.processes,
            scratch_mib=limits.scratch_mib,
            signal=signal,
        )


def locales(folder: Path | None = None) -> list[str]:
    """The locales that there are, ours and those of an operator's folder, sorted."""
    found = {file.stem for place in (BUILT_IN, folder) if place is not None for file in place.glob("*.toml")}
    return sorted(name for name in found if LOCALE.fullmatch(name))


def english() -> Words:
    """Our English words."""
    return words_of(ENGLISH)


def words_of(locale: str, folder: Path | None = None) -> Words:
    """The words of a locale, with those of an operator's `folder` on top.

    Raises:
        WordsError: there is no such locale, or the operator's file is wrong.
    """
    if locale not in locales(folder):
        raise WordsError(f'there is no locale "{locale}"; there is {", ".join(locales(folder))}')
    own = None if folder is None else folder / f"{locale}.toml"
    if own is None or not own.exists():
        return _built_in(locale)
    table = _read(own)
    beneath = _table(locale if (BUILT_IN / f"{locale}.toml").exists() else ENGLISH)
    _check(own, table)
    return _words(own, locale, _laid_over(beneath, table))


def problems_of(folder: Path) -> list[str]:
    """What is wrong with the catalogues of an operator's folder, a line each."""
    found = []
    for file in sorted(folder.glob("*.toml")):
        if not LOCALE.fullmatch(file.stem):
            found.append(f'{file}: the name is no locale; write it in small letters, as in "pt-br.toml"')
            continue
        try:
            words_of(file.stem, folder)
        except WordsError as error:
            found.append(str(error))
    return found


@functools.cache
def _built_in(locale: str) -> Words:
    """One of ours; the tests see that each is whole."""
    return _words(BUILT_IN / f"{locale}.toml", locale, _table(locale))


@functools.cache
def _table(locale: str) -> Mapping[str, Any]:
    return _read(BUILT_IN / f"{locale}.toml")


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as source:
            raw = source.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise WordsError(f"{file}: larger than {MOST_BYTES >> 10} KiB; this is no catalogue")
        return tomli.loads(raw.decode("utf-8"))
    except OSError as error:
        raise WordsError(f"{file}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomli.TOMLDecodeError, RecursionError) as error:
        raise WordsError(f"{file}: is not TOML in UTF-8: {error}") from None


def _words(file: Path, locale: str, table: Mapping[str, Any]) -> Words:
    try:
        return msgspec.convert({**table, "locale": locale}, Words)
    except msgspec.ValidationError as error:
        raise WordsError(f"{file}: {error}") from None


def _laid_over(beneath: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(beneath)
    for key, value in table.items():
        below = merged.get(key)
        merged[key] = _laid_over(below, value) if isinstance(below, dict) else value
    return merged


def _check(file: Path, table: Mapping[str, Any]) -> None:
    """An operator's texts against ours in English.

    Raises:
        WordsError: the first that is unknown, is no text, or would fail when it is used.
    """
    ours = dict(texts(_table(ENGLISH)))
    for path, text in texts(table):
        if path not in ours:
            raise WordsError(f"{file}: {path} is unknown; graders/locales/en.toml has all keys")
        if not isinstance(text, str) or not text.strip() or _UNFIT.search(text):
            raise WordsError(f"{file}: {path} must be a text of characters that can be shown")
        try:
            used, known = placeholders(text), placeholders(ours[path])
            if not used <= known:
                unknown = ", ".join(sorted(f"{{{name}}}" for name in used - known))
                raise WordsError(f"{file}: {path} has the unknown {unknown}; English reads: {ours[path]}")
            filled(text)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise WordsError(f"{file}: {path} cannot be filled in: {error}; write {{{{ for a brace") from None


def texts(table: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every text of a catalogue with its dotted path."""
    for key, value in table.items():
        path = (*before, key)
        if isinstance(value, dict):
            yield from texts(value, path)
        else:
            yield ".".join(path), value


def placeholders(text: str) -> frozenset[str]:
    """The names in braces, as they stand there ("0", "wall_s"), attributes and all.

    Raises:
        ValueError: a brace is not closed.
    """
    return frozenset(name for _, name, _, _ in Formatter().parse(text) if name is not None)


_NUMBERS: Final = frozenset({"wall_s", "cpu_s"})


def filled(text: str) -> str:
    """The text with something of the right kind in every place.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it cannot be filled in.
    """
    values = {
        name: 1.5 if name.endswith("_s") else 2 if name in _NUMBERS else "x" for name in placeholders(text)
    }
    return text.format("x", "y", "z", **{name: value for name, value in values.items() if not name.isdigit()})
