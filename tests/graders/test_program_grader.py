"""Whole judgements of programs: real compilers, real jails, what the learner gets to see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graders.comparison import Comparison, Mode
from graders.feedback import Feedback
from graders.languages import LanguageError, built_in, built_in_blocks, known, language
from graders.model import Blame, Cause, Judgement, Verdict, Work
from graders.program import ProgramHandler, Toolchains, clean_paths, prove, sources_of
from sandbox.model import OutcomeKind
from tests.graders.conftest import write

LANGUAGES = built_in()
LIMITS = {"cpu_s": 1.0, "wall_s": 6.0}

ADD_C = '#include <stdio.h>\nint main(void){int a,b;scanf("%d %d",&a,&b);printf("%d\\n",a+b);return 0;}\n'
ADD_PY = "a, b = map(int, input().split())\nprint(a + b)\n"
PROBLEM: dict[str, str | bytes] = {
    "p/sample1.in": "1 2\n",
    "p/sample1.out": "3\n",
    "p/2.in": "20 30\n",
    "p/2.out": "50\n",
    "p/3.in": "-1 1\n",
    "p/3.out": "0\n",
}
SECRETS = ("20 30", "50", "-1 1")

if not Path("/usr/bin/gcc").exists():
    pytest.skip("this machine has no /usr/bin/gcc", allow_module_level=True)


@pytest.fixture(scope="module")
def toolchains() -> Iterator[Toolchains]:
    chains = Toolchains(LANGUAGES, ["c", "python"], 41_000)
    try:
        chains.open()
        for name in ("c", "python"):
            chains.validator(name).open()
        yield chains
    finally:
        chains.close()


Judge = Callable[..., Judgement]


@pytest.fixture
def judge(tmp_path: Path, toolchains: Toolchains) -> Judge:
    """judge(response, language, files of the problem, …): the judgement of a response to the problem p."""

    def judge(
        response: str,
        language: str = "c",
        course: dict[str, str | bytes] | None = None,
        files: dict[str, bytes] | None = None,
        payload: dict[str, object] | None = None,
        **options: object,
    ) -> Judgement:
        write(tmp_path, PROBLEM | (course or {}))
        handler = ProgramHandler(tmp_path, toolchains, **{"limits": LIMITS, **options})  # type: ignore[arg-type]
        text = json.dumps({"grader": "p", "lang": language, **(payload or {})})
        found = handler.grade(Work(text, response, files or {}))
        assert Feedback().render(found).msg
        return found

    return judge


def words(found: Judgement) -> list[str]:
    return [test.short for test in found.tests]


def everything_shown(found: Judgement) -> str:
    return Feedback(limit_bytes=384 * 1024).render(found).msg


def test_a_right_program_gets_full_marks(judge: Judge) -> None:
    found = judge(ADD_C)
    assert (found.verdict, found.score, found.blame) == (Verdict.CORRECT, 1.0, Blame.LEARNER)
    assert words(found) == ["Test 1: passed", "Test 2: passed", "Test 3: passed"]
    assert (found.outcome, found.errors, found.grader) == (OutcomeKind.OK, (), "p")
    assert found.usage.cpu_s > 0
    assert "seccomp" in found.isolation


def test_public_tests_are_shown_and_secret_ones_are_not(judge: Judge) -> None:
    found = judge('#include <stdio.h>\nint main(void){printf("3\\n");return 0;}\n')
    assert (found.verdict, found.score) == (Verdict.INCORRECT, pytest.approx(1 / 3))
    assert words(found) == ["Test 1: wrong answer", "Test 2: wrong answer", "Test 3: passed"]
    secret, _, public = found.tests
    assert (secret.hide_output, secret.expected, secret.actual, secret.long) == (True, "", "", "")
    assert (public.expected, public.actual) == ("3\n", "3\n")
    assert "1 2" in public.long
    wrong = judge('#include <stdio.h>\nint main(void){printf("4\\n");return 0;}\n')
    assert 'line 1, word 1: expected "3", found "4"' in wrong.tests[2].long
    for one in (found, wrong):
        assert not any(text in everything_shown(one) for text in SECRETS)


def test_compile_errors_are_shown_without_the_jails_folders(judge: Judge) -> None:
    found = judge("int main(void){\n  return missing;\n}\n")
    assert (found.verdict, found.score, found.tests) == (Verdict.ERROR, 0.0, ())
    assert "main.c:2:10: error: ‘missing’ undeclared" in found.errors[0]
    assert "/course" not in found.errors[0]
    assert "/home/learner" not in found.errors[0]


def test_what_cannot_be_linked_is_a_compile_error(judge: Judge) -> None:
    found = judge("int f(void);\nint main(void){return f();}\n")
    assert found.verdict is Verdict.ERROR
    assert "undefined reference" in found.errors[0]


def test_a_compiler_bomb_is_the_learners_error(judge: Judge) -> None:
    found = judge('#include "main.c"\n#include "main.c"\n')
    assert (found.verdict, found.blame) == (Verdict.ERROR, Blame.LEARNER)
    assert found.errors[0].startswith("Compilation failed:")


@pytest.mark.parametrize(
    ("body", "verdict", "said"),
    [
        ("for(volatile int i=0;;i++);", Verdict.TIMEOUT, "time limit of 1 s"),
        ("volatile int *p = 0; *p = 1;", Verdict.ERROR, "crashed (signal 11)"),
        ("return 3;", Verdict.ERROR, "exit status 3"),
        ("for(;;) puts(\"again and again\");", Verdict.LIMIT, "printed too much"),
    ],
)  # fmt: skip
def test_what_a_program_dies_of_is_told(judge: Judge, body: str, verdict: Verdict, said: str) -> None:
    head = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
    found = judge(f"{head}int main(void) {{ {body} return 0; }}\n", course={"p/tests.toml": "stop = true"})
    assert (found.verdict, found.score, found.blame) == (verdict, 0.0, Blame.LEARNER)
    assert found.errors[0].startswith("Test 1: ")
    assert said in found.errors[0]
    assert found.errors[1] == "2 of 3 tests were not run."


def test_a_program_that_wants_too_much_memory(judge: Judge) -> None:
    """With a control group the kernel tells; without one the program gets none, and does as it likes."""
    text = (
        "#include <stdlib.h>\n#include <string.h>\n"
        "int main(void) {\n"
        "  for (;;) { char *p = malloc(1 << 20); if (!p) return 9; memset(p, 1, 1 << 20); }\n}\n"
    )
    found = judge(text, course={"p/tests.toml": "stop = true"})
    if any("memory" in layer for layer in found.isolation):
        assert (found.verdict, found.outcome) == (Verdict.MEMORY, OutcomeKind.MEMORY)
        assert "memory limit of 256 MiB" in found.errors[0]
    else:
        assert found.verdict is Verdict.ERROR
        assert "exit status 9" in found.errors[0]


def test_an_exit_status_may_be_ignored(judge: Judge) -> None:
    text = ADD_C.replace("return 0", "return 1")
    assert judge(text).verdict is Verdict.ERROR
    assert judge(text, ignore_exit_status=True).correct
    assert judge(text, course={"p/tests.toml": "ignore_exit_status = true"}).correct


def test_the_error_output_of_a_public_test_is_shown(judge: Judge) -> None:
    found = judge("print(1)\nraise ValueError(input())\n", "python")
    assert found.verdict is Verdict.ERROR
    shown = found.tests[2].actual
    assert shown.startswith("1\n[Your program ended with the exit status 1")
    assert 'File "main.py", line 2' in shown
    assert "ValueError: 1 2" in shown
    assert not any(secret in everything_shown(found) for secret in SECRETS)


def test_memory_errors_of_a_runtime_are_memory(judge: Judge) -> None:
    assert judge("raise MemoryError\n", "python").verdict is Verdict.MEMORY


def test_groups_are_all_or_nothing_and_stop(judge: Judge) -> None:
    config = """
