"""What an operator does to a running service: reload, pause, rotate, recycle, end, kill; and what is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from supervisor.cli.verbs import warden
from tests.supervisor.stage import ROOT, gone, until
from tests.supervisor.test_service import PAYLOAD, QUEUES, Scene, answer

FUNCTIONS, PROGRAMS = QUEUES


@contextlib.contextmanager
def scene(folder: Path, *overrides: str) -> Iterator[Scene]:
    """A service whose configuration is a file in `folder`, to be changed."""
    text = (ROOT / "config.toml").read_text().replace('"course', f'"{ROOT}/course')
    (folder / "config.toml").write_text(text)
    with Scene(folder / "config.toml", ["sandboxes.python.limits.wall_s=30", *overrides], QUEUES) as lab:
        yield lab


def edit(lab: Scene, change: Callable[[str], str]) -> None:
    before = lab.config.read_text()
    after = change(before)
    assert after != before
    lab.config.write_text(after)


def reload(lab: Scene) -> dict[str, Any]:
    """SIGHUP, and what the status says of it."""
    since = time.time()
    lab.process("supervisor").send_signal(signal.SIGHUP)
    found: dict[str, Any] = until(
        lambda: (told := lab.status().get("reload")) and told["at"] >= since - 0.002 and told,
        "the reload in the status",
    )
    return found


def workers(lab: Scene, queue: str) -> dict[str, Any]:
    """slot -> (pid, state), as it is now."""
    lab.process("supervisor").send_signal(signal.SIGUSR2)
    slots = lab.status()["queues"].get(queue, {"slots": []})["slots"]
    return {slot["id"]: (slot["pid"], slot["state"]) for slot in slots}


def replaced(lab: Scene, queue: str, before: dict[str, Any]) -> bool:
    now = workers(lab, queue)
    return (
        now.keys() == before.keys()
        and all(state == "RUNNING" for _, state in now.values())
        and not {pid for pid, _ in now.values()} & {pid for pid, _ in before.values()}
    )


def sleepy(seconds: float) -> str:
    return f"import time\ntime.sleep({seconds})\n" + answer()


def in_hand(lab: Scene, key: str) -> None:
    until(lambda: any(row["student_key"] == key for row in lab.rows()), f"{key} to be in hand")


def closed(lab: Scene) -> list[tuple[object, object]]:
    until(lambda: all(row["state"] == "DELIVERED" for row in lab.rows()), "all rows to be closed")
    return [(row["student_key"], row["attempts"]) for row in lab.rows()]


def test_a_reload_replaces_who_is_concerned_when_what_is_in_hand_is_done(tmp_path: Path) -> None:
    with scene(tmp_path) as lab:
        lab.start_supervisor()
        functions, programs = workers(lab, FUNCTIONS), workers(lab, PROGRAMS)
        lab.submit(FUNCTIONS, "anna", PAYLOAD, sleepy(1.5))
        in_hand(lab, "anna")
        section = f"[queues.{FUNCTIONS}]\n"
        edit(lab, lambda text: text.replace(section, section + "max_attempts = 4\n"))
        told = reload(lab)
        assert told["ok"], told
        assert f"workers replaced: {FUNCTIONS}" in told["message"]
        until(lambda: replaced(lab, FUNCTIONS, functions), "new workers")
        assert workers(lab, PROGRAMS) == programs
        assert lab.lms.delivered["anna"].correct, "finished before its worker went"
        functions = workers(lab, FUNCTIONS)
        assert reload(lab)["message"] == "nothing has changed"
        assert workers(lab, FUNCTIONS) == functions

        fresh = lab.folder / "fresh"
        fresh.touch(mode=0o600)
        fresh.write_text(lab.password_file.read_text())
        fresh.replace(lab.password_file)
        assert "workers replaced" in reload(lab)["message"]
        until(lambda: replaced(lab, FUNCTIONS, functions), "workers that have read the new password")
        until(lambda: replaced(lab, PROGRAMS, programs), "all of them")

        good = workers(lab, FUNCTIONS)
        edit(lab, lambda text: text.replace("max_attempts = 4", "max_attempts = 400") + "\n[nonsense]\n")
        told = reload(lab)
        assert not told["ok"] and "max_attempts" in told["message"] and "nonsense" in told["message"]
        assert workers(lab, FUNCTIONS) == good
        code, line = lab.health()
        assert code == 1 and "old one is in force: CONFIG" in line
        lab.submit(FUNCTIONS, "ben", PAYLOAD, answer())
        assert lab.lms.wait(2, 30) == 2
        assert closed(lab) == [("anna", 1), ("ben", 1)]


def test_a_pause_finishes_and_delivers_and_then_leaves_the_server_alone(tmp_path: Path) -> None:
    with scene(tmp_path) as lab:
        lab.start_supervisor()
        lab.submit(FUNCTIONS, "anna", PAYLOAD, sleepy(1.0))
        in_hand(lab, "anna")
        config = ["--config", str(lab.config), "--set", f"warden.state_dir={json.dumps(str(lab.state_dir))}"]
        done = CliRunner().invoke(warden, ["pause", *config, FUNCTIONS, "--message", "new disk"])
        assert done.exit_code == 0 and done.stderr == ""
        lab.submit(FUNCTIONS, "ben", PAYLOAD, answer())
        assert lab.lms.wait(1, 30) == 1 and "anna" in lab.lms.delivered
        lab.submit(PROGRAMS, "carl", json.dumps({"grader": "c/sum"}), "x")
        assert lab.lms.wait(2, 30) == 2 and "carl" in lab.lms.delivered
        assert [row["student_key"] for row in lab.rows()] == ["anna", "carl"], "ben waits on the server"
        _, line = lab.health()
        assert f"queue {FUNCTIONS} is paused until it is resumed: new disk" in line, line
        assert lab.stop("supervisor") == 0
        lab.start_supervisor()
        until(lambda: lab.status()["queues"][FUNCTIONS]["paused_since"], "the pause after a restart")
        assert CliRunner().invoke(warden, ["resume", *config, "--all"]).exit_code == 0
        assert lab.lms.wait(3, 30) == 3 and lab.lms.delivered["ben"].correct
        assert [attempts for _, attempts in closed(lab)] == [1, 1, 1]


def test_a_rotated_log_is_made_anew_and_all_write_to_it(tmp_path: Path) -> None:
    log = tmp_path / "warden.log"
    with scene(tmp_path, f"warden.log_file={json.dumps(str(log))}") as lab:
        lab.start_supervisor()
        lab.submit(FUNCTIONS, "anna", PAYLOAD, answer())
        assert lab.lms.wait(1, 30) == 1
        closed(lab)
        log.rename(tmp_path / "warden.log.1")
        lab.process("supervisor").send_signal(signal.SIGUSR1)
        until(log.exists, "the new file")
        assert log.stat().st_mode & 0o777 == 0o640
        lab.submit(FUNCTIONS, "ben", PAYLOAD, answer())
        assert lab.lms.wait(2, 30) == 2
        closed(lab)
        old, new = ((tmp_path / name).read_text() for name in ("warden.log.1", "warden.log"))
        events = [json.loads(line)["event"] for line in new.splitlines()]
        assert events[0] == "log reopened" and "submission graded" in events
        assert old.count('"submission graded"') == new.count('"submission graded"') == 1
        assert "submission graded" not in lab.log("supervisor", 1000)


def test_workers_are_recycled_and_no_submission_is_lost_or_graded_twice(tmp_path: Path) -> None:
    recycled = ["warden.recycle_submissions=2", f"queues.{FUNCTIONS}.workers=2"]
    with scene(tmp_path, *recycled) as lab:
        lab.start_supervisor()
        before = {pid for pid, _ in workers(lab, FUNCTIONS).values()}
        sent = 0
        while before & {pid for pid, _ in workers(lab, FUNCTIONS).values()}:
            for _ in range(4):  # of single ones the same worker may get every one
                lab.submit(FUNCTIONS, f"k{sent}", PAYLOAD, answer())
                sent += 1
            assert lab.lms.wait(sent, 30) == sent
            assert sent < 400, "both workers were to be replaced"
        assert set(closed(lab)) == {(f"k{number}", 1) for number in range(sent)}
        assert len(lab.rows()) == sent and lab.lms.again == 0
        until(lambda: {s for _, s in workers(lab, FUNCTIONS).values()} == {"RUNNING"}, "both seats taken")
        crashes = [slot["crashes"] for slot in lab.status()["queues"][FUNCTIONS]["slots"]]
        assert crashes == [0, 0]


def test_what_a_drain_could_not_finish_is_graded_at_the_next_start(tmp_path: Path) -> None:
    with scene(tmp_path, "warden.drain_s=0.3") as lab:
        lab.start_supervisor()
        lab.submit(FUNCTIONS, "anna", PAYLOAD, sleepy(2.0))
        in_hand(lab, "anna")
        everyone = lab.supervisor().children(recursive=True)
        lab.process("supervisor").terminate()
        assert lab.process("supervisor").wait(10) == 1
        until(lambda: all(map(gone, everyone)), "nothing to remain", patience_s=1.0)
        assert lab.rows()[0]["state"] == "RECEIVED" and not lab.lms.delivered
        lab.start_supervisor()
        assert lab.lms.wait(1, 30) == 1 and lab.lms.delivered["anna"].correct
        assert lab.lms.again == 0
        closed(lab)


# -- after kill -9 -----------------------------------------------------------------------------------------


def leftovers(lab: Scene, scratch: Path, dead: set[int]) -> dict[str, list[str]]:
    """What a dead service may leave: groups of its workers, mounts and folders in `scratch`, own files."""
    groups = [
        path
        for path, _, _ in os.walk("/sys/fs/cgroup")
        if any(Path(path).name.startswith(f"warden-{pid}-") for pid in dead)
    ]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(scratch) in line]
    folders = [entry.name for entry in scratch.iterdir() if not entry.name.startswith("warden-lab-")]
    files = [entry.name for entry in lab.state_dir.iterdir() if entry.name.endswith(".tmp")]
    return {"groups": groups, "mounts": mounts, "folders": folders, "files": files}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this test and of all that it starts."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_killed_with_a_grading_in_hand_nothing_remains_and_it_is_graded_once_more(
    tmp_path: Path, scratch: Path
) -> None:
    with scene(tmp_path) as lab:
        lab.start_supervisor()
        lab.submit(FUNCTIONS, "anna", PAYLOAD, sleepy(2.0))
        until(lambda: lab.rows() and lab.rows()[0]["attempts"] == 1, "the grading to be begun")
        supervisor = lab.supervisor()
        everyone = supervisor.children(recursive=True)
        dead = {worker.pid for worker in supervisor.children()}
        (lab.state_dir / ".status.json.tmp").write_text("half")
        supervisor.kill()
        lab.process("supervisor").wait()
        until(lambda: all(map(gone, everyone)), "all to die", patience_s=1.0)
        assert not lab.lms.delivered
        lab.start_supervisor()
        assert lab.lms.wait(1, 30) == 1 and lab.lms.delivered["anna"].correct
        assert closed(lab) == [("anna", 1)], "an interruption is no failed attempt"
        assert lab.rows()[0]["interruptions"] == 1
        assert lab.lms.again == 0 and lab.log("supervisor", 1000).count('"submission graded"') == 1
        assert lab.stop("supervisor") == 0
        assert leftovers(lab, scratch, dead) == {"groups": [], "mounts": [], "folders": [], "files": []}


def test_of_a_worker_that_dies_in_the_drain_nothing_remains(tmp_path: Path, scratch: Path) -> None:
    with scene(tmp_path) as lab:
        lab.start_supervisor()
        lab.submit(FUNCTIONS, "anna", PAYLOAD, sleepy(0.0))
        assert lab.lms.wait(1, 30) == 1
        workers = lab.supervisor().children()
        dead = {worker.pid for worker in workers}
        lab.supervisor().suspend()
        for worker in workers:
            worker.kill()
        lab.process("supervisor").terminate()
        lab.supervisor().resume()
        lab.process("supervisor").wait(10)
        assert leftovers(lab, scratch, dead) == {"groups": [], "mounts": [], "folders": [], "files": []}


@pytest.mark.parametrize("kind", ["worker", "zygote"])
def test_what_hung_with_its_supervisor_dies_with_it_too(tmp_path: Path, kind: str) -> None:
    with scene(tmp_path) as lab:
        lab.start_supervisor()
        supervisor = lab.supervisor()
        everyone = supervisor.children(recursive=True)
        worker = supervisor.children()[0]
        stopped: psutil.Process = worker if kind == "worker" else worker.children()[0]
        stopped.suspend()
        supervisor.kill()
        lab.process("supervisor").wait()
        until(lambda: all(map(gone, everyone)), "all to die", patience_s=1.0)
