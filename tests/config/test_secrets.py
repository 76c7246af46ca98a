"""Secrets: where they are looked for, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.secrets import SecretError, read_secret
from supervisor.settings import SecretRef


def ref(path: Path, name: str = "") -> SecretRef:
    return SecretRef("servers.main.password_file", file=path, name=name or str(path))


def written(path: Path, raw: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(raw)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("raw", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_one_newline_at_the_end_does_not_count(tmp_path: Path, raw: bytes) -> None:
    assert read_secret(ref(written(tmp_path / "s", raw)), {}) == "hunter2"


def test_spaces_belong_to_the_secret(tmp_path: Path) -> None:
    assert read_secret(ref(written(tmp_path / "s", b" a b \n")), {}) == " a b "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620])
def test_a_file_that_others_may_touch_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "s", b"hunter2", mode)
    with pytest.raises(SecretError, match=f"chmod 600 {path}") as caught:
        read_secret(ref(path), {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "words"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"a\nb", "more than one line"), (b"\xff\xfe", "not UTF-8")],
)
def test_what_is_no_secret_is_refused(tmp_path: Path, raw: bytes, words: str) -> None:
    with pytest.raises(SecretError, match=words):
        read_secret(ref(written(tmp_path / "s", raw)), {})


def test_a_missing_file_a_folder_and_a_huge_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"servers\.main\.password_file: .* does not exist"):
        read_secret(ref(tmp_path / "nowhere"), {})
    with pytest.raises(SecretError, match="cannot be read"):
        read_secret(ref(tmp_path), {})
    with pytest.raises(SecretError, match="larger"):
        read_secret(ref(written(tmp_path / "s", b"x" * 100_000)), {})


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(SecretError, match="is not a file"):
        read_secret(ref(tmp_path / "fifo"), {})


def test_the_environment_gives_a_secret_and_its_absence_is_told() -> None:
    by_env = SecretRef("servers.main.password_env", env="WARDEN_TEST_PW")
    assert read_secret(by_env, {"WARDEN_TEST_PW": "hunter2"}) == "hunter2"
    with pytest.raises(SecretError, match=r"\$WARDEN_TEST_PW is not set"):
        read_secret(by_env, {})
    with pytest.raises(SecretError, match="is empty"):
        read_secret(by_env, {"WARDEN_TEST_PW": ""})


def test_the_service_managers_credentials_come_first_for_a_relative_name(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    written(credentials / "pw", b"theirs", 0o440)
    ours = written(tmp_path / "pw", b"ours")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert read_secret(ref(ours, "secrets/pw"), environ) == "theirs"
    assert read_secret(ref(ours, str(ours)), environ) == "ours"
    assert read_secret(ref(ours, "secrets/other"), environ) == "ours"


def test_a_reference_never_shows_the_secret(tmp_path: Path) -> None:
    path = written(tmp_path / "s", b"hunter2")
    assert "hunter2" not in repr(ref(path))
