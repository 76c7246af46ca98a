"""`warden grade`, as the command that a person types: real files, real jails, real exit codes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisor.cli.grade import mends

ROOT = Path(__file__).resolve().parents[2]
WARDEN = Path(sys.executable).with_name("warden")

GRADER = """
from grader_support import gradelib
from grader_support.gradelib import InvokeStudentFunctionTest

grader = gradelib.Grader()
grader.add_input_check(gradelib.prohibited_substring("import socket"))
for n in (2, 3):
    grader.add_test(InvokeStudentFunctionTest("double", [n], None, None, f"double({n})", ""))
"""
ANSWER = "def double(x):\n    return 2 * x\n"
SUBMISSIONS = {
    "a_right.py": ANSWER,
    "b_wrong.py": "def double(x):\n    return x * x\n",
    "c_raises.py": "raise ValueError('no')\n",
    "d_endless.py": "while True:\n    pass\n",
    "e_refused.py": "import socket\n",
}
VERDICTS = ["correct", "incorrect", "error", "timeout", "input_error"]


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A problem in week1/double and its submissions in work/."""
    problem = tmp_path / "week1" / "double"
    problem.mkdir(parents=True)
    (problem / "grader.py").write_text(GRADER)
    (problem / "answer.py").write_text(ANSWER)
    (tmp_path / "work").mkdir()
    for name, text in SUBMISSIONS.items():
        (tmp_path / "work" / name).write_text(text)
    return tmp_path


def warden(folder: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WARDEN, "grade", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, **more
    )


def records(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stdout.splitlines()]


# -- the answer


def test_json_has_one_object_per_file_in_the_order_given(course: Path) -> None:
    run = warden(course, "week1/double/grader.py", "work", "--json", "--cpu", "0.5", "--jobs", "3")
    assert run.returncode == 0, run.stderr
    found = records(run)
    assert [record["submission"] for record in found] == [f"work/{name}" for name in SUBMISSIONS]
    assert [record["verdict"] for record in found] == VERDICTS
    assert [record["correct"] for record in found] == [True, False, False, False, False]
    assert [record["score"] for record in found] == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert [record["outcome"] for record in found] == ["ok", "ok", "ok", "cpu", None]
    assert {"user", "pid", "mount", "net", "seccomp"} <= set(found[0]["isolation"])
    assert found[0]["wall_s"] > 0 and found[0]["memory_bytes"] > 0
    assert all(record["blame"] == "learner" for record in found)
    assert "results" not in found[0]


def test_json_with_details_has_every_test(course: Path) -> None:
    (record,) = records(warden(course, "week1/double", "work/b_wrong.py", "--json", "--details"))
    assert record["results"] == [
        {"short": "double(2)", "long": "", "correct": True, "expected": "4\n", "actual": "4\n"},
        {"short": "double(3)", "long": "", "correct": False, "expected": "6\n", "actual": "9\n"},
    ]


def test_csv_reads_back(course: Path) -> None:
    (course / "work" / 'comma, "quote".py').write_text(ANSWER)
    run = warden(course, "week1/double", "work", "--csv", "--cpu", "0.5")
    assert run.returncode == 0, run.stderr
    rows = {row["submission"]: row for row in csv.DictReader(io.StringIO(run.stdout))}
    assert rows['work/comma, "quote".py']["correct"] == "true"
    assert rows["work/b_wrong.py"]["passed"] == "1" and rows["work/b_wrong.py"]["tests"] == "2"
    assert rows["work/c_raises.py"]["message"] == "ValueError: no"
    assert "seccomp" in rows["work/a_right.py"]["isolation"].split()


def test_table_and_talk_are_apart(course: Path) -> None:
    run = warden(course, "week1/double", "work/a_right.py", "work/b_wrong.py")
    header, right, wrong = run.stdout.splitlines()
    assert header.split() == ["VERDICT", "SCORE", "TESTS", "TIME", "SUBMISSION"]
    assert re.fullmatch(r"correct +1\.00 +2/2 +[\d.]+ ms  work/a_right\.py", right)
    assert re.fullmatch(r"incorrect +0\.50 +1/2 +[\d.]+ ms  work/b_wrong\.py", wrong)
    assert re.match(r"2 files: 1 correct, 1 incorrect · ", run.stderr)
    assert len(run.stderr.splitlines()) == 1


def test_details_show_what_failed(course: Path) -> None:
    run = warden(course, "week1/double", "work/b_wrong.py", "--details")
    lines = [line.strip() for line in run.stdout.splitlines()]
    assert "ok    double(2)" in lines
    assert lines[lines.index("FAIL  double(3)") :] == [
        "FAIL  double(3)",
        "expected:",
        "6",
        "actual:",
        "9",
    ]


