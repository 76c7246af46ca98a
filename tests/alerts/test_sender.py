"""Letters reach people: real receivers, a real sender process, and what can go wrong on the way."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from graders.model import Cause
from supervisor.alerts.audiences import Contacts
from supervisor.alerts.desk import Desk, _Office
from supervisor.alerts.post import scrubbed
from supervisor.alerts.wire import Orders, Progress
from supervisor.ledger import Ledger
from supervisor.settings import Alerts, Audience, Channel, Damping, LogStyle, Ping, SecretRef, Severity
from supervisor.status import Alert, SlotState
from tests.alerts.receivers import Hook, free_port, hook, mail_server, secret
from tests.cli.statuses import a_queue, a_status
from tests.supervisor.stage import until

BOTH = (Audience.TEAM, Audience.ADMIN)
NO_DAMPING = Damping(hold_s=0.0, flaps=1000)


class Crew:
    """A desk with its sender, in this process's care, and what it is shown."""

    def __init__(self, folder: Path, alerts: Alerts, contacts: Contacts | None = None) -> None:
        self.folder = folder
        self.ledger = Ledger()
        self.letters = 0
        self.desk = Desk(alerts, contacts or {}, folder, dice=random.random, log_style=LogStyle.JSON)

    def look(self, *fatal: str, **changes: Any) -> None:
        """Publish a document in which these queues are FATAL."""
        now = time.time()
        down = {"state": SlotState.FATAL, "cause": Cause.CONFIG, "message": "bad", "since": now}
        queues = {name: a_queue(now, **down) for name in fatal} | {"well": a_queue(now)}
        with contextlib.suppress(OSError):
            self.desk.published(a_status(now, **{"queues": queues} | changes), self.ledger)

    def dead(self, count: int, cause: Cause = Cause.GRADER_BUG) -> None:
        """Publish a document with so many dead letters in all."""
        now = time.time()
        queue = a_queue(now, dead=count, dead_causes={cause: count})
        alert = Alert(at=now, cause=cause, text="g.py: boom", queue="demo", grader="g.py", count=count)
        self.look(queues={"demo": queue}, alerts=(alert,))

    def sender(self) -> psutil.Process | None:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if "warden alerts" in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                    return child
        return None

    def working(self) -> psutil.Process:
        """The sender, once it has said how the lanes are."""
        until(lambda: self.sender() and (self.folder / "alerts" / "channels.json").exists(), "the sender")
        found = self.sender()
        assert found is not None
        return found

    def spooled(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "alerts" / "spool").glob("*.json"))


@contextlib.contextmanager
def crew(
    folder: Path,
    *channels: Channel,
    ping: Ping | None = None,
    damping: Damping = NO_DAMPING,
    contacts: Contacts | None = None,
) -> Iterator[Crew]:
    one = Crew(folder, Alerts(channels, ping, damping), contacts)
    try:
        yield one
    finally:
        one.desk.close()


def ref(path: Path) -> SecretRef:
    return SecretRef("alerts.channels.x.urls_file", file=path, name=str(path))


def to_url(
    folder: Path, name: str, *urls: str, audience: tuple[Audience, ...] = BOTH, **more: Any
) -> Channel:
    return Channel(name, audience, urls=ref(secret(folder, f"{name}-urls", "\n".join(urls) + "\n")), **more)


def to_command(folder: Path, name: str, script: str, **more: Any) -> Channel:
    program = folder / f"{name}.py"
    program.write_text(script)
    return Channel(name, BOTH, command=(sys.executable, "-I", str(program), str(folder)), **more)


def units(ear: Hook) -> list[str]:
    """What the letters are about, in their order: the last word of the unit, or its recovery."""
    return [title.split(": ", 1)[1].removeprefix("CRITICAL: ").split(": FATAL")[0] for title in ear.titles()]


# -- the network is the trouble ----------------------------------------------------------------------------


