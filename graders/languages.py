"""Programming languages from their blocks in the configuration; the built-in blocks lie in languages.toml.

Runs in: supervisor, worker, tools. A block of the configuration is laid over the built-in one of the same
name, key by key, or adds a language. Nothing here looks for compilers: whether a language works on a machine
is known when its jails open.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import tomli

from sandbox.model import Isolation, Limits
from sandbox.program import COMPILE_LIMITS, RUN_LIMITS, Language, Step

BUILT_IN: Final = Path(__file__).with_name("languages.toml")
WORDS: Final = ("source", "bundle", "scratch", "memory_mib", "main")
"""What may stand in braces within a word of a command; "{sources}" stands alone."""

Table = Mapping[str, Any]

_NAME = re.compile(r"[a-z][a-z0-9_+#-]{0,31}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_BRACES = re.compile(r"\{([a-z_]*)\}")


class LanguageError(ValueError):
    """A block is wrong. `path` is the dotted path below [languages], e.g. "c.compile.command"."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"languages.{path}: {message}")
        self.path = path
        self.message = message


class _Step(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    command: list[str]
    show: list[str] = []
    show_if_there: list[str] = []
    environment: dict[str, str] = {}
    limits: dict[str, int | float] = {}
    address_space: bool = True


class _Block(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    source: str
    run: _Step
    compile: _Step | None = None
    artefacts: list[str] = []
    suffixes: list[str] = []
    named_by: str = ""
    memory_signs: list[str] = []
    require: str = Isolation.FULL.value


KEYS: Final = tuple(_Block.__struct_fields__)
STEP_KEYS: Final = tuple(_Step.__struct_fields__)


@functools.cache
def built_in_blocks() -> Mapping[str, Table]:
    """The blocks that come with warden, as tables."""
    languages: dict[str, Table] = tomli.loads(BUILT_IN.read_text(encoding="utf-8"))["languages"]
    return languages


def built_in() -> dict[str, Language]:
    """The languages that come with warden, by name."""
    return {name: language(name, {}) for name in built_in_blocks()}


def known(own: Mapping[str, Table]) -> dict[str, Language]:
    """All languages: the built-in ones with the configuration's own blocks over them.

    Raises:
        LanguageError: the first thing that is wrong.
    """
    return {**built_in(), **{name: language(name, table) for name, table in own.items()}}


def language(name: str, table: Table) -> Language:
    """One language: `table` over the built-in block of that name, if there is one.

    Raises:
        LanguageError: the first thing that is wrong in it.
    """
    if not _NAME.fullmatch(name):
        raise LanguageError(name, "is not a name; use small letters, digits, _ + # -")
    try:
        block = msgspec.convert(over(built_in_blocks().get(name, {}), table), _Block)
    except msgspec.ValidationError as error:
        raise LanguageError(*_where(name, str(error))) from None
    if not _FILE.fullmatch(block.source):
        raise LanguageError(f"{name}.source", "is not a file name; write for example main.c")
    if block.compile is not None and not block.artefacts:
        raise LanguageError(f"{name}.artefacts", "is empty; name what the compile step leaves in {scratch}")
    for pattern in block.artefacts:
        if pattern.startswith("/") or ".." in pattern.split("/") or not pattern:
            raise LanguageError(f"{name}.artefacts", "holds a path that leaves the scratch folder")
    for suffix in block.suffixes:
        if not suffix.startswith(".") or "/" in suffix or len(suffix) < 2:
            raise LanguageError(f"{name}.suffixes", 'holds what is no suffix; write for example ".c"')
    try:
        pattern_groups = re.compile(block.named_by, re.ASCII).groups
    except re.error as error:
        raise LanguageError(f"{name}.named_by", f"is not a regular expression: {error}") from None
    if block.named_by and pattern_groups < 1:
        raise LanguageError(f"{name}.named_by", "has no group (…) that finds the name")
    try:
        require = Isolation(block.require)
    except ValueError:
        names = " or ".join(f'"{level.value}"' for level in Isolation)
        raise LanguageError(f"{name}.require", f"is not known; give {names}") from None
    return Language(
        name=name,
        source=block.source,
        run=_step(f"{name}.run", block.run, RUN_LIMITS),
        compile=_step(f"{name}.compile", block.compile, COMPILE_LIMITS) if block.compile else None,
        artefacts=tuple(block.artefacts),
        suffixes=tuple(block.suffixes),
        named_by=block.named_by,
        memory_signs=tuple(sign for sign in block.memory_signs if sign),
        require=require,
    )


def over(beneath: Table, table: Table) -> dict[str, Any]:
    """`table` laid over `beneath`, table by table and key by key."""
    found: dict[str, Any] = dict(beneath)
    for key, value in table.items():
        old = found.get(key)
        found[key] = over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


_INTEGERS: Final = {one.name for one in fields(Limits) if isinstance(getattr(Limits(), one.name), int)}
_LIMITS: Final = {one.name for one in fields(Limits)}


def change_limits(beneath: Limits, changes: Mapping[str, int | float]) -> Limits:
    """`beneath` with the numbers of `changes`, whose keys are names of limits.

    Raises:
        ValueError: unknown limit, or not a number that it can be; "name: what is wrong".
    """
    for key, value in changes.items():
        if key not in _LIMITS:
            raise ValueError(f"{key}: unknown limit; there is {', '.join(sorted(_LIMITS))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise ValueError(f"{key}: must be a number above 0")
        if key in _INTEGERS and not isinstance(value, int):
            raise ValueError(f"{key}: must be a whole number")
    return replace(beneath, **changes)  # type: ignore[arg-type]  # checked right above


def _step(path: str, block: _Step, beneath: Limits) -> Step:
    if not block.command or not block.command[0].startswith(("/", "{bundle}/", "{scratch}/")):
        raise LanguageError(f"{path}.command", "must begin with the absolute path of a program")
    for word in block.command:
        for found in _BRACES.findall(word):
            if found not in WORDS and word != "{sources}":
                raise LanguageError(
                    f"{path}.command",
                    f"holds {{{found}}}; there is {{sources}} (alone), "
                    + ", ".join(f"{{{one}}}" for one in WORDS),
                )
    for key, paths in (("show", block.show), ("show_if_there", block.show_if_there)):
        for one in paths:
            if not one.startswith("/") or ".." in one.split("/") or one.strip("/") in ("", "proc", "sys"):
                raise LanguageError(
                    f"{path}.{key}", "must hold absolute paths, and neither /, /proc nor /sys"
                )
    for variable, value in block.environment.items():
        if not variable or "=" in variable or "\0" in variable + value:
            raise LanguageError(f"{path}.environment", "holds what is no name of a variable")
    try:
        limits = change_limits(beneath, block.limits)
    except ValueError as error:
        key, _, message = str(error).partition(": ")
        raise LanguageError(f"{path}.limits.{key}", message) from None
    return Step(
        command=tuple(block.command),
        show=tuple(block.show),
        show_if_there=tuple(block.show_if_there),
        environment=dict(block.environment),
        limits=limits,
        address_space=block.address_space,
    )


def _where(name: str, message: str) -> tuple[str, str]:
    """msgspec's "text - at `$.a.b[0]`" as a dotted path and the text."""
    text, _, place = message.partition(" - at `")
    missing = re.search(r"field `(\w+)`", text)
    path = place.rstrip("`").removeprefix("$").replace("[...]", "")
    if missing:
        path += f".{missing[1]}"
        text = "is missing" if "missing" in text else "unknown key"
    return f"{name}{path}", text[:1].lower() + text[1:]