def test_a_learners_output_cannot_write_to_the_terminal(course: Path) -> None:
    nasty = course / "work" / "nasty.py"
    nasty.write_text("def double(x):\n    return '\\x1b[2J\\x07' + chr(0x9b) + '\\u202e'\n")
    for options in (["--details"], ["--json", "--details"], ["--csv"]):
        run = warden(course, "week1/double", "work/nasty.py", *options)
        assert run.returncode == 0, run.stderr
        assert (run.stdout + run.stderr).replace("\n", "").isprintable()


def test_stdin_is_graded(course: Path) -> None:
    run = warden(course, "week1/double", "-", "--json", input=ANSWER)
    assert run.returncode == 0, run.stderr
    (record,) = records(run)
    assert record["submission"] == "-" and record["correct"]


def test_folders_are_searched_for_python_files_only(course: Path) -> None:
    for name in (
        "deep/er/x.py",
        "deep/.hidden/x.py",
        "deep/__pycache__/x.py",
        "deep/notes.txt",
        "deep/.x.py",
    ):
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text(ANSWER)
    found = records(warden(course, "week1/double", "deep", "--json"))
    assert [record["submission"] for record in found] == ["deep/er/x.py"]


def test_a_helper_module_needs_the_courses_root(course: Path) -> None:
    (course / "week1" / "shared.py").write_text("TEXT = 'shared helper'\n")
    grader = course / "week1" / "double" / "grader.py"
    grader.write_text(grader.read_text() + "import gettext\nassert _('x') == 'x'\n")
    run = warden(course, "week1/double", "work/a_right.py", "--root", ".", "--lang", "de", "--json")
    assert run.returncode == 0, run.stderr
    (record,) = records(run)
    assert record["correct"] and record["grader"] == "week1/double/grader.py"


def test_limits_are_those_asked_for(course: Path) -> None:
    slow = course / "work" / "slow.py"
    slow.write_text("import time\ntime.sleep(30)\n")
    big = course / "work" / "big.py"
    big.write_text("x = bytearray(80 << 20)\ndef double(n):\n    return 2 * n\n")
    (record,) = records(warden(course, "week1/double", str(slow), "--json", "--wall", "0.3"))
    assert (record["verdict"], record["outcome"]) == ("timeout", "wall")
    assert 0.3 <= record["wall_s"] < 5
    (record,) = records(warden(course, "week1/double", str(big), "--json", "--memory", "48"))
    assert record["verdict"] == "memory"
    (record,) = records(warden(course, "week1/double", str(big), "--json", "--memory", "256"))
    assert record["verdict"] == "correct"


def test_modules_are_preloaded_as_a_sandbox_does(course: Path) -> None:
    asks = course / "work" / "asks.py"
    asks.write_text(
        "import sys\nthere = {'colorsys', 'wsgiref.util'} <= set(sys.modules)\n"
        "def double(n):\n    return 2 * n if there else 0\n"
    )
    command = ("week1/double", str(asks), "--json")
    (record,) = records(warden(course, *command))
    assert record["verdict"] == "incorrect"
    (record,) = records(warden(course, *command, "--preload", "colorsys", "--preload", "wsgiref.util"))
    assert record["verdict"] == "correct"
    run = warden(course, *command, "--preload", "no_such_module")
    assert run.returncode == 1
    assert "No module named 'no_such_module'" in run.stderr
    run = warden(course, *command, "--preload", "colorsys;json")
    assert run.returncode == 2
    assert "'--preload': colorsys;json is no module name" in run.stderr


@pytest.mark.parametrize("problem", ["functions/fibonacci", "programs/greeting"])
def test_sample_course(problem: str) -> None:
    run = warden(ROOT, f"course/{problem}", f"course/submissions/{problem}", "--root", "course", "--json")
    assert run.returncode == 0, run.stderr
    found = records(run)
    assert len(found) >= 3
    for record in found:
        if Path(record["submission"]).name.startswith("correct-"):
            assert record["correct"], record
        else:
            assert not record["correct"], record


# -- faults


def test_a_broken_grader_is_nobodys_mark(course: Path) -> None:
    (course / "week1" / "double" / "grader.py").write_text("import nonsense_that_is_not_there\n")
    run = warden(course, "week1/double", "work/a_right.py", "work/b_wrong.py", "--json")
    assert run.returncode == 1
    assert [record["verdict"] for record in records(run)] == ["ungraded"] * 2
    assert {record["blame"] for record in records(run)} == {"course"}
    _, reason, *names = run.stderr.splitlines()  # said once, however many it hit
    assert reason.startswith("could not be graded: the grader's fault, ")
    assert reason.endswith("No module named 'nonsense_that_is_not_there'")
    assert names == ["  work/a_right.py", "  work/b_wrong.py"]


