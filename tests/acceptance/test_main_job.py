"""The whole installation on real student programs: through the queue, and with SIGKILL at random.

The data (see its README) lies beside the repository: ../shared/data. A checkout without it reports these
tests as skipped, with the reason.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from graders import manifest
from graders.model import Verdict
from supervisor.lab import Lab

KINDS = ["worker", "zygote", "child"] * 3 + ["supervisor"]
KILL_EVERY_S = 3.0
"""Some submissions take seconds, and each has five attempts: killed more often, none of them would do."""

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
DATA = REPOSITORY.parent / "shared" / "data"

CONFIG = """
[warden]
state_dir = "unused"
drain_s = 10

[servers.demo]
url = "http://127.0.0.1:1"
username = "unused"
password_file = "unused"

[sandboxes.python]
require = "full"

[sandboxes.python.limits]
cpu_s = 2
wall_s = 20

[queues.left]
server = "demo"
workers = 2
poll_ceiling_s = 1

[[queues.left.handlers]]
kind = "gradelib"
grader_root = "{root}"
sandbox = "python"

[queues.right]
server = "demo"
workers = 1
poll_ceiling_s = 1

[[queues.right.handlers]]
kind = "gradelib"
grader_root = "{root}"
sandbox = "python"
"""


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Sequence[manifest.Problem]]:
    if not DATA.is_dir():
        pytest.skip(f"this machine has no folder {DATA.name} beside the checkout")
    root = tmp_path / "root"
    root.mkdir()
    return root, manifest.load_data(DATA, root)


@contextlib.contextmanager
def laboratory(tmp_path: Path, root: Path) -> Iterator[Lab]:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(root=root))
    with Lab(config, [], ["left", "right"]) as lab:
        lab.start_supervisor()
        yield lab


def wrong_ones(lab: Lab, sent: dict[str, manifest.Sample]) -> list[str]:
    """What differs from the expected: the verdict in the journal, or the mark that came back."""
    graded = dict(lab.graded())
    wrong = []
    for key, sample in sent.items():
        reply = lab.lms.delivered.get(key)
        verdict = graded[key].verdict if key in graded else "none"
        if reply is None or verdict not in sample.expected or reply.correct != (verdict == Verdict.CORRECT):
            wrong.append(f"{key} {sample.name}: {verdict}, {reply}, expected {set(sample.expected)}")
    return wrong


def test_the_demo_runs_the_sample_course(tmp_path: Path) -> None:
    """What a newcomer does, as a process of its own; nothing is left running."""
    done = subprocess.run(
        [sys.executable, "-c", "from supervisor.cli import main; main()", "demo"],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "every verdict is the expected one" in done.stdout
    assert "WARDEN OK" in done.stdout
    assert "isolation of python: user, pid, mount" in done.stdout
    assert not list(tmp_path.iterdir()), "the scratch folder is left"


def test_partial_credit_goes_through_a_legacy_queue_as_it_is(tmp_path: Path) -> None:
    course = REPOSITORY / "course"
    half_right = (course / "submissions/functions/leap_year/incorrect-julian.py").read_text()
    with laboratory(tmp_path, course) as lab:
        lab.submit("left", "somebody", '{"grader": "functions/leap_year/grader.py"}', half_right)
        assert lab.lms.wait(1, 30) == 1
        reply = lab.lms.delivered["somebody"]
        assert not reply.correct
        assert 0 < reply.score < 1


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_row_of_the_data_through_the_queue_while_everything_is_killed_at_random(
    data: tuple[Path, Sequence[manifest.Problem]], tmp_path: Path
) -> None:
    """2,149 submissions; SIGKILL to workers, zygotes, children and the supervisor, which is started again."""
    root, problems = data
    sent: dict[str, manifest.Sample] = {}
    jobs = []
    for number, problem in enumerate(problems):
        for index, sample in enumerate(problem.submissions):
            key = f"learner-{number}-{index}"
            sent[key] = sample
            jobs.append((("left", "right")[number % 2], key, problem.payload, sample.response))
    assert len(jobs) == sum(1 for _ in (DATA / "python_submissions.jsonl").open())
    seed = int(os.environ.get("WARDEN_SEED", "20261122"))
    dice = random.Random(seed)
    dice.shuffle(jobs)
    kills: dict[str, int] = {}
    victims = itertools.cycle(dice.sample(KINDS, len(KINDS)))
    next_kill = time.monotonic() + KILL_EVERY_S
    with laboratory(tmp_path, root) as lab:
        failures: list[BaseException] = []

        def feed() -> None:
            try:
                for job in jobs:
                    lab.submit(*job)
            except BaseException as error:
                failures.append(error)

        feeder = threading.Thread(target=feed)
        feeder.start()
        arrived, moved = 0, time.monotonic()
        while arrived < len(jobs):
            now = lab.lms.wait(arrived + 40, KILL_EVERY_S)
            if now > arrived:
                arrived, moved = now, time.monotonic()
            stalled = time.monotonic() - moved
            assert stalled < 240 and not failures, (
                f"seed {seed}, kills {kills}: {arrived} of {len(jobs)}, {failures}\n"
                f"{lab.log('supervisor', 40)}"
            )
            if arrived < len(jobs) * 0.9 and time.monotonic() > next_kill:
                kind = kill_somebody(lab, dice, next(victims))
                next_kill = time.monotonic() + KILL_EVERY_S
                kills[kind] = kills.get(kind, 0) + 1
        feeder.join()
        assert set(kills) == {"supervisor", "worker", "zygote", "child"}, kills
        wrong = wrong_ones(lab, sent)
        status = json.dumps(lab.status())
        shown = "\n".join(wrong[:20])
        assert not wrong, f"seed {seed}, kills {kills}: {len(wrong)} wrong\n{shown}\n{status}"
        assert not lab.lms.invalid
        print(f"seed {seed}, kills {kills}, delivered again {lab.lms.again}")


def kill_somebody(lab: Lab, dice: random.Random, kind: str) -> str:
    """SIGKILL to one process of the service, of this kind if there is one: the kind that it was.

    A supervisor is started again at once.
    """
    top = psutil.Process(lab.process("supervisor").pid)
    kinds: dict[str, list[psutil.Process]] = {"supervisor": [top], "worker": [], "zygote": [], "child": []}
    with contextlib.suppress(psutil.NoSuchProcess):
        kinds["worker"] = top.children()
        for worker in kinds["worker"]:
            with contextlib.suppress(psutil.NoSuchProcess):
                kinds["zygote"] += worker.children()
        for zygote in kinds["zygote"]:
            with contextlib.suppress(psutil.NoSuchProcess):
                kinds["child"] += zygote.children()
    if not kinds[kind]:
        kind = "worker" if kinds["worker"] else "supervisor"
    with contextlib.suppress(psutil.NoSuchProcess):
        dice.choice(kinds[kind]).kill()
    if kind == "supervisor":
        lab.process("supervisor").wait()
        lab.start_supervisor()
    return kind