@pytest.mark.slow
def test_letters_wait_for_a_receiver_that_is_away_and_come_once_and_in_order(tmp_path: Path) -> None:
    port = free_port()
    with crew(tmp_path, to_url(tmp_path, "hook", f"json://127.0.0.1:{port}/x")) as one:
        for number in range(3):
            one.look(*(f"q{n}" for n in range(number + 1)))
        until(lambda: one.desk._spool.channels().get("hook", None), "the sender's report")
        until(lambda: one.desk._spool.channels()["hook"].failing_since, "a first failure")
        assert len(one.spooled()) == 3
        one.look(*(f"q{n}" for n in range(3)))
        assert one.ledger.channels["hook"].waiting == 3
        with hook(port) as ear:
            ear.wait(lambda titles: len(titles) >= 3, "all letters", 40)
            until(lambda: one.spooled() == [], "the spool to be empty")
            assert units(ear) == ["queue q0", "queue q1", "queue q2"]


@pytest.mark.slow
def test_a_channel_that_hangs_or_refuses_holds_no_other(tmp_path: Path) -> None:
    with hook() as hanging, hook() as refusing, hook() as well:
        hanging.answer, refusing.answer = 0, 500
        channels = (
            to_url(tmp_path, "hanging", hanging.url(), timeout_s=0.1),
            to_url(tmp_path, "several", refusing.url(), well.url("one")),
            to_url(tmp_path, "well", well.url("two")),
        )
        with crew(tmp_path, *channels) as one:
            one.look("q0")
            well.wait(lambda titles: len(titles) == 2, "the two that are well")
            assert {path for path, _ in well.got} == {"/one", "/two"}
            until(lambda: one.desk._spool.channels().get("several/1", None), "the report")
            until(lambda: one.desk._spool.channels()["several/1"].failing_since, "the refusal to be noted")
            assert one.desk._spool.channels()["several/2"].failing_since is None
            assert len(one.spooled()) == 1


@pytest.mark.slow
def test_a_delivery_that_hangs_is_ended_and_tried_again(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "marks = sys.argv[1] + '/marks'\n"
        "open(marks, 'a').write('x')\n"
        "if len(open(marks).read()) == 1:\n"
        "    os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '1234567')\n"
        "    time.sleep(60)\n"
    )
    with crew(tmp_path, to_command(tmp_path, "slow", script, timeout_s=0.5)) as one:
        one.look("q0")
        until(
            lambda: (tmp_path / "marks").exists() and (tmp_path / "marks").read_text() == "xx", "a second try"
        )
        until(lambda: one.spooled() == [], "the letter to be delivered")
    left = [p for p in psutil.process_iter(["cmdline"]) if "1234567" in (p.info["cmdline"] or [])]
    assert left == []


# -- somebody is killed ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sender_that_is_killed_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    with hook() as ear, crew(tmp_path, to_url(tmp_path, "hook", ear.url())) as one:
        one.look("q0")
        ear.wait(lambda titles: len(titles) == 1, "the first")
        until(lambda: one.spooled() == [], "it to be noted")
        first = one.working()
        ear.answer = 503
        one.look("q0", "q1")
        until(lambda: one.desk._spool.channels()["hook"].failing_since, "a try")
        first.kill()
        one.look("q0", "q1", "q2")
        ear.answer = 200
        until(
            lambda: one.look("q0", "q1", "q2") or ((s := one.sender()) and s.pid != first.pid),
            "another sender",
        )
        ear.wait(lambda titles: len(titles) >= 3, "the rest", 40)
        assert units(ear) == ["queue q0", "queue q1", "queue q2"]


@pytest.mark.slow
def test_a_supervisor_that_was_killed_opens_nothing_twice_and_still_tells_the_end(tmp_path: Path) -> None:
    with hook() as ear:
        channel = to_url(tmp_path, "hook", ear.url())
        with crew(tmp_path, channel) as one:
            one.look("q0")
            ear.wait(lambda titles: len(titles) == 1, "the alarm")
            until(lambda: one.spooled() == [], "it to be noted")
            one.desk._office.dismiss()  # as if both were killed: nobody says goodbye
            one.desk = Desk(Alerts((channel,), None, NO_DAMPING), {}, tmp_path, dice=random.random)
            one.look("q0")
            one.look("q0")
            one.look()
            ear.wait(lambda titles: any("recovered" in title for title in titles), "its end")
        titles = ear.titles()
        assert sum("q0" in title and "recovered" not in title for title in titles) == 1, titles
        assert sum("had not ended in order" in title for title in titles) == 1, titles


