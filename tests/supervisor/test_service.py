"""The whole service: embedded XQueue, supervisor, sandbox, sample course; and everything killed at random."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from graders import manifest
from graders.model import Verdict
from supervisor.journal import FILE_NAME
from supervisor.lab import Lab
from supervisor.settings import MAX_ATTEMPTS
from tests.supervisor.stage import ROOT, gone, until

QUEUES = ("demo-functions", "demo-programs")
SLOW = frozenset({Verdict.TIMEOUT, Verdict.MEMORY, Verdict.LIMIT})
PAYLOAD = json.dumps({"grader": "functions/fibonacci/grader.py"})


class Scene(Lab):
    """A lab whose XQueue hands a lost submission out again after three seconds instead of sixty."""

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        more = ["--processing-delay-s", "3"] if name == "queue" else []
        super()._start(name, [*arguments, *more])

    def rows(self) -> list[dict[str, object]]:
        with contextlib.closing(sqlite3.connect(self.state_dir / FILE_NAME, timeout=10)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM submission ORDER BY id")]

    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.process("supervisor").pid)


@contextlib.contextmanager
def scene(*overrides: str) -> Iterator[Scene]:
    with Scene(ROOT / "config.toml", ["queues.demo-functions.workers=2", *overrides], QUEUES) as lab:
        yield lab


def answer() -> str:
    return (ROOT / "course/functions/fibonacci/answer.py").read_text()


def test_a_submission_goes_in_and_its_result_comes_out() -> None:
    with scene() as lab:
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", PAYLOAD, answer())
        assert lab.lms.wait(1, 30) == 1
        assert (lab.lms.delivered["anna"].correct, lab.lms.delivered["anna"].score) == (True, 1.0)
        status = lab.settled(1)
        assert status["totals"]["delivered"] == 1
        assert "seccomp" in status["isolation"]["python"]
        assert lab.stop("supervisor") == 0
        assert [row["state"] for row in lab.rows()] == ["DELIVERED"]


@pytest.mark.parametrize(
    "payload", ["", "null", "nonsense", '{"grader": 5}', '{"grader": "../../etc/passwd"}', "[1]", "{"]
)
def test_a_bad_payload_gets_a_neutral_answer_once_and_a_dead_letter(
    payload: str, bad_payloads: Scene
) -> None:
    lab, key = bad_payloads, f"learner{len(bad_payloads.lms.delivered)}"
    before = len(lab.lms.delivered)
    lab.submit(QUEUES[0], key, payload, "x = 1")
    assert lab.lms.wait(before + 1, 30) == before + 1
    reply = lab.lms.delivered[key]
    assert (reply.correct, reply.score) == (False, 0)
    assert "passwd" not in reply.msg and "Traceback" not in reply.msg
    row = next(row for row in lab.rows() if row["student_key"] == key)
    assert row["dead_at"] is not None and row["verdict"] == "ungraded"
    assert row["attempts"] == 1
    assert lab.lms.again == 0


@pytest.fixture(scope="module")
def bad_payloads() -> Iterator[Scene]:
    with scene() as lab:
        lab.start_supervisor()
        yield lab


def test_what_is_in_hand_at_sigterm_is_finished_and_delivered() -> None:
    with scene("sandboxes.python.limits.wall_s=30") as lab:
        lab.start_supervisor()
        slow = "import time\ntime.sleep(1.5)\n" + answer()
        lab.submit(QUEUES[0], "anna", PAYLOAD, slow)
        until(lambda: lab.rows(), "the submission to be in hand")
        lab.process("supervisor").terminate()
        assert lab.process("supervisor").wait(20) == 0
        assert lab.lms.delivered["anna"].correct
        assert [(row["state"], row["attempts"]) for row in lab.rows()] == [("DELIVERED", 1)]


def test_nothing_graded_is_graded_again_because_the_queue_was_away() -> None:
    with scene("sandboxes.python.limits.wall_s=30") as lab:
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", PAYLOAD, "import time\ntime.sleep(1.5)\n" + answer())
        until(lambda: lab.rows(), "the submission to be in hand")
        lab.process("queue").kill()
        lab.process("queue").wait()
        until(lambda: lab.rows()[0]["state"] == "GRADED", "the result to be stored")
        graded_at = lab.rows()[0]["graded_at"]
        lab.process("supervisor").kill()
        lab.process("supervisor").wait()
        lab.start_queue()
        lab.start_supervisor()
        assert lab.lms.wait(1, 30) == 1
        until(lambda: lab.rows()[0]["state"] == "DELIVERED", "the row to be closed")
        assert (lab.rows()[0]["attempts"], lab.rows()[0]["graded_at"]) == (1, graded_at)


def test_a_submission_that_kills_its_workers_ends_in_the_dead_letters_whatever_else_dies_meanwhile() -> None:
    """Three deaths of the only worker; that of the supervisor between them is not the submission's fault."""
    limits = "sandboxes.python.limits.wall_s=60"
    with scene(limits, "queues.demo-functions.workers=1", "queues.demo-functions.max_attempts=3") as lab:
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", PAYLOAD, "import time\ntime.sleep(40)\n" + answer())
        for attempt, culprit in ((1, "worker"), (2, "worker"), (3, "supervisor"), (3, "worker")):
            if culprit == "worker":
                worker = until(lambda n=attempt: in_hand(lab, n), f"attempt {attempt} in a worker's hand")
                worker.kill()
                until(lambda p=worker: gone(p), "its death")
            else:
                until(lambda n=attempt: lab.rows()[0]["attempts"] == n, f"attempt {attempt}")
                lab.process("supervisor").kill()
                lab.process("supervisor").wait()
                lab.start_supervisor()
        assert lab.lms.wait(1, 30) == 1
        assert not lab.lms.delivered["anna"].correct
        until(lambda: lab.rows()[0]["state"] == "DELIVERED", "the row to be closed")
        row = lab.rows()[0]
        assert (row["attempts"], row["interruptions"]) == (3, 1)
        assert (row["verdict"], row["blame"]) == ("ungraded", "service")
        assert row["dead_at"] is not None and "3 times" in str(row["reason"])


