"""Folders of tests: what is found, what it means, what is refused and how that is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graders.comparison import Comparison, Mode
from graders.errors import CatalogueError
from graders.model import Verdict
from graders.scoring import Acceptance, Aggregation, Case, Group, Mark, full_marks, together
from graders.testcases import MOST_INPUT, TestCatalogue, list_problems, natural
from tests.graders.conftest import write

Files = dict[str, str | bytes]

PLAIN: Files = {"p/1.in": "1\n", "p/1.out": "one\n", "p/2.in": "2\n", "p/2.out": "two\n"}
PACKAGE: Files = {
    "k/problem.yaml": "name: Sums\n",
    "k/data/sample/1.in": "1 1\n",
    "k/data/sample/1.ans": "2\n",
    "k/data/secret/01.in": "2 2\n",
    "k/data/secret/01.ans": "4\n",
    "k/data/secret/02.in": "3 3\n",
    "k/data/secret/02.ans": "6\n",
}


def names(group: Group) -> list[str]:
    return [case.name for case in group.cases()]


def public(group: Group) -> list[str]:
    return [case.name for case in group.cases() if case.public]


# --- plain folders ---


def test_pairs_of_files_are_tests_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    more: Files = {"p/10.in": "", "p/10.ans": "", "p/sample-a.in": "s", "p/sample-a.out": "S", "p/notes": "x"}
    write(tmp_path, PLAIN | more)
    problem = TestCatalogue(tmp_path).problem("p")
    assert names(problem.tests) == ["1", "2", "10", "sample-a"]
    assert public(problem.tests) == ["sample-a"]
    first = next(problem.tests.cases())
    assert (first.input, first.answer) == (b"1\n", b"one\n")
    assert (problem.partial, full_marks(problem.tests)) == (True, 4.0)
    assert problem.tests.comparison == Comparison()


def test_the_handlers_comparison_holds_where_the_problem_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    exact = Comparison(Mode.EXACT)
    assert TestCatalogue(tmp_path, exact).problem("p").tests.comparison == exact


def test_groups_points_limits_comparison_and_what_is_public(tmp_path: Path) -> None:
    config = """
title = "Numbers"
languages = ["c", "cpp"]
public = ["1"]
limits = { cpu_s = 1, memory_mib = 64 }
comparison = { mode = "floats", float_absolute_tolerance = 0.01 }
ignore_exit_status = true

[groups.big]
points = 30
limits = { cpu_s = 3 }

