"""What course graders are written with: a Grader, its tests, preprocessors and checks of the learner's text.

Runs in: child (and zygote, where it is preloaded). Stdlib only, any CPython >= 3.8. A test is a function of
the learner's module that prints; what it prints for the learner is compared with what it prints for the
staff's answer, in another process.
"""

from __future__ import annotations

import functools
import io
import linecache
import random
import re
from typing import Any, Callable, ContextManager, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from . import graderutil

Check = Callable[[str], Optional[str]]
Preprocessor = Callable[[str], str]
TestFunction = Callable[[Any], Any]

SUBMISSION_FILE = "submission.py"

rand = random.Random(1)  # noqa: S311 - test data, not secrets
"""Seeded alike for the staff's answer and the learner's; draw random test data from it."""


def _(message: str) -> str:
    """Translate. The pass replaces this function where the course has a catalogue for the language."""
    return message


class EndTest(Exception):
    """Raise it inside a test to end the test, with a message for the learner."""

    # Every one ever made in this process: what swallowed it can be told from its traceback afterwards.
    made: List[EndTest] = []

    def __init__(self, message: Optional[str] = None) -> None:
        super().__init__(message)
        self.message = message
        self.shown = False  # its message is already in the test's output
        EndTest.made.append(self)

    def __str__(self) -> str:
        return "" if self.message is None else str(self.message)


class Test:
    """A test function with its descriptions. `compare`, if given, replaces `compare_results`."""

    __test__ = False
    hide_output = False
    """True: the learner is told whether the test passed, but neither output."""

    def __init__(
        self,
        test_fn: TestFunction,
        short_description: str,
        detailed_description: str = "",
        compare: Optional[Callable[[str, str], Any]] = None,
    ) -> None:
        self._test_fn = test_fn
        self.short_description = short_description
        self.detailed_description = detailed_description
        if compare is not None:
            self.compare_results = compare  # type: ignore[method-assign, assignment]

    def __call__(self, submission_module: Any) -> Any:
        return self._test_fn(submission_module)

    def compare_results(self, expected: str, actual: str) -> Any:
        """Truthy if the learner's output will do. Plain equality unless overridden."""
        return expected == actual


class Grader:
    """The tests of one problem, with checks and preprocessors of the learner's text."""

    def __init__(self) -> None:
        self._tests: List[Any] = []
        self._preprocessors: List[Preprocessor] = [fix_line_endings]
        self._input_checks: List[Check] = []
        self._end_tests = 0

    # Set-up, called by grader.py

    def add_test(self, test: Any) -> None:
        """Append a `Test`, or anything like one."""
        self._tests.append(test)

    def add_tests_from_class(self, test_class: Any) -> None:
        """Append a test for each method `test_*`, in the order of their names.

        A method takes the submission module. The first line of its docstring is the short description, the
        rest the detailed one. A method `compare_results(expected, actual)` of the class compares for all.
        """
        for name in sorted(dir(test_class)):
            if not name.startswith("test_"):
                continue
            instance = test_class()
            method = getattr(instance, name)
            if not callable(method):
                continue
            short, _sep, rest = (method.__doc__ or name).strip().partition("\n")
            compare = getattr(instance, "compare_results", None)
            self.add_test(Test(method, short.strip(), _dedent(rest), compare))

    def add_input_check(self, check: Check) -> None:
        """Append a function of the learner's raw text; it returns a message if the text will not do."""
        self._input_checks.append(check)

    def add_preprocessor(self, fn: Preprocessor) -> None:
        """Append a function from text to text, applied in order to the learner's text and the answer."""
        self._preprocessors.append(fn)

    # Use

    def tests(self) -> List[Any]:
        """The tests, in order."""
        return self._tests

    def input_errors(self, submission_str: str) -> List[str]:
        """Messages of all checks that refuse the text; empty if it will do."""
        found = (check(submission_str) for check in self._input_checks)
        return [message for message in found if message]

    def preprocess(self, submission_str: str) -> str:
        """The text that is run."""
        for fn in self._preprocessors:
            submission_str = fn(submission_str)
        return submission_str

    def end_test(self, message: str) -> None:
        """End the test that calls it, with a message for the learner."""
        self._end_tests += 1
        print(_("*** Error: {0}").format(message))
        stop = EndTest(message)
        stop.shown = True
        raise stop

    def caught_end_test(self) -> None:
        """Say that an `end_test` was caught by who should catch it."""
        self._end_tests -= 1

    def uncaught_end_tests(self) -> int:
        """How many `end_test`s were swallowed on their way, by the learner's code."""
        return self._end_tests


