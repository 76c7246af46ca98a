"""`warden install`: what it writes, what it leaves alone, and that systemd takes the unit."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from supervisor.cli.install import FOLDERS_OF, SECRETS
from supervisor.cli.verbs import warden
from supervisor.config import ConfigError, load
from supervisor.installation import GRACE_S, SAMPLE, Site, files, unit
from supervisor.settings import SECTIONS

ROOT = Path(__file__).parents[2]
TRUE = shutil.which("true") or "/bin/true"
UNIT = "etc/systemd/system/xqueue-warden.service"


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(warden, ["install", "--root", str(root), "--executable", TRUE, *arguments])


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode & 0o7777,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


def settings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_all_files_and_folders_come_with_their_modes(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        ran = run(tmp_path)
    finally:
        os.umask(before)
    assert ran.exit_code == 0, ran.output
    found = tree(tmp_path)
    for path, mode in (
        (UNIT, 0o644),
        ("etc/systemd/system/xqueue-warden-health.timer", 0o644),
        ("etc/warden/config.toml", 0o644),
        ("etc/warden/secrets", 0o700),
        ("var/lib/warden", 0o700),
        ("etc/tmpfiles.d/xqueue-warden.conf", 0o644),
        ("etc/logrotate.d/xqueue-warden", 0o644),
    ):
        assert found[path][0] == mode, path
    assert not [name for name in found if name.endswith(".tmp")]
    assert "install -m 600 /dev/stdin /etc/warden/secrets/xqueue-password" in ran.output


def test_a_second_time_changes_nothing_and_says_so(tmp_path: Path) -> None:
    run(tmp_path)
    before = tree(tmp_path)
    ran = run(tmp_path)
    assert ran.exit_code == 0
    assert ran.stdout.splitlines() == ["everything is as it should be"]
    assert tree(tmp_path) == before


def test_a_try_says_and_shows_all_and_does_nothing(tmp_path: Path) -> None:
    ran = run(tmp_path, "--dry-run")
    assert ran.exit_code == 0
    assert f"would write {tmp_path}/{UNIT} (0644)" in ran.output
    assert "    KillMode=mixed" in ran.output
    assert tree(tmp_path) == {}


def test_a_configuration_that_is_there_stays_and_tells_the_unit(tmp_path: Path) -> None:
    config = tmp_path / "etc/warden/config.toml"
    config.parent.mkdir(parents=True)
    text = (
        '[warden]\ndrain_s = 100\nstate_dir = "/srv/warden state"\n'
        'metrics_file = "/var/lib/node/warden.prom"\n'
        '[servers.a]\npassword_file = "secrets/a"\nbasic_auth_password_file = "b"\n'
        '[servers.c]\npassword_file = "/elsewhere/c"\n'
        '[alerts.channels.mail]\nurls_file = "secrets/mail"\n'
    )
    config.write_text(text)
    assert run(tmp_path).exit_code == 0
    assert config.read_text() == text
    told = settings((tmp_path / UNIT).read_text())
    assert float(told["TimeoutStopSec"][0]) == 100 + GRACE_S
    assert told["LoadCredential"] == [
        "a:/etc/warden/secrets/a",
        "b:/etc/warden/b",
        "mail:/etc/warden/secrets/mail",
    ]
    assert told["ReadWritePaths"] == ['"-/srv/warden state"', "-/var/lib/node"]


def test_two_secrets_that_systemd_could_not_tell_apart_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "etc/warden/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[servers.a]\npassword_file = "a/pw"\n[servers.b]\npassword_file = "b/pw"\n')
    ran = run(tmp_path)
    assert ran.exit_code == 1
    assert "/etc/warden/a/pw" in ran.output and "give one another name" in ran.output


def test_every_secret_of_the_configuration_is_known_to_the_installer() -> None:
    named = {setting.key for _, _, table in SECTIONS for setting in table if setting.key.endswith("_file")}
    assert named - {"status_file", "metrics_file", "log_file", "ca_file"} == SECRETS
    assert named - SECRETS - {"ca_file"} | {"state_dir"} == set(FOLDERS_OF)


def test_uninstall_keeps_settings_secrets_and_data(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "etc/warden/secrets/xqueue-password").write_text("x")
    (tmp_path / "var/lib/warden/journal.sqlite3").write_text("x")
    ran = run(tmp_path, "--uninstall")
    assert ran.exit_code == 0
    left = {name for name in tree(tmp_path) if (tmp_path / name).is_file()}
    assert left == {
        "etc/warden/config.toml",
        "etc/warden/secrets/xqueue-password",
        "var/lib/warden/journal.sqlite3",
    }
    assert "kept: " in ran.output
    assert "nothing to remove" in run(tmp_path, "--uninstall").output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may: the unprivileged run has this one")
def test_who_is_not_root_is_told_what_to_do() -> None:
    ran = CliRunner().invoke(warden, ["install"])
    assert ran.exit_code == 1
    assert "only root may" in ran.output and "--dry-run" in ran.output


def test_a_folder_that_cannot_be_written_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    ran = run(tmp_path)
    assert ran.exit_code == 1
    assert "mend it and run this again" in ran.output and "Traceback" not in ran.output


def test_a_command_that_is_not_there_is_refused() -> None:
    ran = CliRunner().invoke(warden, ["install", "--dry-run", "--executable", "/no/such/warden"])
    assert ran.exit_code == 1
    assert "--executable" in ran.output


def test_the_sample_lacks_nothing_but_what_is_marked_as_yours(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(SAMPLE)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.toml")
    assert [problem.path for problem in caught.value.problems] == ["queues.my-queue.handlers[0].grader_root"]
    (tmp_path / "config.toml").write_text(SAMPLE.replace("/srv/course", str(ROOT / "course")))
    config = load(tmp_path / "config.toml")
    names = [Path(ref.name).name for server in config.servers.values() for ref in server.secrets]
    assert names == [name for name, _ in Site().credentials]


# --- the unit ----------------------------------------------------------------------------------------------


def test_the_one_under_deploy_is_as_it_is_written_now() -> None:
    text = (ROOT / "deploy/systemd/xqueue-warden.service").read_text()
    assert text == unit(Site()), (
        "run: python -m supervisor.installation >deploy/systemd/xqueue-warden.service"
    )


def test_a_newer_systemd_reloads_by_notification_an_older_one_by_kill() -> None:
    old, new = settings(unit(Site(systemd=252))), settings(unit(Site(systemd=253)))
    assert (old["Type"], "ExecReload" in old) == (["notify"], True)
    assert (new["Type"], "ExecReload" in new) == (["notify-reload"], False)


def test_the_sandbox_keeps_what_it_needs() -> None:
    told = settings(unit(Site()))
    for key in (
        *("RestrictNamespaces", "ProtectHostname", "ProtectControlGroups", "PrivateUsers", "PrivateDevices"),
        *("ProtectProc", "ProcSubset", "MemoryDenyWriteExecute", "LimitCORE"),
    ):
        assert key not in told
    assert (told["Delegate"], told["OOMPolicy"], told["KillMode"]) == (["yes"], ["continue"], ["mixed"])
    assert int(told["WatchdogSec"][0]) > 10


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd-analyze")
@pytest.mark.parametrize(
    "config", ["", '[warden]\nstate_dir = "/srv/a b"\n[servers.m]\npassword_file = "x%i"\n']
)
def test_systemd_takes_every_unit_without_a_word(tmp_path: Path, config: str) -> None:
    if config:
        (tmp_path / "etc/warden").mkdir(parents=True)
        (tmp_path / "etc/warden/config.toml").write_text(config)
    run(tmp_path)
    units = sorted((tmp_path / "etc/systemd/system").iterdir())
    assert len(units) == 3
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd-analyze")
def test_systemd_finds_little_that_is_exposed(tmp_path: Path) -> None:
    run(tmp_path)
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=40",
            "--no-pager",
            str(tmp_path / UNIT),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


LOGROTATE = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin")


@pytest.mark.skipif(LOGROTATE is None, reason="this machine has no logrotate")
def test_logrotate_turns_the_logs_over(tmp_path: Path) -> None:
    """With the real file; only whose logs they are, and where, is this test's."""
    run(tmp_path)
    owner, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    logs = tmp_path / "log"
    logs.mkdir(mode=0o700)
    (logs / "warden.log").write_text("a line\n")
    rules = (tmp_path / "etc/logrotate.d/xqueue-warden").read_text()
    for given, here in (("su warden warden", f"su {owner} {group}"), ("/var/log/warden", str(logs))):
        assert rules.count(given) == 1
        rules = rules.replace(given, here)
    (tmp_path / "rules").write_text(rules)
    (tmp_path / "rules").chmod(0o644)
    done = subprocess.run(
        [str(LOGROTATE), "--force", "--state", str(tmp_path / "state"), str(tmp_path / "rules")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (logs / "warden.log.1").read_text() == "a line\n"


def test_every_file_but_the_configuration_says_who_wrote_it() -> None:
    for file in files(Site()):
        assert file.keep or file.text.startswith("# Written by `warden install`")
