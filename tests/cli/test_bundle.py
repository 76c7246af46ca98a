"""A bundle: what is in it, who may read it, and that it can be graded far from its service."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from graders.model import Blame, Cause, Verdict
from supervisor.archive import Wanted, opened
from supervisor.bundle import BundleError, read, write
from supervisor.config import load
from supervisor.journal import FILE_NAME, Journal, Mark
from tests.supervisor.stage import ROOT
from tests.supervisor.test_journal import NOW, PULLED

ANSWER = (ROOT / "course/functions/fibonacci/answer.py").read_text()
CONFIG = """
[warden]
state_dir = "var"
[servers.main]
url = "https://xqueue.example.org"
username = "warden"
password_file = "the-secret-file"
[sandboxes.python]
[sandboxes.python.limits]
cpu_s = 3
[sandboxes.other]
[queues."hw 1"]
server = "main"
locale = "de"
[[queues."hw 1".handlers]]
kind = "class"
match = "essays/*"
class = "essays:Essay"
sandbox = "other"
options = { token = "a-secret-token" }
[[queues."hw 1".handlers]]
kind = "gradelib"
grader_root = "course"
sandbox = "python"
seeds = 3
contact = "staff@example.org"
graders = { "fib \\"x\\"" = "hw/grader.py" }
"""


def warden(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from supervisor.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A course, a configuration, and a journal with one letter."""
    tmp_path.chmod(0o755)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    problem = tmp_path / "course/hw"
    problem.mkdir(parents=True)
    for name in ("grader.py", "answer.py"):
        shutil.copy(ROOT / "course/functions/fibonacci" / name, problem)
    (tmp_path / "var").mkdir()
    letter(tmp_path, payload=json.dumps({"grader": "hw/grader.py"}), response=ANSWER)
    return path


def letter(folder: Path, **changes: object) -> int:
    book = Journal(folder / "var" / FILE_NAME, "main", "hw 1", "q.0#1")
    _, row = book.receive(replace(PULLED, **changes), NOW)  # type: ignore[arg-type]
    mark = Mark(
        Verdict.UNGRADED, Blame.COURSE, Cause.GRADER_BUG, "hw/grader.py", "boom", grader_digest="0" * 64
    )
    book.keep_files(row.id, {"notes.txt": b"\xffbytes"})
    book.record(row.id, '{"correct": false, "score": 0, "msg": "<p>x</p>"}', mark, NOW)
    book.close()
    return row.id


