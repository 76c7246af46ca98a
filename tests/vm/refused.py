"""A host that grants ordinary users no user namespaces: `full` is refused, in words that help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.jail import Jail
from sandbox.model import Isolation, Profile, SandboxUnavailable, Task


def warden(*arguments: str, timeout_s: float = 280) -> subprocess.CompletedProcess[str]:
    code = "from supervisor.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=timeout_s
    )


def test_this_host_grants_none() -> None:
    assert os.geteuid() != 0
    with pytest.raises(OSError):
        from sandbox import kernel

        kernel.unshare(kernel.CLONE_NEWUSER)


def test_full_is_refused_and_the_words_name_the_layer() -> None:
    with pytest.raises(SandboxUnavailable, match=r"unshare|user namespace") as caught:
        Jail(Profile(require=Isolation.FULL)).run(Task("os:getcwdb", b""))
    assert "full" in str(caught.value)


def test_grade_says_what_is_missing_and_gives_no_verdict() -> None:
    grader, learner = _one_of_the_course()
    done = warden("grade", str(grader), str(learner))
    said = done.stdout + done.stderr
    assert done.returncode == 3, said
    assert "user namespace" in said, said
    assert "Traceback" not in said, said
    assert '"correct": true' not in said


def test_check_says_so_before_the_service_is_started() -> None:
    done = warden("check")
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "user namespace" in said and "warden doctor" in said, said
    assert "Traceback" not in said, said


def test_doctor_says_what_to_mend() -> None:
    done = warden("doctor")
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "user namespace" in said, said
    assert "sysctl" in said, said
    assert "Traceback" not in said, said


def _one_of_the_course() -> tuple[Path, Path]:
    grader = sorted(Path("course/functions").rglob("grader.py"))[0]
    learner = sorted(Path("course/submissions/functions").rglob("*.py"))[0]
    return grader, learner
