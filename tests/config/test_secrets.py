"""Secrets: where they are looked for, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from supervisor.secrets import SecretError, forget, read_secret
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


def test_a_file_in_a_folder_where_others_may_replace_it_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    path = written(folder / "s", b"hunter2")
    folder.chmod(0o777)
    with pytest.raises(SecretError, match=f"chmod go-w {folder}"):
        read_secret(ref(path), {})
    folder.chmod(0o1777)  # as /tmp: only its owner may replace it
    assert read_secret(ref(path), {}) == "hunter2"


def test_a_link_counts_as_what_it_points_to(tmp_path: Path) -> None:
    target = written(tmp_path / "real", b"hunter2")
    (tmp_path / "link").symlink_to(target)
    assert read_secret(ref(tmp_path / "link"), {}) == "hunter2"
    target.chmod(0o644)
    with pytest.raises(SecretError, match="can be read by others"):
        read_secret(ref(tmp_path / "link"), {})


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away, as only root may")
def test_another_users_file_is_refused_by_a_user_and_read_by_root() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = written(Path(name) / "s", b"hunter2")
        Path(name).chmod(0o755)
        os.chown(path, 12345, -1)
        assert read_secret(ref(path), {}) == "hunter2"
        # What a user can read of another user's with mode 0600, he reads by a capability or not at all.
        program = (
            "import os, sys, prctl; prctl.securebits.keep_caps = True; os.setresuid(12346, 12346, 12346)\n"
            "prctl.cap_effective.dac_override = True\n"
            "from pathlib import Path\nfrom supervisor.secrets import *\n"
            "from supervisor.settings import SecretRef\n"
            "try: read_secret(SecretRef('x', file=Path(sys.argv[1])), {})\n"
            "except SecretError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
        assert f"belongs to user 12345; run: chown 12346 {path}" in done.stdout, done.stderr


def test_a_sealed_process_shows_its_environment_to_root_only_and_still_sees_itself() -> None:
    program = (
        "import os, sys\nfrom supervisor.secrets import seal\nseal()\n"
        "assert os.listdir('/proc/self/fd')\nprint('sealed', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sealed\n"
        environ = Path(f"/proc/{process.pid}/environ")
        assert environ.stat().st_uid == 0
        if os.geteuid() != 0:
            with pytest.raises(PermissionError):
                environ.read_bytes()


def test_a_variable_is_forgotten_once_it_was_read() -> None:
    environ = {"PW": "hunter2", "HOME": "/"}
    by_env = SecretRef("servers.main.password_env", env="PW")
    assert read_secret(by_env, environ) == "hunter2"
    forget((by_env, ref(Path("/nowhere"))), environ)
    assert environ == {"HOME": "/"}
