"""A course's own virtualenv: its packages in the jail, warm in the zygote, and gradings that use them.

Other versions of Python are looked for on PATH; one that is not there is reported as skipped.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from graders.model import Judgement, Verdict, Work
from graders.python import GradelibHandler, profile
from sandbox.interpreter import Interpreter, check_place
from sandbox.jail import Jail
from sandbox.model import Limits, OutcomeKind, Profile, SandboxError, SandboxUnavailable

from .conftest import PROFILE
from .course_env import PYTHON, ROOT, course_python, run, threads, value

WARDEN = Path(sys.executable).with_name("warden")
VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")


@pytest.fixture(scope="module")
def python() -> str:
    return course_python()


@pytest.fixture(scope="module")
def data_jail(python: str) -> Iterator[Jail]:
    """What the course uses is preloaded."""
    preload = ("inside", "numpy", "pandas")
    with Jail(replace(PROFILE, interpreter=python, preload=preload), slot=41) as jail:
        yield jail


@pytest.fixture(scope="module")
def grading_jail(python: str) -> Iterator[Jail]:
    with Jail(profile(python, ("numpy",)), slot=42) as jail:
        yield jail


# -- what is shown


def test_the_packages_of_the_virtualenv_are_there_and_cannot_be_written(data_jail: Jail) -> None:
    source = (
        "import numpy, os, sys\nresult = [sys.prefix, os.path.dirname(numpy.__file__)]\n"
        "for path in (numpy.__file__, sys.prefix + '/new'):\n"
        "    try: open(path, 'a'); result.append('written')\n"
        "    except OSError: result.append('refused')\n"
    )
    prefix, folder, *writing = ast.literal_eval(value(data_jail, source))
    assert prefix == str(PYTHON.parents[1])
    assert folder.startswith(prefix + "/lib/python")
    assert writing == ["refused", "refused"]


def test_of_the_folder_that_holds_the_virtualenv_nothing_else_is_shown(data_jail: Jail) -> None:
    assert value(data_jail, f"import os\nresult = os.listdir({str(ROOT)!r})") == "['.venv-course']"


def test_a_module_to_be_preloaded_that_is_not_installed_is_named(python: str) -> None:
    with pytest.raises(SandboxError, match="No module named 'nowhere'"):
        Jail(Profile(python, ("nowhere",)), slot=43).open()


# -- other versions


def other_python(version: str) -> str:
    """The interpreter of that version on PATH, itself and not what starts it; else the test is skipped."""
    found = shutil.which(f"python{version}")
    if found is None:
        pytest.skip(f"no python{version} on PATH")
    asked = subprocess.run(
        [found, "-I", "-c", "import sys; print(sys.executable)"], capture_output=True, text=True
    )
    if asked.returncode:
        pytest.skip(f"{found} does not start: {asked.stderr.strip().splitlines()[:1]}")
    return asked.stdout.strip()


LIBRARY = "def double(x):\n    return 2 * x\n"
PLAIN_GRADER = """
import coursework
from grader_support import gradelib
grader = gradelib.Grader()
grader.add_input_check(gradelib.must_define_function("twice"))
for x in (2, "ab"):
    grader.add_test(gradelib.InvokeStudentFunctionTest("twice", [x], short_desc=str(coursework.double(x))))
