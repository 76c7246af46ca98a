"""Programs through the whole service: submitted to a queue, compiled and run by a worker, answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.lab import Lab

if not Path("/usr/bin/gcc").exists():
    pytest.skip("this machine has no /usr/bin/gcc", allow_module_level=True)

CONFIG = """
[warden]
state_dir = "unused"

[servers.demo]
url = "http://127.0.0.1:1"
username = "unused"
password_file = "unused"

[sandboxes.python]

[queues.programs]
server = "demo"
poll_ceiling_s = 1

[[queues.programs.handlers]]
kind = "gradelib"
match = "*.py"
grader_root = "course"
sandbox = "python"

[[queues.programs.handlers]]
kind = "program"
grader_root = "course"
languages = ["c", "bash"]
limits = { cpu_s = 1 }
"""
ADD = '#include <stdio.h>\nint main(void){int a,b;scanf("%d %d",&a,&b);printf("%d\\n",a+b);return 0;}\n'
GRADER = (
    "from grader_support import gradelib\ngrader = gradelib.Grader()\n"
    "grader.add_test(gradelib.InvokeStudentFunctionTest('f', []))\n"
)
COURSE = {
    "sum/sample1.in": "1 2\n",
    "sum/sample1.out": "3\n",
    "sum/2.in": "5 6\n",
    "sum/2.out": "11\n",
    "one/grader.py": GRADER,
    "one/answer.py": "def f(): return 1\n",
}
SENT = {
    "right": ({"grader": "sum", "lang": "c"}, ADD, (True, 1.0)),
    "half": ({"grader": "sum", "lang": "c"}, ADD.replace("a+b", "3"), (False, 0.5)),
    "shell": ({"grader": "sum", "language": "bash"}, "read a b; echo $((a + b))", (True, 1.0)),
    "broken": ({"grader": "sum", "lang": "c"}, "int main(", (False, 0.0)),
    "endless": ({"grader": "sum", "lang": "c"}, "int main(void){for(;;);}", (False, 0.0)),
    "function": ({"grader": "one/grader.py"}, "def f(): return 1", (True, 1.0)),
}


def test_programs_and_functions_share_a_queue(tmp_path: Path) -> None:
    for name, text in COURSE.items():
        path = tmp_path / "course" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    with Lab(config, [], ["programs"]) as lab:
        lab.start_supervisor()
        for key, (payload, response, _) in SENT.items():
            lab.submit("programs", key, json.dumps(payload), response)
        assert lab.lms.wait(len(SENT), 90) == len(SENT)
        got = {key: (reply.correct, reply.score) for key, reply in lab.lms.delivered.items()}
    assert got == {key: expected for key, (_, _, expected) in SENT.items()}
