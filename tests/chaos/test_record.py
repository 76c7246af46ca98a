"""Records: what a run was, in a table; what the fuzzer said, in a sentence; each in its place on the page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import record
from tests.chaos.faults import Fault
from tests.chaos.lms import Callback
from tests.chaos.play import Outcome
from tests.chaos.proxy import Tally
from tests.chaos.runner import Drilled, Story
from tests.chaos.script import Trouble, Wishes
from tests.chaos.test_plan import a_plan
from tests.fuzz.record import summary


def an_outcome() -> Outcome:
    story = Story(
        sent_at={"a": 100.0, "b": 100.0},
        blows=Counter({"kill worker": 3}),
        drills=[Drilled(Trouble.REFUSED, 3.0, "QUEUE_UNREACHABLE", 2.0, 4.0, float("nan"), 3.5)],
        seconds=61.0,
    )
    tally = Tally(Counter(get_submission=9), Counter({Fault.LOST: 2}))
    callbacks = [Callback("a", "{}", 101.0), Callback("a", "{}", 150.0), Callback("b", "{}", 105.0)]
    return Outcome(a_plan(), story, tally, callbacks, 4, [], Path("/nowhere"))


def test_a_run_is_a_table() -> None:
    text = record.render(an_outcome(), Wishes(), "2026-11-22", "here")
    for part in (
        "Seed 7, 2026-11-22, here, server: embedded.",
        "| time | 61 s |",
        "| results at the LMS | 2, and 1 repeated word by word |",
        "worst 5.0 s",
        "| refused | 3 s | QUEUE_UNREACHABLE | 2.0 | 4.0 | - | 3.5 |",
        "2 answer lost",
        "3 kill worker",
    ):
        assert part in text


def test_the_page_has_a_place_for_each_record_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for begin, end in (
        record.markers("embedded"),
        record.markers("edx"),
        ("<!-- fuzz: begin -->", "<!-- fuzz: end -->"),
    ):
        page.write_text(record.PAGE.read_text())
        before, _, rest = page.read_text().partition(begin)
        after = rest.partition(end)[2]
        record.write("| a table |", begin, end, page)
        record.write("| another |", begin, end, page)
        assert page.read_text() == f"{before}{begin}\n| another |\n{end}{after}"
    with pytest.raises(ValueError, match="has no lines"):
        record.write("x", "<!-- no -->", "<!-- such -->", page)


def test_the_fuzzer_s_statistics_are_a_sentence() -> None:
    log = (
        "atheris: 60 s, from 9 inputs\nstat::number_of_executed_units: 133783\n"
        "stat::new_units_added: 431\nstat::peak_rss_mb: 54\n"
    )
    assert summary(log, 0, "today", "here") == (
        "today, here: 60 s, 133,783 inputs, 431 of them new in what they reach, at most 54 MB;"
        " nothing was found."
    )
    assert "ended with 77" in summary(log, 77, "today", "here")
    with pytest.raises(ValueError, match="did not run"):
        summary("Traceback", 1, "today", "here")