[groups.some]
tests = ["3", "4"]
points = 10
score = "each"
comparison = { float_absolute_tolerance = 0.5 }
"""
    more: Files = {f"p/{n}.{end}": "x" for n in ("3", "4", "big/1", "big/2") for end in ("in", "out")}
    write(tmp_path, PLAIN | more | {"p/tests.toml": config})
    problem = TestCatalogue(tmp_path).problem("p")
    assert (problem.title, problem.languages) == ("Numbers", ("c", "cpp"))
    assert problem.limits == {"cpu_s": 1, "memory_mib": 64}
    assert problem.ignore_exit_status
    rest, big, some = problem.tests.members
    assert isinstance(rest, Group)
    assert isinstance(big, Group)
    assert isinstance(some, Group)
    assert (names(rest), names(big), names(some)) == (["1", "2"], ["big/1", "big/2"], ["3", "4"])
    assert public(problem.tests) == ["1"]
    assert full_marks(problem.tests) == 2 + 30 + 10
    assert (big.aggregation, big.stop, big.limits) == (Aggregation.MIN, True, {"cpu_s": 3})
    assert (some.aggregation, some.stop, some.accept_score) == (Aggregation.SUM, False, 5.0)
    assert rest.comparison.float_absolute_tolerance == 0.01
    assert some.comparison.float_absolute_tolerance == 0.5
    assert some.comparison.mode is Mode.FLOATS


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"p/tests.toml": "titel = 'x'"}, "unknown field `titel`"),
        ({"p/tests.toml": "title = "}, "tests.toml: "),
        ({"p/tests.toml": "[groups.g]\ntests = ['9*']"}, "groups.g: no test is called 9*"),
        ({"p/tests.toml": "[groups.g]\ntests = ['1']\npoints = -1"}, "points of g must be 0 or more"),
        ({"p/tests.toml": "limits = { cpu = 1 }"}, "limits: cpu: unknown limit"),
        ({"p/tests.toml": "limits = { cpu_s = 0 }"}, "limits: cpu_s: must be a number above 0"),
        ({"p/tests.toml": "comparison = { mode = 'fuzzy' }"}, "comparison: Invalid enum value 'fuzzy'"),
        ({"p/tests.toml": "comparison = { case = true }"}, "comparison: Object contains unknown field"),
        ({"p/tests.toml": "checker = '../x.c'"}, "'..' is not allowed"),
        ({"p/tests.toml": "checker = 'no.c'"}, "No such file"),
        ({"p/tests.toml": b"\xff"}, "not UTF-8"),
        ({"p/3.in": ""}, "there is no .out or .ans file beside it"),
        ({"p/1.ans": ""}, "there is more than one .out or .ans file beside it"),
        ({"p/3.in": b"x" * (MOST_INPUT + 1), "p/3.out": ""}, "a test has more than 16 MiB"),
    ],
)
def test_what_cannot_be_followed_is_said(tmp_path: Path, files: Files, message: str) -> None:
    write(tmp_path, PLAIN | files)
    with pytest.raises(CatalogueError) as caught:
        TestCatalogue(tmp_path).problem("p")
    assert message in str(caught.value)
    assert str(caught.value).startswith("problem 'p' under ") or "grader" in str(caught.value)


def test_a_folder_without_tests_and_none_at_all(tmp_path: Path) -> None:
    write(tmp_path, {"p/readme": "x"})
    catalogue = TestCatalogue(tmp_path)
    with pytest.raises(CatalogueError, match="it has no tests"):
        catalogue.problem("p")
    for name in ("q", "../p", "/etc", "p/readme"):
        with pytest.raises(CatalogueError):
            catalogue.problem(name)


def test_links_lead_nowhere_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write(root, PLAIN)
    write(outside, {"secret": "key"})
    (root / "p/3.in").symlink_to(outside / "secret")
    write(root, {"p/3.out": ""})
    with pytest.raises(CatalogueError, match="leads out of"):
        TestCatalogue(root).problem("p")
    (root / "p/3.in").unlink()
    (root / "p/3.in").symlink_to("../p/1.in")
    assert names(TestCatalogue(root).problem("p").tests) == ["1", "2", "3"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_no_test(tmp_path: Path, make: object) -> None:
    write(tmp_path, PLAIN | {"p/3.out": ""})
    assert callable(make)
    make(tmp_path / "p/3.in")
    with pytest.raises(CatalogueError):
        TestCatalogue(tmp_path).problem("p")


def test_a_change_is_seen_and_nothing_is_read_twice(tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    catalogue = TestCatalogue(tmp_path)
    first = catalogue.problem("p")
    assert catalogue.problem("p") is first
    write(tmp_path, {"p/1.out": "another one\n"})
    assert next(catalogue.problem("p").tests.cases()).answer == b"another one\n"
    write(tmp_path, {"p/3.in": "", "p/3.out": ""})
    assert names(catalogue.problem("p").tests) == ["1", "2", "3"]


def test_included_files_and_the_checker(tmp_path: Path) -> None:
    write(
        tmp_path,
        PLAIN
        | {
            "p/tests.toml": "checker = 'check'\nchecker_flags = ['a']",
            "p/check/main.c": "C",
            "p/check/lib.h": "H",
            "p/include/list.h": "L",
            "p/include/c/driver.c": "D",
            "p/include/c/1.in": "no test",
        },
    )
    problem = TestCatalogue(tmp_path).problem("p")
    assert problem.validator is not None
    assert problem.validator.sources.files == {"main.c": b"C", "lib.h": b"H"}
    assert problem.tests.flags == ("a",)
    assert problem.include == {"default": {"list.h": b"L"}, "c": {"driver.c": b"D", "1.in": b"no test"}}
    assert names(problem.tests) == ["1", "2"]


def test_problems_are_listed(tmp_path: Path) -> None:
    write(tmp_path, PLAIN | PACKAGE | {"a/b/1.in": "", "a/b/1.ans": "", "a/c/1.in": "", ".git/1.in": ""})
    assert list_problems(tmp_path) == ["a/b", "k", "p"]


def test_the_staffs_submissions(tmp_path: Path) -> None:
    write(
        tmp_path,
        PLAIN
        | {
            "p/submissions/accepted/a.c": "A",
            "p/submissions/accepted/two/main.c": "M",
            "p/submissions/accepted/two/lib.h": "H",
            "p/submissions/wrong_answer/b.py": "B",
            "p/submissions/readme": "",
        },
    )
    found = {one.name: one for one in TestCatalogue(tmp_path).solutions("p")}
    assert set(found) == {
        "submissions/accepted/a.c",
        "submissions/accepted/two",
        "submissions/wrong_answer/b.py",
    }
    assert found["submissions/accepted/two"].files == {"main.c": b"M", "lib.h": b"H"}
    assert found["submissions/wrong_answer/b.py"].expected == {Verdict.INCORRECT}


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_numbers_in_names_are_ordered_as_numbers(numbers: list[int]) -> None:
    assert sorted((f"t{n}.in" for n in numbers), key=natural) == [f"t{n}.in" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=8)))
def test_any_names_have_an_order(texts: list[str]) -> None:
    assert len(sorted(texts, key=natural)) == len(texts)


# --- Kattis packages ---


def test_a_package(tmp_path: Path) -> None:
    write(tmp_path, PACKAGE)
    problem = TestCatalogue(tmp_path).problem("k")
    assert (problem.title, problem.partial) == ("Sums", False)
    assert names(problem.tests) == ["sample/1", "secret/01", "secret/02"]
    assert public(problem.tests) == ["sample/1"]
    assert problem.tests.stop
    assert problem.tests.comparison == Comparison(case_sensitive=False)
    assert problem.validator is None


def test_a_package_with_groups_and_points(tmp_path: Path) -> None:
    files: Files = {
        "k/problem.yaml": """
