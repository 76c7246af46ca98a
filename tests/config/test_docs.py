"""docs/configuration.md names every setting with its default, as the tables have it."""

from __future__ import annotations

from pathlib import Path

from supervisor.settings import SECTIONS, reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_holds_the_tables_as_they_are_now() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert reference().strip() in page, "run: python -m supervisor.settings, and put its output into the page"


def test_the_tables_hold_every_setting() -> None:
    text = reference()
    count = 0
    for _, _, settings in SECTIONS:
        for setting in settings:
            assert f"| `{setting.key}` |" in text
            assert setting.doc
            count += 1
    assert count > 40
