"""`warden check`: real configurations, real graders, a real sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from supervisor.cli.verbs import warden
from supervisor.foreign import foreign_owners, refusal

GRADER = """
from grader_support import gradelib

grader = gradelib.Grader()
grader.add_test(gradelib.Test(lambda submission: print(submission.double(4)), "double(4)"))
"""

CONFIG = """
[alerts.channels.all]
audience = ["team", "admin"]
command = ["/bin/true"]

[servers.main]
url = "https://xqueue.example.org"
username = "warden"
password_file = "secret"

[sandboxes.python]

[queues.one]
server = "main"
[[queues.one.handlers]]
kind = "gradelib"
grader_root = "course"
sandbox = "python"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid configuration with one good grader."""
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "secret").chmod(0o600)
    add_grader(tmp_path, "good", GRADER, "def double(x): return 2 * x\n")
    return tmp_path


def add_grader(folder: Path, name: str, grader: str, answer: str | None) -> None:
    home = folder / "course" / name
    home.mkdir(parents=True)
    (home / "grader.py").write_text(grader)
    if answer is not None:
        (home / "answer.py").write_text(answer)


def checked(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(warden, ["check", "--config", str(folder / "config.toml"), *arguments])


def test_all_well(folder: Path) -> None:
    ran = checked(folder, "--json")
    assert ran.exit_code == 0, ran.output
    report = json.loads(ran.stdout)
    assert report["ok"] is True
    assert (report["problems"], report["warnings"], report["queues"]) == ([], [], ["one"])
    (row,) = report["graders"]
    assert (row["grader"], row["queues"], row["ok"], row["score"]) == ("good/grader.py", ["one"], True, 1.0)
    assert {"user", "pid", "seccomp"} <= set(report["sandboxes"][0]["isolation"])


def test_graders_whose_answer_fails_are_told_with_the_reason(folder: Path) -> None:
    add_grader(folder, "fickle", GRADER, "import os\ndef double(x): return os.urandom(8)\n")
    add_grader(folder, "broken", "import no_such_module\n", "x = 1\n")
    ran = checked(folder, "--json")
    assert ran.exit_code == 1
    rows = {row["grader"]: row for row in json.loads(ran.stdout)["graders"]}
    assert rows["good/grader.py"]["ok"] is True
    assert rows["broken/grader.py"]["ok"] is False
    assert "no_such_module" in rows["broken/grader.py"]["detail"]
    assert rows["fickle/grader.py"]["ok"] is False
    assert "not full marks" in rows["fickle/grader.py"]["detail"]
    text = checked(folder)
    assert "no_such_module" in text.output
    assert "1 of 3 graders give their answer full marks" in text.output


def test_a_grader_that_two_queues_share_is_graded_once(folder: Path) -> None:
    queue = CONFIG[CONFIG.index("[queues.one]") :]
    (folder / "config.toml").write_text(CONFIG + queue.replace("queues.one", "queues.two"))
    (row,) = json.loads(checked(folder, "--json").stdout)["graders"]
    assert row["queues"] == ["one", "two"]


def test_only_the_graders_that_a_handler_serves_are_its_own(folder: Path) -> None:
    add_grader(folder, "other", GRADER, "def double(x): return 2 * x\n")
    ran = checked(folder, "--json", "--set", 'queues.one.handlers[0].match="good/*"')
    assert [row["grader"] for row in json.loads(ran.stdout)["graders"]] == ["good/grader.py"]


def test_a_grader_without_answer_and_an_unused_sandbox_are_warnings(folder: Path) -> None:
    add_grader(folder, "orphan", GRADER, None)
    ran = checked(folder, "--json", "--set", "sandboxes.idle={}")
    report = json.loads(ran.stdout)
    assert ran.exit_code == 0
    assert [warning["message"] for warning in report["warnings"]] == [
        "has no answer.py beside it; it is not checked",
        "no handler uses it",
    ]


RAISING = """
from grader_support import gradelib

grader = gradelib.Grader()


def stop(submission):
    raise gradelib.EndTest("meant")


def last_line(expected, actual):
    return expected.splitlines()[-1] == actual.splitlines()[-1]


