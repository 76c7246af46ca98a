"""Whatever learners and graders say, the log, the status and the metrics hold none of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from supervisor.events import brief
from tests.supervisor.test_service import QUEUES, Scene, answer, scene

MARK = "LearnersOwnWords"
FORGED = json.dumps({"time": "2026-01-01T00:00:00Z", "level": "error", "event": MARK, "submission": "1"})

HOSTILE = {
    "prints": f"print({FORGED!r}); import sys; print({FORGED!r}, file=sys.stderr)\n",
    "raises": f"raise SystemError('\\n' + {FORGED!r} + '\\n')\n",
    "syntax": f"{MARK} = = 1\n",
    "descriptors": "import os\nfor fd in range(1, 200):\n    try:\n"
    f"        os.write(fd, ({FORGED!r} + '\\n').encode())\n    except OSError: pass\n",
    "named": f"class {MARK}(Exception): pass\nraise {MARK}({FORGED!r})\n",
    "lines": "x = 1\n\r\u2028\x1b[2J" + FORGED + "\n",
}

GRADER = """
from grader_support import gradelib

grader = gradelib.Grader()

@grader.add_preprocessor
def repeat_what_was_said(code):
    if "quote" in code:
        raise ValueError("cannot read this: " + code)
    return code

grader.add_test(gradelib.InvokeStudentFunctionTest("fibonacci", [3], short_desc="x"))
"""


def lines_of(lab: Scene) -> list[dict[str, object]]:
    """Every line of the log is an event of ours, but for the one that says READY."""
    lines = (lab.folder / "supervisor.log").read_text().splitlines()
    return [json.loads(line) for line in lines if not line.startswith("READY: ")]


def assert_clean(lab: Scene) -> None:
    for name in ("supervisor.log", "state/status.json", "state/metrics.prom"):
        assert MARK not in (lab.folder / name).read_text(), name


@pytest.mark.slow
def test_nothing_that_a_learner_wrote_is_in_the_log_and_each_submission_has_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "course" / "quoting"
    folder.mkdir(parents=True)
    tmp_path.chmod(0o755)
    (folder / "grader.py").write_text(GRADER)
    (folder / "answer.py").write_text(answer())
    root = json.dumps(str(tmp_path / "course"))
    payload = json.dumps({"grader": "quoting/grader.py"})
    with scene(f"queues.demo-functions.handlers[0].grader_root={root}") as lab:
        lab.start_supervisor()
        for name, code in HOSTILE.items():
            lab.submit(QUEUES[0], name, payload, code + answer())
        lab.submit(QUEUES[0], "quotes", payload, f"# quote {MARK} \n{FORGED}\n")
        lab.submit(QUEUES[0], "nowhere", json.dumps({"grader": "nowhere/grader.py"}), MARK + answer())
        count = len(HOSTILE) + 2
        assert lab.lms.wait(count, 40) == count
        lab.settled(count)
        assert lab.stop("supervisor") == 0
        events = lines_of(lab)
        graded = [event for event in events if event["event"] == "submission graded"]
        assert len({event["submission"] for event in graded}) == len(graded) == count
        for event in graded:
            assert event.keys() >= {"queue", "slot", "submission", "grader", "verdict", "attempt", "took_s"}
        assert [event for event in events if event["event"] == "reply delivered"] == [], "one line is enough"
        quoted = next(
            event for event in events if event["event"] == "dead letter" and "ValueError" in str(event)
        )
        assert re.search(r"ValueError at .*grader\.py:9$", str(quoted["why"]))
        assert MARK in str([row["reason"] for row in lab.rows()]), "the journal has the whole of it"
        assert_clean(lab)


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("the disk is full", "the disk is full"),
        (f"compare: died of signal 9\n{MARK}\n{MARK}", "compare: died of signal 9"),
        (
            (
                "prepare: the preprocessor failed\nTraceback (most recent call last):\n"
                '  File "/course/a.py", line 3, in check\n    int(code)\n'
                '  File "/course/b.py", line 7, in deep\n'
                f'ValueError: {MARK}\n  File "{MARK}", line 9, in x\n{MARK}: y'
            ),
            "prepare: the preprocessor failed: ValueError at /course/b.py:7",
        ),
        (
            f"prepare: the preprocessor failed\n{MARK}: cut off\nTraceback (most recent",
            "prepare: the preprocessor failed",
        ),
    ],
)
def test_a_detail_is_told_without_anybodys_words(detail: str, told: str) -> None:
    assert brief(detail) == told
