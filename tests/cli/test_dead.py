"""`warden dead`: the box as people see it, on a journal at rest and on a running service."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from graders.model import Blame, Cause, Verdict
from graders.words import words_of
from supervisor.archive import Wanted, opened
from supervisor.cli.verbs import warden
from supervisor.journal import FILE_NAME, Journal, Mark, State
from tests.supervisor.stage import ROOT, until
from tests.supervisor.test_journal import PULLED
from tests.supervisor.test_service import QUEUES, answer, scene

NOW = 1_700_000_000.0
AGAIN_S = 5.0
SECRET = "print('what the learner wrote')"
OURS = Mark(
    Verdict.UNGRADED,
    Blame.COURSE,
    Cause.GRADER_BUG,
    "hw1/grader.py",
    "the grader failed\nNameError: x\x1b[31m",
    grader_digest="a" * 64,
    layers=("seccomp", "pid-ns"),
    versions={"warden": "0.1.0"},
    outcome={"kind": "exit"},
)
CONFIG = """
[servers.main]
url = "https://xqueue.example.org"
username = "warden"
password_file = "secret"
[sandboxes.python]
[queues.q]
server = "main"
[[queues.q.handlers]]
kind = "gradelib"
grader_root = "."
sandbox = "python"
"""

Warden = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    (tmp_path / "var").mkdir()
    return path


@pytest.fixture
def run(config: Path) -> Warden:
    def run(verb: str, *words: str) -> Result:
        done = CliRunner().invoke(warden, ["dead", verb, "-c", str(config), *words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


@pytest.fixture
def letters(config: Path) -> list[int]:
    """A neutral reply delivered, one not delivered yet, a good reply refused; and one that is no letter."""
    book = Journal(config.parent / "var" / FILE_NAME, "main", "q", "q.0#1")
    ids = []
    for number, name in enumerate("abcd"):
        pulled = replace(PULLED, submission_id=name, header=f'{{"submission_id": "{name}"}}', response=SECRET)
        _, row = book.receive(pulled, NOW + number)
        ids.append(row.id)
        mark = OURS if name in "ab" else Mark(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER, "hw2/grader.py")
        book.record(row.id, '{"correct": false}', mark, NOW + number)
        header = pulled.header
        if name in "ad":
            assert book.delivered(row.id, header, NOW + 10)
        elif name == "c":
            book.refused(row.id, header, "unknown submission", NOW + 10, 5)
            assert book.refused(row.id, header, "unknown submission", NOW + 20, 5)
    book.close()
    return ids


def rows(config: Path) -> dict[str, dict[str, object]]:
    with closing(sqlite3.connect(config.parent / "var" / FILE_NAME)) as db:
        db.row_factory = sqlite3.Row
        return {row["submission_id"]: dict(row) for row in db.execute("SELECT * FROM submission")}


def listed(result: Result) -> list[str]:
    return [json.loads(line)["submission_id"] for line in result.stdout.splitlines()]


# -- list and show


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["c", "b", "a"]),
        (["--queue", "q"], ["c", "b", "a"]),
        (["--queue", "other"], []),
        (["--cause", "GRADER_BUG"], ["b", "a"]),
        (["--cause", "reply_refused"], ["c"]),
        (["--grader", "hw2/*"], ["c"]),
        (["--since", "2023-11-14T22:13:35+00:00"], ["c"]),
        (["--since", "2023-01-01"], ["c", "b", "a"]),
        (["--since", "1d"], []),
    ],
)
def test_the_list_and_its_filters(
    run: Warden, letters: list[int], words: list[str], names: list[str]
) -> None:
    done = run("list", "--json", *words)
    assert (done.exit_code, listed(done)) == (0, names)
    assert SECRET not in done.output


def test_the_table_tells_what_became_of_the_reply_and_why(run: Warden, letters: list[int]) -> None:
    done = run("list")
    text = " ".join(done.stdout.split())
    for word in ("GRADER_BUG", "REPLY_REFUSED", "hw1/grader.py", "refused", "waits", "neutral"):
        assert word in text
    assert "\x1b[31m" not in done.output and SECRET not in done.output


def test_an_empty_box_and_a_missing_journal_are_told(run: Warden, config: Path) -> None:
    done = run("list")
    assert done.exit_code == 1 and "there is no journal" in done.stderr
    Journal(config.parent / "var" / FILE_NAME, "main", "q", "q.0#1").close()
    done = run("list")
    assert (done.exit_code, done.stdout) == (0, "") and "empty" in done.stderr


def test_a_journal_of_another_version_is_refused_in_words(run: Warden, config: Path) -> None:
    with closing(sqlite3.connect(config.parent / "var" / FILE_NAME)) as db:
        db.execute("PRAGMA user_version = 99")
    done = run("list")
    assert done.exit_code == 1 and "version 99" in done.stderr


def test_show_tells_all_but_the_learners_code_unless_asked(run: Warden, letters: list[int]) -> None:
    done = run("show", str(letters[0]))
    for word in (
        "GRADER_BUG",
        "course",
        "hw1/grader.py",
        "a" * 64,
        "seccomp, pid-ns",
        "warden 0.1.0",
        "kind exit",
    ):
        assert word in done.stdout, word
    assert "NameError: x\\x1b[31m" in done.stdout and "submits again" in done.stdout
    assert SECRET not in done.output
    assert SECRET in run("show", str(letters[0]), "--with-response").stdout
    found = json.loads(run("show", str(letters[2]), "--json").stdout)
    assert (found["state"], found["retry"]["way"]) == ("DEAD", "send")
    assert "response" not in found
    assert json.loads(run("show", str(letters[2]), "--json", "--with-response").stdout)["response"] == SECRET


def test_show_of_nothing_names_it(run: Warden, letters: list[int]) -> None:
    done = run("show", "4711")
    assert done.exit_code == 1 and "no submission 4711" in done.stderr


# -- retry and drop


def test_retry_grades_again_or_sends_again(run: Warden, letters: list[int], config: Path) -> None:
    done = run("retry", *map(str, letters[:3]))
    assert done.exit_code == 0, done.output
    assert "does not run" in done.stderr
    said = {line.partition(":")[0]: line for line in done.stdout.splitlines()}
    assert "graded again" in said[str(letters[0])] and "most likely not see it" in said[str(letters[0])]
    assert "goes in its place" in said[str(letters[1])]
    assert "sent again" in said[str(letters[2])] and "unknown submission" in said[str(letters[2])]
    found = rows(config)
    for name in "ab":
        row = found[name]
        assert (row["state"], row["attempts"], row["body"], row["verdict"]) == ("RECEIVED", 0, None, None)
    assert (found["c"]["state"], found["c"]["body"]) == ("GRADED", '{"correct": false}')
    for name in "abc":
        row = found[name]
        assert (row["closed_at"], row["dead_at"], row["owner"]) == (None, None, None)
        # Its time starts anew: nobody is told of a backlog of days, nothing is given up as too late.
        assert min(float(str(row[name])) for name in ("pulled_at", "handed_at")) > NOW + 1e6
        assert row["delivered_at"] is None
    assert found["d"]["state"] == "DELIVERED"
    assert run("list", "--json").stdout == ""


def test_a_reply_that_was_on_its_way_when_retried_does_not_close_the_row(
    run: Warden, letters: list[int], config: Path
) -> None:
    book = Journal(config.parent / "var" / FILE_NAME, "main", "q", "q.0#1")
    sending = book.due(State.GRADED, NOW + 100)  # b
    assert sending is not None
    assert run("retry", str(sending.id)).exit_code == 0
    assert not book.delivered(sending.id, sending.header, NOW + 101)
    assert not book.refused(sending.id, sending.header, "no", NOW + 101, 5)
    assert book.row(sending.id).state is State.RECEIVED
    book.close()


def test_letters_are_named_in_exactly_one_way(run: Warden, letters: list[int]) -> None:
    for words in ([], ["1", "--all"], ["--all", "--queue", "q"]):
        assert run("retry", *words).exit_code == 2, words
        assert run("drop", "--yes", *words).exit_code == 2, words


def test_what_is_not_in_the_box_is_not_touched(run: Warden, letters: list[int], config: Path) -> None:
    before = rows(config)
    done = run("retry", str(letters[0]), str(letters[3]))
    assert done.exit_code == 1 and f"{letters[3]}: not in the dead-letter box" in done.stderr
    assert rows(config) == before


def test_drop_asks_and_keeps_the_history(run: Warden, letters: list[int], config: Path) -> None:
    assert run("drop", "--all").exit_code == 2  # nobody to ask
    assert len(listed(run("list", "--json"))) == 3
    done = run("drop", "--yes", "--cause", "GRADER_BUG")
    assert done.exit_code == 0 and "2 letters dropped" in done.stderr
    assert listed(run("list", "--json")) == ["c"]
    found = rows(config)
    assert (found["a"]["state"], found["a"]["cause"], found["a"]["dead_at"]) == (
        "DELIVERED",
        "GRADER_BUG",
        None,
    )


def test_reading_leaves_no_files_that_the_service_cannot_use(config: Path, letters: list[int]) -> None:
    journal = config.parent / "var" / FILE_NAME
    with opened(journal) as archive:
        assert len(archive.entries(Wanted(dead=True))) == 3
        with pytest.raises(sqlite3.OperationalError):
            archive._db.execute("DELETE FROM submission")
    for file in journal.parent.iterdir():
        assert file.stat().st_uid == journal.stat().st_uid and file.stat().st_mode & 0o077 == 0


# -- a running service


def test_a_running_service_takes_a_retried_letter_at_once(tmp_path: Path) -> None:
    course = tmp_path / "course"
    problem = course / "hw"
    problem.mkdir(parents=True)
    course.chmod(0o755)
    tmp_path.chmod(0o755)
    (problem / "grader.py").write_text("raise NotImplementedError\n")
    shutil.copy(ROOT / "course/functions/fibonacci/answer.py", problem)
    root = f"queues.demo-functions.handlers[0].grader_root={json.dumps(str(course))}"
    with scene(root, 'queues.demo-functions.locale="de"') as lab:
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", json.dumps({"grader": "hw/grader.py"}), answer())
        assert lab.lms.wait(1, 30) == 1
        assert words_of("de").summaries[Verdict.UNGRADED] in lab.lms.delivered["anna"].msg
        until(lambda: lab.rows()[0]["state"] == "DELIVERED", "the row to be closed")
        (entry,) = lab.rows()
        assert entry["dead_at"] is not None and entry["cause"] == "GRADER_BUG"

        shutil.copy(ROOT / "course/functions/fibonacci/grader.py", problem)
        words = ["--set", f"warden.state_dir={json.dumps(str(lab.state_dir))}"]
        done = CliRunner().invoke(
            warden, ["dead", "retry", "-c", str(ROOT / "config.toml"), *words, str(entry["id"])]
        )
        assert done.exit_code == 0 and f"service {lab.process('supervisor').pid} was told" in done.stderr
        until(lambda: lab.rows()[0]["verdict"] == "correct", "an idle worker to grade it", patience_s=10)
        until(lambda: lab.rows()[0]["state"] == "DELIVERED", "the row to be closed")
        (entry,) = lab.rows()
        assert (entry["attempts"], entry["dead_at"]) == (1, None)
