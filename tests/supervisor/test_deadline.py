"""By when a submission is answered, in each dialect."""

from __future__ import annotations

import pytest

from supervisor.deadline import LEGACY_DELAY_S, LMS_DELAY_S, budget_of, deadline_of, delay_of
from xqueue.answer import Dialect


def test_the_delay_is_the_server_s_unless_it_is_configured() -> None:
    assert delay_of(None, Dialect.LEGACY) == LEGACY_DELAY_S == 60
    assert delay_of(None, Dialect.LMS) == LMS_DELAY_S == 300
    assert delay_of(90, Dialect.LMS) == 90


@pytest.mark.parametrize("dialect", [Dialect.LEGACY, Dialect.UNKNOWN])
def test_a_legacy_xqueue_hands_out_again_so_late_is_not_fatal(dialect: Dialect) -> None:
    assert deadline_of(1000, 60, 10, dialect) is None


def test_an_attempt_that_begins_in_time_has_to_end_in_time() -> None:
    deadline = deadline_of(1000, 300, 10, Dialect.LMS)
    assert deadline is not None
    assert deadline.stop_at(1000, tried=False) == 1290
    assert deadline.stop_at(1279, tried=True) == 1290


def test_where_no_time_is_left_one_that_has_failed_is_answered_and_one_never_tried_is_tried() -> None:
    deadline = deadline_of(1000, 300, 10, Dialect.LMS)
    assert deadline is not None
    assert deadline.stop_at(1280, tried=True) is None
    assert deadline.stop_at(9000, tried=True) is None
    assert deadline.stop_at(9000, tried=False) == 9290


def test_a_margin_as_long_as_the_delay_leaves_half_of_it() -> None:
    assert budget_of(300, 10) == 290
    assert budget_of(8, 10) == 4