name: { en: Sums }
type: scoring
limits: { memory: 64, output: 2, validation_time: 7, compilation_time: 9 }
validator_flags: case_sensitive float_tolerance 1e-3
""",
        "k/.timelimit": "1.5\n",
        "k/data/testdata.yaml": "on_reject: continue\ngrader_flags: ignore_sample\n",
        "k/data/secret/testdata.yaml": "range: 0 100\n",
        "k/data/secret/a/testdata.yaml": "on_reject: break\naccept_score: 40\ngrader_flags: min\n",
        "k/data/secret/b/testdata.yaml": """
accept_score: 60
grader_flags: min accept_if_any_accepted
output_validator_flags: float_absolute_tolerance 0.5
""",
    }
    groups: Files = {f"k/data/secret/{n}.{end}": "1" for n in ("a/1", "a/2", "b/1") for end in ("in", "ans")}
    kept = {name: text for name, text in PACKAGE.items() if "secret" not in name}
    write(tmp_path, kept | files | groups)
    problem = TestCatalogue(tmp_path).problem("k")
    assert problem.partial
    assert problem.limits == {"memory_mib": 64, "output_kib": 2048, "cpu_s": 1.5}
    assert problem.compile_limits == {"cpu_s": 9}
    assert problem.tests.comparison.float_relative_tolerance == 1e-3
    sample, secret = problem.tests.members
    assert isinstance(sample, Group)
    assert isinstance(secret, Group)
    assert (sample.counted, sample.acceptance) == (False, Acceptance.ALWAYS)
    a, b = secret.members
    assert isinstance(a, Group)
    assert isinstance(b, Group)
    assert (a.stop, a.aggregation, a.accept_score, a.full) == (True, Aggregation.MIN, 40, None)
    assert (b.stop, b.acceptance, b.accept_score) == (False, Acceptance.ANY, 60)
    assert b.comparison == Comparison(Mode.FLOATS, False, float_absolute_tolerance=0.5)
    assert full_marks(problem.tests) == 100


def test_a_package_with_a_validator(tmp_path: Path) -> None:
    files: Files = {
        "k/problem.yaml": "validation: custom score\ntype: scoring\nlimits: {validation_memory: 128}\n",
        "k/data/testdata.yaml": "range: 0 50\n",
        "k/output_validators/checker/check.cpp": "C",
        "k/output_validators/checker/validate.h": "H",
    }
    write(tmp_path, PACKAGE | files)
    validator = TestCatalogue(tmp_path).problem("k").validator
    assert validator is not None
    assert validator.scores
    assert set(validator.sources.files) == {"check.cpp", "validate.h"}
    assert validator.run_limits == {"memory_mib": 128}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"k/problem.yaml": "name: [1"}, "problem.yaml: not YAML"),
        ({"k/problem.yaml": "- 1"}, "must be a table"),
        ({"k/problem.yaml": "!!python/object/apply:os.system ['true']"}, "not YAML"),
        ({"k/problem.yaml": "type: interactive"}, "type 'interactive' is not supported"),
        ({"k/problem.yaml": "validation: custom interactive"}, "is not supported"),
        ({"k/problem.yaml": "validation: custom"}, "there is no such folder, but validation is custom"),
        ({"k/problem.yaml": "limits: 3"}, "limits must be a table"),
        ({"k/problem.yaml": "limits: {memory: lots}"}, "memory must be a number"),
        ({"k/problem.yaml": "limits: {memory: .inf}"}, "memory must be a finite number"),
        ({"k/problem.yaml": "limits: {memory: -5}"}, "a memory limit of -5 MiB makes no sense"),
        ({"k/problem.yaml": "validator_flags: fuzzy"}, "unknown validator flag 'fuzzy'"),
        ({"k/.timelimit": "soon"}, ".timelimit: not a number"),
        ({"k/data/testdata.yaml": "on_reject: never"}, "on_reject must be break or continue"),
        ({"k/data/testdata.yaml": "grading: custom"}, "grading 'custom' is not supported"),
        ({"k/data/testdata.yaml": "grader_flags: best"}, "unknown grader flag 'best'"),
        ({"k/data/testdata.yaml": "range: 5"}, "range must be two numbers"),
        ({"k/problem.yaml": "validation: custom", "k/output_validators/build": ""}, "build and run scripts"),
        (
            {
                "k/problem.yaml": "validation: custom",
                "k/output_validators/a/a.c": "",
                "k/output_validators/b/b.c": "",
            },
            "more than one validator",
        ),
        (
            {
                "k/problem.yaml": "validation: custom score\ntype: scoring",
                "k/output_validators/a.c": "",
            },
            "add a range",
        ),
    ],
)
def test_what_a_package_may_not_say(tmp_path: Path, files: Files, message: str) -> None:
    write(tmp_path, PACKAGE | files)
    with pytest.raises(CatalogueError) as caught:
        TestCatalogue(tmp_path).problem("k")
    assert message in str(caught.value)


# --- marks ---


def case(name: str) -> Case:
    return Case(name, b"", b"")


THREE = (case("1"), case("2"), case("3"))


@pytest.mark.parametrize(
    ("group", "accepted", "expected"),
    [
        (Group("", THREE), [True, False, True], Mark(False, 2)),
        (Group("", THREE), [True, True, True], Mark(True, 3)),
        (Group("", THREE), [True], Mark(False, 1)),
        (Group("", THREE, Aggregation.MIN), [True, False], Mark(False, 0)),
        (Group("", THREE, Aggregation.AVERAGE), [True, True, False], Mark(False, 2 / 3)),
        (Group("", THREE, Aggregation.MAX, Acceptance.ANY), [False, True, False], Mark(True, 1)),
        (Group("", THREE, acceptance=Acceptance.ALWAYS), [False], Mark(True, 0)),
    ],
)
def test_marks_of_a_group(group: Group, accepted: list[bool], expected: Mark) -> None:
    marks = [Mark(one, float(one)) for one in accepted]
    assert together(group, marks) == expected


def test_what_does_not_count_adds_nothing() -> None:
    group = Group("", (Group("s", THREE, counted=False), Group("t", THREE, accept_score=2)))
    assert full_marks(group) == 6
    assert together(group, [Mark(True, 3, counted=False), Mark(True, 6)]) == Mark(True, 6)


@given(
    st.lists(st.booleans(), min_size=1, max_size=6),
    st.sampled_from(Aggregation),
    st.floats(0, 100),
)
def test_no_submission_gets_more_than_full_marks(
    accepted: list[bool], rule: Aggregation, points: float
) -> None:
    group = Group("", tuple(case(str(n)) for n in range(len(accepted))), rule, accept_score=points)
    mark = together(group, [Mark(one, points * one) for one in accepted])
    assert 0 <= mark.score <= full_marks(group)
    assert mark.accepted == all(accepted)
    if all(accepted):
        assert mark.score == full_marks(group)
