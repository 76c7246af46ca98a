"""Known within a minute: a real `warden run` whose world breaks, and a real webhook that hears of it.

Damping is short here (hold_s = 1 instead of 20): what else there is of delay is what an operator would meet.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.lab import Lab
from tests.alerts.receivers import Hook, hook, secret
from tests.supervisor.stage import ROOT, until

QUEUES = ("demo-functions", "demo-programs")


@contextlib.contextmanager
def scene(tmp_path: Path, *overrides: str, **urls: str) -> Iterator[Lab]:
    """A lab with a channel for each audience that is named in `urls`."""
    alerts = ["alerts.hold_s=1", *(f"queues.{queue}.poll_ceiling_s=0.5" for queue in QUEUES)]
    for audience, url in urls.items():
        file = secret(tmp_path, f"{audience}-urls", url + "\n")
        alerts.append(
            f'alerts.channels.{audience}={{audience=["{audience}"], urls_file={json.dumps(str(file))}}}'
        )
    with Lab(ROOT / "config.toml", [*alerts, *overrides], QUEUES) as lab:
        yield lab


@pytest.fixture
def ears() -> Iterator[tuple[Hook, Hook]]:
    with hook() as team, hook() as admin:
        yield team, admin


def critical(title: str) -> bool:
    return "CRITICAL" in title and "server demo: polls fail: QUEUE_UNREACHABLE" in title


@pytest.mark.slow
def test_an_xqueue_that_vanishes_is_told_within_a_minute_and_so_is_its_return(
    tmp_path: Path, ears: tuple[Hook, Hook]
) -> None:
    team, admin = ears
    with scene(tmp_path, team=team.url(), admin=admin.url()) as lab:
        lab.start_supervisor()
        until(lambda: all(q["last_poll_ok_at"] for q in lab.status()["queues"].values()), "polls")
        lab.process("queue").kill()
        lab.process("queue").wait()
        began = time.monotonic()
        for ear in ears:
            ear.wait(lambda titles: any(critical(title) for title in titles), "the alarm", 40)
        assert time.monotonic() - began < 40  # and 19 s more with the default hold_s
        letter = next(one for one in admin.letters() if critical(one["title"]))
        assert "server demo: polls fail: QUEUE_UNREACHABLE" in letter["message"]
        assert "what to do:" in letter["message"]
        assert letter["type"] == "failure"
        alarm = until(lambda: lab.status()["alarms"], "the alarm in the status")[0]
        assert (alarm["unit"], alarm["cause"]) == ("server demo", "QUEUE_UNREACHABLE")
        lab.start_queue()
        admin.wait(lambda titles: any("recovered: server demo" in title for title in titles), "recovery", 40)
        until(lambda: lab.status()["alarms"] == [], "the alarm to leave the status")
        assert sum("recovered" in title for title in admin.titles()) == 1
        assert lab.stop("supervisor") == 0