def test_a_missing_answer_is_said(course: Path) -> None:
    (course / "week1" / "double" / "answer.py").unlink()
    run = warden(course, "week1/double", "work/a_right.py")
    assert run.returncode == 1
    assert "answer.py" in run.stderr


def test_a_file_that_vanishes_or_may_not_be_read_is_named_and_the_others_are_graded(course: Path) -> None:
    folder = course / "open"
    folder.mkdir()
    # A file that exists but cannot be read even by root: /proc/self/mem from its start.
    (folder / "b.py").symlink_to("/proc/self/mem")
    (folder / "a.py").write_text(ANSWER)
    run = warden(course, "week1/double", "open/a.py", "open/b.py", "--json")
    assert run.returncode == 1
    first, second = records(run)
    assert first["verdict"] == "correct"
    assert (second["verdict"], second["blame"], second["cause"]) == ("ungraded", "service", "HOST")
    assert re.search(
        r"could not be graded: this machine's fault, HOST: cannot be read: .*\n  open/b.py\n", run.stderr
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe caf\xe9", "UTF-8"), (b"x = '\0'", "NUL"), (b"#" * 3_000_000, "too long")],
)
def test_what_is_no_program_text_is_refused_as_the_service_refuses_it(
    course: Path, content: bytes, said: str
) -> None:
    (course / "work" / "odd.py").write_bytes(content)
    run = warden(course, "week1/double", "work/odd.py", "--json")
    assert run.returncode == 0, run.stderr
    (record,) = records(run)
    assert record["verdict"] == "input_error" and said in record["errors"][0]


def test_a_file_name_that_is_not_utf8_is_shown(course: Path) -> None:
    name = os.path.join(os.fsencode(course), b"work", b"caf\xe9.py")
    with open(name, "wb") as file:
        file.write(ANSWER.encode())
    for options in ([], ["--json"], ["--csv"]):
        run = subprocess.run(
            [WARDEN, "grade", "week1/double", name, *options], cwd=course, capture_output=True, timeout=60
        )
        assert run.returncode == 0, run.stderr
        assert b"caf" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere/grader.py", "work"], "nowhere/grader.py"),
        (["week1", "work"], "no grader there: week1/grader.py"),
        (["week1/double"], "name a GRADER and at least one SUBMISSION"),
        (["week1/double", "nowhere.py", "gone"], "nowhere.py: no such file"),
        (["week1/double", "empty"], "empty: no .py file"),
        (["week1/double", "-", "-"], "only once"),
        (["week1/double", "work", "--root", "work"], "is not under the root work"),
        (["week1/double", "work", "--jobs", "0"], "--jobs"),
        (["week1/double", "work", "--cpu", "0"], "--cpu"),
        (["week1/double", "work", "--wall", "-1"], "--wall"),
        (["week1/double", "work", "--memory", "1"], "--memory"),
        (["week1/double", "work", "--interpreter", "/nonexistent/python"], "--interpreter"),
        (["week1/double", "work", "--require", "none"], "--require"),
        (["week1/double", "work", "--csv", "--details"], "--json"),
    ],
)
def test_usage_errors_are_told_before_anything_runs(course: Path, arguments: list[str], said: str) -> None:
    (course / "empty").mkdir()
    run = warden(course, *arguments)
    assert run.returncode == 2
    assert run.stdout == ""
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_all_wrong_names_are_told_at_once(course: Path) -> None:
    run = warden(course, "week1/double", "gone1", "work", "gone2")
    assert "gone1" in run.stderr and "gone2" in run.stderr


