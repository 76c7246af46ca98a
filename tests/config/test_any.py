"""Whatever stands in the file: a Config or a ConfigError, never anything else."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import tomli
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config import Config, ConfigError, Problem, _Reader, load
from supervisor.overrides import override
from supervisor.settings import CLASS, GRADELIB, LIMITS, QUEUE, SANDBOX, SERVER, WARDEN

from .conftest import GOOD

KEYS = sorted(
    {setting.key for table in (WARDEN, SERVER, SANDBOX, LIMITS, QUEUE, GRADELIB, CLASS) for setting in table}
    | {"handlers", "limits", "servers", "sandboxes", "queues", "warden", "main", "one", "python"}
)
scalars = (
    st.none().map(lambda _: "")
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["gradelib", "class", "auto", "main", "python", "full", "*", "course", "x" * 300, "a:B"]
    )
    | st.datetimes()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=12,
)


def told(tree: dict[str, Any], *, lenient: bool) -> Config | ConfigError:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "course").mkdir()
        try:
            return _Reader(Path(folder)).config(
                tree, path=Path("config.toml"), digest="", lenient=lenient, cpus={0}
            )
        except ConfigError as error:
            assert error.problems
            assert all(problem.path and problem.message for problem in error.problems)
            return error


@given(
    tree=st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), values, max_size=6),
    lenient=st.booleans(),
)
def test_any_tree_is_a_config_or_its_problems(tree: dict[str, Any], lenient: bool) -> None:
    told(tree, lenient=lenient)


places = st.sampled_from(
    [
        ("warden",),
        ("servers", "main"),
        ("sandboxes", "python"),
        ("sandboxes", "python", "limits"),
        ("queues", "one"),
        ("queues", "one", "handlers", 0),
        ("queues", "two", "handlers", 0),
    ]
)


@given(place=places, key=st.sampled_from(KEYS) | st.text(max_size=5), value=values, lenient=st.booleans())
def test_one_value_gone_wrong_is_told_near_its_place(
    place: Any, key: str, value: object, lenient: bool
) -> None:
    tree: dict[str, Any] = copy.deepcopy(tomli.loads(GOOD))
    node: Any = tree
    for step in place:
        node = node[step] if isinstance(step, int) else node.setdefault(step, {})
    node[key] = value
    found = told(tree, lenient=lenient)
    problems: list[Problem] = []
    if isinstance(found, ConfigError):
        problems += found.problems
    else:
        problems += [problem for queue in found.refused.values() for problem in queue]
    section = str(place[0])
    references = {"server", "sandbox", "kind", "class"}
    assert all(problem.path.startswith(section) or key in references for problem in problems)


@given(raw=st.binary(max_size=200), text=st.text(max_size=200))
def test_any_bytes_are_a_config_or_its_problems(raw: bytes, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        for contents in (raw, text.encode("utf-8", "replace")):
            path.write_bytes(contents)
            try:
                load(path)
            except ConfigError as error:
                assert error.problems


@given(overrides=st.lists(st.text(max_size=30) | st.from_regex(r"[a-z.\[\]0-9]{1,12}=.{0,8}"), max_size=4))
def test_any_override_is_taken_or_told(overrides: list[str]) -> None:
    for problem in override(copy.deepcopy(tomli.loads(GOOD)), overrides):
        assert problem.path.startswith("--set")
