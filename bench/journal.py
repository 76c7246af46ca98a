"""What the journal costs: the three commits of a submission, timed alone, and its fsyncs counted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from graders.model import Blame, Cause, Verdict
from supervisor.journal import FILE_NAME, Journal, Mark, State, prepare
from supervisor.retention import Retention
from xqueue import protocol

SOURCE = "def leap(year):\n    return year % 4 == 0\n" * 20
REPLY = json.dumps(
    {"correct": True, "score": 1, "msg": "<div>" + "<p>a test that passed</p>" * 40 + "</div>"}
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Per submission, from received to confirmed. `fsyncs` is None where strace is not there."""

    wall_s: float
    cpu_s: float
    fsyncs: float | None


def measure(count: int) -> Cost:
    """The life of `count` submissions in a journal of their own, without grading and without HTTP."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-", dir="/var/tmp") as folder:  # a disk, not memory
        path = Path(folder) / FILE_NAME
        wall_s, cpu_s = live(path, count)
    return Cost(wall_s / count, cpu_s / count, _fsyncs(count))


def live(path: Path, count: int) -> tuple[float, float]:
    """Enter, grade, send and close `count` submissions; wall and CPU seconds of all."""
    prepare(path, Retention(), time.time())
    journal = Journal(path, "bench", "bench", "bench.0#1")
    pulled = [_pulled(number) for number in range(count)]
    mark = Mark(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER, "leap_year/grader.py")
    began, began_cpu = time.perf_counter(), time.process_time()
    for one in pulled:
        _, row = journal.receive(one, time.time())
        journal.record(row.id, REPLY, mark, time.time())
        due = journal.due(State.GRADED, time.time())
        if due is None or due.id != row.id:
            raise RuntimeError("the reply is not due")
        journal.delivered(row.id, row.header, time.time())
    took = time.perf_counter() - began, time.process_time() - began_cpu
    journal.close()
    return took


def _pulled(number: int) -> protocol.Submission:
    body = protocol.encode_body(
        payload='{"grader": "leap_year/grader.py"}',
        response=SOURCE,
        student_id=f"learner-{number}",
        submission_time="20261122080000",
    )
    header = protocol.encode_reply_header(number, f"{number:032x}")
    return protocol.decode_submission("bench", protocol.encode_pull(header, body, {}))


def _fsyncs(count: int) -> float | None:
    strace = shutil.which("strace")
    if strace is None:
        return None
    with tempfile.TemporaryDirectory(prefix="warden-bench-", dir="/var/tmp") as folder:
        trace = Path(folder) / "trace"
        code = "import sys, pathlib, bench.journal as j; j.live(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"
        subprocess.run(
            [
                *(strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace)),
                *(sys.executable, "-c", code, str(Path(folder) / FILE_NAME), str(count)),
            ],
            check=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
        calls = len(re.findall(r"\b(?:fsync|fdatasync)\(", trace.read_text()))
    return calls / count
