"""`warden doctor` on the service's own place and on servers: real ones, and what it all means."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervisor.doctor.findings import Finding, State
from supervisor.doctor.servers import CERTIFICATE_S, CLOCK_S, LIFE_S, of_server
from supervisor.doctor.service import Folder, JournalSeen, Place, Root, known_queues, of_service
from supervisor.journal import FILE_NAME, Journal
from tests.cli.test_doctor import finding, states
from tests.sandbox.test_probe import ROOT
from tests.supervisor.test_journal import PULLED
from tests.xqueue.servers import Server, answer
from tests.xqueue.test_probe import xqueue
from xqueue.probe import Seen, Step

CONFIG = """
[warden]
state_dir = "state"

[servers.main]
url = "{url}"
username = "grader"
password_file = "secret"

[servers.spare]
url = "http://no-such-host.invalid"
username = "grader"
password_file = "secret"

[sandboxes.python]

[queues.one]
server = "main"
[[queues.one.handlers]]
kind = "gradelib"
grader_root = "course"
sandbox = "python"
"""


class Installation:
    """A folder with a configuration, its secret, a course and a state folder, that anybody may look into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        for name, mode in (("course", 0o755), ("state", 0o700)):
            (folder / name).mkdir(mode=mode)
        (folder / "course" / "grader.py").write_text("grade = None\n")
        self.secret = folder / "secret"
        self.secret.touch(mode=0o600)
        self.secret.write_text("grader-password\n")
        self.state = folder / "state"

    def doctor(self, url: str, *arguments: str, user: int | None = None) -> tuple[int, dict[str, Any]]:
        """Exit status and document of `warden doctor`, as root only if `user` is None."""
        config = self.folder / "config.toml"
        config.write_text(CONFIG.format(url=url))
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom supervisor.cli import main\nmain()"
        become: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        if user is not None:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, user, user)
        words = [sys.executable, "-B", "-c", code, "doctor", "--json", "--config", str(config), *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd="/", **become)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def installation() -> Iterator[Installation]:
    folder = Path(tempfile.mkdtemp(prefix="doctor-"))
    yield Installation(folder)
    shutil.rmtree(folder)


ORDINARY = 65534 if os.geteuid() == 0 else None
"""Whom to be so that a mode means something."""


# -- the command -----------------------------------------------------------------------------------------


def test_a_server_that_is_well_and_one_that_no_queue_uses(installation: Installation) -> None:
    with Server(xqueue({"one": 3})) as server:
        status, document = installation.doctor(server.url)
    assert status == 0, document["findings"]
    found = states(document)
    for name in ("name", "connection", "xqueue", "login", "session", "rights", "queue one"):
        assert found[f"server main/{name}"] == "ok", name
    assert "3 can be pulled now" in finding(document, "server main/queue one")["finding"]
    assert found["server spare/name"] == "warning"  # nobody uses it
    for name in ("secrets/servers.main.password_file", "state folder/written", "journal/health"):
        assert found[name] == "ok", name


def test_a_wrong_password_and_an_unknown_queue_are_bad_with_their_mend(installation: Installation) -> None:
    with Server(xqueue({"other": 0})) as server:
        status, document = installation.doctor(server.url)
        assert status == 2
        one = finding(document, "server main/queue one")
        assert one["state"] == "bad"
        assert "Valid queue names are: other" in one["finding"]
        assert "[queues]" in one["mend"]
        installation.secret.write_text("hush-hush")
        status, document = installation.doctor(server.url)
    one = finding(document, "server main/login")
    assert (status, one["state"]) == (2, "bad")
    assert "(AUTH)" in one["consequence"]
    assert "servers.main.username and its password" in one["mend"]
    assert "hush-hush" not in json.dumps(document)


def test_without_its_secret_the_way_to_the_server_is_still_tried(installation: Installation) -> None:
    installation.secret.chmod(0o644)
    with Server(xqueue({"one": 0})) as server:
        status, document = installation.doctor(server.url)
        assert "POST /xqueue/login/" not in server.paths()
    assert status == 2
    secret = finding(document, "secrets/servers.main.password_file")
    assert secret["state"] == "bad"
    assert "can be read by others (mode 0644)" in secret["finding"]
    assert secret["mend"].startswith("run: chmod 600 ")
    assert states(document)["server main/xqueue"] == "ok"


def test_offline_asks_nobody(installation: Installation) -> None:
    with Server(lambda seen: answer("")) as server:
        status, document = installation.doctor(server.url, "--offline")
        assert server.connections == 0
    assert status == 0
    assert states(document)["server main/all"] == "unknown"


def test_a_grader_root_that_is_not_there_is_bad(installation: Installation) -> None:
    shutil.rmtree(installation.folder / "course")
    status, document = installation.doctor("http://127.0.0.1:9", "--offline")
    assert status == 2
    (bad,) = [one for one in document["findings"] if one["state"] == "bad"]
    assert "grader_root" in bad["name"] or "queues" in bad["name"]


def test_graders_and_a_state_folder_that_the_service_s_user_may_not_touch(installation: Installation) -> None:
    hidden = installation.folder / "course" / "grader.py"
    hidden.chmod(0)
    installation.state.chmod(0o500)
    status, document = installation.doctor("http://127.0.0.1:9", "--offline", user=ORDINARY)
    assert status == 2
    one = finding(document, f"graders/{installation.folder / 'course'}")
    assert (one["state"], one["finding"]) == ("bad", f"cannot be read: {hidden}")
    one = finding(document, "state folder/written")
    assert one["state"] == "bad"
    assert "permission denied" in one["finding"]
    assert "(HOST)" in one["consequence"]


