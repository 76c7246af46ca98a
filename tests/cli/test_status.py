"""`warden status`, and the status file itself."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from graders.model import Cause
from supervisor.cli.status import render
from supervisor.cli.verbs import warden
from supervisor.status import (
    Alert,
    SlotState,
    Status,
    StatusUnreadable,
    decode,
    encode,
    read,
    write,
)

from .statuses import NOW, a_queue, a_slot, a_status

ROOT = Path(__file__).parents[2]


def shown(document: Status, now: float = NOW, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(render(document, now))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    document = a_status(alerts=(Alert(at=NOW, cause=Cause.GRADER_BUG, text="boom", queue="demo", count=3),))
    write(tmp_path / "status.json", document)
    assert read(tmp_path / "status.json") == document
    assert document.written_at_iso == "2027-01-15T07:59:59.000+00:00"


def test_everybody_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path / "status.json", a_status())
    finally:
        os.umask(before)
    assert (tmp_path / "status.json").stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["status.json"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "status.json", a_status())
    old = (tmp_path / "status.json").read_bytes()
    (tmp_path / ".status.json.tmp").mkdir()  # in the way
    with pytest.raises(OSError):
        write(tmp_path / "status.json", a_status(NOW + 1))
    assert (tmp_path / "status.json").read_bytes() == old


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".status.json.tmp").symlink_to(victim)
    with pytest.raises(OSError):
        write(tmp_path / "status.json", a_status())
    assert victim.read_text() == "precious"


def test_a_reader_never_sees_half_a_document(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write(path, a_status())
    done = threading.Event()

    def keep_writing() -> None:
        count = 0
        while not done.is_set():
            count += 1
            queues = {f"q{i}": a_queue() for i in range(count % 30)}
            write(path, a_status(queues=queues))

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(300):
            read(path)
    finally:
        done.set()
        writer.join()


def test_newer_minor_versions_are_read_and_other_majors_refused() -> None:
    document = json.loads(encode(a_status()))
    document |= {"schema": "1.7", "novelty": {"x": 1}}
    document["queues"]["demo"]["novelty"] = [1]
    assert decode(json.dumps(document).encode()).queues["demo"].delivered == 12
    document["schema"] = "2.0"
    with pytest.raises(StatusUnreadable, match=r"schema is '2\.0'"):
        decode(json.dumps(document).encode())


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b"\xff", b'{"schema": "1.0"}', b'{"schema": 1}', b"[" * 100_000]
)
def test_garbage_is_told(raw: bytes) -> None:
    with pytest.raises(StatusUnreadable, match="not a status document"):
        decode(raw)


def test_impossible_times_are_told() -> None:
    document = json.loads(encode(a_status())) | {"written_at": 1e300, "written_at_iso": ""}
    with pytest.raises(StatusUnreadable):
        decode(json.dumps(document).encode())


# --- the command -------------------------------------------------------------------------------------


def test_the_table_names_queues_slots_and_what_is_wrong() -> None:
    bad = a_queue(
        state=SlotState.FATAL, cause=Cause.CONFIG, message="queues.bad.server: there is none", since=NOW - 600
    )
    text = shown(a_status(queues={"demo": a_queue(), "bad": bad}))
    assert "demo/0" in text
    assert "bad: CONFIG: queues.bad.server: there is none (for 10 min)" in text
    assert "verdicts  correct 14  incorrect 10" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_servers_text_cannot_drive_the_terminal() -> None:
    text = shown(a_status(queues={"demo": a_queue(message="\x1b[2Jgone", cause=Cause.QUEUE_ERROR)}))
    assert "\x1b" not in text
    assert "gone" in text


def test_a_service_that_is_down_is_shown_with_the_age() -> None:
    text = shown(a_status(), NOW + 7200)
    assert "dead or stuck" in text
    assert "(2 h ago)" in text


def test_json_is_the_document_itself(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    document = a_status()
    write(path, document)
    ran = CliRunner().invoke(warden, ["status", "--json", "--status-file", str(path)])
    assert ran.exit_code == 0
    assert msgspec.json.decode(ran.output.encode(), type=Status) == document


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_no_file_is_told_without_a_traceback(tmp_path: Path, flags: list[str]) -> None:
    ran = CliRunner().invoke(warden, ["status", *flags, "--status-file", str(tmp_path / "status.json")])
    assert ran.exit_code == 1
    assert "has never run here" in ran.output
    assert "Traceback" not in ran.output


def test_the_configuration_tells_where_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "config.toml").write_text("")
    write(
        tmp_path / "var" / "status.json", a_status(time.time(), queues={"demo": a_queue(slots=(a_slot(),))})
    )
    ran = CliRunner().invoke(warden, ["status", "--config", str(tmp_path / "config.toml")])
    assert ran.exit_code == 0
    assert "demo" in ran.output


def test_watch_ends_well_on_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write(path, a_status(time.time()))
    program = "from supervisor.cli import main; main()"
    watching = subprocess.Popen(
        [sys.executable, "-c", program, "status", "--watch", "--status-file", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        # Nothing is drawn into a pipe until the end, so its readiness is seen in what it waits for.
        wchan = Path(f"/proc/{watching.pid}/syscall")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not _sleeps(wchan):
            assert watching.poll() is None
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=20)
    finally:
        watching.kill()
        watching.wait()
    assert watching.returncode == 0, err
    assert b"demo" in out
    assert err == b""


def _sleeps(path: Path) -> bool:
    """Whether the process is in clock_nanosleep(2): in REDRAW_S's wait, and nowhere else."""
    try:
        return path.read_text().split()[0] in ("230", "115")  # x86-64, arm64
    except (OSError, IndexError):
        return False
