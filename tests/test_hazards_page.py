"""docs/hazards.md names a test for every hazard and rule; what it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "hazards.md"

EXPECTED = {
    "3": 42,  # every line of the legacy server's table
    "4.1": 17,
    "4.2": 6,
    "4.3": 14,
    "4.4": 6,
    "5": 15,  # a, a', b, c, c', d, e, f, g, h, i, j, and what proxies do
    "6": 6,
    "7.2": 12,
    "9": 8,
}
"""At least so many rows in each section: one that is taken away shows."""


def rows() -> list[tuple[str, str, str, str]]:
    """(section, hazard, what we do, tests) of every row of every table."""
    found, section = [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## ([0-9.]+) ", line):
            section = heading[1]
        elif line.startswith("| ") and section and not line.startswith("| what happens"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            assert len(cells) == 3, line
            found.append((section, *cells))
    return found


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("section", EXPECTED)
def test_every_section_is_there_whole(section: str) -> None:
    assert sum(row[0] == section for row in rows()) >= EXPECTED[section]


def test_every_row_names_tests_that_are_there() -> None:
    missing = []
    for _, hazard, do, tests in rows():
        assert do, hazard
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        if not named:
            missing.append(f"no test: {hazard}")
        for file, name in named:
            path = ROOT / "tests" / file
            if not path.is_file():
                missing.append(f"no file {file}: {hazard}")
            elif not name.startswith("test_") or name not in names_in(f"tests/{file}"):
                missing.append(f"no test {file}::{name}: {hazard}")
    assert missing == []