def test_it_is_private_and_holds_no_secret(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "letter"
    done = warden("dead", "show", "1", "-c", str(config), "--bundle", str(folder))
    assert done.returncode == 0, done.stderr
    assert ANSWER not in done.stdout
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    assert set(found) == {
        *("README.md", "submission.json", "facts.json", "response", "reply.json", "config.toml"),
        *("files", "files/0"),
    }
    for path in (folder, *found.values()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert found["response"].read_text() == ANSWER
    assert found["files/0"].read_bytes() == b"\xffbytes"
    facts = json.loads(found["facts.json"].read_text())
    assert (facts["grader_digest"], facts["pulled_at"], facts["reason"]) == ("0" * 64, NOW, "boom")
    everything = "".join(path.read_text(errors="replace") for path in found.values() if path.is_file())
    for secret in ("xqueue.example.org", "the-secret-file", "a-secret-token", "staff@example.org"):
        assert secret not in everything
    assert "warden grade --bundle ." in found["README.md"].read_text()


def test_it_is_graded_far_from_its_service_with_the_handlers_settings(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "letter"
    folder.parent.mkdir()
    assert warden("dead", "show", "1", "-c", str(config), "--bundle", str(folder)).returncode == 0
    config.unlink()
    shutil.rmtree(tmp_path / "var")
    there = load(folder / "config.toml")
    (queue,) = there.queues.values()
    (handler,) = queue.handlers
    assert (queue.name, handler.locale, handler.seeds, handler.limits.cpu_s) == ("hw 1", "de", 3, 3)  # type: ignore[union-attr]
    assert handler.graders == {'fib "x"': "hw/grader.py"}
    done = warden("grade", "--bundle", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "correct"
    assert "recorded was ungraded; the grader's files are others" in done.stderr
    # The graders may lie elsewhere now.
    (tmp_path / "course").rename(tmp_path / "moved")
    assert warden("grade", "--bundle", str(folder)).returncode == 1
    assert warden("grade", "--bundle", str(folder), "--root", str(tmp_path / "moved")).returncode == 0


PROGRAMS = """
[servers.main]
url = "https://xqueue.example.org"
username = "warden"
password_file = "the-secret-file"
[languages.ours]
source = "main.py"
suffixes = [".py"]
[languages.ours.run]
command = ["/usr/bin/env", "printf", "5 {scratch}"]
[queues."hw 1"]
server = "main"
[[queues."hw 1".handlers]]
kind = "program"
grader_root = "problems"
languages = ["python", "ours"]
comparison = { mode = "floats", float_absolute_tolerance = 0.5 }
"""


def test_a_program_takes_its_languages_along(config: Path, tmp_path: Path) -> None:
    config.write_text(PROGRAMS)
    problem = tmp_path / "problems/sum"
    problem.mkdir(parents=True)
    (problem / "1.in").write_text("2 3\n")
    (problem / "1.out").write_text("5\n")
    payload = json.dumps({"grader": "sum", "language": "python"})
    response = "print(sum(map(int, input().split())) + 0.25)\n"
    number = letter(tmp_path, submission_id="9", payload=payload, response=response)
    folder = tmp_path / "letter"
    assert warden("dead", "show", str(number), "-c", str(config), "--bundle", str(folder)).returncode == 0
    there = load(folder / "config.toml")
    assert there.languages["ours"] == load(config).languages["ours"]
    done = warden("grade", "--bundle", str(folder), "--json")
    # The letter has a file of notes, which is no program: the text is the one that is started.
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "correct"), done.stdout + done.stderr


def test_it_is_never_written_over_anything(config: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("target", "link", "dangling", "config.toml"):
        done = warden("dead", "show", "1", "-c", str(config), "--bundle", str(tmp_path / name))
        assert done.returncode == 1 and "is there already" in done.stderr
    assert list(target.iterdir()) == [] and not (tmp_path / "nowhere").exists()
    done = warden("dead", "show", "1", "-c", str(config), "--bundle", str(tmp_path / "no/where"))
    assert done.returncode == 1 and "cannot be written" in done.stderr and "Traceback" not in done.stderr


def test_what_no_handler_takes_cannot_be_graded_and_says_so(config: Path, tmp_path: Path) -> None:
    text = config.read_text().replace('kind = "gradelib"', 'kind = "gradelib"\nmatch = "hw/*"')
    config.write_text(text)
    number = letter(tmp_path, submission_id="8", payload=json.dumps({"grader": "exams/grader.py"}))
    folder = tmp_path / "letter"
    assert warden("dead", "show", str(number), "-c", str(config), "--bundle", str(folder)).returncode == 0
    assert not (folder / "config.toml").exists()
    done = warden("grade", "--bundle", str(folder))
    assert done.returncode == 1 and "no handler fitted" in done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("submission.json", None),
        ("submission.json", "{}"),
        ("submission.json", "no JSON"),
        ("facts.json", "[]"),
        ("response", None),
    ],
)
def test_a_broken_bundle_is_named(config: Path, tmp_path: Path, name: str, text: str | None) -> None:
    folder = tmp_path / "letter"
    with opened(tmp_path / "var" / FILE_NAME) as archive:
        (entry,) = archive.entries(Wanted(dead=True))
        content = archive.content(entry.id)
        assert content is not None
    write(folder, entry, content, None)
    whole = read(folder)
    assert whole.work == content.work
    (folder / name).unlink()
    if text is None:
        os.symlink("/etc/passwd", folder / name)  # and no link is followed
    else:
        (folder / name).write_text(text)
    with pytest.raises(BundleError, match="bundle"):
        read(folder)
    done = warden("grade", "--bundle", str(folder))
    assert done.returncode == 1 and "Traceback" not in done.stderr
