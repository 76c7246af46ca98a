"""What `warden install` sets up, in the hands of systemd: started, reloaded, hung, killed, stopped.

For a machine that may be spoilt: it writes to /etc and /var, makes a user and starts units. The tests follow
one another on one installation, in the order of a service's life. The XQueue and the LMS are ours, on
loopback.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from graders import manifest
from sandbox.jail import REQUIRED
from sandbox.model import Isolation
from supervisor import lab as laboratory
from supervisor.installation import UNIT, USER
from supervisor.lab import Lab
from tests.supervisor.stage import gone, until
from tests.vm.plugin import PATIENCE

pytestmark = pytest.mark.leaves_behind  # systemd mounts the running service's credentials

PATIENT_S = 30 * PATIENCE
CONFIG = Path("/etc/warden/config.toml")
PASSWORD = Path("/etc/warden/secrets/xqueue-password")
STATE = Path("/var/lib/warden")
RUN = Path("/run/warden")
COURSE = Path("/srv/course")
WARDEN = Path(sys.executable).with_name("warden")
SYSTEMD = Path("/etc/systemd/system")
TIMER, HEALTH = "xqueue-warden-health.timer", "xqueue-warden-health.service"
GROUP = Path("/sys/fs/cgroup/system.slice") / UNIT
STEADY, CHANGING = "my-queue", "other"

# As pip writes it; the guest runs the checkout, which nobody installed.
SCRIPT = f"#!{sys.executable}\nimport sys\nfrom supervisor.cli import main\n\nsys.exit(main())\n"
MORE = f"""
[sandboxes.python.limits]
wall_s = {8 * PATIENCE}
cpu_s = {4 * PATIENCE}

[languages.c.compile]
limits = {{ wall_s = {15 * PATIENCE}, cpu_s = {10 * PATIENCE} }}

[queues.{CHANGING}]
server = "main"
locale = "en"

[[queues.{CHANGING}.handlers]]
kind = "gradelib"
match = "*.py"
grader_root = "{COURSE}"
sandbox = "python"

[[queues.{CHANGING}.handlers]]
kind = "program"
grader_root = "{COURSE}"
languages = ["c"]
"""
CAESAR = "functions/caesar/grader.py"
SAMPLES = (
    "correct-join",
    "incorrect-no-wrap",
    "error-raises",
    "cheats/forged-exact-report",
    "cheats/read-processes",
    "cheats/call-mount",
)
NO_CREDENTIALS = """
import os
for path in ("/run/credentials", "/etc/warden", "/var/lib/warden", "/run/warden"):
    if os.path.exists(path):
        raise RuntimeError(path)
"""
MANY = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        x = bytearray(b"x") * (60 << 20)
        time.sleep(5)
        os._exit(0)
for _ in range(8):
    os.wait()
"""
"""Each process stays below every limit of its own: only a control group sees what they have together."""


