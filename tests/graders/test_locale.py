"""What judgements say to learners is in the handler's language; what the course says stays the course's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from graders.comparison import Comparison, Mode, compare
from graders.languages import built_in
from graders.model import Judgement, Work
from graders.program import ProgramHandler, Toolchains, sources_of
from graders.python import GradelibHandler
from graders.words import words_of
from sandbox.model import OutcomeKind
from tests.graders.conftest import ADD, ADD_ANSWER, GRADELIB, LIMITS, Counting, write

GERMAN = words_of("de")
CHECKED = GRADELIB + (
    "grader.add_input_check(gradelib.required_keyword('while'))\n"
    "grader.add_test(gradelib.InvokeStudentFunctionTest('add', [2, 3]))\n"
)
ROOT = Path(__file__).parents[2]
DUTCH = r"""
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\n"

msgid "Your code does not contain {0!r}."
msgstr "Geen {0!r}."
"""


def graded(root: Path, runner: Counting, response: str, lang: str = "en") -> Judgement:
    handler = GradelibHandler(root, limits=LIMITS, words=GERMAN)
    return handler.grade(Work(f'{{"grader": "p/grader.py", "lang": "{lang}"}}', response), runner)


def test_gradelibs_own_checks_speak_it(tmp_path: Path, runner: Counting) -> None:
    write(tmp_path, {"p/grader.py": CHECKED, "p/answer.py": ADD_ANSWER + "while 0: pass\n"})
    for _ in range(2):  # in a fresh child, and in one that stayed
        assert graded(tmp_path, runner, ADD_ANSWER).errors == ("Dein Code enthält 'while' nicht.",)


def test_the_courses_own_translation_goes_first(tmp_path: Path, runner: Counting) -> None:
    messages = tmp_path / "conf/locale/nl/LC_MESSAGES"
    write(
        tmp_path,
        {
            "p/grader.py": CHECKED,
            "p/answer.py": ADD_ANSWER + "while 0: pass\n",
            "conf/locale/nl/LC_MESSAGES/graders.po": DUTCH,
        },
    )
    compiler = tmp_path / "conf/compile_messages.py"
    compiler.write_bytes((ROOT / "course/conf/compile_messages.py").read_bytes())
    subprocess.run([sys.executable, compiler], check=True)
    assert (messages / "graders.mo").exists()
    assert graded(tmp_path, runner, ADD_ANSWER, "nl").errors == ("Geen 'while'.",)
    assert graded(tmp_path, runner, ADD_ANSWER, "da").errors == ("Dein Code enthält 'while' nicht.",)


DEEP = """
def deep(code):
    return deep(code) if len(code) > 50 else None
grader.add_input_check(deep)
"""


@pytest.mark.parametrize(
    ("checks", "response", "said"),
    [
        ("", "while True: pass\n", "Dein Programm wurde angehalten: Es"),
        ("", "import os\nos._exit(0)\n", GERMAN.stopped[OutcomeKind.EXIT]),
        ("", "#" * 500_001, "Deine Abgabe ist zu lang: 500001 Zeichen, höchstens 500000."),
        (DEEP, "#" * 51, GERMAN.said.not_checked),
    ],
)
def test_what_became_of_a_program_is_said_in_it(
    tmp_path: Path, runner: Counting, checks: str, response: str, said: str
) -> None:
    write(tmp_path, {"p/grader.py": ADD + checks, "p/answer.py": ADD_ANSWER})
    (error,) = graded(tmp_path, runner, response).errors
    assert error.startswith(said)


def test_programs_speak_it(tmp_path: Path) -> None:
    write(tmp_path, {"p/sample1.in": "1\n", "p/sample1.out": "2\n", "p/x.in": "2\n", "p/x.out": "4\n"})
    chains = Toolchains(built_in(), ["python"], 41_500)
    try:
        handler = ProgramHandler(tmp_path, chains, words=GERMAN)
        found = handler.grade(Work('{"grader": "p"}', "print(2)\n"))
        assert [test.short for test in found.tests] == ["Test 1: bestanden", "Test 2: falsche Antwort"]
        assert found.tests[0].long.startswith("Eingabe:\n")
        found = handler.grade(Work('{"grader": "p"}', "raise SystemExit(3)\n"))
        assert (
            found.errors[0]
            == "Test 1: Dein Programm endete mit dem Exit-Status 3, der einen Fehler bedeutet."
        )
        refused = sources_of(Work("", "\0"), built_in()["python"], words=GERMAN)
        assert refused == GERMAN.said.nul_character
    finally:
        chains.close()


def test_differences_speak_it() -> None:
    found = compare(b"a b\nc", b"a b\nd", Comparison(Mode.TOKENS), GERMAN.difference)
    assert found is not None
    assert found.message == 'Zeile 2, Wort 3: erwartet "c", gefunden "d"'
