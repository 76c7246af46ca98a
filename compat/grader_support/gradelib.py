"""What a course's grader.py is written with: a grader, its tests, input checks and preprocessors.

Runs in: child (and zygote, where it is preloaded). Stdlib only, any CPython >= 3.8.

A test is a function of the learner's module that prints. Nothing in here knows what is expected: the harness
collects what is printed, for the answer and for the learner, and the two texts are compared elsewhere.
"""

from __future__ import annotations

import contextlib
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

rand = random.Random(0)  # noqa: S311 - nobody's secret
"""Source of test data. Every pass seeds it before it loads the grader, the reference like the attempt."""


def _(message: str) -> str:
    """Translate. The pass replaces this function where the course has a catalogue for the language."""
    return message


class EndTest(Exception):
    """Ends the running test from inside. The learner reads the message, if there is one, below the output."""

    made: List[EndTest] = []
    """The first of those made during a test. The harness looks there for one that the learner's code kept."""

    grader: Optional[Grader] = None
    """The grader whose `end_test` raised and counted it; None if somebody raised it without."""

    def __init__(self, message: Optional[str] = None) -> None:
        super().__init__("" if message is None else message)
        if len(EndTest.made) < _MOST_KEPT:
            EndTest.made.append(self)

    def line(self) -> str:
        """The message as a line of output; empty if there is none."""
        message = str(self)
        return "Test ended: {}\n".format(message) if message else ""


_MOST_KEPT = 100  # each keeps its frames alive


class Test:
    """One question to a program: a function that is given the learner's module, and prints.

    The printed text is the result. Descriptions tell the learner what is tested; `compare(expected, actual)`
    replaces the comparison of the two texts.
    """

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
        """End the running test: print the message and raise `EndTest`, right through the learner's code.

        Whoever catches it on the staff's side has to say so with `caught_end_test`.
        """
        stop = EndTest(message)
        stop.grader = self
        self._end_tests += 1
        print(stop.line(), end="")
        raise stop

    def caught_end_test(self) -> None:
        """Take note that one of `end_test`'s exceptions arrived where it should."""
        self._end_tests -= 1

    def uncaught_end_tests(self) -> int:
        """How many never arrived: the learner's code kept them."""
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


def _program(submission_module: Any) -> str:
    """Text of the wrapped program, known to tracebacks from now on."""
    text: str = submission_module.submission_code
    # They would quote the line that wraps it otherwise.
    linecache.cache[SUBMISSION_FILE] = (len(text), None, text.splitlines(True), SUBMISSION_FILE)
    return text


def _execute(submission_module: Any, environment: Optional[Dict[str, Any]]) -> Tuple[Dict[str, Any], str]:
    """Run the wrapped program. Returns the names it leaves and what it printed.

    If it raises, what it printed so far is printed, for the learner to see how far it came.
    """
    names = {} if environment is None else environment
    # Compiled apart from this module, whose __future__ is not the learner's.
    code = compile(_program(submission_module), SUBMISSION_FILE, "exec", dont_inherit=True)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, names)
    except BaseException:
        print(printed.getvalue(), end="")
        raise
    return names, printed.getvalue()


def exec_wrapped_code(
    environment: Optional[Dict[str, Any]] = None, post_process: Optional[Callable[[str], str]] = None
) -> TestFunction:
    """Test function that executes the wrapped program and prints what it printed, and a line's end.

    `environment` is what the program is executed in: it finds those names set, and leaves its own there. A
    fresh one each time unless given. `post_process` is applied to the printed text.
    """

    def test_fn(submission_module: Any) -> None:
        _names, text = _execute(submission_module, environment)
        print(text if post_process is None else post_process(text))

    return test_fn


def exec_code_and_inspect_values(
    environment: Optional[Dict[str, Any]] = None,
    vars_to_inspect: Optional[Iterable[str]] = None,
    post_process: Optional[Callable[[str], str]] = None,
) -> TestFunction:
    """Test function that executes the wrapped program and prints the variables named, one on a line.

    What the program itself prints does not count. `post_process` is applied to the text of each value. A
    variable that is not there is a NameError.
    """
    wanted = tuple(vars_to_inspect or ())

    def test_fn(submission_module: Any) -> None:
        names, _text = _execute(submission_module, environment)
        for name in wanted:
            if name not in names:
                raise NameError("name {!r} is not defined".format(name))
            shown = str(names[name])
            print(shown if post_process is None else post_process(shown))

    return test_fn


def trace_wrapped_code(inspector: Any, error_msg: str) -> TestFunction:
    """Test function that hands the wrapped program to `inspector`, which runs it and watches.

    The inspector is given the text by `set_source(text)`, and entered as a context manager; then its
    `inspect_dispatch()` yields findings, and `error_msg` is printed for each that is false. What the
    inspector prints itself counts too.
    """

    def test_fn(submission_module: Any) -> None:
        inspector.set_source(_program(submission_module))
        with inspector:
            for fine in inspector.inspect_dispatch():
                if not fine:
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
    """`string` must occur as often as said, comments and strings included; overlaps count once.

    `ignore_spacing`: blanks do not matter, in the string and in the text. Tabs and line ends do.
    """

    def squeezed(text: str) -> str:
        return text.replace(" ", "") if ignore_spacing else text

    def check(code: str) -> Optional[str]:
        found = squeezed(code).count(squeezed(string))
        return _judge_count(string, found, at_least, at_most, exactly, error_msg)

    return check


def substring_occurs_if_condstring(
    string: str,
    condstring: str,
    at_least: Optional[int] = None,
    at_most: Optional[int] = None,
    exactly: Optional[int] = None,
    error_msg: Optional[str] = None,
) -> Check:
    """Like `substring_occurs`, but only a text that contains `condstring` is checked."""
    check = substring_occurs(string, at_least, at_most, exactly, error_msg)
    return lambda code: check(code) if condstring in code else None


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
