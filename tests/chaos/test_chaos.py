"""The short form of `make chaos`: some submissions, some blows, some faults, one drill, every promise."""

from __future__ import annotations

import os

import pytest

from tests.chaos.play import play
from tests.chaos.script import Trouble, Wishes

WISHES = Wishes(
    submissions=80,
    fault_rate=0.05,
    blow_s=0.7,
    drills=((Trouble.REFUSED, 8.0),),
    poison=1,
    strange=1,
    longest_stop_s=1.5,
    never=False,
)


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_every_promise_is_kept_whatever_is_killed_and_spoilt() -> None:
    """WARDEN_SEED plays another one; `make chaos` is the long form."""
    seed = int(os.environ.get("WARDEN_SEED", "20261122"))
    told: list[str] = []
    done = play(seed, WISHES, 240.0, told.append)
    shown = "\n".join([*told[-5:], *done.violations[:20]])
    assert not done.violations, f"seed {seed}, logs and journal in {done.folder}:\n{shown}"
    assert done.story.blows.total() > 0 and done.tally.faults.total() > 0
    assert [drill.trouble for drill in done.story.drills] == [Trouble.REFUSED]
