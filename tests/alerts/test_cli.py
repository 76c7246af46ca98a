"""`warden alert`, what `warden check` says of channels, and the settings."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from graders.model import Cause
from supervisor import status
from supervisor.alerts.post import deliver, known
from supervisor.cli.check import alert_problems, alert_remarks
from supervisor.cli.verbs import warden
from supervisor.config import ConfigError, load
from supervisor.settings import Audience, Damping, Severity
from supervisor.status import Alarm, ChannelStatus
from tests.alerts.receivers import hook, secret
from tests.cli.statuses import a_status
from tests.config.conftest import GOOD

QUEUE = GOOD.replace('grader_root = "course"\n', 'grader_root = "course"\ncontact = "prof@example.org"\n')


def configured(folder: Path, alerts: str, rest: str = QUEUE) -> Path:
    (folder / "course").mkdir(exist_ok=True)
    path = folder / "config.toml"
    path.write_text(alerts + rest)
    return path


def run(path: Path, *arguments: str) -> Result:
    verb, *rest = arguments
    return CliRunner().invoke(warden, ["alert", verb, "--config", str(path), *rest])


def channel(name: str, audience: str, how: str) -> str:
    return f'[alerts.channels.{name}]\naudience = ["{audience}"]\n{how}\n'


# -- test ----------------------------------------------------------------------------------------------------


def test_a_test_goes_through_every_channel_and_tells_each_ones_result(tmp_path: Path) -> None:
    with hook() as ear, hook() as deaf:
        deaf.answer = 500
        secret(tmp_path, "team", f"{ear.url('team')}\n# a comment\n{deaf.url('SECRET99')}\n")
        secret(tmp_path, "courses", ear.url("to/{contact}") + "\n")
        alerts = (
            channel("ops", "team", 'urls_file = "team"')
            + channel("courses", "contacts", 'urls_file = "courses"')
            + channel("page", "admin", 'command = ["/bin/true"]')
        )
        ran = run(configured(tmp_path, alerts), "test")
        assert ran.exit_code == 1
        lines = ran.stdout.splitlines()
        assert [line.split(" (")[0] for line in lines] == [
            "ok      ops/1",
            "FAILED  ops/2",
            "ok      courses to prof@example.org",
            "ok      page",
        ]
        assert "500" in lines[1] and "SECRET99" not in ran.output
        assert [path for path, _ in ear.got] == ["/team", "/to/prof@example.org"]
        assert all("test: alerts" in title for title in ear.titles())


def test_a_test_may_be_for_one_audience_and_one_queue_and_speak_json(tmp_path: Path) -> None:
    alerts = channel("a", "team", 'command = ["/bin/true"]') + channel(
        "b", "admin", 'command = ["/bin/false"]'
    )
    path = configured(tmp_path, alerts)
    ran = run(path, "test", "--audience", "team", "--json")
    assert ran.exit_code == 0
    assert [(one["channel"], one["ok"]) for one in json.loads(ran.stdout)] == [("a", True)]
    ran = run(path, "test", "--audience", "contacts")
    assert (ran.exit_code, ran.stdout) == (1, "") and "no channel for contacts is configured" in ran.stderr
    ran = run(path, "test", "--queue", "nine")
    assert ran.exit_code == 1 and "there is no queue nine" in ran.stderr


def test_without_any_channel_the_test_says_so(tmp_path: Path) -> None:
    ran = run(configured(tmp_path, ""), "test")
    assert ran.exit_code == 1 and "add an [alerts.channels.NAME]" in ran.stderr


def test_a_secret_that_cannot_be_read_is_told_with_its_remedy(tmp_path: Path) -> None:
    secret(tmp_path, "team", "json://x\n").chmod(0o644)
    ran = run(configured(tmp_path, channel("ops", "team", 'urls_file = "team"')), "test")
    assert ran.exit_code == 1 and "chmod 600" in ran.stdout


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert "pip install 'xqueue-warden[alerts]'" in known("json://127.0.0.1")
    from supervisor.alerts.model import Letter
    from supervisor.alerts.post import ToUrl

    letter = Letter(seq=0, at=0.0, severity=Severity.WARNING, to=(), title="t", text="x")
    assert "xqueue-warden[alerts]" in deliver(ToUrl("json://127.0.0.1", letter)).message


# -- list ----------------------------------------------------------------------------------------------------


def listed(tmp_path: Path, *arguments: str, **changes: Any) -> Result:
    (tmp_path / "var").mkdir()
    status.write(tmp_path / "var" / "status.json", a_status(time.time(), **changes))
    return run(configured(tmp_path, ""), "list", *arguments)


def test_the_list_shows_alarms_with_advice_and_the_channels(tmp_path: Path) -> None:
    now = time.time()
    alarm = Alarm(
        unit="server main",
        cause=Cause.AUTH,
        severity="critical",
        text="polls fail: AUTH",
        since=now - 600,
        opened_at=now - 570,
        told_at=now - 570,
        to=("admin", "team"),
    )
    channels = {
        "ops": ChannelStatus(failing_since=now - 60, message="HTTP 500", waiting=2),
        "mail": ChannelStatus(),
    }
    ran = listed(tmp_path, alarms=(alarm,), channels=channels)
    assert ran.exit_code == 0, ran.output
    for words in (
        "CRITICAL server main: polls fail: AUTH",
        "(10 min); told once, to admin, team",
        "what to do: `warden doctor`",
        "channel ops: fails for 60 s: HTTP 500; 2 waiting",
        "channel mail: not used yet",
    ):
        assert words in ran.stdout


def test_the_list_is_json_too(tmp_path: Path) -> None:
    document = json.loads(listed(tmp_path, "--json").stdout)
    assert (document["alarms"], document["channels"], document["state"]) == ([], {}, "RUNNING")


def test_the_list_of_a_service_that_never_ran_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    ran = run(configured(tmp_path, ""), "list")
    assert ran.exit_code == 1 and "has never run here" in ran.stderr


# -- check ---------------------------------------------------------------------------------------------------


def test_check_says_who_would_not_hear_of_trouble(tmp_path: Path) -> None:
    remarks = [str(one) for one in alert_remarks(load(configured(tmp_path, "")))]
    assert len(remarks) == 1 and "there is no channel" in remarks[0]
    config = load(configured(tmp_path, channel("ops", "team", 'command = ["/bin/true"]')))
    assert [str(one) for one in alert_remarks(config)] == [
        'alerts.channels: none reaches "admin"; add it to one of them',
        'queues.one.handlers[0].contact: is never told: no channel of [alerts.channels] is for "contacts"',
    ]
    assert list(alert_problems(config)) == []


def test_check_finds_channels_that_cannot_work_and_shows_no_url(tmp_path: Path) -> None:
    secret(tmp_path, "urls", "json://127.0.0.1/x\nnonsense://TOKEN77\n")
    alerts = (
        channel("a", "team", 'urls_file = "urls"')
        + channel("b", "admin", 'urls_file = "gone"')
        + channel("c", "admin", 'command = ["/no/such/program"]')
        + '[alerts.ping]\nurl_env = "NO_SUCH_VARIABLE_7"\n'
    )
    found = [str(one) for one in alert_problems(load(configured(tmp_path, alerts)))]
    assert "alerts.channels.a: URL 2 is not a URL that apprise knows" in found[0]
    assert "alerts.channels.b.urls_file: " in found[1] and "does not exist" in found[1]
    assert "alerts.channels.c.command: /no/such/program is not a program" in found[2]
    assert "alerts.ping.url_env: $NO_SUCH_VARIABLE_7 is not set" in found[3]
    assert "TOKEN77" not in str(found)


# -- settings ------------------------------------------------------------------------------------------------


def test_without_the_section_nobody_is_told_and_damping_is_sane(tmp_path: Path) -> None:
    alerts = load(configured(tmp_path, "")).alerts
    assert (alerts.channels, alerts.ping, alerts.damping) == ((), None, Damping())


def test_the_section_is_read(tmp_path: Path) -> None:
    text = (
        "[alerts]\nhold_s = 5\nrepeat_s = [60, 600]\n"
        + channel("ops", "team", 'command = ["/bin/true", "-v"]\nseverity = "critical"')
        + '[alerts.ping]\nurl_file = "ping"\nevery_s = 30\n'
    )
    alerts = load(configured(tmp_path, text)).alerts
    assert (alerts.damping.hold_s, alerts.damping.repeat_s) == (5.0, (60.0, 600.0))
    (ops,) = alerts.channels
    assert (ops.audience, ops.command, ops.severity) == (
        (Audience.TEAM,),
        ("/bin/true", "-v"),
        Severity.CRITICAL,
    )
    assert alerts.ping is not None and alerts.ping.url.file == tmp_path / "ping"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[alerts]\nhold = 5\n", 'alerts.hold: unknown key; did you mean "hold_s"?'),
        ("[alerts]\nrepeat_s = 5\n", "alerts.repeat_s: must be an array, is an integer"),
        ("[alerts]\nrepeat_s = [1]\n", "alerts.repeat_s: item 0 is out of range"),
        ("[alerts]\nchannels = 1\n", "alerts.channels: must be a table of tables"),
        (
            channel("a", "boss", 'command = ["/x"]'),
            'alerts.channels.a.audience: holds "boss", which is not known',
        ),
        (channel("a", "team", ""), "alerts.channels.a: needs exactly one of urls_file, urls_env and command"),
        (channel("a", "team", 'urls_env = "A"\ncommand = ["/x"]'), "alerts.channels.a: needs exactly one"),
        (channel("a", "team", "command = []"), "alerts.channels.a.command: is empty"),
        (
            channel("a", "team", 'command = ["page"]'),
            "alerts.channels.a.command: must begin with an absolute",
        ),
        (
            channel("a", "team", 'urls = "json://secret"'),
            "alerts.channels.a.urls: a secret never stands here",
        ),
        (channel('"a/b"', "team", 'command = ["/x"]'), 'alerts.channels."a/b": is not a name'),
        ("[alerts.ping]\nevery_s = 9\n", "alerts.ping.url: is missing"),
        ('[alerts.ping]\nurl = "https://hc/uuid"\n', "alerts.ping.url: a secret never stands here"),
        ("alerts = 3\n", "alerts: must be a table, is an integer"),
    ],
)
def test_what_is_wrong_is_told_by_its_path(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(configured(tmp_path, text))
    assert any(str(one).startswith(problem) for one in caught.value.problems), caught.value.problems
