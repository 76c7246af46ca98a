"""Graders are found under their root and nowhere else; what a pass sees is what it should."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graders import catalogue
from graders.catalogue import Catalogue, list_graders
from graders.errors import CatalogueError
from tests.graders.conftest import write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    write(root, {"a/b/grader.py": "grader", "a/b/answer.py": "answer"})
    write(tmp_path, {"outside/grader.py": "secret", "outside/answer.py": "secret", "outside/data": "secret"})
    return root


def test_a_problem_is_its_grader_helpers_and_data_without_the_answer(root: Path) -> None:
    more = {
        "a/b/helper.py": "h",
        "a/b/data.bin": b"\x00\xff",
        "a/b/sub/inner.py": "i",
        "a/b/sub/answer/x.py": "no",
        "a/b/.hidden": "no",
        "a/b/__pycache__/grader.pyc": "no",
        "a/b/other/grader.py": "no",
        "a/b/third/answer.py": "no",
        "a/b/third/deep/x.py": "no",
        "a/c/grader.py": "no",
        "lib/shared.py": "s",
    }
    write(root, more)
    found = Catalogue(root, ["lib"]).problem("a/b/grader.py")
    assert sorted(found.bundle.files) == [
        "grader/data.bin",
        "grader/grader.py",
        "grader/helper.py",
        "grader/sub/inner.py",
        "modules/0/shared.py",
    ]
    assert found.answer == "answer"
    assert (found.name, found.file, found.folders) == (
        "a/b/grader.py",
        "grader/grader.py",
        ("grader", "modules/0"),
    )


@pytest.mark.parametrize("name", ["a/b", "a/b/", "./a//b/grader.py"])
def test_other_ways_to_write_a_path(root: Path, name: str) -> None:
    assert Catalogue(root).problem(name).name == "a/b/grader.py"


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../outside/grader.py", "a/../../outside/grader.py", "a/b/../b/grader.py", ".."),
        *("", "a\0b", "a\nb", "nope", "a/b/nope.py", "a/b/grader.py/x", "x" * 2000, "x" * 300, "\udc80", "."),
    ],
)
def test_paths_that_are_refused(root: Path, name: str) -> None:
    with pytest.raises(CatalogueError):
        Catalogue(root).problem(name)


@pytest.mark.parametrize("link", ["folder", "file", "absolute", "data", "up", "loop"])
def test_links_out_of_the_root_are_refused(root: Path, tmp_path: Path, link: str) -> None:
    name = "z/grader.py"
    if link == "folder":
        (root / "z").symlink_to("../outside")
    elif link == "absolute":
        (root / "z").symlink_to(root / "a/b")
    elif link == "loop":
        (root / "z").symlink_to("z")
    elif link == "up":
        (root / "z").symlink_to("a/../..")
        name = "z/outside/grader.py"
    else:
        write(root, {"z/grader.py": "g", "z/answer.py": "a"})
        target = root / "z" / ("grader.py" if link == "file" else "data")
        target.unlink(missing_ok=True)
        target.symlink_to("../../outside/" + target.name)
    with pytest.raises(CatalogueError):
        Catalogue(root).problem(name)


def test_links_inside_the_root_are_followed(root: Path) -> None:
    write(root, {"lib/shared.py": "s"})
    (root / "a/b/shared.py").symlink_to("../../lib/shared.py")
    (root / "week1").symlink_to("a/b")
    found = Catalogue(root).problem("week1/grader.py")
    assert found.bundle.files["grader/shared.py"] == b"s"
    assert found.answer == "answer"


def test_what_is_no_file_is_left_out_and_never_waited_for(root: Path) -> None:
    os.mkfifo(root / "a/b/pipe")
    assert sorted(Catalogue(root).problem("a/b").bundle.files) == ["grader/grader.py"]
    (root / "a/b/answer.py").unlink()
    os.mkfifo(root / "a/b/answer.py")
    with pytest.raises(CatalogueError, match="regular"):
        Catalogue(root).problem("a/b")


def test_a_missing_answer_is_named(root: Path) -> None:
    (root / "a/b/answer.py").unlink()
    with pytest.raises(CatalogueError, match=r"answer\.py"):
        Catalogue(root).problem("a/b")


def test_too_much_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MOST_BYTES", 100)
    write(root, {"a/b/big": b"x" * 101})
    with pytest.raises(CatalogueError, match="more than"):
        Catalogue(root).problem("a/b")


def test_a_warm_problem_is_the_same_object_until_a_file_changes(root: Path) -> None:
    found = Catalogue(root)
    first = found.problem("a/b")
    assert found.problem("a/b") is first
    write(root, {"a/b/answer.py": "another answer"})
    second = found.problem("a/b")
    assert (second.answer, second.bundle.digest) == ("another answer", first.bundle.digest)
    write(root, {"a/b/helper.py": "new"})
    third = found.problem("a/b")
    assert third.bundle.digest != first.bundle.digest
    os.replace(root / "a/b/helper.py", root / "a/b/grader.py")
    assert found.problem("a/b").bundle.files == {"grader/grader.py": b"new"}


def test_list_graders(root: Path) -> None:
    write(
        root,
        {"x/grader.py": "", "y/grader.py": "", "y/answer.py": "", ".git/grader.py": "", ".git/answer.py": ""},
    )
    assert list_graders(root) == ["a/b/grader.py", "y/grader.py"]
