"""What happens while modules are preloaded, and what a heavy zygote costs its children; figures."""

from __future__ import annotations

import ast
import base64
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.jail import Jail
from sandbox.model import Isolation, Limits, OutcomeKind, Profile, SandboxUnavailable

from .conftest import PROFILE
from .course_env import course_python, run, threads, value

WARDEN = Path(sys.executable).with_name("warden")


@pytest.fixture(scope="module")
def python() -> str:
    return course_python()


@pytest.fixture(scope="module")
def plot_jail(python: str) -> Iterator[Jail]:
    preload = ("inside", "numpy", "pandas", "matplotlib.pyplot")
    with Jail(replace(PROFILE, interpreter=python, preload=preload), slot=51) as jail:
        yield jail


@pytest.fixture(scope="module")
def cold_jail(python: str) -> Iterator[Jail]:
    """The same packages, none of them preloaded."""
    with Jail(replace(PROFILE, interpreter=python), slot=52) as jail:
        yield jail


# -- figures

FIGURE = """
import base64, os
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
figure, axes = plt.subplots(1, 2, figsize=(8, 4), dpi=100)
axes[0].plot(np.linspace(0, 6, 200), np.sin(np.linspace(0, 6, 200)), label="sin")
axes[0].set_title("a line")
axes[0].legend()
axes[1].imshow(np.random.default_rng(1).random((200, 300, 3)), interpolation="nearest")
figure.savefig("figure.png")
with open("figure.png", "rb") as file:
    result = os.listdir(), base64.b64encode(file.read()).decode()
"""


def test_a_figure_is_drawn_into_the_scratch_within_the_default_limits(plot_jail: Jail) -> None:
    outcome = run(plot_jail, FIGURE)
    assert outcome.kind is OutcomeKind.OK and outcome.report is not None, outcome
    files, text = ast.literal_eval(outcome.report.decode())
    figure = base64.b64decode(text)
    assert files == ["figure.png"]
    assert 100_000 < len(figure) < 1 << 20
    assert png_size(figure) == (800, 400)
    assert outcome.usage.cpu_s < Limits().cpu_s / 2


def test_a_figure_is_drawn_in_a_reduced_jail(python: str) -> None:
    preload = ("inside", "matplotlib.pyplot")
    wanted = replace(PROFILE, interpreter=python, preload=preload, require=Isolation.REDUCED)
    with Jail(wanted, slot=56, best=Isolation.REDUCED) as jail:
        assert threads(jail.pid) == 1
        for _ in range(2):
            files, text = ast.literal_eval(value(jail, FIGURE))
            assert files == ["figure.png"]
            assert png_size(base64.b64decode(text)) == (800, 400)
    with Jail(replace(wanted, preload=()), slot=57, best=Isolation.REDUCED) as jail:
        assert value(jail, "import numpy as np\nresult = int(np.arange(5).sum())") == "10"


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture, of which every chunk is whole and every row is there."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks, pixels = 8, [], b""
    while at < len(data):
        (size,) = struct.unpack_from("!I", data, at)
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from("!I", data, at + 8 + size) == (zlib.crc32(name + content),)
        chunks.append(name)
        pixels += content if name == b"IDAT" else b""
        at += 12 + size
    assert chunks[0] == b"IHDR" and chunks[-1] == b"IEND"
    width, height, depth, colour = struct.unpack_from("!IIBB", data, 16)
    assert (depth, colour) == (8, 6)  # eight bits each of red, green, blue, opacity
    assert len(zlib.decompress(pixels)) == height * (1 + 4 * width)
    return width, height


def test_the_backend_needs_no_display(plot_jail: Jail, cold_jail: Jail) -> None:
    for jail in (plot_jail, cold_jail):
        assert value(jail, "import matplotlib\nresult = matplotlib.get_backend().lower()") == "'agg'"


def test_the_list_of_fonts_is_made_once_in_the_zygote(plot_jail: Jail, cold_jail: Jail) -> None:
    source = (
        "import os\nfrom matplotlib import font_manager\n"
        "family = font_manager.FontProperties(family='DejaVu Sans')\n"
        "result = os.path.basename(font_manager.findfont(family)), '.cache' in os.listdir()\n"
    )
    assert ast.literal_eval(value(plot_jail, source)) == ("DejaVuSans.ttf", False)
    assert ast.literal_eval(value(cold_jail, source)) == ("DejaVuSans.ttf", True)