# Tests of functions


def invoke_student_function(
    fn_name: str,
    args: Sequence[Any],
    environment: Optional[Mapping[str, Any]] = None,
    output_writer: Optional[Callable[[Any], Any]] = None,
) -> TestFunction:
    """Test function that calls `fn_name(*args)` and prints what `output_writer` (repr) makes of the result.

    `environment`: names to set in the learner's module before the call.
    """
    writer = repr if output_writer is None else output_writer

    def test_fn(submission_module: Any) -> None:
        for name, value in (environment or {}).items():
            setattr(submission_module, name, value)
        print(writer(getattr(submission_module, fn_name)(*args)))

    return test_fn


class InvokeStudentFunctionTest(Test):
    """Call one function of the learner's with `args`, print its result."""

    def __init__(
        self,
        fn_name: str,
        args: Sequence[Any],
        environment: Optional[Mapping[str, Any]] = None,
        output_writer: Optional[Callable[[Any], Any]] = None,
        short_desc: Optional[str] = None,
        detailed_desc: Optional[str] = None,
        compare: Optional[Callable[[str, str], Any]] = None,
    ) -> None:
        if short_desc is None:
            short_desc = "Test: {}({})".format(fn_name, ", ".join(map(repr, args)))
        test_fn = invoke_student_function(fn_name, args, environment, output_writer)
        super().__init__(test_fn, short_desc, detailed_desc or "", compare)


def round_float_writer(n: int) -> Callable[[Any], str]:
    """Output writer that shows floats, also inside lists, tuples and dicts, with `n` decimals."""

    def write(value: Any) -> str:
        if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
            shown = "%.*f" % (n, value)
            return shown.lstrip("-") if not shown.strip("-0.") else shown  # no "-0.00"
        if type(value) is list:
            return "[" + ", ".join(map(write_item, value)) + "]"
        if type(value) is tuple:
            return "(" + ", ".join(map(write_item, value)) + (",)" if len(value) == 1 else ")")
        if type(value) is dict:
            return "{" + ", ".join(write_item(k) + ": " + write_item(v) for k, v in value.items()) + "}"
        return repr(value)

    def write_item(value: Any) -> str:
        # An integer inside a container is no rounding matter.
        return repr(value) if isinstance(value, int) else write(value)

    return write


# Tests of whole programs, with the preprocessor wrap_in_string


def capture_stdout() -> ContextManager[io.StringIO]:
    """Collect what is printed: `with capture_stdout() as out: ...; out.getvalue()`."""
    return graderutil.captured_stdout()