grader.add_test(gradelib.Test(lambda module: print({"one", "two", "three", module.twice("two")}), "a set"))
"""
PLAIN_ANSWER = "from coursework import double\n\ndef twice(x):\n    return double(x)\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_cpython_from_3_8_on_grades_with_the_packages_of_its_virtualenv(
    version: str, tmp_path: Path
) -> None:
    base = other_python(version)
    # Not below /tmp, which in a jail leads to the scratch.
    with tempfile.TemporaryDirectory(prefix="warden-test-", dir="/var/tmp") as folder:
        venv = Path(folder) / "venv"
        subprocess.run([base, "-m", "venv", "--without-pip", venv], check=True)
        Path(folder).chmod(0o755)
        (packages,) = venv.glob("lib/python3*/site-packages")
        (packages / "coursework.py").write_text(LIBRARY)
        problem = tmp_path / "p"
        problem.mkdir()
        (problem / "grader.py").write_text(PLAIN_GRADER)
        (problem / "answer.py").write_text(PLAIN_ANSWER)
        python = str(venv / "bin" / "python")
        handler = GradelibHandler(tmp_path, limits=Limits(cpu_s=0.4), interpreter=python)
        with Jail(profile(python, ("coursework",)), slot=45) as jail:
            assert jail.version.startswith(version + ".")
            for text, verdict in (
                (PLAIN_ANSWER, Verdict.CORRECT),
                ("def twice(x):\n    return x + x\n", Verdict.CORRECT),
                ("def twice(x):\n    return 2 + x\n", Verdict.INCORRECT),
                ("def double(x):\n    return x\n", Verdict.INPUT_ERROR),
                ("def twice(x):\n    while True: pass\n", Verdict.TIMEOUT),
            ):
                found = handler.grade(Work("p", text), jail)
                assert found.verdict is verdict, found


@pytest.mark.parametrize("place", ["/course/venv", "/warden/venvs/data", "/home/learner/python3.12"])
def test_an_interpreter_that_a_jail_would_cover_is_refused(place: str) -> None:
    with pytest.raises(SandboxUnavailable, match=f"needs {place}; .* install it elsewhere"):
        check_place(Interpreter("/opt/venv/bin/python", (3, 12, 1), ("/usr/bin/python3.12", place)))
    for fine in ("/course2/venv", "/srv/course/venv", "/home/learners/venv"):
        check_place(Interpreter("/opt/venv/bin/python", (3, 12, 1), ("/usr/bin/python3.12", fine)))


def test_an_interpreter_older_than_3_8_is_refused() -> None:
    base = other_python("3.7")
    with pytest.raises(SandboxUnavailable, match=r"not CPython >= 3\.8"):
        Jail(Profile(base), slot=46).open()


# -- numpy after a fork


SOLVE = """
import numpy as np
size = 160
made = np.random.default_rng(7)
left = made.integers(-9, 9, (size, size)).astype(float) + 40 * np.eye(size)
right = made.integers(-9, 9, (size, 50)).astype(float)
product = left @ right  # whole numbers below 2**53, so exact in any order of summation
some = [[sum(int(a) * int(b) for a, b in zip(left[i], right[:, j])) for j in (0, 49)] for i in (0, 80, 159)]
assert product[np.ix_([0, 80, 159], [0, 49])].tolist() == some
assert np.abs(np.linalg.solve(left, product) - right).max() < 1e-9
values, vectors = np.linalg.eigh(left + left.T)
assert np.allclose((left + left.T) @ vectors, vectors * values)
result = product.sum(), float(values[0])
"""


def test_fifty_children_calculate_alike_and_right(data_jail: Jail) -> None:
    assert len({value(data_jail, SOLVE) for _ in range(50)}) == 1
    assert threads(data_jail.pid) == 1


def test_linear_algebra_needs_no_thread(data_jail: Jail) -> None:
    alone = Limits(processes=1)
    assert value(data_jail, SOLVE, alone) == value(data_jail, SOLVE)
    tried = run(data_jail, "import threading\nthreading.Thread(target=print).start()", alone)
    assert tried.kind is OutcomeKind.PROCESSES, tried


def test_the_zygote_has_one_thread_and_so_has_a_child_at_work(data_jail: Jail) -> None:
    assert threads(data_jail.pid) == 1
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            for child in psutil.Process(data_jail.pid).children():
                try:
                    seen.add(threads(child.pid))
                except OSError:  # it has just ended
                    continue

    looker = threading.Thread(target=look)
    looker.start()
    try:
        value(data_jail, "import numpy as np\nx = np.ones((900, 900))\nfor _ in range(4): x = x @ x / 900\n")
    finally:
        done.set()
        looker.join()
    assert seen == {1}


def test_random_numbers_of_new_generators_differ_between_children(data_jail: Jail) -> None:
    source = "import numpy as np\nresult = np.random.default_rng().random()"
    assert value(data_jail, source) != value(data_jail, source)


# -- memory


@pytest.mark.parametrize(
    "source",
    [
        "x = np.zeros(1 << 30, dtype=np.int8)\nx[::4096] = 1",
        "kept = []\nwhile True: kept.append(np.ones(1 << 20))",
        "x = np.ones(1 << 15)\nx = np.outer(x, x)",
    ],
)
def test_who_takes_more_memory_than_allowed_is_told_so(source: str, data_jail: Jail) -> None:
    outcome = run(data_jail, f"import numpy as np\n{source}", Limits(memory_mib=256))
    assert outcome.kind is OutcomeKind.MEMORY, outcome
    assert outcome.usage.memory_bytes < 400 << 20


def test_memory_counts_on_top_of_what_the_warm_zygote_maps(data_jail: Jail) -> None:
    source = "import numpy as np\nresult = int(np.ones(200 << 20, dtype=np.int8).sum())"
    assert value(data_jail, source, Limits(memory_mib=256)) == str(200 << 20)


# -- pandas


def test_pandas_reads_and_groups(data_jail: Jail) -> None:
    source = (
        "import io\nimport pandas as pd\n"
        "text = 'city,year,sold\\nUlm,2023,3\\nUlm,2024,4\\nBern,2023,5\\n'\n"
        "frame = pd.read_csv(io.StringIO(text))\n"
        "frame.to_csv('sold.csv', index=False)\n"
        "frame = pd.read_csv('sold.csv')\n"
        "sold = frame.groupby('city').sold.sum()\n"
        "result = {city: int(number) for city, number in sold.items()}, float(frame.year.max())\n"
    )
    assert value(data_jail, source) == "({'Bern': 5, 'Ulm': 7}, 2024.0)"


# -- whole gradings


GRADER = """
import numpy as np
from grader_support import gradelib

