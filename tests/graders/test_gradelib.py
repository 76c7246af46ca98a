"""Each documented name of gradelib and graderutil does what its documentation says."""

from __future__ import annotations

import io
import linecache
import os
import sys
import tokenize
import types
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from graders import passes
from tests.graders.conftest import DATA
from tests.graders.test_data import rows

# conftest has put the source root of the legacy names on the path.
import gradelib as g  # isort: skip
import graderutil  # isort: skip


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    yield
    linecache.cache.pop("submission.py", None)


def module(source: str = "", **names: Any) -> types.ModuleType:
    made = types.ModuleType("submission")
    exec(source, made.__dict__)
    made.__dict__.update(names)
    return made


def printed(test: Callable[[Any], Any], *args: Any) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        test(*args)
    return out.getvalue()


def test_the_old_names_are_the_same_modules() -> None:
    from grader_support import gradelib
    from grader_support import graderutil as util

    assert gradelib is g
    assert util is graderutil


# Grader and Test


def test_a_grader_keeps_its_parts_in_order() -> None:
    grader = g.Grader()
    first, second = g.Test(print, "one", "long"), g.Test(print, "two")
    grader.add_test(first)
    grader.add_test(second)
    assert grader.tests() == [first, second]
    assert (first.short_description, first.detailed_description) == ("one", "long")
    assert second.detailed_description == ""
    grader.add_preprocessor(lambda text: text + "1")
    grader.add_preprocessor(lambda text: text + "2")
    assert grader.preprocess("a\r\nb\rc") == "a\nb\nc12"
    grader.add_input_check(lambda text: None)
    grader.add_input_check(lambda text: "no " + text)
    grader.add_input_check(lambda text: "")
    assert grader.input_errors("x") == ["no x"]


def test_compare_results() -> None:
    assert g.Test(print, "t").compare_results("a", "a")
    assert not g.Test(print, "t").compare_results("a", "a ")
    assert g.Test(print, "t", "", lambda e, a: e < a).compare_results("a", "b")
    assert g.Test(print, "t", compare=lambda e, a: e < a).compare_results("a", "b")


def test_end_test() -> None:
    grader = g.Grader()

    def swallow() -> None:
        with pytest.raises(g.EndTest):
            grader.end_test("stop here")

    assert printed(swallow) == "Test ended: stop here\n"
    assert grader.uncaught_end_tests() == 1
    grader.caught_end_test()
    assert grader.uncaught_end_tests() == 0
    assert str(g.EndTest("x")) == "x"
    assert str(g.EndTest()) == ""


def test_add_tests_from_class() -> None:
    class Tests:
        def test_b(self, submission_module: Any) -> None:
            """Second.

            With more
            to say.
            """
            print(submission_module.x)

        def test_a(self, submission_module: Any) -> None:
            print("a")

        def helper(self) -> None: ...

        def compare_results(self, expected: str, actual: str) -> bool:
            return expected.lower() == actual.lower()

    grader = g.Grader()
    grader.add_tests_from_class(Tests)
    a, b = grader.tests()
    assert (a.short_description, a.detailed_description) == ("test_a", "")
    assert (b.short_description, b.detailed_description) == ("Second.", "With more\nto say.")
    assert printed(b, module(x=3)) == "3\n"
    assert b.compare_results("A", "a")


# Tests of functions


def test_invoke_student_function() -> None:
    space = module("def f(a, b): return a + b + k")
    assert printed(g.invoke_student_function("f", [1, 2], {"k": 3}), space) == "6\n"
    assert printed(g.invoke_student_function("f", ["a", "b"], {"k": "c"}), space) == "'abc'\n"
    assert printed(g.invoke_student_function("f", [1, 2], {"k": 3}, lambda v: f"<{v}>"), space) == "<6>\n"


def test_invoke_student_function_test() -> None:
    test = g.InvokeStudentFunctionTest("f", ["a", 2])
    assert test.short_description == "Test: f('a', 2)"
    assert printed(test, module("def f(a, b): return a * b")) == "'aa'\n"
    test = g.InvokeStudentFunctionTest("f", [1], None, None, "short", "long", lambda e, a: True)
    assert (test.short_description, test.detailed_description) == ("short", "long")
    assert test.compare_results("a", "b")