@pytest.mark.slow
def test_letters_decided_on_but_not_yet_on_disk_are_sent_after_a_crash(tmp_path: Path) -> None:
    with hook() as ear:
        channel = to_url(tmp_path, "hook", ear.url())
        with crew(tmp_path) as one:
            one.desk._alerts = Alerts((channel,), None, NO_DAMPING)
            one.desk._put = lambda letter: None  # type: ignore[method-assign]  # the crash: state, but no file
            one.desk._employ = lambda document: None  # type: ignore[method-assign]
            one.look("q0")
            assert one.spooled() == []
            one.desk = Desk(Alerts((channel,), None, NO_DAMPING), {}, tmp_path, dice=random.random)
            assert len(one.spooled()) == 1
            one.look("q0")
            ear.wait(lambda titles: any("queue q0: FATAL" in title for title in titles), "the letter")


def test_a_reload_adopts_other_channels(tmp_path: Path) -> None:
    with hook() as ear, crew(tmp_path, to_command(tmp_path, "old", "raise SystemExit(1)")) as one:
        one.look()
        one.desk.adopt(Alerts((to_url(tmp_path, "new", ear.url()),), None, NO_DAMPING), {})
        one.look("q0")
        ear.wait(lambda titles: any("queue q0: FATAL" in title for title in titles), "the letter")


# -- the disk is the trouble -------------------------------------------------------------------------------


