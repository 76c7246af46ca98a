"""The four passes of a gradelib grader, each the entry point of a child of its own.

Runs in: child (imported by the zygote). Stdlib only, any CPython >= 3.8.

Every entry takes and returns JSON as UTF-8 bytes. A request names the grader's file and the folders of its
modules, relative to the bundle, the seed and the language; the rest is the pass's own:

    prepare    text, words           -> errors, text, too_much      staff code on the learner's text
    reference  answer                -> tests, outputs, ...         staff code on the staff's answer
    attempt    text                  -> outputs, error, hint        the learner's code; no answer anywhere
    compare    cases                 -> results                     staff code on pairs of texts

A pass of staff code that fails reports {"failed": {"stage", "trace"}}. An attempt has nothing worth stealing
in its process and is not believed beyond the texts it returns: the fences here only keep honest mistakes
apart.

`prepare` and `compare` may run in a resident child, one request after the other: the grader is loaded once,
and each request finds the process as the first one did (language, import path, modules, random numbers,
working directory, output). What cannot be put back ends the resident: a failure is asked again of a fresh
one, and a resident in which staff code is about to execute a text retires first: it may be a learner's.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import json
import linecache
import marshal
import os
import random
import sys
import types
import warnings
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from grader_support import gradelib, graderutil  # type: ignore[import-not-found]

from sandbox import child

SUBMISSION_FILE = "submission.py"

# Bound now, while nobody else's code has run.
_compile, _exec, _isinstance, _issubclass = compile, exec, isinstance, issubclass
_len, _str, _type = len, str, type
_dumps, _loads = json.dumps, json.loads
_StringIO = io.StringIO
_getvalue = io.StringIO.getvalue
_EndTest = gradelib.EndTest


_ERRNO_HINTS = {
    errno.ENOMEM: "memory",
    errno.EAGAIN: "processes",
    errno.ENOSPC: "disk",
    errno.EDQUOT: "disk",
}


class _StaffFailure(Exception):
    """Staff code failed; `stage` says which."""

    def __init__(self, stage: str, trace: str) -> None:
        super().__init__(stage)
        self.stage = stage
        self.trace = trace


class _TooMuch(Exception):
    """A text is too long or too deeply nested for staff code."""


# Entry points


def prepare(request: bytes) -> bytes:
    """Input checks and preprocessors on the learner's text."""
    return _staff_pass(_prepare, request)


def reference(request: bytes) -> bytes:
    """The tests on the staff's answer: what is expected."""
    return _staff_pass(_reference, request)


def compare(request: bytes) -> bytes:
    """`compare_results` of tests that have their own, on pairs of texts."""
    return _staff_pass(_compare, request)


def attempt(request: bytes) -> bytes:
    """The tests on the learner's code."""
    asked = _loads(request)
    grader = _load_grader(asked)
    tests = list(grader.tests())
    try:
        module = _load_submission(asked["text"])
    except BaseException as error:  # whatever a module may raise, SystemExit included
        return _report({"outputs": [], "error": _trace(error), "hint": _hint(error), "interference": False})
    ran = _run_tests(grader, tests, module)
    return _report({"outputs": ran.outputs, "error": "", "hint": ran.hint, "interference": ran.swallowed})


# The passes of staff code


def _staff_pass(work: Callable[[Any], Dict[str, Any]], request: bytes) -> bytes:
    try:
        return _report(work(_loads(request)))
    except _StaffFailure as failure:
        if child.residence.served:
            raise  # not fresh: what an earlier request left behind may be why, so a fresh one shall try
        child.retire()
        return _report({"failed": {"stage": failure.stage, "trace": failure.trace}})


def _prepare(asked: Any) -> Dict[str, Any]:
    grader = _kept_grader(asked)
    try:
        errors, finding = _on_text("check", grader.input_errors, asked["text"])
        errors = [finding] if finding else [_plain(message) for message in errors]
        text = ""
        if not errors:
            text, finding = _on_text("preprocessor", grader.preprocess, asked["text"])
            errors, text = ([finding], "") if finding else ([], _plain(text))
    except _TooMuch:
        return {"errors": [], "text": "", "too_much": True}
    return {"errors": errors, "text": text, "too_much": False}