def in_hand(lab: Scene, attempt: int) -> psutil.Process | None:
    """The worker that is at that attempt of the only submission, if the status knows it by now."""
    row = next(iter(lab.rows()), None)
    if row is None or row["attempts"] != attempt or row["owner"] is None:
        return None
    return grading(lab, str(row["owner"]).partition("#")[0])


def grading(lab: Scene, slot: str) -> psutil.Process | None:
    """The process that sits in `slot` and grades, if the status knows it by now."""
    lab.process("supervisor").send_signal(signal.SIGUSR2)
    slots = lab.status()["queues"][QUEUES[0]]["slots"]
    pid = next((s["pid"] for s in slots if s["id"] == slot and s["phase"] == "grade"), None)
    try:
        return None if pid is None or gone(found := psutil.Process(pid)) else found
    except psutil.NoSuchProcess:  # its predecessor
        return None


def test_a_second_service_in_the_same_folder_is_refused() -> None:
    with scene() as lab:
        lab.start_supervisor()
        second = warden_run(f"warden.state_dir={json.dumps(str(lab.state_dir))}")
        assert second.returncode == 75
        assert f"pid {lab.process('supervisor').pid} " in second.stderr
        assert "Traceback" not in second.stderr


def warden_run(*overrides: str) -> subprocess.CompletedProcess[str]:
    words = [word for override in overrides for word in ("--set", override)]
    command = [sys.executable, "-m", "supervisor.cli", "run", "--config", str(ROOT / "config.toml"), *words]
    code = "from supervisor.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *command[3:]], capture_output=True, text=True, timeout=30, cwd=ROOT
    )


