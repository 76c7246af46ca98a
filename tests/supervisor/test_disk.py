"""A journal whose disk is full, read-only, failing, damaged: nothing is pulled, HOST is said; it goes on."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from supervisor.journal import FILE_NAME
from tests.supervisor.stage import ROOT, until
from tests.supervisor.test_salvage import overwrite
from tests.supervisor.test_service import PAYLOAD, QUEUES, Scene, answer, scene

IN_A_SMALL_DISK = """
    import subprocess, sys
    from pathlib import Path
    from dataclasses import replace
    from supervisor import journal
    from supervisor.journal import Journal, JournalError, Receipt
    from supervisor.retention import Retention
    from tests.supervisor.test_journal import MARK, NOW, PULLED

    disk = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
    path = disk / journal.FILE_NAME
    def fails(what, *words):
        try:
            what()
        except JournalError as error:
            assert any(word in str(error) for word in words), str(error)
        else:
            raise AssertionError("it was not refused")
    def another(number):
        return replace(PULLED, submission_id=str(number), response="x" * 100_000)
"""
FULL = """
    book = Journal(path, "s", "q", "q.0#1")
    _, first = book.receive(PULLED, NOW)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    fails(book.check, "KiB are free")
    fails(lambda: book.probe(NOW), "KiB are free")
    fails(lambda: [book.receive(another(n), NOW) for n in range(9)], "full; make room")
    filler.unlink()
    book.check()
    book.probe(NOW)
    assert book.outlook(NOW)[0].count == 1, "nothing of it is half there"
    book.record(first.id, "reply", MARK, NOW)
    assert book.receive(another(1), NOW)[0] is Receipt.NEW
"""
READ_ONLY = """
    book = Journal(path, "s", "q", "q.0#1")
    _, first = book.receive(PULLED, NOW)
    book.close()
    subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
    fails(lambda: Journal(path, "s", "q", "q.0#2"), "Read-only file system", "cannot be written")
    fails(lambda: journal.prepare(path, Retention(), NOW), "Read-only file system", "cannot be written")
    subprocess.run(["mount", "-o", "remount,bind,rw", disk], check=True)
    assert journal.prepare(path, Retention(), NOW)[("s", "q")].count == 1
    book = Journal(path, "s", "q", "q.0#3")
    assert book.receive(another(1), NOW)[0] is Receipt.NEW
"""


@pytest.mark.parametrize("script", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_a_disk_that_is_full_or_read_only_is_named_and_used_again_when_it_is_well(
    tmp_path: Path, script: str
) -> None:
    """On a tmpfs in a mount namespace of the test's own."""
    code = textwrap.dedent(IN_A_SMALL_DISK) + textwrap.dedent(script)
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", code, tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def trouble(lab: Scene) -> str:
    queue = lab.status()["queues"][QUEUES[0]]
    return str(queue["message"]) if queue["cause"] == "HOST" else ""


def workers(lab: Scene) -> list[psutil.Process]:
    return lab.supervisor().children()


@pytest.mark.slow
def test_a_service_whose_journal_cannot_be_written_pulls_nothing_and_goes_on_by_itself() -> None:
    """Its workers may write no byte more: for SQLite that is a disk with errors."""
    with scene("queues.demo-functions.workers=2") as lab:
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", PAYLOAD, answer())
        assert lab.lms.wait(1, 30) == 1
        until(lambda: lab.rows()[0]["state"] == "DELIVERED", "the row to be closed")
        stopped = [worker.pid for worker in workers(lab)]
        for pid in stopped:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        lab.submit(QUEUES[0], "berta", PAYLOAD, answer())
        until(lambda: trouble(lab), "HOST to be said")
        assert "the disk answers with errors" in trouble(lab)
        lab.submit(QUEUES[0], "carla", PAYLOAD, answer())
        assert [row["student_key"] for row in lab.rows()] == ["anna"]
        for pid in stopped:
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        assert lab.lms.wait(3, 40) == 3
        assert all(result.correct for result in lab.lms.delivered.values())
        until(lambda: not trouble(lab), "the trouble to be over")
        assert [worker.pid for worker in workers(lab)] == stopped, "nobody had to be killed for it"
        assert [row["attempts"] for row in lab.rows()] == [1, 1, 1]


