"""The pages for operators name every setting, status field, cause and threshold, as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from graders.model import Cause
from supervisor import advice, metrics
from supervisor.alerts.audiences import AUDIENCES
from supervisor.cli.health import SECONDS
from supervisor.health import Thresholds
from supervisor.histogram import Histogram
from supervisor.settings import SECTIONS, reference
from supervisor.status import (
    SCHEMA,
    Alarm,
    Alert,
    BreakerStatus,
    ChannelStatus,
    QueueStatus,
    Reload,
    ServerStatus,
    SlotStatus,
    Status,
    Totals,
)

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


def fields_of(page: str, heading: str) -> list[str]:
    section = page.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


@pytest.mark.parametrize(
    "struct",
    [
        Status,
        ServerStatus,
        QueueStatus,
        SlotStatus,
        Totals,
        Alert,
        BreakerStatus,
        Reload,
        Alarm,
        ChannelStatus,
        Histogram,
    ],
)
def test_the_status_page_names_every_field_in_its_order(struct: type) -> None:
    page = PAGE.with_name("status.md").read_text(encoding="utf-8")
    assert fields_of(page, struct.__name__) == list(struct.__struct_fields__)
    assert f"`{SCHEMA}`" in page


def test_the_alerts_page_has_the_table_of_audiences() -> None:
    page = PAGE.with_name("alerts.md").read_text(encoding="utf-8")
    for cause, told in AUDIENCES.items():
        assert f"| {cause} | {', '.join(told) or 'nobody'} |" in page


def test_the_operators_page_names_every_cause_and_every_threshold() -> None:
    page = PAGE.with_name("operators.md").read_text(encoding="utf-8")
    assert set(advice.ADVICE) == set(Cause)
    assert advice.reference().strip() in page, "run: python -m supervisor.advice, and put it into the page"
    defaults = Thresholds()._asdict()
    for option, (field, _) in SECONDS.items():
        assert f"`{option}` {defaults[field]:g}" in page


def test_the_metrics_page_holds_the_table_as_it_is_now() -> None:
    page = PAGE.with_name("metrics.md").read_text(encoding="utf-8")
    assert metrics.reference().strip() in page, "run: python -m supervisor.metrics, and put it into the page"