def test_a_bad_configuration_ends_with_all_its_problems_and_78() -> None:
    done = warden_run("warden.drain_s=-1", "warden.logg=1")
    assert done.returncode == 78
    assert "warden.drain_s" in done.stderr and "warden.logg" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_folder_that_cannot_be_made_ends_with_74(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = warden_run(f"warden.state_dir={json.dumps(str(tmp_path / 'file' / 'state'))}")
    assert done.returncode == 74
    assert "Traceback" not in done.stderr


def test_a_bad_queue_is_fatal_and_the_other_one_grades(tmp_path: Path) -> None:
    with scene(f"queues.demo-programs.handlers[0].grader_root={json.dumps(str(tmp_path / 'no'))}") as lab:
        lab.start_supervisor()
        bad = lab.status()["queues"]["demo-programs"]
        assert (bad["state"], bad["cause"]) == ("FATAL", "CONFIG")
        lab.submit(QUEUES[0], "anna", PAYLOAD, answer())
        assert lab.lms.wait(1, 30) == 1


def test_nothing_remains_a_second_after_the_supervisor_was_killed() -> None:
    with scene("sandboxes.python.limits.wall_s=30") as lab:
        lab.start_supervisor()
        lab.submit(QUEUES[0], "anna", PAYLOAD, "import time\ntime.sleep(20)\n" + answer())
        until(lambda: lab.rows(), "the submission to be in hand")
        supervisor = lab.supervisor()
        everyone = until(
            lambda: len(found := supervisor.children(recursive=True)) >= 7 and found,
            "three workers, three zygotes, one child",
        )
        supervisor.kill()
        until(lambda: all(map(gone, everyone)), "all to die", patience_s=1.0)


# -- killed at random ------------------------------------------------------------------------------------


def samples() -> list[tuple[str, manifest.Problem, manifest.Sample]]:
    """About a hundred quick submissions, alternating between the queues."""
    found = [
        (QUEUES[number % 2], problem, sample)
        for number, problem in enumerate(manifest.load(ROOT / "course"))
        for sample in problem.submissions
        if not sample.expected & SLOW
    ]
    random.Random(7).shuffle(found)
    return found[:100]


def victim(lab: Scene, kind: str) -> psutil.Process | None:
    """A process of that kind, if one runs now or soon: a child lives for milliseconds."""
    patience = time.monotonic() + 0.5
    while (found := _victim(lab, kind)) is None and time.monotonic() < patience:
        pass
    return found


def _victim(lab: Scene, kind: str) -> psutil.Process | None:
    try:
        workers = lab.supervisor().children()
        if kind == "worker":
            return random.choice(workers)
        zygotes = [zygote for worker in workers for zygote in worker.children()]
        if kind == "zygote":
            return random.choice(zygotes)
        return random.choice([child for zygote in zygotes for child in zygote.children()])
    except (IndexError, psutil.Error):
        return None


@pytest.mark.slow
def test_every_result_arrives_whatever_is_killed() -> None:
    sent = samples()
    kills: Counter[str] = Counter()
    kinds = itertools.cycle(["worker", "child", "zygote", "worker", "child", "supervisor", "zygote", "child"])
    with scene() as lab:
        lab.start_supervisor()

        def feed() -> None:
            for number, (queue, problem, sample) in enumerate(sent):
                lab.submit(queue, f"k{number}", problem.payload, sample.response)

        feeder = threading.Thread(target=feed)
        feeder.start()
        deadline = time.monotonic() + 90
        while lab.lms.wait(len(sent), random.uniform(0.05, 0.3)) < len(sent):
            assert time.monotonic() < deadline, (kills, len(lab.lms.delivered), lab.log("supervisor", 40))
            if sum(kills.values()) >= 24:
                continue
            # One has so many attempts; what is killed at each of them rightly ends in the dead letters.
            last = MAX_ATTEMPTS - 1
            if any(row["state"] == "RECEIVED" and int(str(row["attempts"])) >= last for row in lab.rows()):
                continue
            kind = next(kinds)
            if kind == "supervisor":
                everyone = lab.supervisor().children(recursive=True)
                lab.process("supervisor").kill()
                lab.process("supervisor").wait()
                until(lambda found=everyone: all(map(gone, found)), "nothing to remain", patience_s=1.0)
                lab.start_supervisor()
            else:
                chosen = victim(lab, kind)
                if chosen is None:
                    continue
                with contextlib.suppress(psutil.NoSuchProcess):
                    chosen.send_signal(signal.SIGKILL)
            kills[kind] += 1
        feeder.join()
        until(lambda: all(row["state"] == "DELIVERED" for row in lab.rows()), "all rows to be closed")
        assert min(kills["worker"], kills["zygote"], kills["child"], kills["supervisor"]) >= 1, kills
        assert lab.lms.invalid == []
        # A kill between the server's yes and our commit means that it is sent again, never graded again.
        assert lab.lms.again <= sum(kills.values())
        log = (lab.folder / "supervisor.log").read_text().splitlines()
        events = [json.loads(line) for line in log if line.startswith("{")]
        graded = Counter(event["submission"] for event in events if event["event"] == "submission graded")
        assert [key for key, count in graded.items() if count > 1] == []
        verdicts = dict(lab.graded())
        wrong = {
            key: (verdicts[key].verdict, sorted(sample.expected), verdicts[key].reason)
            for number, (_, _, sample) in enumerate(sent)
            if verdicts[key := f"k{number}"].verdict not in sample.expected
        }
        assert wrong == {}
        assert len(lab.rows()) == len(sent)
