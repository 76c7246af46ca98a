"""Whole judgements through the jail: what a learner gets for what he sent."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from graders.model import Blame, Cause, Judgement, Verdict, Work
from graders.python import GradelibHandler
from graders.verdict import MOST_SHOWN
from sandbox.model import Limits, OutcomeKind
from tests.graders.conftest import ADD, ADD_ANSWER, GRADELIB, Counting, Judge, write

PROGRAM = GRADELIB + (
    "grader.add_preprocessor(gradelib.wrap_in_string)\n"
    "grader.add_test(gradelib.ExecWrappedStudentCodeTest({}, 'basic test'))\n"
)


def is_course_fault(found: Judgement, cause: Cause) -> bool:
    return (found.verdict, found.blame, found.cause) == (Verdict.UNGRADED, Blame.COURSE, cause)


def test_the_right_answer_gets_full_marks(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, "def add(x, y):\n    return y + x\n")
    assert (found.verdict, found.score, found.correct) == (Verdict.CORRECT, 1.0, True)
    assert [test.short for test in found.tests] == ["Test: add(2, 3)", "Test: add(-1, 1)"]
    assert [test.actual for test in found.tests] == ["5\n", "0\n"]
    assert found.outcome is OutcomeKind.OK
    assert found.isolation
    assert found.usage.cpu_s > 0


def test_a_judgement_names_the_files_it_was_made_with_the_answer_and_a_grader_that_fails_included(
    judge: Judge,
) -> None:
    same = "def add(a, b):\n    return a + b\n"
    digests = [
        judge(grader, answer, same).grader_digest
        for grader, answer in (
            (ADD, ADD_ANSWER),
            (ADD, ADD_ANSWER + "# changed\n"),
            (ADD + "# changed\n", ADD_ANSWER),
            ("1 / 0\n", ADD_ANSWER),
        )
    ]
    assert len(set(digests)) == 4 and all(len(digest) == 64 for digest in digests)
    assert judge(ADD, ADD_ANSWER, "x = 1\n").grader_digest == digests[0]


def test_the_score_is_the_share_of_passed_tests(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, "def add(a, b):\n    return 5\n")
    assert (found.verdict, found.score) == (Verdict.INCORRECT, 0.5)
    assert [test.correct for test in found.tests] == [True, False]


def test_an_exception_in_a_test_shows_the_learners_lines_only(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, "def add(a, b):\n    return a + c\n")
    assert found.verdict is Verdict.INCORRECT
    shown = found.tests[0].actual
    assert 'File "submission.py", line 2, in add' in shown
    assert "return a + c" in shown
    assert "NameError: name 'c' is not defined" in shown
    assert "gradelib" not in shown
    assert "/course" not in shown


def test_a_missing_function_is_shown_without_the_graders_lines(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, "x = 1\n")
    assert found.tests[0].actual == "AttributeError: module 'submission' has no attribute 'add'\n"


def test_an_exception_during_import_is_an_error_with_the_learners_lines(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, "def f():\n    return 1 / 0\n\nf()\n")
    assert (found.verdict, found.score, found.tests) == (Verdict.ERROR, 0.0, ())
    assert found.errors[0].splitlines()[:2] == [
        "Traceback (most recent call last):",
        '  File "submission.py", line 4, in <module>',
    ]
    assert "ZeroDivisionError" in found.errors[0]
    assert "harness" not in found.errors[0]


def test_a_syntax_error_is_shown_with_its_line(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, "def add(a, b)\n    return a + b\n")
    assert found.verdict is Verdict.ERROR
    assert 'File "submission.py", line 1' in found.errors[0]
    assert "def add(a, b)" in found.errors[0]
    assert "SyntaxError" in found.errors[0]


def test_sys_exit_during_import_is_an_error(judge: Judge) -> None:
    assert judge(ADD, ADD_ANSWER, "import sys\nsys.exit(0)\n").verdict is Verdict.ERROR


def test_printing_during_import_does_not_matter(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, 'print("x" * 1000000)\nimport os\nos.write(1, b"{}")\n' + ADD_ANSWER)
    assert found.verdict is Verdict.CORRECT


def test_old_line_endings_and_a_byte_order_mark_do_not_matter(judge: Judge) -> None:
    text = "\ufeff" + ADD_ANSWER.replace("\n", "\r\n")
    assert judge(ADD, ADD_ANSWER, text).verdict is Verdict.CORRECT


def test_a_loop_without_end_is_a_timeout(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, "while True:\n    pass\n")
    assert (found.verdict, found.score, found.outcome) == (Verdict.TIMEOUT, 0.0, OutcomeKind.CPU)
    assert "time limit of 1 s" in found.errors[0]


def test_waiting_without_end_is_a_timeout(judge: Judge) -> None:
    text = "import threading\nthreading.Event().wait()\n"
    found = judge(ADD, ADD_ANSWER, text, limits=Limits(wall_s=0.5, cpu_s=1))
    assert (found.verdict, found.outcome) == (Verdict.TIMEOUT, OutcomeKind.WALL)


def test_too_much_memory_is_said_to_be_that(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, "x = bytearray(3 << 30)\n")
    assert found.verdict is Verdict.MEMORY


def test_too_many_threads_are_a_limit(judge: Judge) -> None:
    text = (
        "import threading\nstop = threading.Event()\n"
        "for _ in range(1000):\n    threading.Thread(target=stop.wait, daemon=True).start()\n"
    )
    assert judge(ADD, ADD_ANSWER, text).verdict is Verdict.LIMIT


def test_too_much_on_disk_is_a_limit(judge: Judge) -> None:
    text = "with open('big', 'wb') as f:\n    while True:\n        f.write(bytes(1 << 20))\n"
    assert judge(ADD, ADD_ANSWER, text).verdict is Verdict.LIMIT


def test_too_much_output_is_a_limit(judge: Judge) -> None:
    text = "import os\nwhile True:\n    os.write(1, b'x' * 65536)\n"
    assert judge(ADD, ADD_ANSWER, text).verdict is Verdict.LIMIT


def test_deep_recursion_is_only_wrong(judge: Judge) -> None:
    found = judge(ADD, ADD_ANSWER, "def add(a, b):\n    return add(a, b)\n")
    assert found.verdict is Verdict.INCORRECT
    assert "RecursionError" in found.tests[0].actual
    assert "more calls" in found.tests[0].actual


def test_long_output_is_cut_for_display_only_and_alike_on_both_sides(judge: Judge) -> None:
    grader = GRADELIB + "grader.add_test(gradelib.InvokeStudentFunctionTest('f', []))\n"
    answer = "def f():\n    return 'x' * 50000\n"
    right = judge(grader, answer, answer)
    assert right.correct
    assert right.tests[0].expected == right.tests[0].actual
    assert len(right.tests[0].actual) < MOST_SHOWN + 100
    assert "more characters are not shown" in right.tests[0].actual
    wrong = judge(grader, answer, "def f():\n    return 'x' * 49999 + 'y'\n")
    assert wrong.verdict is Verdict.INCORRECT


def test_whole_programs_are_compared_by_what_they_print(judge: Judge) -> None:
    right = judge(PROGRAM, "x = 10\nprint(x * 2)\n", "print(19 + 1)\n")
    assert right.correct
    assert right.tests[0].actual == "20\n\n"
    wrong = judge(PROGRAM, "print(20)\n", "print(1)\nboom(\n")
    assert 'File "submission.py", line 2' in wrong.tests[0].actual


def test_an_error_in_a_whole_program_shows_its_own_lines(judge: Judge) -> None:
    found = judge(PROGRAM, "print(20)\n", "x = 1\nprint(y)\n")
    assert 'File "submission.py", line 2, in <module>' in found.tests[0].actual
    assert "print(y)" in found.tests[0].actual


def test_input_errors_end_the_grading_before_anything_runs(judge: Judge, runner: Counting) -> None:
    grader = ADD + (
        "grader.add_input_check(gradelib.required_keyword('return'))\n"
        "grader.add_input_check(gradelib.prohibited_substring('import', 'No imports, please.'))\n"
    )
    found = judge(grader, ADD_ANSWER, "import os\n")
    assert (found.verdict, found.blame, found.score) == (Verdict.INPUT_ERROR, Blame.LEARNER, 0.0)
    assert found.errors == ("Your code does not contain 'return'.", "No imports, please.")
    assert "attempt" not in runner.entries()


def test_preprocessors_serve_answer_and_response(judge: Judge) -> None:
    grader = ADD + "grader.add_preprocessor(lambda code: 'K = 7\\n' + code)\n"
    text = "def add(a, b):\n    return a + b + K - 7\n"
    assert judge(grader, text, text).correct


def test_a_grader_without_checks_needs_no_pass_to_prepare(judge: Judge, runner: Counting) -> None:
    judge(ADD, ADD_ANSWER, ADD_ANSWER)
    assert runner.entries() == ["reference", "attempt"]


def test_only_the_attempt_runs_learner_code_and_it_has_no_answer(judge: Judge, runner: Counting) -> None:
    secret = "def add(a, b):\n    secret_of_the_staff = a + b\n    return secret_of_the_staff\n"
    grader = ADD + (
        "grader.add_input_check(gradelib.must_define_function('add'))\n"
        "grader.add_test(gradelib.Test(lambda m: print(1.0), 'f', compare=lambda e, a: e == a))\n"
    )
    assert judge(grader, secret, "MARK = 1\n" + ADD_ANSWER).correct
    tasks = dict(zip(runner.entries(), runner.tasks, strict=True))
    assert list(tasks) == ["reference", "prepare", "attempt", "compare"]
    for name, task in tasks.items():
        seen = task.request + b"".join(task.bundle.files.values() if task.bundle else ())
        assert (b"secret_of_the_staff" in seen) == (name == "reference")
        assert (b"MARK" in task.request) == (name in ("prepare", "attempt"))


def test_a_comparison_of_its_own_decides(judge: Judge, runner: Counting) -> None:
    grader = GRADELIB + (
        "def close(expected, actual):\n    return abs(float(expected) - float(actual)) < 0.01\n"
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [], compare=close))\n"
    )
    assert judge(grader, "def f():\n    return 3.14159\n", "def f():\n    return 3.1416\n").correct
    found = judge(grader, "def f():\n    return 3.14159\n", "def f():\n    return 3\n")
    assert found.verdict is Verdict.INCORRECT


def test_an_output_that_a_comparison_cannot_read_is_not_the_expected_one(judge: Judge) -> None:
    grader = GRADELIB + (
        "def close(expected, actual):\n    return abs(float(expected) - float(actual)) < 0.01\n"
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [], compare=close))\n"
    )
    found = judge(grader, "def f():\n    return 1\n", "def f():\n    return None\n")
    assert (found.verdict, found.blame) == (Verdict.INCORRECT, Blame.LEARNER)
    assert "could not convert string to float" in found.detail


def test_a_comparison_that_always_fails_is_the_courses_fault(judge: Judge) -> None:
    grader = GRADELIB + (
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [], compare=lambda e, a: 1 / 0))\n"
    )
    found = judge(grader, "def f():\n    return 1\n", "def f():\n    return 1\n")
    assert is_course_fault(found, Cause.GRADER_BUG)
    assert "ZeroDivisionError" in found.detail


def test_a_comparison_may_end_the_test_with_a_message(judge: Judge) -> None:
    grader = GRADELIB + (
        "def compare(expected, actual):\n    raise gradelib.EndTest('Round to two digits.')\n"
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [], compare=compare))\n"
    )
    found = judge(grader, "def f():\n    return 1\n", "def f():\n    return 2\n")
    assert found.verdict is Verdict.INCORRECT
    assert found.tests[0].actual.endswith("Round to two digits.")


def test_comparisons_of_the_same_texts_are_made_once(tmp_path: Path, runner: Counting) -> None:
    grader = GRADELIB + (
        "grader.add_test(gradelib.InvokeStudentFunctionTest('f', [], compare=lambda e, a: e == a))\n"
    )
    write(tmp_path, {"p/grader.py": grader, "p/answer.py": "def f():\n    return 1\n"})
    handler = GradelibHandler(tmp_path)
    for value in ("1", "2", "0 + 1", "2"):
        found = handler.grade(Work("p/grader.py", f"def f():\n    return {value}\n"), runner)
        assert found.correct == (value != "2")
    assert runner.entries().count("compare") == 2
    assert runner.entries().count("reference") == 1


@pytest.mark.parametrize(
    ("swallow", "verdict"),
    [
        (
            "def f(call):\n    try:\n        call()\n    except Exception:\n        pass\n",
            Verdict.INTERFERENCE,
        ),
        ("def f(call):\n    call()\n", Verdict.INCORRECT),
    ],
)
@pytest.mark.parametrize("end", ["grader.end_test('no')", "raise_(gradelib.EndTest('no'))"])
def test_end_test_swallowed_by_the_learner_is_interference(
    judge: Judge, swallow: str, verdict: Verdict, end: str
) -> None:
    grader = GRADELIB + (
        "def raise_(error):\n    raise error\n"
        "def test(module):\n"
        "    if hasattr(module, 'WRONG'):\n"
        f"        module.f(lambda: {end})\n"
        "    print('fine')\n"
        "grader.add_test(gradelib.Test(test, 'calls back'))\n"
    )
    found = judge(grader, "def f(call):\n    call()\n", "WRONG = 1\n" + swallow)
    assert found.verdict is verdict
    if verdict is Verdict.INCORRECT:
        assert found.tests[0].actual == "Test ended: no\n"


def test_the_staff_may_catch_its_own_end_test(judge: Judge) -> None:
    grader = GRADELIB + (
        "def test(module):\n"
        "    try:\n        raise gradelib.EndTest('x')\n"
        "    except gradelib.EndTest:\n        print('caught')\n"
        "grader.add_test(gradelib.Test(test, 'own'))\n"
    )
    assert judge(grader, "", "x = 1\n").correct


def test_random_data_is_the_same_for_answer_and_response(judge: Judge) -> None:
    grader = GRADELIB + (
        "numbers = [gradelib.rand.randint(0, 10**9) for _ in range(5)]\n"
        "grader.add_test(gradelib.InvokeStudentFunctionTest('largest', [numbers]))\n"
    )
    shown = set()
    for student in ("ann", "bob", "cy", "dee", "eve", "fay"):
        found = judge(
            grader,
            "def largest(xs):\n    return max(xs)\n",
            "def largest(xs):\n    return sorted(xs)[-1]\n",
            student_key=student,
        )
        assert found.correct
        shown.add(found.tests[0].actual)
    assert len(shown) > 1


def test_no_test_run_is_not_correct(judge: Judge) -> None:
    found = judge(GRADELIB, "", "x = 1\n")
    assert (found.verdict, found.score) == (Verdict.INCORRECT, 0.0)


def test_graders_import_helpers_data_and_shared_names(judge: Judge) -> None:
    grader = (
        "import os, gradelib, graderutil\n"
        "from grader_support import gradelib as other, graderutil as another\n"
        "assert gradelib is other and graderutil is another\n"
        "import helper\nfrom pack import inner\n"
        "data = open(os.path.join(os.path.dirname(__file__), 'data.txt')).read()\n"
        "grader = gradelib.Grader()\n"
        "grader.add_test(helper.make('f', inner.ARGS + [data]))\n"
    )
    helper = (
        "import gradelib\ndef make(name, args):\n    return gradelib.InvokeStudentFunctionTest(name, args)\n"
    )
    course: dict[str, str | bytes] = {
        "p/helper.py": helper,
        "p/pack/__init__.py": "",
        "p/pack/inner.py": "ARGS = [1]\n",
        "p/data.txt": "text",
    }
    answer = "def f(a, b):\n    return b * a\n"
    assert judge(grader, answer, answer, course=course).correct


def test_the_source_is_there_for_inspect(judge: Judge) -> None:
    grader = GRADELIB + (
        "import inspect\n"
        "def test(module):\n    print(inspect.getsource(module.f).count('return'))\n"
        "    print(open(module.__file__).read().count('return'), module.__name__)\n"
        "grader.add_test(gradelib.Test(test, 'source'))\n"
    )
    answer = "def f():\n    return 1\n"
    found = judge(grader, answer, answer)
    assert found.tests[0].actual == "1\n1 submission\n"


def test_skip_grader_is_correct_without_running(judge: Judge, runner: Counting) -> None:
    payload = '{"grader": "p/grader.py", "skip_grader": true}'
    found = judge(ADD, ADD_ANSWER, "nonsense(", payload=payload)
    assert (found.verdict, found.score, runner.tasks) == (Verdict.CORRECT, 1.0, [])


def test_hide_output_marks_every_test(judge: Judge) -> None:
    payload = '{"grader": "p/grader.py", "hide_output": true}'
    found = judge(ADD, ADD_ANSWER, ADD_ANSWER, payload=payload)
    assert all(test.hide_output for test in found.tests)


def compiled(messages: dict[str, str]) -> bytes:
    """A catalogue in the format of msgfmt(1)."""
    pairs = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **messages}.items())
    keys, values, texts = [], [], b""
    start = 28 + 16 * len(pairs)
    for side, table in ((0, keys), (1, values)):
        for pair in pairs:
            raw = pair[side].encode()
            table.append((len(raw), start + len(texts)))
            texts += raw + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 28 + 16 * len(pairs))
    return head + b"".join(struct.pack("<2I", *entry) for entry in [*keys, *values]) + texts


def test_messages_are_translated_into_the_language_of_the_payload(judge: Judge) -> None:
    grader = GRADELIB + (
        "import graderutil\n"
        "grader.add_input_check(gradelib.required_substring('return'))\n"
        "grader.add_input_check(lambda code: _('Nonsense.') + graderutil.LANGUAGE)\n"
    )
    catalogue = compiled(
        {
            "Your code does not contain {0!r}.": "Votre code ne contient pas {0!r}.",
            "Nonsense.": "Bêtises.",
        }
    )
    course: dict[str, str | bytes] = {"conf/locale/fr/LC_MESSAGES/graders.mo": catalogue}
    for lang in ("fr", "fr-ca"):
        payload = f'{{"grader": "p/grader.py", "lang": "{lang}"}}'
        found = judge(grader, "", "x", payload=payload, course=course)
        assert found.errors == ("Votre code ne contient pas 'return'.", f"Bêtises.{lang}")
    found = judge(grader, "", "x", course=course)
    assert found.errors == ("Your code does not contain 'return'.", "Nonsense.en")


@pytest.mark.parametrize(
    "payload", ["", "null", "[]", "42", "true", '""', "{}", '{"grader": null}', "nope.py"]
)
def test_a_payload_that_names_no_grader_is_the_courses_fault(judge: Judge, payload: str) -> None:
    found = judge(ADD, ADD_ANSWER, ADD_ANSWER, payload=payload)
    assert is_course_fault(found, Cause.CONFIG)
    assert found.detail


@pytest.mark.parametrize(
    ("grader", "answer", "cause", "word"),
    [
        ("import nothing_of_the_kind\n", "", Cause.GRADER_BUG, "nothing_of_the_kind"),
        ("x = 1\n", "", Cause.GRADER_BUG, "grader"),
        ("def (", "", Cause.GRADER_BUG, "SyntaxError"),
        ("import sys\nsys.exit(0)\n", "", Cause.GRADER_BUG, "SystemExit"),
        (ADD, "1 / 0\n", Cause.REFERENCE_FAILED, "ZeroDivisionError"),
        (ADD, "while True: pass\n", Cause.REFERENCE_FAILED, "cpu"),
        (ADD, "import os\nos._exit(0)\n", Cause.REFERENCE_FAILED, "exit"),
        (ADD + "grader.add_input_check(lambda code: 1 / 0)\n", ADD_ANSWER, Cause.GRADER_BUG, "ZeroDivision"),
    ],
)
def test_a_broken_grader_or_answer_is_never_the_learners_fault(
    judge: Judge, grader: str, answer: str, cause: Cause, word: str
) -> None:
    found = judge(grader, answer, ADD_ANSWER, limits=Limits(cpu_s=0.4, wall_s=5))
    assert is_course_fault(found, cause), found
    assert word in found.detail
    assert found.errors == ()


def test_a_check_that_parses_meets_a_syntax_error(judge: Judge) -> None:
    grader = "import ast\n" + ADD + "grader.add_input_check(lambda code: ast.parse(code) and None)\n"
    found = judge(grader, ADD_ANSWER, "def add(:\n")
    assert found.verdict is Verdict.INPUT_ERROR
    assert 'File "submission.py", line 1' in found.errors[0]


@pytest.mark.parametrize(
    ("response", "files", "verdict"),
    [
        ("", {"add.py": ADD_ANSWER.encode()}, Verdict.CORRECT),
        ("", {"add.py": b"\xef\xbb\xbf" + ADD_ANSWER.encode()}, Verdict.CORRECT),
        ("", {"add.py": b"\xff\xfe"}, Verdict.INPUT_ERROR),
        ("", {"a.py": b"", "b.py": b""}, Verdict.INPUT_ERROR),
        ("x = '\udc80'", {}, Verdict.INPUT_ERROR),
        ("x = 1\0", {}, Verdict.INPUT_ERROR),
        ("#" * 600_000, {}, Verdict.INPUT_ERROR),
        ("", {}, Verdict.INCORRECT),
    ],
)
def test_what_was_sent_is_text_or_an_error_to_the_learner(
    judge: Judge, response: str, files: dict[str, bytes], verdict: Verdict
) -> None:
    found = judge(ADD, ADD_ANSWER, response, files=files)
    assert (found.verdict, found.blame) == (verdict, Blame.LEARNER)