@pytest.mark.slow
def test_what_was_graded_while_the_disk_failed_is_kept_and_not_graded_again() -> None:
    with scene("queues.demo-functions.workers=1", "sandboxes.python.limits.wall_s=30") as lab:
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", PAYLOAD, "import time\ntime.sleep(1.5)\n" + answer())
        until(lambda: lab.rows(), "the submission to be in hand")
        (pid,) = (
            slot["pid"] for slot in lab.status()["queues"][QUEUES[0]]["slots"] if slot["pid"] is not None
        )
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        until(lambda: trouble(lab), "HOST to be said")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert lab.lms.wait(1, 40) == 1
        assert lab.lms.delivered["anna"].correct
        assert [(row["attempts"], row["interruptions"]) for row in lab.rows()] == [(1, 0)]


@pytest.mark.slow
def test_a_service_that_finds_its_journal_damaged_saves_what_it_can_tells_and_works() -> None:
    with scene() as lab:
        lab.start_supervisor()
        for number in range(3):
            lab.submit(QUEUES[0], f"k{number}", PAYLOAD, f"# {'x' * 20_000}\n{answer()}")
        assert lab.lms.wait(3, 30) == 3
        until(lambda: all(row["state"] == "DELIVERED" for row in lab.rows()), "all rows to be closed")
        assert lab.stop("supervisor") == 0
        file = lab.state_dir / FILE_NAME
        overwrite(file, file.stat().st_size // 4096 - 6, 4)
        lab.start_supervisor()
        alerts = lab.status()["alerts"]
        assert any(one["cause"] == "HOST" and "was damaged" in one["text"] for one in alerts), alerts
        assert list(lab.state_dir.glob(f"{FILE_NAME}.damaged-*"))
        assert lab.rows(), "some were saved"
        lab.submit(QUEUES[0], "later", PAYLOAD, answer())
        assert lab.lms.wait(4, 30) == 4


@pytest.mark.slow
def test_a_journal_that_is_damaged_while_the_service_runs_is_mended_and_it_goes_on_by_itself() -> None:
    with scene("queues.demo-functions.workers=2") as lab:
        lab.start_supervisor()
        supervisor = lab.supervisor().pid
        for number in range(3):
            lab.submit(QUEUES[0], f"k{number}", PAYLOAD, f"# {'x' * 20_000}\n{answer()}")
        assert lab.lms.wait(3, 30) == 3
        until(lambda: all(row["state"] == "DELIVERED" for row in lab.rows()), "all rows to be closed")
        file = lab.state_dir / FILE_NAME
        overwrite(file, 1, file.stat().st_size // 4096 - 1)
        file.with_name(f"{FILE_NAME}-wal").write_bytes(b"")  # what it holds would heal some of that
        for number in range(3):
            lab.submit(QUEUES[0], f"later{number}", PAYLOAD, answer())
        assert lab.lms.wait(6, 40) == 6
        assert all(result.correct for result in lab.lms.delivered.values())
        assert lab.supervisor().pid == supervisor
        assert list(lab.state_dir.glob(f"{FILE_NAME}.damaged-*"))
        alerts = lab.status()["alerts"]
        assert any(one["cause"] == "HOST" and "was damaged" in one["text"] for one in alerts), alerts
        until(lambda: not trouble(lab), "the trouble to be over")
        assert lab.stop("supervisor") == 0


@pytest.mark.slow
def test_a_journal_that_is_replaced_while_the_service_runs_is_taken_as_it_is() -> None:
    with scene("queues.demo-functions.workers=1") as lab:
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", PAYLOAD, answer())
        assert lab.lms.wait(1, 30) == 1
        for name in lab.state_dir.glob(f"{FILE_NAME}*"):
            name.rename(name.with_name(f"old-{name.name}"))
        (lab.state_dir / FILE_NAME).touch(mode=0o600)
        anew = "all workers were started anew"
        until(lambda: any(anew in one["text"] for one in lab.status()["alerts"]), "it to be told")
        lab.submit(QUEUES[0], "berta", PAYLOAD, answer())
        assert lab.lms.wait(2, 40) == 2
        assert [row["student_key"] for row in lab.rows()] == ["berta"]


def test_the_machine_has_what_these_tests_need() -> None:
    assert shutil.which("unshare"), "install util-linux"
