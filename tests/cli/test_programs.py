"""`warden grade` and `warden check` on programs: real files, real compilers, real exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from supervisor.cli.verbs import warden as command

WARDEN = Path(sys.executable).with_name("warden")

if not Path("/usr/bin/gcc").exists():
    pytest.skip("this machine has no /usr/bin/gcc", allow_module_level=True)

ADD = '#include <stdio.h>\nint main(void){int a,b;scanf("%d %d",&a,&b);printf("%d\\n",a+b);return 0;}\n'
FILES = {
    "course/sum/sample1.in": "1 2\n",
    "course/sum/sample1.out": "3\n",
    "course/sum/2.in": "5 6\n",
    "course/sum/2.out": "11\n",
    "course/sum/submissions/accepted/sum.c": ADD,
    "course/sum/submissions/wrong_answer/minus.c": ADD.replace("a+b", "a-b"),
    "work/a.c": ADD,
    "work/b.c": ADD.replace("a+b", "3"),
    "work/c.py": "print(sum(map(int, input().split())))\n",
    "work/d.c": "int main(",
    "work/e.c": "int main(void){for(;;);}",
    "secret": "hunter2\n",
    "config.toml": """
[servers.main]
url = "https://xqueue.example.org"
username = "warden"
password_file = "secret"

[queues.one]
server = "main"
[[queues.one.handlers]]
kind = "program"
grader_root = "course"
languages = ["c"]
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "secret").chmod(0o600)
    return tmp_path


def grade(folder: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WARDEN, "grade", *arguments], cwd=folder, capture_output=True, text=True, timeout=100, **more
    )


def test_a_folder_of_programs_in_several_languages(folder: Path) -> None:
    run = grade(folder, "course/sum", "work", "--json", "--cpu", "0.5")
    assert run.returncode == 0, run.stderr
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(one["submission"], one["verdict"], one["score"]) for one in found] == [
        ("work/a.c", "correct", 1.0),
        ("work/b.c", "incorrect", 0.5),
        ("work/c.py", "correct", 1.0),
        ("work/d.c", "error", 0.0),
        ("work/e.c", "timeout", 0.0),
    ]


def test_the_root_and_the_standard_input(folder: Path) -> None:
    run = grade(
        folder, "course/sum", "-", "--root", "course", "--language", "c", "--details", input=FILES["work/b.c"]
    )
    assert run.returncode == 0, run.stderr
    assert "FAIL  Test 1: wrong answer" in run.stdout
    assert "ok    Test 2: passed" in run.stdout
    assert "11" not in run.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("course/sum", "-"), "its name tells no language; say --language"),
        (("course/sum", "secret"), "its name tells no language; say --language"),
        (("course/sum", "work/a.c", "--language", "cobol"), "--language cobol is not known"),
        (("course/sum", "work/a.c", "--preload", "json"), "--preload is for a grader.py"),
        (("work", "work/a.c"), "no grader there"),
        (("course/sum", "work/a.c", "--root", "work"), "is not under the root"),
    ],
)
def test_usage(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    run = grade(folder, *arguments, input="")
    assert run.returncode == 2
    assert said in run.stderr


def checked(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["check", "--config", str(folder / "config.toml"), *arguments])


def test_check_grades_the_staffs_submissions(folder: Path) -> None:
    found = checked(folder, "--json")
    assert found.exit_code == 0, found.output
    report = json.loads(found.output)
    assert [(row["grader"], row["ok"], row["tests"]) for row in report["graders"]] == [("sum", True, 2)]
    assert report["languages"][0]["name"] == "c"
    assert "seccomp" in report["languages"][0]["isolation"]
    assert [found for found in report["warnings"] if found["path"] != "alerts"] == []  # nobody would be told


def test_check_tells_what_is_wrong_with_a_problem(folder: Path) -> None:
    (folder / "course/sum/2.out").write_text("12\n")
    (folder / "course/broken").mkdir()
    (folder / "course/broken/tests.toml").write_text("points = 'many'")
    (folder / "course/bare").mkdir()
    for name in ("1.in", "1.out"):
        (folder / "course/bare" / name).write_text("1\n")
    found = checked(folder)
    assert found.exit_code == 1
    assert "submissions/accepted/sum.c gets incorrect (0.5)" in found.output
    assert "tests.toml: Expected `float | null`, got `str` - at `$.points`" in found.output
    assert "has no submissions/accepted; its tests are not proved" in found.output
    assert "language c: " in found.output


def test_check_tells_that_a_language_is_not_there(folder: Path) -> None:
    with (folder / "config.toml").open("a") as config:
        config.write("\n[languages.c.compile]\nshow = ['/usr/nowhere']\n")
    found = checked(folder)
    assert found.exit_code == 1
    assert "languages.c" in found.output
    assert "there is no /usr/nowhere on this machine" in found.output