[groups.big]
tests = ["2", "3"]
points = 9
"""
    only_positive = "a, b = map(int, input().split())\nprint(a + b if a > 0 else 'no')\n"
    found = judge(only_positive, "python", {"p/tests.toml": config})
    assert (found.verdict, found.score) == (Verdict.INCORRECT, pytest.approx(0.1))
    assert words(found) == ["Test 1: passed", "Test 2: passed", "Test 3: wrong answer"]
    only_sample = "a, b = map(int, input().split())\nprint(3)\n"
    found = judge(only_sample, "python", {"p/tests.toml": config})
    assert words(found) == ["Test 1: passed", "Test 2: wrong answer"]
    assert found.errors == ("1 of 3 tests were not run.",)


def test_limits_of_a_group(judge: Judge) -> None:
    slow = "import time\nt = time.process_time()\nwhile time.process_time() - t < 0.6: pass\n" + ADD_PY
    config = 'limits = { cpu_s = 3 }\n[groups.quick]\ntests = ["2"]\nlimits = { cpu_s = 0.3 }\n'
    found = judge(slow, "python", {"p/tests.toml": config})
    assert words(found) == ["Test 1: passed", "Test 2: passed", "Test 3: time limit"]


def test_numbers_may_differ_by_the_tolerance(judge: Judge) -> None:
    near = ADD_PY.replace("a + b", "a + b + 1e-9")
    assert not judge(near, "python").correct
    assert judge(near, "python", comparison=Comparison(Mode.FLOATS)).correct
    config = "comparison = { float_absolute_tolerance = 1e-6 }"
    assert judge(near, "python", {"p/tests.toml": config}).correct


def test_all_tests_together_have_a_time(judge: Judge) -> None:
    times = iter([0.0, 1.0, 99.0, 99.0])
    found = judge(ADD_C, budget_s=10.0, clock=lambda: next(times))
    assert (found.verdict, found.blame, found.score) == (Verdict.TIMEOUT, Blame.LEARNER, pytest.approx(1 / 3))
    assert found.errors == (
        "All tests together took too long; the rest was not run.",
        "2 of 3 tests were not run.",
    )


# --- which language, which files ---


def test_several_files_and_included_ones(judge: Judge) -> None:
    files = {
        "main.c": b'#include "sum.h"\n#include "in.h"\nint main(void){int a,b;READ;show(a,b);}',
        "sum.c": b'#include <stdio.h>\n#include "sum.h"\nvoid show(int a,int b){printf("%d\\n",a+b);}',
        "sum.h": b"void show(int,int);",
    }
    course: dict[str, str | bytes] = {
        "p/include/c/in.h": '#include <stdio.h>\n#define READ scanf("%d %d",&a,&b)\n'
    }
    assert judge("", files=files, course=course).correct


def test_a_drivers_main_calls_the_learners_function(judge: Judge) -> None:
    driver = (
        "#include <stdio.h>\nint add(int,int);"
        'int main(void){int a,b;scanf("%d%d",&a,&b);printf("%d",add(a,b));}'
    )
    course: dict[str, str | bytes] = {"p/include/c/driver.c": driver}
    assert judge("int add(int a,int b){return a+b;}", course=course).correct
    spoiled = judge("int add(int a,int b){return a+b;}", files={"driver.c": b"int x;"}, course=course)
    assert spoiled.correct, "what the course includes stands above what a learner sends"


def test_the_suffix_tells_the_language(judge: Judge) -> None:
    for name, text in (("mine.py", ADD_PY), ("mine.c", ADD_C)):
        assert judge("", "en", files={name: text.encode()}).correct


@pytest.mark.parametrize(
    ("payload", "course", "said"),
    [
        ({"lang": "en"}, {}, 'no "language"'),
        ({"language": "cobol"}, {}, '"language" in grader_payload must be c or python'),
        ({"lang": "c"}, {"p/tests.toml": 'languages = ["java"]'}, "allows java"),
        ({"grader": "q"}, {}, "problem 'q'"),
        ({"grader": "../p"}, {}, "'..' is not allowed"),
        ({"lang": "c"}, {"p/4.in": ""}, "there is no .out or .ans file"),
        ({"lang": "c"}, {"p/tests.toml": "points = 0"}, "worth 0 points"),
    ],
)
def test_what_the_course_got_wrong_is_not_the_learners_fault(
    judge: Judge, payload: dict[str, object], course: dict[str, str | bytes], said: str
) -> None:
    found = judge(ADD_C, course=course, payload=payload)
    assert (found.verdict, found.blame, found.score) == (Verdict.UNGRADED, Blame.COURSE, 0.0)
    assert said in found.detail


@pytest.mark.parametrize(
    ("response", "files", "said"),
    [
        ("int main(void){}\0", {}, "NUL"),
        ("\ud800", {}, "valid Unicode"),
        ("x" * (1 << 20) + "x", {}, "too long"),
        ("", {"a b.c": b""}, "file name a b.c cannot be used"),
        ("", {"../x.c": b""}, "cannot be used"),
        ("", {"-o.c": b""}, "cannot be used"),
        ("", {"readme.txt": b"", "other.txt": b""}, "None of your files ends with .c"),
        ("", {f"{number}.c": b"" for number in range(65)}, "at most 64"),
    ],
)
def test_what_cannot_be_a_program_is_refused(
    judge: Judge, response: str, files: dict[str, bytes], said: str
) -> None:
    found = judge(response, files=files)
    assert found.verdict is Verdict.INPUT_ERROR
    assert said in found.errors[0]


def test_names_of_main_files() -> None:
    java, python, c = LANGUAGES["java"], LANGUAGES["python"], LANGUAGES["c"]

    def main(
        language: object, response: str = "", files: dict[str, bytes] | None = None, main: object = None
    ) -> str:
        found = sources_of(Work("", response, files or {}), language, main)  # type: ignore[arg-type]
        return found if isinstance(found, str) else found.main

    assert main(java, "public class Hello { }") == "Hello.java"
    assert main(java, "class Hello { }") == "Main.java"
    assert main(java, "public final class  A1 { }") == "A1.java"
    assert main(java, "", {"Shop.java": b"", "Main.java": b""}) == "Main.java"
    assert main(python, "", {"a.py": b"", "b.py": b""}).startswith(
        "You submitted several files; call the one"
    )
    assert main(python, "", {"a.py": b"", "b.py": b""}, "b.py") == "b.py"
    assert main(c, "", {"a.c": b"", "b.c": b""}) == "a.c"
    assert main(c, "", {"program.txt": b"int main"}) == "main.c"


def test_options_of_a_payload(judge: Judge) -> None:
    assert judge("no program", payload={"skip_grader": True}).correct
    found = judge(ADD_C, payload={"hide_output": True})
    assert all(test.hide_output for test in found.tests)


# --- Kattis packages and validators ---

STRICT = "validation: custom\nvalidator_flags: strict\n"
PACKAGE: dict[str, str | bytes] = {
    "k/problem.yaml": STRICT,
    "k/data/sample/1.in": "10\n",
    "k/data/sample/1.ans": "5 5\n",
    "k/data/secret/1.in": "7\n",
    "k/data/secret/1.ans": "3 4\n",
}
VALIDATOR = r"""
#include <stdio.h>
#include <string.h>
int main(int n, char **a) {
    int whole, x, y; char path[300], more[8];
    if (n != 5 || strcmp(a[4], "strict")) return 1;
    FILE *in = fopen(a[1], "r"), *answer = fopen(a[2], "r");
    if (!in || !answer || fscanf(in, "%d", &whole) != 1) return 1;
    snprintf(path, sizeof path, "%sjudgemessage.txt", a[3]);
    FILE *said = fopen(path, "w");
    if (!said) return 1;
    if (scanf("%d %d", &x, &y) != 2) { fprintf(said, "two numbers are needed"); return 43; }
    if (x == 666) return 7;
    if (x == 667) for (;;);
    if (scanf("%7s", more) == 1) { fprintf(said, "too much"); return 43; }
    fprintf(said, "%d and %d make %d", x, y, x + y);
    return x + y == whole ? 42 : 43;
}
"""
HALVES = "n = int(input())\nprint({expression})\n"


def halves(judge: Judge, expression: str, course: dict[str, str | bytes] | None = None) -> Judgement:
    files: dict[str, str | bytes] = PACKAGE | {"k/output_validators/check.c": VALIDATOR} | (course or {})
    return judge(HALVES.format(expression=expression), "python", files, payload={"grader": "k"})


def test_a_validator_accepts_any_right_answer(judge: Judge) -> None:
    assert halves(judge, "n // 2, n - n // 2").correct
    assert halves(judge, "n - 1, 1").correct
    wrong = halves(judge, "1, 1")
    assert (wrong.verdict, wrong.score) == (Verdict.INCORRECT, 0.0)
    assert "1 and 1 make 2" in wrong.tests[0].long
    assert words(wrong) == ["Test 1: wrong answer"]
    secret = halves(judge, "5, 5")
    assert words(secret) == ["Test 1: passed", "Test 2: wrong answer"]
    assert "make 10" in secret.detail
    assert "and 5 make 10" not in secret.tests[1].long
    assert halves(judge, "'many words'").verdict is Verdict.INCORRECT


@pytest.mark.parametrize(
    ("expression", "course", "said"),
    [
        ("666, 1", {}, "exit status 7, not 42 or 43"),
        ("667, 1", {"k/problem.yaml": STRICT + "limits: {validation_time: 1}"},
         "the validator failed at test sample/1: cpu"),
        ("1, 1", {"k/output_validators/check.c": "int main(void){"}, "the validator cannot be compiled"),
        ("1, 1", {"k/output_validators/other.py": ""}, "more than one language"),
        ("1, 1", {"k/problem.yaml": "validation: custom"}, "exit status 1, not 42 or 43"),
    ],
)  # fmt: skip
def test_a_validator_that_fails_is_the_courses_fault(
    judge: Judge, expression: str, course: dict[str, str | bytes], said: str
) -> None:
    found = halves(judge, expression, course)
    assert (found.verdict, found.blame, found.cause) == (Verdict.UNGRADED, Blame.COURSE, Cause.GRADER_BUG)
    assert said in found.detail


def test_a_validator_may_give_scores(judge: Judge) -> None:
    validator = (
        "import sys, pathlib\n"
        "said = pathlib.Path(sys.argv[3])\n"
        "x = float(sys.stdin.read())\n"
        "(said / 'score.txt').write_text(str(x))\n"
        "sys.exit(42 if x > 0 else 43)\n"
    )
    course: dict[str, str | bytes] = {
        **PACKAGE,
        "k/problem.yaml": "type: scoring\nvalidation: custom score\n",
        "k/data/testdata.yaml": "on_reject: continue\nrange: 0 20\n",
        "k/output_validators/check.py": validator,
    }
    for answer, score in (("10", 1.0), ("5", 0.5), ("99", 1.0), ("-1", 0.0)):
        found = judge(f"print({answer})", "python", course, payload={"grader": "k"})
        assert (found.score, found.correct) == (score, score == 1.0), found
    broken = judge("print('1e999')", "python", course, payload={"grader": "k"})
    assert broken.blame is Blame.COURSE
    assert "no finite number" in broken.detail


def test_the_answer_is_not_in_the_learners_jail(judge: Judge) -> None:
    spy = (
        "import os\n"
        "found = [os.path.join(place, name) for top in ('/course', '/home', '/tmp', '/box')\n"
        "    for place, _, names in os.walk(top) for name in names]\n"
        "print(sorted(found))\n"
    )
    found = judge(spy, "python")
    assert found.tests[2].actual == "['/course/main.py']\n"


def test_the_staffs_submissions_prove_a_problem(tmp_path: Path, toolchains: Toolchains) -> None:
    wrong = ADD_C.replace("a+b", "a-b")
    write(
        tmp_path,
        PROBLEM
        | {
            "p/submissions/accepted/a.c": ADD_C,
            "p/submissions/accepted/b.py": ADD_PY,
            "p/submissions/accepted/c.rs": "fn main(){}",
            "p/submissions/accepted/wrong.c": wrong,
            "p/submissions/wrong_answer/wrong.c": wrong,
            "p/submissions/time_limit_exceeded/loop.c": "int main(void){for(;;);}",
        },
    )
    proofs = {
        proof.solution.name: proof
        for proof in prove(ProgramHandler(tmp_path, toolchains, limits=LIMITS), "p")
    }
    judged = {name.split("/", 1)[1]: proof.ok for name, proof in proofs.items() if proof.judgement}
    assert judged == {
        "accepted/a.c": True,
        "accepted/b.py": True,
        "accepted/wrong.c": False,
        "wrong_answer/wrong.c": True,
        "time_limit_exceeded/loop.c": True,
    }
    assert proofs["submissions/accepted/c.rs"].judgement is None


# --- languages ---


def test_own_blocks_lie_over_the_built_in_ones() -> None:
    own = known(
        {"c": {"compile": {"limits": {"cpu_s": 3}}}, "lua": {"source": "m.lua", "run": {"command": ["/l"]}}}
    )
    assert own["c"].compile is not None
    assert LANGUAGES["c"].compile is not None
    assert own["c"].compile.limits.cpu_s == 3
    assert own["c"].compile.command == LANGUAGES["c"].compile.command
    assert own["c"].compile.limits.memory_mib == LANGUAGES["c"].compile.limits.memory_mib
    assert own["lua"].compile is None
    assert set(own) == {*LANGUAGES, "lua"}
    assert built_in() == LANGUAGES, "the built-in ones are as they were"
    assert set(built_in_blocks()) == set(LANGUAGES)


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("new", {}, "languages.new.source: is missing"),
        ("new", {"source": "a"}, "languages.new.run: is missing"),
        ("Ä", {}, "languages.Ä: is not a name"),
        ("c", {"sauce": "x"}, "languages.c.sauce: unknown key"),
        ("c", {"source": "../x"}, "languages.c.source: is not a file name"),
        ("c", {"artefacts": []}, "languages.c.artefacts: is empty"),
        ("c", {"artefacts": ["/etc/passwd"]}, "languages.c.artefacts: holds a path"),
        ("c", {"suffixes": ["c"]}, "languages.c.suffixes: holds what is no suffix"),
        ("c", {"named_by": "("}, "languages.c.named_by: is not a regular expression"),
        ("c", {"named_by": "x"}, "languages.c.named_by: has no group"),
        ("c", {"require": "none"}, "languages.c.require: is not known"),
        ("c", {"run": {"command": []}}, "languages.c.run.command: must begin"),
        ("c", {"run": {"command": ["gcc"]}}, "languages.c.run.command: must begin"),
        ("c", {"run": {"command": ["/x", "{sauce}"]}}, "languages.c.run.command: holds {sauce}"),
        ("c", {"run": {"command": ["/x", "-I{sources}"]}}, "languages.c.run.command: holds {sources}"),
        ("c", {"run": {"show": ["usr"]}}, "languages.c.run.show: must hold absolute paths"),
        ("c", {"run": {"show": ["/"]}}, "languages.c.run.show: must hold absolute paths"),
        ("c", {"run": {"show": ["/proc"]}}, "languages.c.run.show: must hold absolute paths"),
        ("c", {"run": {"environment": {"A=B": ""}}}, "languages.c.run.environment: holds what is no name"),
        ("c", {"run": {"limits": {"cpu_s": 0}}}, "languages.c.run.limits.cpu_s: must be a number above 0"),
        ("c", {"run": {"limits": {"memory_mib": 1.5}}}, "languages.c.run.limits.memory_mib: must be a whole"),
        ("c", {"compile": {"comand": []}}, "languages.c.compile.comand: unknown key"),
    ],
)
def test_a_bad_block_is_named_by_its_path(name: str, table: dict[str, object], message: str) -> None:
    with pytest.raises(LanguageError) as caught:
        language(name, table)
    assert str(caught.value).startswith(message)


def test_paths_of_jails_are_not_shown() -> None:
    digest = "0" * 64
    home = "/tmp/warden-jail-1-x"
    text = f"/course/a.c:1 /home/learner/b.c {home}/course/{digest}/c.c {home}/scratch/d"
    assert clean_paths(text) == "a.c:1 b.c c.c d"
    assert clean_paths("/usr/course.c /scratch/x") == "/usr/course.c /scratch/x"