def test_without_a_disk_letters_go_through_the_pipe(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with hook() as ear, crew(state, to_url(tmp_path, "hook", ear.url())) as one:
        one.look()
        one.working()
        for path in sorted((state / "alerts").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (state / "alerts").rmdir()
        (state / "alerts").write_text("no folder can be made here")
        one.look("q0")
        ear.wait(lambda titles: any("queue q0: FATAL" in title for title in titles), "the letter")


# -- a supervisor that is stuck ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_supervisor_that_falls_silent_is_told_by_the_sender_itself(tmp_path: Path) -> None:
    office = _Office(time.monotonic, random.random)
    with hook() as ear:
        alerts = Alerts((to_url(tmp_path, "hook", ear.url()),), None, NO_DAMPING)
        try:
            office.keep(Orders(alerts, tmp_path, LogStyle.JSON, "host", silent_s=0.5))
            ear.wait(lambda titles: any("stopped or stuck" in title for title in titles), "the alarm")
            assert "CRITICAL" in ear.titles()[0]

            def speaks() -> bool:
                office.tell(Progress(False, "WARDEN OK", "polls=1"))
                return any("runs again" in title for title in ear.titles())

            until(speaks, "recovery")
        finally:
            office.close()


# -- the dead man's switch ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_pings_carry_progress_and_stop_with_it(tmp_path: Path) -> None:
    with hook() as ear:
        url = secret(tmp_path, "ping", f"http://127.0.0.1:{ear.port}/uuid-77\n")
        with crew(tmp_path, ping=Ping(ref(url), every_s=0.2)) as one:
            until(lambda: one.look() or len(ear.got) >= 2, "two pings")
            path, body = ear.got[0]
            assert path == "/uuid-77"
            assert body.startswith(b"WARDEN OK - ") and b"polls=100 delivered=12" in body
            until(lambda: one.look("q0", queues={}) or ear.got[-1][0] == "/uuid-77/fail", "a ping of failure")
            assert b"CRITICAL" in ear.got[-1][1]
            until(lambda: not one.sender() or not one.sender().children(), "the last ping to end")
            count = len(ear.got)
            with pytest.raises(AssertionError):
                until(lambda: len(ear.got) > count + 1, "nothing", patience_s=1.5)
            assert one.desk._spool.channels()["ping"].failing_since is None


# -- mail, commands ----------------------------------------------------------------------------------------


def test_the_courses_contact_gets_mail_about_his_grader_and_the_team_does(tmp_path: Path) -> None:
    contacts = {"demo": (("g.py", "prof@example.org"), ("*", "other@example.org"))}
    with mail_server() as (mails, port):
        base = f"mailto://127.0.0.1:{port}?from=warden@example.org&smtp=127.0.0.1&to="
        team = to_url(tmp_path, "team", f"{base}team@example.org", audience=(Audience.TEAM,))
        courses = to_url(tmp_path, "courses", base + "{contact}", audience=(Audience.CONTACTS,))
        with crew(tmp_path, team, courses, contacts=contacts) as one:
            one.dead(2)
            until(lambda: len(mails.got) >= 2, "both mails")
            one.dead(2)
        by_reader = {tos[0]: message for tos, message in mails.got}
        assert set(by_reader) == {"team@example.org", "prof@example.org"}
        message = by_reader["prof@example.org"]
        assert "2 dead letters: GRADER_BUG" in str(message["Subject"])
        text = "".join(
            part.get_payload(decode=True).decode()  # type: ignore[union-attr]
            for part in message.walk()
            if part.get_content_type() == "text/plain"
        )
        assert "g.py: boom" in text and "warden check" in text


def test_a_command_gets_the_letter_as_json_and_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XQUEUE_PASSWORD", "hunter2")
    script = (
        "import json, os, sys\n"
        "got = json.load(sys.stdin)\n"
        "got['environ'] = dict(os.environ)\n"
        "open(sys.argv[1] + '/got', 'w').write(json.dumps(got))\n"
    )
    with crew(tmp_path, to_command(tmp_path, "pager", script, severity=Severity.CRITICAL)) as one:
        one.dead(1)  # a warning, which is not for this channel
        one.look("q0")
        until(lambda: (tmp_path / "got").exists() and (tmp_path / "got").read_text(), "the command")
        until(lambda: one.spooled() == [], "the spool to be empty")
    got = json.loads((tmp_path / "got").read_text())
    assert got["severity"] == "critical"
    (news,) = got["news"]
    assert (news["unit"], news["cause"], news["change"]) == ("queue q0", "CONFIG", "opened")
    assert not any("PASSWORD" in name for name in got["environ"])


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    script = "import sys\nsys.exit('no pager in reach')"
    with crew(tmp_path, to_command(tmp_path, "pager", script)) as one:
        one.look("q0")
        report = until(
            lambda: (found := one.desk._spool.channels().get("pager")) and found.failing_since and found,
            "failure",
        )
        assert "ended with status 1: no pager in reach" in report.message


# -- secrets -----------------------------------------------------------------------------------------------


def test_the_secret_of_a_channel_is_nowhere_but_in_its_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    token = "tok-9b1c7e55aa"
    state = tmp_path / "state"
    state.mkdir()
    with hook() as ear:
        ear.answer = 403
        url = f"json://{token}user:{token}pass@127.0.0.1:{ear.port}/{token}path?key={token}query"
        with crew(
            state, to_url(tmp_path, "hook", url), to_url(tmp_path, "odd", f"no-such-{token}://x")
        ) as one:
            one.look("q0")
            found: set[str] = set()

            def failed() -> bool:
                for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        found.update(process.cmdline())
                        found.update(process.environ().values() if process.pid != os.getpid() else ())
                lanes = one.desk._spool.channels()
                return all(name in lanes and lanes[name].failing_since for name in ("hook", "odd"))

            until(failed, "both to fail")
            one.look("q0")
            shown = repr(one.ledger.channels)
        assert "403" in shown and "apprise knows" in shown
        assert any("supervisor.alerts.post" in word for word in found)
        assert token not in shown
        assert not any(token in word for word in found)
        assert token not in capfd.readouterr().err
        for path in state.rglob("*"):
            assert path.is_dir() or token.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("POST https://u:s3cret@h.example/T0KEN/x failed", "POST *** failed"),
        ("user s3cret at h.example refused T0KEN", "user *** at h.example refused ***"),
        ("Connection refused", "Connection refused"),
    ],
)
def test_what_a_service_complains_of_is_shown_without_secrets(text: str, clean: str) -> None:
    assert scrubbed(text, "https://u:s3cret@h.example/T0KEN/x") == clean