def near(expected, actual):
    try:
        return np.allclose(numbers(expected), numbers(actual), atol=1e-6)
    except ValueError:
        return False

def numbers(text):
    return [[float(word) for word in line.split()] for line in text.splitlines()]

def rows(array):
    array = np.atleast_2d(np.asarray(array, dtype=float))
    return "\\n".join(" ".join("%.9f" % x for x in row) for row in array)

grader = gradelib.Grader()
grader.add_input_check(gradelib.prohibited_substring("scipy"))
for seed in (1, 2, 3):
    made = np.random.default_rng(seed)
    left, right = made.random((5, 5)) + 5 * np.eye(5), made.random(5)
    grader.add_test(gradelib.InvokeStudentFunctionTest(
        "solve", [left, right], output_writer=rows, short_desc="solve %d" % seed, compare=near))
grader.add_test(gradelib.InvokeStudentFunctionTest(
    "unique", [np.array(["b", "a", "b"])], output_writer=lambda found: repr(np.array(found).tolist())))
def print_set(module):
    print({"one", "two", "three", *module.unique(np.array(["four", "five"])).tolist()})
grader.add_test(gradelib.Test(print_set, "the order of a set"))
"""
RIGHT = """
import numpy as np
def solve(left, right):
    return np.linalg.solve(left, right)
def unique(words):
    return np.unique(words)