def run(*command: str | Path, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """The command, ended with `status` (None: any)."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, errors="replace", timeout=20 * PATIENT_S
    )
    assert status is None or done.returncode == status, (command, done)
    return done


class Service:
    """The installed service, and the XQueue with the LMS behind it that it works for."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.password = lab.password_file.read_text()
        self.sent = 0
        self.caesar = next(one for one in manifest.load(Path("course")) if one.grader == CAESAR)

    def show(self, name: str, unit: str = UNIT) -> str:
        """A property of the unit."""
        return run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    def status(self) -> Mapping[str, Any]:
        return json.loads((RUN / "status.json").read_bytes())

    def slots(self, queue: str) -> Sequence[Mapping[str, Any]]:
        return self.status()["queues"][queue]["slots"]

    def processes(self) -> list[psutil.Process]:
        """All in the unit's groups, jails included, and whatever else is the user's."""
        inside = {int(pid) for file in GROUP.rglob("cgroup.procs") for pid in file.read_text().split()}
        user = pwd.getpwnam(USER).pw_uid
        return [
            process
            for process in psutil.process_iter(["uids"])
            if process.pid in inside or process.info["uids"].real == user
        ]

    def send(self, response: str, payload: str | None = None, queue: str = STEADY) -> str:
        """Submit; the key under which the answer will come."""
        self.sent += 1
        key = f"learner-{self.sent}"
        self.lab.submit(queue, key, payload or self.caesar.payload, response)
        return key

    def sample(self, name: str) -> manifest.Sample:
        return next(one for one in self.caesar.submissions if one.name == name)

    def asleep(self) -> str:
        """A right solution that is at work for a while; it is in a jail when this returns."""
        key = self.send(f"import time\ntime.sleep({PATIENCE})\n{self.sample('correct-join').response}")
        until(
            lambda: any(slot["phase"] == "grade" for slot in self.slots(STEADY)),
            "the grading to begin",
            PATIENT_S,
        )
        return key

    def answered(self, key: str) -> str:
        """What the journal calls the answer that the LMS got. The two agree."""
        until(lambda: key in self.lab.lms.delivered, f"the answer to {key}", 4 * PATIENT_S)
        graded = until(lambda: dict(self.lab.graded()).get(key), "the journal", PATIENT_S)
        assert self.lab.lms.delivered[key].correct == (graded.verdict == "correct")
        return graded.verdict

    def works(self) -> None:
        """It grades."""
        assert self.answered(self.send(self.sample("correct-join").response)) == "correct"

    def restarted(self, pid: int, times: int) -> None:
        """Wait until another process is the main one, and active."""
        until(lambda: int(self.show("NRestarts")) > times, "systemd to start it again", 4 * PATIENT_S)
        until(lambda: self.show("ActiveState") == "active", "the service to say READY", 4 * PATIENT_S)
        assert self.pid not in (0, pid)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    laboratory.START_S *= PATIENCE
    with user_set_aside(), Lab(Path("unused"), [], [STEADY, CHANGING], "main") as lab:
        lab.state_dir = STATE
        WARDEN.write_text(SCRIPT)
        WARDEN.chmod(0o755)
        for part in ("functions/caesar", "functions/fibonacci", "stdin/temperatures"):
            shutil.copytree(Path("course", part), COURSE / part)
        tests = COURSE / "stdin/temperatures/tests.toml"
        slower = re.sub(
            r"cpu_s = ([0-9.]+)", lambda found: f"cpu_s = {float(found[1]) * PATIENCE}", tests.read_text()
        )
        tests.write_text(slower)
        yield Service(lab)
        run("systemctl", "stop", UNIT, TIMER, status=None)


class user_set_aside:
    """The guest's own user of the name is called otherwise, so that `warden install` has one to make."""

    def __enter__(self) -> None:
        self.there = any(entry.pw_name == USER for entry in pwd.getpwall())
        if self.there:
            run("/usr/sbin/usermod", "--login", "aside", USER)
            run("/usr/sbin/groupmod", "--new-name", "aside", USER)

    def __exit__(self, *_: object) -> None:
        if any(entry.pw_name == USER for entry in pwd.getpwall()):
            run("/usr/sbin/userdel", USER)
        if self.there:
            run("/usr/sbin/usermod", "--login", USER, "aside")
            run("/usr/sbin/groupmod", "--new-name", USER, "aside")


@pytest.mark.timeout(100)
def test_a_first_start_as_the_documentation_says(service: Service) -> None:
    """install, password, configuration, check, enable --now."""
    done = run(WARDEN, "install")
    assert f"make user {USER}" in done.stdout
    assert f"install -m 600 /dev/stdin {PASSWORD}" in done.stderr
    PASSWORD.touch(mode=0o600)
    PASSWORD.write_text(service.password)
    sample = CONFIG.read_text()
    assert "https://xqueue.example.org" in sample
    CONFIG.write_text(sample.replace("https://xqueue.example.org", service.lab.url) + MORE)
    again = run(WARDEN, "install")
    assert again.stdout.splitlines() == ["everything is as it should be"]

    run(WARDEN, "check", "--config", CONFIG)
    run("systemctl", "enable", "--now", UNIT, TIMER)
    assert service.show("ActiveState") == "active"
    assert service.show("SubState") == "running"
    assert service.show("NRestarts") == "0"
    assert service.status()["state"] == "RUNNING"
    run("/usr/sbin/runuser", "-u", "nobody", "--", WARDEN, "status", "--config", CONFIG)


@pytest.mark.timeout(100)
def test_submissions_are_graded_right_with_every_layer_under_the_hardening(service: Service) -> None:
    samples = [service.sample(name) for name in SAMPLES]
    sent = [(service.send(one.response), one.expected) for one in samples]
    right = service.sample("correct-join").response
    sent.append((service.send(NO_CREDENTIALS + right), frozenset({"correct"})))
    sent.append((service.send(MANY + right), frozenset({"memory"})))
    folder = Path("course/stdin/temperatures/submissions")
    for program, verdict in (("accepted/mean.c", "correct"), ("wrong_answer/integers.c", "incorrect")):
        key = service.send((folder / program).read_text(), '{"grader": "stdin/temperatures"}', CHANGING)
        sent.append((key, frozenset({verdict})))
    wrong = [
        (key, verdict, expected)
        for key, expected in sent
        if (verdict := service.answered(key)) not in expected
    ]
    assert not wrong

    layers = set(service.status()["isolation"]["python"])
    assert REQUIRED[Isolation.FULL] <= layers
    assert {"cgroup2-memory", "cgroup2-pids"} <= layers
    assert any(layer.startswith("landlock") for layer in layers)
    about = Path(f"/proc/{service.pid}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in about.splitlines())
    assert facts["Uid"].split() == [str(pwd.getpwnam(USER).pw_uid)] * 4
    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"
    assert {int(facts[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert Path(f"/proc/{service.pid}/cgroup").read_text().strip().endswith(f"{UNIT}/main")


@pytest.mark.timeout(60)
def test_health_runs_by_its_timer_and_finds_it_well(service: Service) -> None:
    assert service.show("ActiveState", TIMER) == "active"
    until(lambda: service.show("ExecMainExitTimestamp", HEALTH), "the timer", 60 + PATIENT_S)
    until(
        lambda: "WARDEN OK" in run("journalctl", "--unit", HEALTH, "--output=cat").stdout,
        "a word of health",
        120 + PATIENT_S,
    )
    run("systemctl", "start", HEALTH)
    assert service.show("Result", HEALTH) == "success"


@pytest.mark.timeout(60)
def test_reload_replaces_the_workers_of_what_changed_alone(service: Service) -> None:
    def pids(queue: str) -> set[int]:
        return {slot["pid"] for slot in service.slots(queue)}

    pid, steady, changing = service.pid, pids(STEADY), pids(CHANGING)
    good = CONFIG.read_text()
    CONFIG.write_text(good.replace('locale = "en"', 'locale = "de"'))
    run("systemctl", "reload", UNIT)
    until(lambda: (service.status().get("reload") or {}).get("ok"), "the reload", PATIENT_S)
    until(
        lambda: (
            not changing & pids(CHANGING)
            and {slot["state"] for slot in service.slots(CHANGING)} == {"RUNNING"}
        ),
        "new workers",
        2 * PATIENT_S,
    )
    assert pids(STEADY) == steady
    assert service.pid == pid

    CONFIG.write_text(good.replace('locale = "en"', "locale = 7"))
    run("systemctl", "reload", UNIT)
    until(lambda: service.status()["reload"]["ok"] is False, "the refusal", PATIENT_S)
    CONFIG.write_text(good.replace('locale = "en"', 'locale = "de"'))
    assert "the old one stays" in service.show("StatusText")
    assert service.show("ActiveState") == "active"
    assert (service.pid, pids(STEADY)) == (pid, steady)
    service.works()


@pytest.mark.timeout(60)
def test_watchdog_ends_a_supervisor_that_is_stuck_and_work_goes_on(service: Service) -> None:
    pid, times, before = service.pid, int(service.show("NRestarts")), service.processes()
    os.kill(pid, signal.SIGSTOP)
    key = service.send(service.sample("correct-join").response)
    service.restarted(pid, times)
    assert "Watchdog timeout" in run("journalctl", "--unit", UNIT, "--output=cat").stdout
    assert service.answered(key) == "correct"
    assert [process for process in before if not gone(process)] == []


@pytest.mark.timeout(60)
def test_supervisor_killed_in_the_middle_is_started_again_and_nothing_of_it_is_left(service: Service) -> None:
    pid, times = service.pid, int(service.show("NRestarts"))
    key = service.asleep()
    before = service.processes()
    groups = {folder.name for folder in GROUP.glob("warden-*")}
    assert len(before) > 4
    assert groups
    os.kill(pid, signal.SIGKILL)
    service.restarted(pid, times)
    assert [process for process in before if not gone(process)] == []
    assert not groups & {folder.name for folder in GROUP.glob("warden-*")}
    assert service.answered(key) == "correct"


@pytest.mark.timeout(60)
def test_password_is_seen_by_nobody(service: Service) -> None:
    secret = service.password.encode()
    forms = (secret, base64.b64encode(secret))
    said = {
        "journal": run("journalctl", "--all", "--output=export").stdout.encode(),
        "status": run("systemctl", "status", "--full", "--lines=100", UNIT).stdout.encode(),
        "show": run("systemctl", "show", UNIT).stdout.encode(),
    }
    assert b"workers" in said["status"]
    assert b"READY: warden run" in said["journal"]
    for process in service.processes():
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):  # a look at its health comes and goes
                said[f"{process.pid}/{name}"] = Path(f"/proc/{process.pid}/{name}").read_bytes()
    for folder in (RUN, STATE, Path("/var/log/warden")):
        said |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(said) > 12
    assert not [place for place, text in said.items() if any(form in text for form in forms)]
    for folder in (STATE, PASSWORD.parent, Path("/run/credentials") / UNIT):
        run("/usr/sbin/runuser", "-u", "nobody", "--", "ls", folder, status=2)


@pytest.mark.timeout(60)
def test_stop_lets_what_is_in_hand_be_finished(service: Service) -> None:
    key = service.asleep()
    before = service.processes()
    run("systemctl", "stop", UNIT)
    assert key in service.lab.lms.delivered
    assert service.answered(key) == "correct"
    assert service.show("ActiveState") == "inactive"
    assert service.show("Result") == "success"
    assert service.show("ExecMainStatus") == "0"
    assert [process for process in before if not gone(process)] == []
    assert not GROUP.exists()
    assert service.status()["state"] == "STOPPED"
    run("/usr/sbin/runuser", "-u", "nobody", "--", WARDEN, "status", "--config", CONFIG)
    run("systemctl", "start", HEALTH, status=1)
    assert service.show("ExecMainStatus", HEALTH) == "2"


@pytest.mark.timeout(60)
def test_uninstall_takes_the_units_away_and_keeps_what_is_the_operators(service: Service) -> None:
    run("systemctl", "start", UNIT)
    run(WARDEN, "install", "--uninstall")
    assert list(SYSTEMD.rglob("xqueue-warden*")) == []
    assert service.show("LoadState") == "not-found"
    assert service.show("ActiveState") == "inactive"
    until(lambda: not service.processes(), "the last look at its health to end", PATIENT_S)
    assert PASSWORD.read_text() == service.password
    assert (STATE / "journal.sqlite3").stat().st_size
    assert MORE.splitlines()[1] in CONFIG.read_text()
    assert pwd.getpwnam(USER)
    assert run(WARDEN, "install", "--uninstall").stdout.splitlines() == ["there is nothing to remove"]
