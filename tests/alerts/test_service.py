"""Known within a minute: a real `warden run` whose world breaks, and a real webhook that hears of it.

Damping and pauses between polls are short here, but in the test that asks for the minute itself.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor.lab import Lab
from tests.alerts.receivers import Hook, hook, secret
from tests.supervisor.stage import ROOT, gone, until

QUEUES = ("demo-functions", "demo-programs")


SHORT = ("alerts.hold_s=1", *(f"queues.{queue}.poll_ceiling_s=0.5" for queue in QUEUES))


@contextlib.contextmanager
def scene(tmp_path: Path, *overrides: str, short: tuple[str, ...] = SHORT, **urls: str) -> Iterator[Lab]:
    """A lab with a channel for each audience that is named in `urls`."""
    alerts = list(short)
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
@pytest.mark.parametrize("short", [SHORT, ()], ids=["short", "as shipped"])
def test_an_xqueue_that_vanishes_is_told_within_a_minute_and_so_is_its_return(
    tmp_path: Path, ears: tuple[Hook, Hook], short: tuple[str, ...]
) -> None:
    team, admin = ears
    with scene(tmp_path, short=short, team=team.url(), admin=admin.url()) as lab:
        lab.start_supervisor()
        until(lambda: all(q["last_poll_ok_at"] for q in lab.status()["queues"].values()), "polls")
        lab.process("queue").kill()
        lab.process("queue").wait()
        began = time.monotonic()
        for ear in ears:
            ear.wait(lambda titles: any(critical(title) for title in titles), "the alarm", 60)
        assert time.monotonic() - began < 60
        letter = next(one for one in admin.letters() if critical(one["title"]))
        assert "server demo: polls fail: QUEUE_UNREACHABLE" in letter["message"]
        assert "what to do:" in letter["message"]
        assert letter["type"] == "failure"
        alarm = until(lambda: lab.status()["alarms"], "the alarm in the status")[0]
        assert (alarm["unit"], alarm["cause"]) == ("server demo", "QUEUE_UNREACHABLE")
        lab.start_queue()
        admin.wait(lambda titles: any("recovered: server demo" in title for title in titles), "recovery", 90)
        until(lambda: lab.status()["alarms"] == [], "the alarm to leave the status")
        assert sum("recovered" in title for title in admin.titles()) == 1
        assert lab.stop("supervisor") == 0


@pytest.mark.slow
def test_a_wrong_password_is_the_admins_and_the_team_knows_that_grading_stands_still(
    tmp_path: Path, ears: tuple[Hook, Hook]
) -> None:
    team, admin = ears
    with scene(tmp_path, team=team.url(), admin=admin.url()) as lab:
        right = lab.password_file.read_text()
        lab.password_file.write_text("wrong")
        lab.start_supervisor()
        for ear in ears:
            ear.wait(lambda titles: any("CRITICAL" in t and "AUTH" in t for t in titles), "the alarm", 40)
        assert "`warden doctor`; compare `username` and the password" in admin.letters()[0]["message"]
        assert right not in str(admin.got) and "wrong" not in admin.titles()[0]


@pytest.mark.slow
def test_a_fatal_worker_and_a_dead_letter_reach_those_whose_they_are(
    tmp_path: Path, ears: tuple[Hook, Hook]
) -> None:
    team, admin = ears
    with hook() as prof:
        overrides = (
            'queues.demo-programs.handlers=[{kind="class", class="no_such_module:X", sandbox="python"}]',
            'queues.demo-functions.handlers[0].contact="prof@example.org"',
        )
        urls = {"team": team.url(), "admin": admin.url(), "contacts": prof.url("to/{contact}")}
        with scene(tmp_path, *overrides, **urls) as lab:
            lab.start_supervisor()
            admin.wait(
                lambda titles: any("queue demo-programs: FATAL: CONFIG" in t for t in titles), "it", 40
            )
            lab.submit(QUEUES[0], "anna", '{"grader": "gone/grader.py"}', "secret of anna = 1")
            prof.wait(lambda titles: any("1 dead letter: CONFIG" in t for t in titles), "the dead letter", 40)
            team.wait(lambda titles: any("1 dead letter: CONFIG" in t for t in titles), "the dead letter", 40)
            assert {path for path, _ in prof.got} == {"/to/prof@example.org"}
            assert not any("demo-programs" in title for title in prof.titles())
            assert "anna" not in str([*prof.got, *team.got, *admin.got])
            sender = next(
                child
                for child in psutil.Process(lab.process("supervisor").pid).children()
                if "warden alerts" in " ".join(child.cmdline())
            )
            lab.process("supervisor").kill()
            until(lambda: gone(sender), "the sender to die with its supervisor", patience_s=2.0)


@pytest.mark.slow
def test_a_service_that_ends_in_order_leaves_no_alarm_behind_for_the_next_one(
    tmp_path: Path, ears: tuple[Hook, Hook]
) -> None:
    _, admin = ears
    with scene(tmp_path, admin=admin.url()) as lab:
        for _ in range(2):
            lab.start_supervisor()
            until(lambda: all(q["last_poll_ok_at"] for q in lab.status()["queues"].values()), "polls")
            assert lab.stop("supervisor") == 0
        assert admin.got == []