grader.add_test(gradelib.Test(lambda submission: print(submission.double(4)), "double"))
grader.add_test(gradelib.Test(lambda submission: print(submission.halve(4)), "halve"))
grader.add_test(gradelib.Test(stop, "stop"))
grader.add_test(gradelib.Test(lambda submission: submission.double(), "no argument", compare=last_line))
"""


def test_a_test_that_raises_on_the_answer_is_a_warning(folder: Path) -> None:
    add_grader(folder, "raising", RAISING, "def double(x): return 2 * x\n")
    ran = checked(folder, "--json")
    report = json.loads(ran.stdout)
    assert ran.exit_code == 0
    assert all(row["ok"] for row in report["graders"])
    (warning,) = report["warnings"]
    assert warning["path"].endswith("course/raising/grader.py")
    assert warning["message"].startswith("test 2 (halve): raises on the staff's own answer")
    assert "AttributeError: module 'submission' has no attribute 'halve'" in warning["message"]
    assert "test 2 (halve)" in checked(folder).output


def test_every_problem_of_the_configuration_is_told_once_and_nothing_is_started(folder: Path) -> None:
    ran = checked(folder, "--set", "queues.one.workers=0", "--set", "warden.bogus=1")
    assert ran.exit_code == 1
    assert "problem  warden.bogus: unknown key" in ran.output
    assert "problem  queues.one.workers: is out of range" in ran.output
    assert "NOT well (2 problems, 0 warnings)" in ran.output


def test_a_secret_that_others_can_read_is_a_problem_and_never_shown(folder: Path) -> None:
    (folder / "secret").chmod(0o644)
    ran = checked(folder, "--no-graders")
    assert ran.exit_code == 1
    assert f"servers.main.password_file: {folder}/secret can be read by others" in ran.output
    assert "chmod 600" in ran.output
    assert "hunter2" not in ran.output


def test_a_sandbox_that_cannot_be_started_is_a_problem(folder: Path) -> None:
    ran = checked(folder, "--set", 'sandboxes.python.interpreter="/bin/false"')
    assert ran.exit_code == 1
    assert "problem  sandboxes.python: cannot be started" in ran.output
    assert "Traceback" not in ran.output


def test_templates_and_classes_are_tried(folder: Path) -> None:
    (folder / "templates").mkdir()
    (folder / "templates" / "feedback.html").write_text("{% if %}")
    ran = checked(folder, "--no-graders", "--set", 'queues.one.handlers[0].templates="templates"')
    assert ran.exit_code == 1
    assert "queues.one.handlers[0].templates: " in ran.output
    handler = '{kind="class", class="no_such_module:Grader", sandbox="python"}'
    ran = checked(folder, "--no-graders", "--set", f"queues.one.handlers=[{handler}]")
    assert ran.exit_code == 1
    assert "queues.one.handlers[0].class: " in ran.output
    assert "no_such_module" in ran.output


def test_a_missing_configuration_is_told_without_a_traceback(tmp_path: Path) -> None:
    ran = checked(tmp_path)
    assert ran.exit_code == 1
    assert "there is no such file" in ran.output


# --- whose name is it --------------------------------------------------------------------------------


def install(folder: Path, name: str, record: str, top_level: str | None = None) -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text(record)
    if top_level is not None:
        (info / "top_level.txt").write_text(top_level)


def test_another_owner_of_the_name_is_found_and_told(tmp_path: Path) -> None:
    install(tmp_path, "xqueue-warden", "supervisor/__init__.py,,\n")
    install(tmp_path, "innocent", "innocent/supervisor.py,,\nmy_supervisor/__init__.py,,\n")
    assert foreign_owners([str(tmp_path)]) == ()
    assert refusal([str(tmp_path)]) == ""
    install(tmp_path, "supervisor", "supervisor/__init__.py,sha256=x,1\n")
    assert foreign_owners([str(tmp_path)]) == ("supervisor",)
    assert "into a virtualenv of its own" in refusal([str(tmp_path)])


def test_an_owner_by_top_level_only_is_found(tmp_path: Path) -> None:
    install(tmp_path, "old-style", "", "supervisor\n")
    assert foreign_owners([str(tmp_path)]) == ("old-style",)