def test_what_does_not_fit_into_the_scratch_is_told_so(plot_jail: Jail) -> None:
    source = (
        "import numpy as np\nnp.save('big.npy', np.zeros(1 << 20))\nnp.save('more.npy', np.zeros(2 << 20))"
    )
    assert run(plot_jail, source, Limits(scratch_mib=16)).kind is OutcomeKind.DISK


# -- the zygote


def test_threads_of_a_module_that_ended_are_no_obstacle(plot_jail: Jail) -> None:
    """Matplotlib starts a timer while it lists the fonts."""
    assert threads(plot_jail.pid) == 1


def with_module(folder: Path, source: str) -> Profile:
    (folder / "course_module.py").write_text(source)
    library = {**PROFILE.library, "course_module": folder / "course_module.py"}
    return replace(PROFILE, library=library, preload=("inside", "course_module"))


def test_a_module_that_keeps_threads_is_refused(tmp_path: Path) -> None:
    source = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    with pytest.raises(SandboxUnavailable, match="1 thread"):
        Jail(with_module(tmp_path, source), slot=53).open()


def test_what_a_module_writes_while_it_is_preloaded_no_child_sees(tmp_path: Path) -> None:
    source = (
        "import os, tempfile\n"
        "os.makedirs(os.path.expanduser('~/.cache/course'))\n"
        "with open(os.path.join(tempfile.gettempdir(), 'note'), 'w') as file:\n    file.write('x' * 4096)\n"
        "path = file.name\n"
    )
    with Jail(with_module(tmp_path, source), slot=54) as jail:
        look = "import os, course_module\nresult = os.listdir(), os.path.exists(course_module.path)"
        assert value(jail, look) == "([], False)"
        assert value(jail, "import os\nopen('note', 'w').close()\nresult = os.listdir()") == "['note']"
        assert value(jail, look) == "([], False)"


def test_a_heavy_zygote_takes_nothing_from_the_memory_of_a_child(plot_jail: Jail) -> None:
    """Also when the child comes to copy all pages that it shares with the zygote."""
    source = (
        "import gc\nimport numpy as np\nx = np.ones({} << 20, dtype=np.int8)\n"
        "gc.unfreeze()\ngc.collect()\nresult = int(x.sum()) >> 20\n"
    )
    assert value(plot_jail, source.format(245), Limits(memory_mib=256)) == "245"
    assert run(plot_jail, source.format(270), Limits(memory_mib=256)).kind is OutcomeKind.MEMORY


# -- nothing preloaded


def test_packages_that_are_not_preloaded_can_be_imported(cold_jail: Jail) -> None:
    source = "import numpy as np\nimport pandas as pd\nresult = int(pd.Series(np.arange(5)).sum())"
    assert value(cold_jail, source) == "10"


GRADER = """
import numpy as np
from grader_support import gradelib
grader = gradelib.Grader()
for n in (2, 5):
    grader.add_test(gradelib.InvokeStudentFunctionTest("outer", [np.arange(n)]))
"""
ANSWER = "import numpy as np\n\ndef outer(x):\n    return np.outer(x, x).tolist()\n"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    problem = tmp_path / "course" / "outer"
    problem.mkdir(parents=True)
    (problem / "grader.py").write_text(GRADER)
    (problem / "answer.py").write_text(ANSWER)
    (tmp_path / "right.py").write_text("def outer(x):\n    return [[int(a * b) for b in x] for a in x]\n")
    (tmp_path / "wrong.py").write_text(ANSWER.replace("x, x", "x, x + 1"))
    return tmp_path


def test_warden_grade_takes_the_virtualenv(course: Path, python: str) -> None:
    command = [WARDEN, "grade", "course/outer", "right.py", "wrong.py", "--interpreter", python, "--json"]
    graded = subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=60)
    assert graded.returncode == 0, graded.stderr
    assert [json.loads(line)["verdict"] for line in graded.stdout.splitlines()] == ["correct", "incorrect"]


# -- where it may lie


def test_a_virtualenv_below_tmp_serves_children(tmp_path: Path) -> None:
    assert str(tmp_path).startswith("/tmp/"), "pytest's folder is expected there"
    venv = tmp_path / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", venv], check=True)
    for folder in (tmp_path, tmp_path.parent):
        folder.chmod(0o755)
    (packages,) = venv.glob("lib/python3*/site-packages")
    (packages / "coursework.py").write_text("number = 7\n")
    with Jail(replace(PROFILE, interpreter=str(venv / "bin" / "python")), slot=55) as jail:
        assert value(jail, "import coursework\nresult = coursework.number") == "7"
        write = "import tempfile\nfile = tempfile.NamedTemporaryFile()\nresult = file.name.rpartition('/')[0]"
        assert value(jail, write) == "'/home/learner'"