def _on_text(stage: str, work: Callable[[str], Any], text: str) -> Tuple[Any, str]:
    """What staff code makes of a learner's text, or what is wrong with the text that staff code failed on.

    Raises:
        _TooMuch: the text is too long or too deep for staff code that copes with others.
    """
    with _no_exec(), _blame(stage), graderutil.captured_stdout(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the text's syntax: a flood of them would end this process
        try:
            return work(text), ""
        except SyntaxError:
            # Many courses parse the text in a check of their own. If it is no Python, that is the finding.
            finding = _syntax_error(text)
            if not finding:
                raise
        except (RecursionError, MemoryError):
            # Parsers and walkers of trees give up on some texts. If they do on no text at all, it is they.
            try:
                work("")
            except (RecursionError, MemoryError):
                raise
            except Exception:  # noqa: S110 - a finding of its own about a text that is none
                pass
            raise _TooMuch() from None
        return None, finding


def _reference(asked: Any) -> Dict[str, Any]:
    grader = _load_grader(asked)
    recipe = _recipe(grader)
    with _blame("preprocessor"), graderutil.captured_stdout():
        text = _plain(grader.preprocess(asked["answer"]))
    with _blame("grader"):
        tests = list(grader.tests())
        described = [
            {
                "short": _plain(test.short_description),
                "long": _plain(test.detailed_description or ""),
                "hide": bool(getattr(test, "hide_output", False)),
                "custom": _has_own_compare(test),
            }
            for test in tests
        ]
    with _blame("answer"):
        module = _load_submission(text)
        ran = _run_tests(grader, tests, module)
    if ran.swallowed:
        raise _StaffFailure("answer", "The answer caught an EndTest.\n")
    return {"tests": described, "outputs": ran.outputs, "raised": ran.raised, "recipe": recipe}


def _compare(asked: Any) -> Dict[str, Any]:
    grader = _kept_grader(asked)
    tests = list(grader.tests())
    results = []
    with _no_exec(), graderutil.captured_stdout():
        for index, expected, actual in asked["cases"]:
            with _blame("compare"):
                judge = tests[index].compare_results
                results.append(_compare_one(judge, expected, actual))
    return {"results": results}


def _compare_one(judge: Any, expected: str, actual: str) -> Dict[str, Any]:
    try:
        return {"same": bool(judge(expected, actual)), "message": "", "trace": ""}
    except gradelib.EndTest as stop:
        return {"same": False, "message": _plain(stop), "trace": ""}
    except Exception as error:
        # float("Traceback ...") and its like: a text that the comparison cannot read is not the expected
        # one. If it cannot read the expected one either, the comparison itself is broken.
        with contextlib.suppress(gradelib.EndTest):
            judge(expected, expected)
        return {"same": False, "message": "", "trace": _trace(error, learner_only=False)}


def _recipe(grader: Any) -> Optional[List[str]]:
    """Names of the built-in preprocessors, if they are all there is to preparing a text; else None."""
    if _type(grader) is not gradelib.Grader or grader._input_checks:
        return None
    names = {gradelib.fix_line_endings: "fix_line_endings", gradelib.wrap_in_string: "wrap_in_string"}
    try:
        return [names[step] for step in grader._preprocessors]
    except (KeyError, TypeError):
        return None


def _has_own_compare(test: Any) -> bool:
    judge = getattr(test, "compare_results", None)
    return getattr(judge, "__func__", None) is not gradelib.Test.compare_results


# Residents


class _Kept(NamedTuple):
    """A loaded grader and what the process looked like right after: what the next request shall find."""

    grader: Any
    path: List[str]
    modules: Dict[str, types.ModuleType]
    shared_random: Any
    random: Any
    numpy_random: Any
    recursion: int


_graders: Dict[Tuple[Any, ...], _Kept] = {}
_MOST_KEPT = 16
_plain_path: List[str] = []
_streams: Tuple[Any, Any] = (None, None)


def _kept_grader(asked: Any) -> Any:
    """The grader, loaded now or by an earlier request to this process."""
    global _streams
    if not child.residence.resident:
        return _load_grader(asked)
    key = (asked["grader"], asked["lang"], asked["catalogue"], asked["seed"], *asked["folders"])
    if not child.residence.served:
        _plain_path[:] = sys.path
        _streams = sys.stdout, sys.stderr
        sys.addaudithook(_before_exec)
    else:
        _tidy()
    kept = _graders.get(key)
    if kept is None:
        if len(_graders) >= _MOST_KEPT:
            del _graders[next(iter(_graders))]
        sys.path[:] = _plain_path
        grader = _load_grader(asked)
        _graders[key] = _Kept(
            grader,
            list(sys.path),
            _course_modules(),
            gradelib.rand.getstate(),
            random.getstate(),
            sys.modules["numpy.random"].get_state() if "numpy.random" in sys.modules else None,
            sys.getrecursionlimit(),
        )
        return grader
    with _blame("catalogue"):
        _set_language(asked)
    sys.path[:] = kept.path
    sys.modules.update(kept.modules)
    gradelib.rand.setstate(kept.shared_random)
    random.setstate(kept.random)
    if kept.numpy_random is not None:
        sys.modules["numpy.random"].set_state(kept.numpy_random)
    sys.setrecursionlimit(kept.recursion)
    return kept.grader


def _tidy() -> None:
    """After an earlier request: no module of the course, no text of a learner, output where it goes."""
    for name in _course_modules():
        del sys.modules[name]
    linecache.cache.pop(SUBMISSION_FILE, None)
    _EndTest.made.clear()
    sys.stdout, sys.stderr = _streams
    os.chdir(child.place.scratch)


def _course_modules() -> Dict[str, types.ModuleType]:
    found = {}
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(child.place.bundle + "/"):
            found[name] = module
    return found


_fenced = False
_UNFIT = frozenset(
    {"exec", "code.__new__", "function.__new__", "pickle.find_class", "ctypes.dlopen", "os.fork"}
)


def _before_exec(event: str, args: Tuple[Any, ...]) -> None:
    """Audit hook: staff code is about to execute what is in no file of its own. Modules may be imported."""
    if _fenced and event in _UNFIT:
        if event == "exec":
            name = getattr(args[0], "co_filename", "")
            if name.startswith("<frozen ") or (
                name.startswith("/") and not name.startswith(child.place.scratch)
            ):
                return
        child.retire()


@contextlib.contextmanager
def _no_exec() -> Iterator[None]:
    """While staff code has a learner's text in hand."""
    global _fenced
    _fenced = True
    try:
        yield
    finally:
        _fenced = False


# Loading


def _load_grader(asked: Any) -> Any:
    path = child.place.bundle + "/" + asked["grader"]
    sys.path[:0] = [child.place.bundle + "/" + folder for folder in asked["folders"]]
    with _blame("catalogue"):
        _set_language(asked)
    gradelib.rand.seed(asked["seed"])
    random.seed(asked["seed"])
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:  # preloaded, and then seeded when the zygote was born
        numpy_random.seed(asked["seed"])
    module = types.ModuleType("grader")
    module.__file__ = path
    sys.modules["grader"] = module
    with _blame("grader"), graderutil.captured_stdout():
        _exec(_code_of(path), module.__dict__)
        return module.grader


def _code_of(path: str) -> Any:
    """The grader's code, as the sandbox compiled it when it laid the bundle out; else compiled now."""
    folder, _, name = path.rpartition("/")
    try:
        cached = _contents("%s/__pycache__/%s.%s.pyc" % (folder, name[:-3], sys.implementation.cache_tag))
    except OSError:
        return _compile(_contents(path), path, "exec", dont_inherit=True)
    return marshal.loads(cached[16:])  # noqa: S302 - by the zygote, in a read-only folder


def _contents(path: str) -> bytes:
    # Not open(): its layers are pages that this process would touch for nothing else, 0.1 ms of them.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        return os.read(fd, size)
    finally:
        os.close(fd)


def _load_submission(text: str) -> Any:
    copy = os.open(SUBMISSION_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        data = memoryview(text.encode())
        while data:
            data = data[os.write(copy, data) :]
    finally:
        os.close(copy)
    module = types.ModuleType("submission")
    module.__file__ = child.place.scratch + "/" + SUBMISSION_FILE
    sys.modules["submission"] = module
    linecache.cache[SUBMISSION_FILE] = (_len(text), None, text.splitlines(True), SUBMISSION_FILE)
    code = _compile(text, SUBMISSION_FILE, "exec", dont_inherit=True)
    with graderutil.captured_stdout():
        _exec(code, module.__dict__)
    return module


def _set_language(asked: Any) -> None:
    """The course's translations first; where it has none, our own words of gradelib's messages, if given."""
    graderutil.LANGUAGE = asked["lang"]
    words: Dict[str, str] = asked.get("words", {})

    def of_course(message: str) -> str:
        return message

    if asked["catalogue"]:
        import gettext

        with open(child.place.bundle + "/" + asked["catalogue"], "rb") as source:
            of_course = gettext.GNUTranslations(source).gettext

    def translate(message: str) -> str:
        text = of_course(message)
        return words.get(message, text) if text == message else text

    gradelib._ = translate
    builtins._ = translate  # type: ignore[attr-defined]


# Running the tests


class _Ran(NamedTuple):
    """What came of the tests: a text each, the first hint at a limit, whether an EndTest was swallowed.

    `raised`: the numbers of those that ended with another exception.
    """

    outputs: List[str]
    raised: List[int]
    hint: str
    swallowed: bool


def _run_tests(grader: Any, tests: List[Any], module: Any) -> _Ran:
    outputs: List[str] = []
    raised: List[int] = []
    hint = ""
    swallowed = False
    for number, test in enumerate(tests):
        output, error = _run_test(test, module)
        if error is not None and not isinstance(error, _EndTest):
            raised.append(number)
        outputs.append(output)
        hint = hint or _hint(error)
        if isinstance(error, _EndTest) and error.grader is grader:
            grader.caught_end_test()
        swallowed = swallowed or any(_kept(stop) for stop in _EndTest.made if stop is not error)
        _EndTest.made.clear()
    return _Ran(outputs, raised, hint, swallowed or grader.uncaught_end_tests() > 0)


def _run_test(test: Any, module: Any) -> Tuple[str, Optional[BaseException]]:
    """What the test printed, its exception included, and the exception."""
    out = _StringIO()
    before = sys.stdout
    sys.stdout = out
    error: Optional[BaseException] = None
    ending = ""
    try:
        test(module)
    except _EndTest as stop:
        error, ending = stop, _plain(stop.line())
    except BaseException as other:  # whatever a learner's program may raise
        error, ending = other, _trace(other)
    finally:
        sys.stdout = before
    printed = "" if out.closed else _plain(_getvalue(out))
    if isinstance(error, _EndTest) and ending in printed:
        return printed, error  # end_test has printed it already
    separator = "\n" if ending and printed and not printed.endswith("\n") else ""
    return printed + separator + ending, error


def _kept(stop: BaseException) -> bool:
    """Whether an exception came to rest in the learner's code.

    The first entry of a traceback is the frame that it was caught in. The staff may catch its own.
    """
    trace = stop.__traceback__
    return trace is not None and trace.tb_frame.f_code.co_filename == SUBMISSION_FILE


# Texts


def _plain(value: Any) -> str:
    """A real str that UTF-8 can carry, whatever class the value pretends to be."""
    text = value if _type(value) is _str else _str.__str__(value) if _isinstance(value, _str) else _str(value)
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _report(values: Dict[str, Any]) -> bytes:
    return _dumps(values, ensure_ascii=False).encode("utf-8")


def _trace(error: BaseException, learner_only: bool = True) -> str:
    info = (_type(error), error, error.__traceback__)
    main_file = SUBMISSION_FILE if learner_only else None
    return _plain(graderutil.format_exception(info, main_file, hide_file=learner_only))


def _syntax_error(text: str) -> str:
    linecache.cache[SUBMISSION_FILE] = (_len(text), None, text.splitlines(True), SUBMISSION_FILE)
    try:
        _compile(gradelib.fix_line_endings(text), SUBMISSION_FILE, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return _trace(error)
    return ""


def _hint(error: Optional[BaseException]) -> str:
    """Which limit an exception of the learner's code speaks of."""
    # By type: what an object of the learner's says about itself does not matter.
    if _issubclass(_type(error), MemoryError):  # numpy raises a class of its own
        return "memory"
    first = error.args[0] if error is not None and error.args else None
    if _type(error) is RuntimeError and _type(first) is _str and first == "can't start new thread":
        return "processes"
    if _type(error) in (OSError, BlockingIOError) and isinstance(first, int):
        return _ERRNO_HINTS.get(first, "")
    return ""


@contextlib.contextmanager
def _blame(stage: str) -> Iterator[None]:
    try:
        yield
    except (_StaffFailure, _TooMuch):
        raise
    except BaseException as error:  # SystemExit in a grader is a failure like any other
        raise _StaffFailure(stage, _trace(error, learner_only=False)) from None
