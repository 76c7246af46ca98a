"""Uploaders' file names: whatever they are, one harmless path component each."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xqueue.filenames import MAX_NAME_BYTES, sanitise_file_name, sanitise_file_names


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("hw1.py", "hw1.py"),
        ("../../etc/x.py", "x.py"),
        ("C:\\Users\\me\\a b.txt", "a b.txt"),
        ("sp ace&<>%22'.txt", "sp ace____22_.txt"),
        (".bashrc", "bashrc"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        ("-rf", "rf"),
        ("a\x00b\nc", "a_b_c"),
        ("tab\u202egpj.exe", "tab_gpj.exe"),
        ("größe.py", "größe.py"),
        ("gro\u0308ße.py", "größe.py"),
        ("\ud800.py", "_.py"),
    ],
)
def test_file_names_become_harmless(name: str, safe: str) -> None:
    assert sanitise_file_name(name) == safe


@given(st.text() | st.text("./\\-\x00 aé😀", max_size=300))
@example("x" * 500 + ".py")
@example("a." + "b" * 300)
@example("." * 300)
def test_any_file_name_becomes_one_component(name: str) -> None:
    safe = sanitise_file_name(name)
    assert safe
    assert safe not in (".", "..")
    assert os.path.basename(safe) == safe
    assert not safe.startswith((".", "-"))
    assert "\x00" not in safe
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert sanitise_file_name(safe) == safe


@given(st.lists(st.text("ab./", max_size=4), unique=True, max_size=12))
def test_no_two_files_of_a_submission_get_one_name(names: list[str]) -> None:
    safe = sanitise_file_names(names)
    assert list(safe) == names
    assert len(set(safe.values())) == len(names)


def test_a_long_name_keeps_its_suffix() -> None:
    assert sanitise_file_name("x" * 300 + ".py").endswith("x.py")
