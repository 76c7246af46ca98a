"""`--set dotted.key=value`: single values on top of the configuration file.

Runs in: supervisor, tools. Works on the tree as tomli gave it, before it is checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import tomli

from supervisor.settings import Problem, Wrong

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STEP: Final = re.compile(r"""(?P<bare>[A-Za-z0-9_-]+)|"(?P<basic>[^"\\\n]*)"|'(?P<literal>[^'\n]*)'""")
_INDEX: Final = re.compile(r"\[(\d{1,4})\]")


def _steps(text: str) -> tuple[list[str | int], str]:
    """The dotted path at the start of `text`, and what follows it.

    Raises:
        Wrong: there is no path.
    """
    steps: list[str | int] = []
    at = 0
    while True:
        match = _STEP.match(text, at)
        if not match:
            raise Wrong('is not an override; write dotted.key=value, for example servers.main.username="me"')
        steps.append(next(part for part in match.groups() if part is not None))
        at = match.end()
        while index := _INDEX.match(text, at):
            steps.append(int(index[1]))
            at = index.end()
        if text[at : at + 1] != ".":
            return steps, text[at:]
        at += 1


def override(tree: dict[str, Any], overrides: Sequence[str]) -> list[Problem]:
    """Put each "dotted.key=TOML value" into `tree`, in order; what is wrong with those that do not fit."""
    problems = []
    for number, text in enumerate(overrides, 1):
        shown = f"--set (number {number})"  # not the text: somebody may have tried to set a secret
        try:
            steps, rest = _steps(text.strip())
            shown = f"--set {dotted(*steps)}"
            _put(tree, steps, _value(rest))
        except Wrong as wrong:
            problems.append(Problem(shown, str(wrong)))
    return problems


def _value(rest: str) -> object:
    rest = rest.lstrip()
    advice = "a text needs quotes of its own: --set 'key=\"text\"'"
    if not rest.startswith("="):
        raise Wrong(f"has no value; {advice}")
    try:
        found = tomli.loads("value = " + rest[1:].strip())
    except (tomli.TOMLDecodeError, ValueError, RecursionError) as error:
        raise Wrong(f"the value is not TOML; {advice}") from error
    if set(found) != {"value"}:
        raise Wrong("holds more than one value; use --set once for each")
    value: object = found["value"]
    return value


def _put(tree: dict[str, Any], steps: Sequence[str | int], value: object) -> None:
    node: Any = tree
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(step, str):
            if not isinstance(node, dict):
                raise Wrong("leads through something that is not a table; correct the path")
            if following is None:
                node[step] = value
            elif step not in node and isinstance(following, str):
                node[step] = {}
            node = node.get(step)
        else:
            if not isinstance(node, list) or step >= len(node):
                raise Wrong(f"there is no item {step} in the configuration; correct the number")
            if following is None:
                node[step] = value
            node = node[step]


def dotted(*steps: str | int) -> str:
    """The path as people write it: servers.demo.url, queues."a b".handlers[0].kind."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            shown = step if _BARE.fullmatch(step) else '"' + step.encode("unicode_escape").decode() + '"'
            text += f".{shown}" if text else shown
    return text