"""


def instead(result: str) -> str:
    """The right program with another `solve`."""
    return RIGHT.replace("np.linalg.solve(left, right)", result)


SUBMISSIONS = {
    "right.py": (RIGHT, Verdict.CORRECT),
    "rounds_otherwise.py": (instead("np.linalg.inv(left) @ right"), Verdict.CORRECT),
    "wrong.py": (instead("np.linalg.solve(left.T, right)"), Verdict.INCORRECT),
    "raises.py": (instead("np.nowhere"), Verdict.INCORRECT),
    "patches.py": (
        "import numpy\nnumpy.allclose = lambda *a, **k: True\n" + instead("right"),
        Verdict.INCORRECT,
    ),
    "refused.py": ("import scipy\n" + RIGHT, Verdict.INPUT_ERROR),
    "endless.py": (RIGHT + "x = np.ones((500, 500))\nwhile True: x @ x\n", Verdict.TIMEOUT),
    "greedy.py": (instead("np.zeros(1 << 40)"), Verdict.MEMORY),
    "greedier.py": (RIGHT + "kept = [np.ones(1 << 20) for _ in range(999)]\n", Verdict.MEMORY),
}


@pytest.fixture
def course(tmp_path: Path) -> Path:
    return write_course(tmp_path, GRADER, RIGHT)


def write_course(folder: Path, grader: str, answer: str) -> Path:
    problem = folder / "course" / "data"
    problem.mkdir(parents=True)
    (problem / "grader.py").write_text(grader)
    (problem / "answer.py").write_text(answer)
    return folder


def judge(handler: GradelibHandler, jail: Jail, text: str) -> Judgement:
    return handler.grade(Work("data", text), jail)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_numpy_grader_judges(name: str, course: Path, grading_jail: Jail) -> None:
    text, verdict = SUBMISSIONS[name]
    handler = GradelibHandler(course / "course", limits=Limits(cpu_s=1.0), interpreter=str(PYTHON))
    found = judge(handler, grading_jail, text)
    assert found.verdict is verdict, found


def test_checks_and_comparisons_with_numpy_are_made_by_one_resident(course: Path, python: str) -> None:
    handler = GradelibHandler(course / "course", interpreter=python)
    with Jail(profile(python, ("numpy",)), slot=44) as jail:
        seen = set()
        for name in ("right.py", "rounds_otherwise.py", "wrong.py"):
            text, verdict = SUBMISSIONS[name]
            assert judge(handler, jail, text).verdict is verdict
            below = [child.pid for child in psutil.Process(jail.pid).children()]
            assert [threads(pid) for pid in (jail.pid, *below)] == [1] * (1 + len(below))
            seen.add(tuple(below))
        assert [len(below) for below in seen] == [1]


DRAWS = """
import numpy as np
from grader_support import gradelib
numbers = np.random.random(3).tolist()
grader = gradelib.Grader()
grader.add_input_check(lambda text: "%r %r" % (numbers, np.random.random()) if "show" in text else None)
grader.add_test(gradelib.InvokeStudentFunctionTest("total", [numbers]))
grader.add_test(gradelib.InvokeStudentFunctionTest("total", [range(np.random.randint(1000))]))
"""
TOTAL = "def total(numbers):\n    return sum(numbers)\n"


def test_numbers_of_a_preloaded_numpy_random_are_the_same_for_answer_and_learner(
    tmp_path: Path, python: str
) -> None:
    """Also when the jail was opened anew since the answer was run, and in residents."""
    handler = GradelibHandler(write_course(tmp_path, DRAWS, TOTAL) / "course", interpreter=python)
    seen = []
    with Jail(profile(python, ("numpy.random",)), slot=47) as jail:
        for _ in range(2):
            assert judge(handler, jail, TOTAL).verdict is Verdict.CORRECT
            seen += [judge(handler, jail, "show").errors for _ in range(2)]
            jail.close()
    assert seen[0] and set(seen) == {seen[0]}


CONFIG = """
[warden]
state_dir = "var"

[servers.demo]
url = "http://127.0.0.1:1"
username = "warden"
password_env = "UNUSED"

[sandboxes.data]
interpreter = "{python}"
preload = ["numpy", "pandas"]

[queues.data]
server = "demo"

[[queues.data.handlers]]
kind = "gradelib"
grader_root = "course"
sandbox = "data"
"""


def test_a_configuration_that_names_the_virtualenv_is_checked_with_it(course: Path, python: str) -> None:
    def check(interpreter: str) -> subprocess.CompletedProcess[str]:
        (course / "config.toml").write_text(CONFIG.format(python=interpreter))
        return subprocess.run(
            [WARDEN, "check", "--config", "config.toml"],
            cwd=course,
            env={"UNUSED": "x", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    checked = check(python)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    without = check("/usr/bin/python3")
    assert without.returncode == 1 and "No module named 'numpy'" in without.stdout + without.stderr