def test_a_function_that_changes_its_arguments_can_be_tested() -> None:
    data = [3, 1]
    test = g.InvokeStudentFunctionTest("f", [data], output_writer=lambda _value: repr(data))
    assert printed(test, module("def f(x): x.sort()")) == "[1, 3]\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3.14159, "3.14"),
        (2, "2.00"),
        (-0.001, "0.00"),
        (-0.5, "-0.50"),
        ([1.005, 2], "[1.00, 2]"),
        ((0.5,), "(0.50,)"),
        ({"a": 0.25}, "{'a': 0.25}"),
        (True, "True"),
        ("0.123", "'0.123'"),
        (None, "None"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_round_float_writer(value: Any, shown: str) -> None:
    assert g.round_float_writer(2)(value) == shown


# Tests of whole programs


def wrapped(code: str) -> types.ModuleType:
    return module(g.wrap_in_string(code))


def test_wrap_in_string() -> None:
    code = "x = '''a\\n'''\n\"\\\"'\n"
    assert wrapped(code).submission_code == code


def test_exec_wrapped_code() -> None:
    space: dict[str, Any] = {"start": 5}
    assert printed(g.exec_wrapped_code(space), wrapped("x = start + 1\nprint(x)")) == "6\n\n"
    assert space["x"] == 6
    assert printed(g.exec_wrapped_code(None, str.upper), wrapped("print('a')")) == "A\n\n"
    with pytest.raises(NameError):
        printed(g.exec_wrapped_code(), wrapped("start"))


def test_exec_wrapped_student_code_test() -> None:
    test = g.ExecWrappedStudentCodeTest({"n": 2}, "short", "long", lambda e, a: e == a)
    assert (test.short_description, test.detailed_description) == ("short", "long")
    assert printed(test, wrapped("print(n)")) == "2\n\n"
    assert g.ExecWrappedStudentCodeTest({}, "short").detailed_description == ""


def test_exec_code_and_inspect_values() -> None:
    test = g.exec_code_and_inspect_values({"a": 1}, ["x", "y"])
    assert printed(test, wrapped("print('noise')\nx = a + 1\ny = 'why'")) == "2\nwhy\n"
    assert printed(g.exec_code_and_inspect_values(None, ["x"], str.upper), wrapped("x = 'a'")) == "A\n"
    with pytest.raises(NameError, match="'y'"):
        printed(g.exec_code_and_inspect_values(None, ["x", "y"]), wrapped("x = 1"))


def test_trace_wrapped_code() -> None:
    class Inspector:
        source = ""
        entered = False

        def set_source(self, text: str) -> None:
            self.source = text

        def __enter__(self) -> None:
            self.entered = True

        def __exit__(self, *_: object) -> None: ...

        def inspect_dispatch(self) -> Iterator[bool]:
            assert self.entered
            yield from ("good" in self.source, "bad" in self.source)

    assert printed(g.trace_wrapped_code(Inspector(), "found fault"), wrapped("good")) == "found fault\n"


def test_capture_stdout() -> None:
    with g.capture_stdout() as out:
        print("in")
    assert out.getvalue() == "in\n"


# Input checks: text that passes, text that does not, a word of the message


CHECKS: list[tuple[str, Any, str, str]] = [
    ("required_substring", g.required_substring("ab"), "xabx", "a b"),
    ("prohibited_substring", g.prohibited_substring("ab"), "a b", "xabx"),
    ("required_keyword", g.required_keyword("for"), "for x in y: pass", "# for\nx = 'for'; forty = 1"),
    (
        "prohibited_keyword",
        g.prohibited_keyword("for"),
        "# for\nx = 'for'\n'''\nfor\n'''",
        "for x in y: pass",
    ),
    ("required_operator", g.required_operator("**"), "x ** 2", "x * 2; x **= 2"),
    ("prohibited_operator", g.prohibited_operator("+"), "x += 1", "x + 1"),
    ("one_of_required_keywords", g.one_of_required_keywords(["for", "while"]), "while 1: pass", "if 1: pass"),
    (
        "input_check_or",
        g.input_check_or("neither", g.required_keyword("a"), g.required_keyword("b")),
        "b",
        "c",
    ),
    ("at_least", g.substring_occurs("aa", at_least=2), "aaaa", "aaa"),
    ("at_most", g.substring_occurs("a", at_most=1), "a", "aa"),
    ("exactly", g.substring_occurs("a", exactly=2), "aa", "aaa"),
    ("ignore_spacing", g.substring_occurs("a = 1", at_least=1, ignore_spacing=True), "a=  1", "a=\t1"),
    ("condstring", g.substring_occurs_if_condstring("b", "a", at_least=1), "c", "a"),
    ("condstring met", g.substring_occurs_if_condstring("b", "a", at_least=1), "ab", "a"),
    ("token_occurs", g.token_occurs("x", exactly=1), "x = 'x' # x", "x = x"),
    ("count_non_comment_lines", g.count_non_comment_lines(at_most=2), "a\n\n# c\n  # d\nb\n", "a\nb\nc\n"),
    (
        "must_define_function",
        g.must_define_function("f"),
        "async def f(): pass",
        "# def f\n'''\ndef f():\n'''",
    ),
    ("must_define_function 2", g.must_define_function("f"), "def f(:", "def ff(): pass\nf = 1"),
    ("prohibited_function", g.prohibited_function_definition("f"), "f()", "class A:\n  def f(self): pass"),
    ("must_define_class", g.must_define_class("A"), "class A: pass", "class AB: pass\nA = AB"),
    (
        "required_class_method",
        g.required_class_method("A", "f"),
        "class A(B):\n  '''d'''\n  x = [1,\n2]\n  @p\n  def f(self): pass\n",
        "class B:\n  def f(self): pass\nclass A:\n  def g(self):\n    def f(): pass\ndef f(): pass\n",
    ),
    (
        "prohibited_class_method",
        g.prohibited_class_method("A", "f"),
        "class B:\n  def f(self): pass\nclass A:\n  def g(self): pass\n",
        "if 1:\n  class A:\n    def f(self): pass\n",
    ),
]


@pytest.mark.parametrize(("name", "check", "good", "bad"), CHECKS, ids=[check[0] for check in CHECKS])
def test_input_checks(name: str, check: Any, good: str, bad: str) -> None:
    assert check(good) is None
    message = check(bad)
    assert isinstance(message, str)
    assert message


def test_every_check_takes_a_message_of_its_own() -> None:
    for check in (
        g.required_substring("q", "own"),
        g.required_keyword("q", error_msg="own"),
        g.one_of_required_keywords(["q"], "own"),
        g.substring_occurs("q", exactly=1, error_msg="own"),
        g.substring_occurs_if_condstring("q", "x", exactly=1, error_msg="own"),
        g.token_occurs("q", at_least=1, error_msg="own"),
        g.count_non_comment_lines(exactly=9, error_msg="own"),
        g.must_define_function("q", "own"),
        g.must_define_class("q", "own"),
        g.required_class_method("q", "r", "own"),
        g.prohibited_substring("x", "own"),
        g.prohibited_keyword("x", "own"),
    ):
        assert check("x") == "own"


@pytest.mark.skipif(not DATA.is_dir(), reason="this machine has no data folder beside the checkout")
def test_tokens_are_those_of_the_language() -> None:
    left_out = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.STRING, tokenize.ENDMARKER}
    left_out |= {tokenize.INDENT, tokenize.DEDENT}
    compared = 0
    for row in rows("python_submissions.jsonl")[::7]:
        text = g.fix_line_endings(row["student_response"])
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        except (tokenize.TokenError, SyntaxError):
            continue
        expected = [token.string for token in tokens if token.type not in left_out and token.string.strip()]
        assert [text for text, _column in g._tokens(text)] == expected, row["id"]
        compared += 1
    assert compared > 200