def test_a_machine_that_cannot_isolate_runs_nothing_and_says_what_to_mend(course: Path) -> None:
    # A user namespace of its own, in which no further one may be made.
    script = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", str(WARDEN), "grade"]
    run = subprocess.run(
        [*command, "week1/double", "work", "--json"], cwd=course, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 3, run.stderr
    assert run.stdout == ""
    assert "cannot isolate" in run.stderr
    assert "user.max_user_namespaces" in run.stderr
    assert "Traceback" not in run.stderr


def test_something_else_than_python_as_interpreter_is_said(course: Path) -> None:
    run = warden(course, "week1/double", "work/a_right.py", "--interpreter", "/bin/true")
    assert run.returncode == 3
    assert "/bin/true" in run.stderr and run.stdout == ""


def test_mends_follow_what_the_kernel_says() -> None:
    kernel = {
        "/proc/sys/user/max_user_namespaces": "0\n",
        "/proc/sys/kernel/unprivileged_userns_clone": "0\n",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
        "/proc/1/environ": "PATH=/bin\0container=podman\0",
    }
    for path, words in zip(kernel, ("15000", "userns_clone=1", "AppArmor", "container"), strict=True):
        said = mends(lambda asked, only=path: kernel[asked] if asked == only else "")
        assert any(words in line for line in said)
    fine = {"/proc/sys/user/max_user_namespaces": "63000\n"}
    assert not any("sysctl" in line for line in mends(lambda asked: fine.get(asked, "")))


# -- how it ends


def started(course: Path, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [WARDEN, "grade", "week1/double", *arguments],
        cwd=course,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    )


def jails_of(process: subprocess.Popen[str], count: int) -> list[psutil.Process]:
    """The zygotes' children, once learner code runs in as many jails."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        children = psutil.Process(process.pid).children(recursive=True)
        with contextlib.suppress(psutil.NoSuchProcess):  # one has just ended
            if sum(child.cpu_times().user > 0.2 for child in children) >= count:
                return children
        select.select([], [], [], 0.02)
    raise AssertionError(f"no {count} jails at work")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once_and_nothing_stays(course: Path, number: int, status: int) -> None:
    endless = ["work/d_endless.py"] * 6
    process = started(course, "work/a_right.py", *endless, "--json", "--cpu", "30", "--jobs", "2")
    assert process.stdout
    assert json.loads(process.stdout.readline())["correct"]
    children = jails_of(process, 2)
    at = time.monotonic()
    os.killpg(process.pid, number)  # as a terminal does
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - at < 3
    assert process.returncode == status, err
    assert out == ""
    assert "Traceback" not in err
    if number == signal.SIGINT:
        assert "interrupted: 1 of 7 files" in err
    assert not psutil.wait_procs(children, timeout=3)[1]


def test_killed_outright_it_leaves_no_process(course: Path) -> None:
    process = started(course, "work/d_endless.py", "--cpu", "30")
    children = jails_of(process, 1)
    process.kill()
    process.communicate(timeout=20)
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_a_reader_that_goes_away_is_no_traceback(course: Path) -> None:
    process = started(course, *["work/a_right.py"] * 30, "--json")
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=20) == 1
    assert "Traceback" not in err


def test_results_are_streamed(course: Path) -> None:
    process = started(course, "work/a_right.py", "work/d_endless.py", "--json", "--cpu", "20", "--jobs", "1")
    assert process.stdout
    assert select.select([process.stdout], [], [], 20)[0]
    assert json.loads(process.stdout.readline())["correct"]
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)


def on_terminal(course: Path, *arguments: str, pipe_stdout: bool) -> tuple[str, str]:
    """Run with stderr (and stdout, unless piped) on a terminal; what stdout's pipe and the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [WARDEN, "grade", *arguments],
        cwd=course,
        stdin=theirs,
        stdout=subprocess.PIPE if pipe_stdout else theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    seen = bytearray()
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not piece:
            break
        seen += piece
    out = process.stdout.read().decode() if process.stdout else ""
    if process.stdout:
        process.stdout.close()
    os.close(ours)
    assert process.wait(timeout=60) == 0, seen
    return out, seen.decode()


def test_many_files_show_a_bar_on_a_terminal_and_the_answer_stays_clean(course: Path) -> None:
    out, terminal = on_terminal(course, "week1/double", *["work/a_right.py"] * 12, "--json", pipe_stdout=True)
    assert len([json.loads(line) for line in out.splitlines()]) == 12
    assert "12/12" in terminal


def test_rows_and_bar_share_a_terminal(course: Path) -> None:
    _, terminal = on_terminal(course, "week1/double", *["work/a_right.py"] * 12, pipe_stdout=False)
    assert terminal.count("work/a_right.py") == 12
    assert "12/12" in terminal


def test_few_files_show_no_bar(course: Path) -> None:
    _, terminal = on_terminal(course, "week1/double", *["work/a_right.py"] * 2, pipe_stdout=True)
    assert "2/2" not in terminal


def test_help_says_what_the_exit_codes_mean(course: Path) -> None:
    run = warden(course, "--help")
    assert run.returncode == 0
    for words in ("could not be graded", "cannot isolate", "130"):
        assert words in " ".join(run.stdout.split())
