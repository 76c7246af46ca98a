"""Manifests and data folders are read strictly: what is wrong is named, nothing is silently left out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from graders.manifest import ManifestError, load, load_data
from graders.model import Verdict

from .conftest import DATA


def _course(root: Path, manifest: str, *files: str, cheats: str = "") -> Path:
    """A course with one problem, `unit/sum`, whose submissions are `files`."""
    (root / "unit" / "sum").mkdir(parents=True)
    (root / "unit" / "sum" / "grader.py").write_text("")
    home = root / "submissions" / "unit" / "sum"
    home.mkdir(parents=True)
    (home / "manifest.toml").write_text(manifest)
    for name in files:
        (home / f"{name}.py").write_text(f"# {name}\n")
    if cheats:
        (root / "submissions" / "cheats").mkdir()
        (root / "submissions" / "cheats" / "manifest.toml").write_text(cheats)
        (root / "submissions" / "cheats" / "exit.py").write_text("# exit\n")
    return root


SUM = 'title = "Sum"\n[samples]\ncorrect-a = "correct"\n'


def test_a_manifest_becomes_a_problem_with_its_payload(tmp_path: Path) -> None:
    root = _course(
        tmp_path,
        SUM + 'error-b = ["error", "timeout"]\n[payload]\nlang = "de"\n',
        "correct-a",
        "error-b",
    )
    (problem,) = load(root)
    assert problem.title == "Sum"
    assert problem.grader == "unit/sum/grader.py"
    assert json.loads(problem.payload) == {"grader": "unit/sum/grader.py", "lang": "de"}
    assert [(sample.name, sample.response) for sample in problem.submissions] == [
        ("correct-a", "# correct-a\n"),
        ("error-b", "# error-b\n"),
    ]
    assert problem.submissions[1].expected == {Verdict.ERROR, Verdict.TIMEOUT}


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("before", "# exit\n\n\n# incorrect-a\n"),
        ("after", "# incorrect-a\n\n\n# exit\n"),
    ],
)
def test_a_cheat_stands_before_or_behind_the_wrong_program(tmp_path: Path, place: str, text: str) -> None:
    manifest = (
        'title = "Sum"\n[samples]\nincorrect-a = "incorrect"\n'
        '[cheats]\nwith = "incorrect-a"\nuse = ["exit"]\n[cheats.expect]\nexit = "timeout"\n'
    )
    cheats = f'[exit]\nplace = "{place}"\nexpect = "error"\n'
    (problem,) = load(_course(tmp_path, manifest, "incorrect-a", cheats=cheats))
    assert problem.submissions[1].name == "cheats/exit"
    assert problem.submissions[1].response == text
    assert problem.submissions[1].expected == {Verdict.TIMEOUT}


@pytest.mark.parametrize(
    ("manifest", "files", "says"),
    [
        (SUM, (), "correct-a"),
        (SUM, ("correct-a", "correct-b"), "correct-b"),
        (SUM + 'correct-c = "correct"', ("correct-a",), "correct-c"),
        ("colour = 1\n" + SUM, ("correct-a",), "colour"),
        (SUM.replace('"correct"', '"right"'), ("correct-a",), "right"),
        (SUM.replace('"correct"', "[]"), ("correct-a",), "correct-a"),
        (SUM.replace('"correct"', '"ungraded"'), ("correct-a",), "ungraded"),
        (SUM.replace('"correct"', '"incorrect"'), ("correct-a",), "must start with a verdict"),
        (SUM.replace("correct-a", "cheat-a"), ("cheat-a",), "never be correct"),
        (SUM + '[payload]\ngrader = "other/grader.py"', ("correct-a",), "payload.grader"),
        (SUM + '[cheats]\nwith = "correct-b"\nuse = []', ("correct-a",), "correct-b"),
        (SUM + '[cheats]\nwith = "correct-a"\nuse = ["fly"]', ("correct-a",), "fly"),
        (SUM + '[cheats]\nwith = "correct-a"\nuse = []\nexpect = { exit = "error" }', ("correct-a",), "exit"),
        (SUM + '[cheats]\nwith = "correct-a"\nuse = ["exit", "exit"]', ("correct-a",), "twice"),
        ("title = 3\n[samples]", (), "title"),
        ("title = ", (), "manifest.toml"),
    ],
)
def test_a_wrong_manifest_is_refused_and_says_where(
    tmp_path: Path, manifest: str, files: tuple[str, ...], says: str
) -> None:
    cheats = '[exit]\nplace = "before"\nexpect = "error"\n'
    root = _course(tmp_path, manifest, *files, cheats=cheats)
    with pytest.raises(ManifestError, match="submissions") as refused:
        load(root)
    assert says in str(refused.value)


def test_a_shared_cheat_must_never_be_correct(tmp_path: Path) -> None:
    root = _course(tmp_path, SUM, "correct-a", cheats='[exit]\nplace = "before"\nexpect = "correct"\n')
    with pytest.raises(ManifestError, match="never be correct"):
        load(root)


def test_samples_without_a_grader_are_refused(tmp_path: Path) -> None:
    root = _course(tmp_path, SUM, "correct-a")
    (root / "unit" / "sum" / "grader.py").unlink()
    with pytest.raises(ManifestError, match=r"grader\.py"):
        load(root)


def test_a_course_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no manifest\.toml"):
        load(tmp_path)


def test_line_endings_of_a_submission_are_kept(tmp_path: Path) -> None:
    root = _course(tmp_path, SUM, "correct-a")
    (root / "submissions" / "unit" / "sum" / "correct-a.py").write_bytes(b"a\r\nb\rc\n")
    (problem,) = load(root)
    assert problem.submissions[0].response == "a\r\nb\rc\n"


# Data folders


def _data(folder: Path, problem: object, *submissions: object) -> Path:
    folder.mkdir()
    (folder / "python_problems.jsonl").write_text(json.dumps(problem) + "\n")
    lines = "".join(json.dumps(submission) + "\n" for submission in submissions)
    (folder / "python_submissions.jsonl").write_text(lines)
    return folder


PROBLEM = {"set": "s", "problem": "p", "files": {"grader.py": "g", "answer.py": "a"}}
ROW = {"set": "s", "problem": "p", "student_response": "x = 1", "expect": "incorrect", "id": "1"}


def test_a_data_folder_is_laid_out_as_a_grader_root(tmp_path: Path) -> None:
    folder = _data(tmp_path / "data", PROBLEM, ROW, ROW | {"id": "2", "expect": "timeout"})
    (problem,) = load_data(folder, tmp_path / "root")
    assert (tmp_path / "root" / problem.grader).read_text() == "g"
    assert (tmp_path / "root" / "s" / "p" / "answer.py").read_text() == "a"
    assert json.loads(problem.payload) == {"grader": "s/p/grader.py"}
    wrong, endless = problem.submissions
    assert wrong.expected == set(Verdict) - {Verdict.CORRECT, Verdict.TIMEOUT, Verdict.UNGRADED}
    assert endless.expected == {Verdict.TIMEOUT}


NAMES = ["..", ".", "", "a/b", "/etc", "../x", ".hidden", "a\\..\\b\n", "x" * 200, "ü", "-r"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["set", "problem", "file"])
def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(
    tmp_path: Path, name: str, where: str
) -> None:
    files = {"grader.py": "", "answer.py": ""}
    changed = {"files": files | {name: "x"}} if where == "file" else {where: name}
    with pytest.raises(ManifestError, match="not a name"):
        load_data(_data(tmp_path / "data", PROBLEM | changed), tmp_path / "root")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("problem", "submissions"),
    [
        (PROBLEM | {"files": {"grader.py": ""}}, [ROW]),
        (PROBLEM, [ROW, ROW]),
        (PROBLEM, [ROW | {"problem": "q"}]),
        (PROBLEM, [ROW | {"expect": "maybe"}]),
        (PROBLEM, [ROW | {"more": 1}]),
        (PROBLEM | {"files": {"grader.py": 3}}, [ROW]),
        ([], [ROW]),
    ],
)
def test_rows_of_another_form_are_refused_with_file_and_line(
    tmp_path: Path, problem: object, submissions: list[object]
) -> None:
    with pytest.raises(ManifestError, match=r"\.jsonl:\d+: "):
        load_data(_data(tmp_path / "data", problem, *submissions), tmp_path / "root")


@pytest.mark.skipif(not DATA.is_dir(), reason="this machine has no data folder beside the checkout")
def test_the_real_data_is_read_whole(tmp_path: Path) -> None:
    problems = load_data(DATA, tmp_path)
    samples = [sample for problem in problems for sample in problem.submissions]
    counts = Counter("incorrect" if len(s.expected) > 1 else str(*s.expected) for s in samples)
    assert len(problems) == 42
    assert counts == {"correct": 1099, "incorrect": 1042, "timeout": 8}
    assert all((tmp_path / problem.grader).is_file() for problem in problems)
