"""What a problem's grader_payload asks for: which grader, in which language, with which options. Pure.

Runs in: worker, tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from graders.errors import PayloadError

_MOST_CHARACTERS = 65_536
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8}){0,3}")


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload that was understood.

    `grader` is a path relative to the grader root, not yet checked. `config` holds all keys of a payload that
    is an object, as decoded from JSON.
    """

    grader: str
    lang: str = "en"
    skip_grader: bool = False
    hide_output: bool = False
    config: Mapping[str, object] = field(default_factory=dict)


def parse_payload(text: str, graders: Mapping[str, str]) -> Payload:
    """Read a payload: a JSON object with "grader", a JSON string, or plain text.

    `graders` maps names to grader paths; a grader that is no such name is a path.

    Raises:
        PayloadError: it names no grader.
    """
    if len(text) > _MOST_CHARACTERS:
        raise PayloadError(f"grader_payload has {len(text)} characters; at most {_MOST_CHARACTERS} are read")
    value = _decode(text.strip())
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _decode(value.strip())  # an object that was made into a string once too often
    if isinstance(value, str):
        return Payload(_grader(value, graders))
    if isinstance(value, dict):
        return Payload(
            _grader(value.get("grader"), graders),
            _language(value),
            _flag(value, "skip_grader"),
            _flag(value, "hide_output"),
            value,
        )
    raise PayloadError(f'grader_payload is {_kind(value)}; it must be an object with "grader" or a string')


def _decode(text: str) -> object:
    if not text:
        raise PayloadError("grader_payload is empty; it must name a grader")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if text[0] in '{["':
            raise PayloadError(f"grader_payload is no valid JSON: {error}") from None
        return text


def _grader(value: object, graders: Mapping[str, str]) -> str:
    if not isinstance(value, str):
        raise PayloadError(f'"grader" in grader_payload is {_kind(value)}; it must be a string')
    name = value.strip()
    if not name:
        raise PayloadError("grader_payload names no grader")
    return graders.get(name, name)


def _language(config: Mapping[str, object]) -> str:
    lang = config.get("lang", config.get("LANG"))
    # A language that nobody can have translations for is no reason not to grade.
    return lang if isinstance(lang, str) and _LANGUAGE.fullmatch(lang) else "en"


def _flag(config: Mapping[str, object], key: str) -> bool:
    value = config.get(key, False)
    if isinstance(value, str):
        value = {"true": True, "false": False, "1": True, "0": False, "": False}.get(
            value.strip().lower(), value
        )
    if value is None:
        return False
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise PayloadError(f'"{key}" in grader_payload must be true or false')


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "a string")