def test_a_damaged_journal_is_bad_and_a_sound_one_knows_queues(installation: Installation) -> None:
    path = installation.state / FILE_NAME
    journal = Journal(path, "main", "one", "one.0#1")
    for number in range(300):
        journal.receive(replace(PULLED, submission_id=str(number)), time.time())
    journal.close()
    _, document = installation.doctor("http://127.0.0.1:9", "--offline")
    one = finding(document, "journal/health")
    assert (one["state"], one["finding"]) == ("ok", "no damage, 300 submissions, 300 not delivered yet")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    status, document = installation.doctor("http://127.0.0.1:9", "--offline")
    one = finding(document, "journal/health")
    assert (status, one["state"]) == (2, "bad")
    assert "move" in one["mend"]


# -- what it means ---------------------------------------------------------------------------------------

WELL = Place(
    secrets={"servers.main.password_file": ""},
    roots=(Root("/course", files=3),),
    folder=Folder("/state", free_bytes=10**12, free_inodes=10**6, kind="ext4"),
    journal=JournalSeen("/state/journal", size_bytes=1, newest_at=1.7e9, known={("main", "one"): (2, 1.7e9)}),
    now=1.8e9,
    synchronised=True,
    open_files=10_000,
    processes=4000,
    cpus=4,
    always=2,
    workers=4,
    children=64,
)


def off(place: Place) -> dict[str, State]:
    return {f"{one.area}/{one.name}": one.state for one in of_service(place) if one.state is not State.OK}


def test_a_place_that_is_well_is_ok() -> None:
    assert off(WELL) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"folder": replace(WELL.folder, read_only=True)}, {"state folder/written": State.BAD}),
        ({"folder": replace(WELL.folder, mode=0o755)}, {"state folder/mode": State.WARNING}),
        ({"folder": replace(WELL.folder, free_bytes=10**8)}, {"state folder/space": State.WARNING}),
        ({"folder": replace(WELL.folder, free_bytes=10**6)}, {"state folder/space": State.BAD}),
        ({"folder": replace(WELL.folder, free_inodes=10)}, {"state folder/inodes": State.WARNING}),
        ({"folder": replace(WELL.folder, kind="nfs4")}, {"state folder/file system": State.BAD}),
        ({"journal": replace(WELL.journal, unfinished=True)}, {"journal/health": State.UNKNOWN}),
        ({"journal": replace(WELL.journal, newest_at=1.9e9)}, {"clock/time": State.WARNING}),
        ({"now": 0.0, "journal": JournalSeen("j", absent=True)}, {"clock/time": State.BAD}),
        ({"synchronised": False}, {"clock/time": State.WARNING}),
        ({"open_files": 300}, {"limits/open files": State.WARNING}),
        ({"processes": 80}, {"limits/processes of all workers": State.WARNING}),
        ({"always": 5}, {"limits/processors": State.WARNING}),
        ({"roots": (Root("/course", error="no such file"),)}, {"graders//course": State.BAD}),
    ],
)
def test_each_trouble_is_one_finding_with_consequence_and_mend(
    change: dict[str, Any], expected: dict[str, State]
) -> None:
    place = replace(WELL, **change)
    assert off(place) == expected
    (one,) = [one for one in of_service(place) if one.state is not State.OK]
    assert one.mend
    assert one.consequence or one.state is State.UNKNOWN


def told(*seen: Seen, needed: bool = True, known: dict[str, str] | None = None) -> list[Finding]:
    return list(of_server("main", seen, needed, known))


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (Seen(Step.CLOCK, True, "", seconds=CLOCK_S + 1), State.WARNING),
        (Seen(Step.CLOCK, True, "", seconds=-CLOCK_S - 1), State.WARNING),
        (Seen(Step.CLOCK, True, "", seconds=1.0), State.OK),
        (Seen(Step.LIFE, True, "", seconds=LIFE_S - 1), State.WARNING),
        (Seen(Step.LIFE, True, "", seconds=LIFE_S), State.OK),
        (Seen(Step.TLS, True, "", seconds=CERTIFICATE_S - 1), State.WARNING),
        (Seen(Step.TLS, True, "", seconds=CERTIFICATE_S), State.OK),
        (Seen(Step.TLS, True, "", mend="verify"), State.WARNING),
        (Seen(Step.QUEUE, True, "", queue="q"), State.UNKNOWN),
        (Seen(Step.QUEUE, True, "", queue="q", length=0), State.OK),
        (Seen(Step.RIGHTS, False, "", cause="AUTH"), State.BAD),
    ],
)
def test_what_was_seen_of_a_server_means(seen: Seen, state: State) -> None:
    (one,) = told(seen)
    assert one.state is state
    assert told(seen, needed=False)[0].state is (State.WARNING if state is State.BAD else state)


def test_a_queue_of_which_the_journal_has_submissions_exists() -> None:
    known = known_queues(WELL, "main")
    (one,) = told(Seen(Step.QUEUE, True, "cannot be known", queue="one"), known=known)
    assert one.state is State.OK
    assert "2 of its submissions are in the journal, the last of 2023-11-14 22:13 UTC" in one.finding
    assert known_queues(WELL, "other") == {}


def test_the_page_names_every_step_of_a_server() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    for step in Step:
        assert f"| {step.value} " in page, step
    assert "--offline" in page