@pytest.mark.parametrize(
    "text", ["'''", '"', "(", "f'{", "\\", "\0", "é = 1", "1.e-5.real", "x" * 10_000, "'\\"]
)
def test_no_text_upsets_the_checks(text: str) -> None:
    assert g.required_keyword("nope")(text)
    assert g.required_class_method("A", "f")(text)


def test_the_trusted_side_knows_the_same_built_in_steps() -> None:
    for text in ("", "a\r\nb\rc\n\r", "'\"\\\n\t\u2028é", "x = 1\n"):
        for name, step in passes._STEPS.items():
            assert step(text) == getattr(g, name)(text)


# graderutil


def test_folders_and_files(tmp_path: Path) -> None:
    before = os.getcwd()
    with graderutil.temp_directory() as folder, graderutil.change_directory(folder):
        assert Path.cwd() == Path(folder).resolve()
        graderutil.make_file("a/b.txt", "é")
        assert Path(folder, "a/b.txt").read_text(encoding="utf-8") == "é"
    assert os.getcwd() == before
    assert not Path(folder).exists()


def test_module_isolation() -> None:
    assert "this" not in sys.modules
    with graderutil.module_isolation(), graderutil.captured_stdout() as out:
        import this  # noqa: F401
    assert "this" not in sys.modules
    assert "Zen" in out.getvalue()


def test_language() -> None:
    assert graderutil.LANGUAGE == "en"


def test_format_exception(tmp_path: Path) -> None:
    source = tmp_path / "submission.py"
    source.write_text("def f():\n    raise KeyError('k')\n")
    space: dict[str, Any] = {}
    exec(compile(source.read_text(), str(source), "exec"), space)
    try:
        space["f"]()
    except KeyError:
        whole = graderutil.format_exception()
        own = graderutil.format_exception(main_file="submission.py", hide_file=True)
        none = graderutil.format_exception(sys.exc_info(), "another.py")
    assert __file__ in whole
    assert own.splitlines()[1:] == [
        '  File "submission.py", line 2, in f',
        "    raise KeyError('k')",
        "KeyError: 'k'",
    ]
    assert none == "KeyError: 'k'\n"
    assert graderutil.format_exception() == ""


def test_every_documented_name_is_there() -> None:
    # fmt: off
    names = [
        "Grader", "Test", "EndTest", "InvokeStudentFunctionTest", "ExecWrappedStudentCodeTest",
        "invoke_student_function", "exec_wrapped_code", "exec_code_and_inspect_values",
        "trace_wrapped_code", "round_float_writer", "capture_stdout", "wrap_in_string",
        "fix_line_endings", "required_substring", "prohibited_substring", "required_keyword",
        "prohibited_keyword", "required_operator", "prohibited_operator", "one_of_required_keywords",
        "input_check_or", "substring_occurs", "substring_occurs_if_condstring", "token_occurs",
        "count_non_comment_lines", "must_define_function", "prohibited_function_definition",
        "must_define_class", "required_class_method", "prohibited_class_method", "rand",
    ]
    # fmt: on
    assert [name for name in names if not hasattr(g, name)] == []