def _exec_wrapped(submission_module: Any, environment: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    source = submission_module.submission_code
    # The line numbers in tracebacks are those of the learner's own text, so show that text.
    linecache.cache[SUBMISSION_FILE] = (len(source), None, source.splitlines(True), SUBMISSION_FILE)
    space: Dict[str, Any] = {} if environment is None else environment
    exec(compile(source, SUBMISSION_FILE, "exec", dont_inherit=True), space)
    return space


def exec_wrapped_code(
    environment: Optional[Dict[str, Any]] = None, post_process: Optional[Callable[[str], str]] = None
) -> TestFunction:
    """Test function that runs the wrapped code in `environment` and prints what it printed.

    `post_process` may change that text first. Needs the preprocessor `wrap_in_string`.
    """

    def test_fn(submission_module: Any) -> None:
        with capture_stdout() as out:
            _exec_wrapped(submission_module, environment)
        text = out.getvalue()
        print(post_process(text) if post_process else text)

    return test_fn


def exec_code_and_inspect_values(
    environment: Optional[Dict[str, Any]] = None,
    vars_to_inspect: Optional[Iterable[str]] = None,
    post_process: Optional[Callable[[str], str]] = None,
) -> TestFunction:
    """Test function that runs the wrapped code and prints the values of `vars_to_inspect`, one a line.

    What the code itself prints is dropped. `post_process` may change the text of the values first.
    """
    names = list(vars_to_inspect or ())

    def test_fn(submission_module: Any) -> None:
        with capture_stdout():
            space = _exec_wrapped(submission_module, environment)
        for name in names:
            if name not in space:
                raise NameError("name {!r} is not defined".format(name))
        text = "\n".join(str(space[name]) for name in names)
        print(post_process(text) if post_process else text)

    return test_fn


def trace_wrapped_code(inspector: Any, error_msg: str) -> TestFunction:
    """Test function that hands the wrapped code to `inspector` and prints `error_msg` per failed report.

    `inspector` is a context manager with `set_source(text)` and `inspect_dispatch()`, which yields reports.
    """

    def test_fn(submission_module: Any) -> None:
        inspector.set_source(submission_module.submission_code)
        with inspector:
            for report in inspector.inspect_dispatch():
                if not report:
                    print(error_msg)

    return test_fn


class ExecWrappedStudentCodeTest(Test):
    """Run the wrapped code in `environment`, compare what it prints. Needs `wrap_in_string`."""

    def __init__(
        self,
        environment: Optional[Dict[str, Any]],
        short_desc: str,
        detailed_desc: Optional[str] = None,
        compare: Optional[Callable[[str, str], Any]] = None,
    ) -> None:
        super().__init__(exec_wrapped_code(environment), short_desc, detailed_desc or "", compare)


# Preprocessors


def wrap_in_string(code: str) -> str:
    """Module text that holds the code as a string, `submission_code`, so that it can be run many times."""
    return "submission_code = " + repr(code)


def fix_line_endings(code: str) -> str:
    r"""Text with every line ended by "\n"."""
    return code.replace("\r\n", "\n").replace("\r", "\n")


# Input checks: each factory returns a function from text to None (it will do) or a message to the learner


def required_substring(string: str, error_msg: Optional[str] = None) -> Check:
    """The text must contain `string`."""
    return _check(lambda code: string in code, error_msg, _needs(string))


def prohibited_substring(string: str, error_msg: Optional[str] = None) -> Check:
    """The text must not contain `string`."""
    return _check(lambda code: string not in code, error_msg, _forbids(string))


def required_keyword(string: str, error_msg: Optional[str] = None) -> Check:
    """`string` must occur as a token: not in a comment, not in a string."""
    return _check(lambda code: _count_token(code, string) > 0, error_msg, _needs(string))


def prohibited_keyword(string: str, error_msg: Optional[str] = None) -> Check:
    """`string` must not occur as a token; comments and strings do not matter."""
    return _check(lambda code: _count_token(code, string) == 0, error_msg, _forbids(string))


required_operator = required_keyword
prohibited_operator = prohibited_keyword


def one_of_required_keywords(strings: Sequence[str], error_msg: Optional[str] = None) -> Check:
    """At least one of `strings` must occur as a token."""
    wanted = set(strings)

    def message() -> str:
        return _("Your code does not contain any of {0}.").format(", ".join(map(repr, strings)))

    return _check(lambda code: any(text in wanted for text, _column in _tokens(code)), error_msg, message)


def input_check_or(error_msg: str, *args: Check) -> Check:
    """At least one of the given checks must be content; `error_msg` otherwise."""
    return _check(lambda code: any(check(code) is None for check in args), error_msg, str)


def substring_occurs(
    string: str,
    at_least: Optional[int] = None,
    at_most: Optional[int] = None,
    exactly: Optional[int] = None,
    error_msg: Optional[str] = None,
    ignore_spacing: bool = False,
) -> Check:
    """`string` must occur as often as said. `ignore_spacing`: without any spaces, on both sides."""

    def check(code: str) -> Optional[str]:
        text, wanted = (code.replace(" ", ""), string.replace(" ", "")) if ignore_spacing else (code, string)
        return _judge_count(string, text.count(wanted), at_least, at_most, exactly, error_msg)

    return check


def substring_occurs_if_condstring(
    string: str,
    condstring: str,
    at_least: Optional[int] = None,
    at_most: Optional[int] = None,
    exactly: Optional[int] = None,
    error_msg: Optional[str] = None,
) -> Check:
    """As `substring_occurs`, but only where the text contains `condstring`."""
    inner = substring_occurs(string, at_least, at_most, exactly, error_msg)
    return lambda code: inner(code) if condstring in code else None


def token_occurs(
    string: str,
    at_least: Optional[int] = None,
    at_most: Optional[int] = None,
    exactly: Optional[int] = None,
    error_msg: Optional[str] = None,
) -> Check:
    """`string` must occur as a token as often as said."""
    return lambda code: _judge_count(
        string, _count_token(code, string), at_least, at_most, exactly, error_msg
    )


def count_non_comment_lines(
    at_least: Optional[int] = None,
    at_most: Optional[int] = None,
    exactly: Optional[int] = None,
    error_msg: Optional[str] = None,
) -> Check:
    """The text must have so many lines that are neither blank nor only a comment."""

    def check(code: str) -> Optional[str]:
        lines = (line.strip() for line in code.splitlines())
        found = sum(1 for line in lines if line and not line.startswith("#"))
        return _judge_count(_("non-comment lines"), found, at_least, at_most, exactly, error_msg)

    return check


def must_define_function(fn_name: str, error_msg: Optional[str] = None) -> Check:
    """The text must contain `def fn_name`."""

    def message() -> str:
        return _("Be sure you define a function named {0!r}.").format(fn_name)

    return _check(lambda code: _defines(code, "def", fn_name), error_msg, message)


def prohibited_function_definition(fn_name: str, error_msg: Optional[str] = None) -> Check:
    """The text must not contain `def fn_name`."""

    def message() -> str:
        return _("You should not define a function named {0!r}.").format(fn_name)

    return _check(lambda code: not _defines(code, "def", fn_name), error_msg, message)


def must_define_class(class_name: str, error_msg: Optional[str] = None) -> Check:
    """The text must contain `class class_name`."""

    def message() -> str:
        return _("Be sure you define a class named {0!r}.").format(class_name)

    return _check(lambda code: _defines(code, "class", class_name), error_msg, message)


def required_class_method(class_name: str, method_name: str, error_msg: Optional[str] = None) -> Check:
    """The class `class_name` must define the method `method_name`."""

    def message() -> str:
        return _("The class {0!r} should define a method named {1!r}.").format(class_name, method_name)

    return _check(lambda code: method_name in _methods(code, class_name), error_msg, message)


def prohibited_class_method(class_name: str, method_name: str, error_msg: Optional[str] = None) -> Check:
    """The class `class_name` must not define the method `method_name`."""

    def message() -> str:
        return _("The class {0!r} should not define a method named {1!r}.").format(class_name, method_name)

    return _check(lambda code: method_name not in _methods(code, class_name), error_msg, message)


def _check(passes: Callable[[str], bool], error_msg: Optional[str], default: Callable[[], str]) -> Check:
    # The message is made when it is needed: by then the language is known.
    def check(code: str) -> Optional[str]:
        if passes(code):
            return None
        return default() if error_msg is None else error_msg

    return check


def _needs(string: str) -> Callable[[], str]:
    return lambda: _("Your code does not contain {0!r}.").format(string)


def _forbids(string: str) -> Callable[[], str]:
    return lambda: _("Your code should not contain {0!r}.").format(string)


def _judge_count(
    what: str,
    found: int,
    at_least: Optional[int],
    at_most: Optional[int],
    exactly: Optional[int],
    error_msg: Optional[str],
) -> Optional[str]:
    if exactly is not None and found != exactly:
        message = _("Your code should contain {0!r} exactly {1} times, not {2}.").format(what, exactly, found)
    elif at_least is not None and found < at_least:
        message = _("Your code should contain {0!r} at least {1} times, not {2}.").format(
            what, at_least, found
        )
    elif at_most is not None and found > at_most:
        message = _("Your code should contain {0!r} at most {1} times, not {2}.").format(what, at_most, found)
    else:
        return None
    return message if error_msg is None else error_msg


_LEXER = re.compile(
    r"""
      [rRbBuUfFtT]{0,2} (?: \"{3} (?:[^\\]|\\.)*? (?:\"{3}|\Z) | '{3} (?:[^\\]|\\.)*? (?:'{3}|\Z)
                          | "(?:[^"\\\n]|\\.)*"? | '(?:[^'\\\n]|\\.)*'? )
    | \#[^\n]* | \\\n | [ \f\t]+
    | (?P<newline>\n[ \f\t]*)
    | (?P<token>
          [^\W\d]\w*
        | (?:\d|\.\d)(?:[eE][-+]|[\w.])*
        | \*\*= | //= | >>= | <<= | \.\.\. | != | -> | := | == | <= | >= | \*\* | // | << | >>
        | [-+*/%@&|^]= | \S )
    """,
    re.VERBOSE | re.DOTALL,
)

Token = Tuple[str, int]
"""Its text, and its column if it is the first of a line, else -1."""


@functools.lru_cache(maxsize=2)  # all checks of a grader look at one text
def _tokens(code: str) -> List[Token]:
    """The tokens of the text, comments and strings left out.

    Not by the module tokenize: that compiles its patterns on first use, so in every child anew (3 ms), raises
    where the text is no Python, and takes f-strings apart in some versions.
    """
    found: List[Token] = []
    column = 0
    for match in _LEXER.finditer("\n" + fix_line_endings(code)):
        kind = match.lastgroup
        if kind == "token":
            found.append((match.group(), column))
            column = -1
        elif kind == "newline":
            column = len(match.group()[1:].expandtabs())
        elif column >= 0 and not match.group().startswith("#"):
            column = -1  # a string
    return found


def _count_token(code: str, string: str) -> int:
    return sum(1 for text, _column in _tokens(code) if text == string)


def _defines(code: str, keyword: str, name: str) -> bool:
    tokens = _tokens(code)
    pairs = zip(tokens, tokens[1:])  # noqa: B905, RUF007 - Python 3.8
    return any(first == keyword and second == name for (first, _c), (second, _d) in pairs)


def _methods(code: str, class_name: str) -> List[str]:
    """Names of the functions defined directly in the body of the class, wherever the class stands."""
    names: List[str] = []
    outer = body = -1  # columns of the class and of its body while inside it
    column = 0
    brackets = 0
    tokens = _tokens(code)
    for (text, start), (following, _column) in zip(tokens, [*tokens[1:], ("", -1)]):  # noqa: B905 - 3.8
        brackets += (text in "([{") - (text in ")]}")
        if start >= 0 and brackets - (text in "([{") == 0:
            column = start
            if outer >= 0 and column <= outer:
                outer = body = -1
            elif outer >= 0 and body < 0:
                body = column
        if text == "class" and following == class_name:
            outer, body = column, -1
        elif text == "def" and body >= 0 and column == body:
            names.append(following)
    return names


def _dedent(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())
