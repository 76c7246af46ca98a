"""Hostile submissions: each is a way to marks that were not earned, and earns none."""

from __future__ import annotations

import pytest

from graders.model import Verdict
from tests.graders.conftest import ADD, ADD_ANSWER, GRADELIB, Judge

FORGED = '{"outputs": ["5\\\\n", "0\\\\n"], "error": "", "hint": "", "interference": false}'

CHEATS = {
    "takes the answer": "from answer import *\n",
    "takes the answer from the modules": "import sys\nadd = sys.modules['answer'].add\n",
    "takes the answer from its folder": "exec(open('/course/grader/answer.py').read())\n",
    "writes a result on stdout and leaves": (
        'import os\nos.write(1, b\'{"correct": true, "score": 1}\')\nos._exit(0)\n'
    ),
    "writes a result on every descriptor": (
        "import os\nfor fd in range(256):\n    try:\n"
        f"        os.write(fd, b'{FORGED}')\n    except OSError:\n        pass\nos._exit(0)\n"
    ),
    "leaves": "import os\nos._exit(0)\n",
    "leaves during a test": "import os\ndef add(a, b):\n    os._exit(0)\n",
    "patches the comparison": (
        "from grader_support import gradelib\n"
        "gradelib.Test.compare_results = lambda self, e, a: True\ndef add(a, b):\n    return 9\n"
    ),
    "replaces the tests": (
        "import sys\nsys.modules['grader'].grader._tests[:] = []\ndef add(a, b):\n    return 9\n"
    ),
    "makes every value equal": (
        "class E(str):\n    __eq__ = lambda s, o: True\n    __ne__ = lambda s, o: False\n"
        "    __hash__ = str.__hash__\n    __repr__ = __str__ = lambda s: s\n"
        "def add(a, b):\n    return E('never')\n"
    ),
    "patches the harness": (
        "import sys\nrun = sys.modules['harness.run']\n"
        'run._report = lambda values: b\'{"outputs": [], "error": ""}\'\n'
    ),
    "returns a report of another form": (
        "import sys\nrun = sys.modules['harness.run']\nrun._report = lambda values: b'{\"correct\": true}'\n"
    ),
    "returns no bytes": "import sys\nsys.modules['harness.run']._report = lambda values: None\n",
    "returns a report too deep": (
        "import sys\nsys.modules['harness.run']._report = lambda values: b'[' * 500000\n"
    ),
    "prints the expected output in a thread": (
        "import threading, sys\n"
        "threading.Thread(target=lambda: [print(5) for _ in range(10)], daemon=True).start()\n"
        "def add(a, b):\n    return 7\n"
    ),
    "patches print": "import builtins\nbuiltins.print = lambda *a: None\ndef add(a, b):\n    return 5\n",
    "says so": "def add(a, b):\n    class C:\n        correct = True\n    return C()\n",
}


@pytest.mark.parametrize("text", CHEATS.values(), ids=CHEATS)
def test_a_cheat_earns_nothing(judge: Judge, text: str) -> None:
    found = judge(ADD, ADD_ANSWER, text)
    assert not found.correct
    assert found.score == 0.0
    assert found.verdict is not Verdict.UNGRADED, found.detail


def test_a_forged_comparison_is_not_heard(judge: Judge) -> None:
    grader = GRADELIB + (
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [], compare=lambda e, a: e == a))\n"
    )
    text = (
        "import sys\ngrader = sys.modules['grader'].grader\n"
        "for test in grader._tests:\n    test.compare_results = lambda e, a: True\n"
        "def f():\n    return 2\n"
    )
    assert judge(grader, "def f():\n    return 1\n", text).verdict is Verdict.INCORRECT


def test_a_report_with_more_outputs_than_tests_is_interference(judge: Judge) -> None:
    text = (
        "import sys\nrun = sys.modules['harness.run']\nreport = run._report\n"
        "run._report = lambda values: report({**values, 'outputs': values['outputs'] * 2})\n" + ADD_ANSWER
    )
    assert judge(ADD, ADD_ANSWER, text).verdict is Verdict.INTERFERENCE
