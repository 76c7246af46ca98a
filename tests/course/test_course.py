"""Every submission of the sample course gets the verdict that its manifest promises, in the real sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from graders.catalogue import list_graders
from graders.manifest import CHEATS, Problem, Sample, load
from graders.model import Blame, Judgement, Verdict, Work
from graders.python import GradelibHandler, self_check
from sandbox.jail import Jail

from .conftest import ROOT

PROBLEMS = load(ROOT)
SAMPLES = [
    pytest.param(problem, sample, id=f"{problem.grader.removesuffix('/grader.py')}:{sample.name}")
    for problem in PROBLEMS
    for sample in problem.submissions
]


def _problem(folder: str) -> Problem:
    return next(problem for problem in PROBLEMS if problem.grader == f"{folder}/grader.py")


def _sample(folder: str, name: str) -> Sample:
    return next(sample for sample in _problem(folder).submissions if sample.name == name)


def _texts(judgement: Judgement) -> str:
    """All that a learner may come to see."""
    shown = [text for test in judgement.tests for text in (test.short, test.long, test.expected, test.actual)]
    return "\n".join([*shown, *judgement.errors])


@pytest.mark.parametrize(("problem", "sample"), SAMPLES)
def test_a_submission_gets_the_verdict_of_its_manifest(
    problem: Problem, sample: Sample, handler: GradelibHandler, course_jail: Jail
) -> None:
    judgement = handler.grade(Work(problem.payload, sample.response), course_jail)
    assert judgement.verdict in sample.expected, f"{judgement.detail}\n{_texts(judgement)[-2000:]}"
    assert judgement.blame is Blame.LEARNER
    assert (judgement.score == 1.0) == judgement.correct
    if "cheat" in sample.name:
        assert "LEAK" not in _texts(judgement)


@pytest.mark.parametrize("grader", list_graders(ROOT))
def test_the_answer_earns_full_marks(grader: str, handler: GradelibHandler, course_jail: Jail) -> None:
    judgement = self_check(handler, grader, course_jail)
    assert judgement.verdict is Verdict.CORRECT, judgement.detail
    assert judgement.tests


def test_every_grader_has_samples_and_every_sample_a_grader() -> None:
    assert [problem.grader for problem in PROBLEMS] == list_graders(ROOT)


def test_every_graded_problem_has_right_wrong_broken_and_cheating_submissions() -> None:
    for problem in PROBLEMS:
        first = Counter(sample.name.replace("/", "-").partition("-")[0] for sample in problem.submissions)
        if json.loads(problem.payload).get("skip_grader"):
            assert set(first) == {"correct"}
            continue
        assert first["correct"] >= 3, problem.grader
        assert first["incorrect"] >= 3, problem.grader
        assert first["input_error"] >= 1, problem.grader
        assert first[CHEATS] >= 9, problem.grader
        broken = [sample for sample in problem.submissions if sample.expected == {Verdict.ERROR}]
        # Programs wrapped in a string are compiled by the tests, so broken ones are incorrect.
        assert len(broken) >= 2 or "wrap_in_string" in (ROOT / problem.grader).read_text()


def test_every_shared_cheat_is_tried_on_several_kinds_of_problems() -> None:
    names = [sample.name for problem in PROBLEMS for sample in problem.submissions]
    used = Counter(name for name in names if name.startswith(CHEATS))
    files = {f"{CHEATS}/{path.stem}" for path in (ROOT / "submissions" / CHEATS).glob("*.py")}
    assert files == set(used)
    assert min(used.values()) >= 2, [name for name, count in used.items() if count < 2]


def test_the_verdicts_that_a_learner_can_earn_all_occur() -> None:
    certain = {
        verdict
        for problem in PROBLEMS
        for sample in problem.submissions
        for verdict in sample.expected
        if len(sample.expected) == 1
    }
    assert certain == set(Verdict) - {Verdict.UNGRADED}


def test_neither_answer_nor_submissions_are_shown_to_learners(handler: GradelibHandler) -> None:
    for problem in PROBLEMS:
        files = handler.catalogue.problem(problem.grader).bundle.files
        answer = (ROOT / problem.grader).with_name("answer.py").read_bytes()
        assert not [name for name in files if "answer" in name or "manifest" in name or "submissions" in name]
        assert answer not in files.values()


def test_texts_are_in_the_language_of_the_payload(handler: GradelibHandler, course_jail: Jail) -> None:
    problem = _problem("programs/triangle")
    assert json.loads(problem.payload)["lang"] == "de"
    response = _sample("programs/triangle", "incorrect-left").response
    german = handler.grade(Work(problem.payload, response), course_jail)
    assert german.tests[1].short == "Ein Dreieck der Höhe 2"
    assert german.tests[1].long.startswith("Jede Zeile ist zentriert")
    english = handler.grade(Work(json.dumps({"grader": problem.grader}), response), course_jail)
    assert english.tests[1].short == "A triangle of height 2"
    refused = handler.grade(Work(problem.payload, "print(height)"), course_jail)
    assert "Benutze eine Schleife." in refused.errors


def test_the_compiled_translations_are_those_of_their_sources() -> None:
    subprocess.run([sys.executable, ROOT / "conf" / "compile_messages.py", "--check"], check=True)


def test_hide_output_hides_and_only_where_the_payload_says_so(
    handler: GradelibHandler, course_jail: Jail
) -> None:
    hidden = _problem("functions/fibonacci")
    shown = _problem("functions/leap_year")
    wrong = _sample("functions/fibonacci", "incorrect-starts-late").response
    assert all(test.hide_output for test in handler.grade(Work(hidden.payload, wrong), course_jail).tests)
    wrong = _sample("functions/leap_year", "incorrect-julian").response
    tests = handler.grade(Work(shown.payload, wrong), course_jail).tests
    assert tests
    assert not any(test.hide_output for test in tests)


def test_learners_get_their_own_random_numbers_and_always_the_same(
    handler: GradelibHandler, course_jail: Jail
) -> None:
    problem = _problem("functions/prime_factors")
    right = _sample("functions/prime_factors", "correct-trial").response

    def numbers(learner: str) -> tuple[str, ...]:
        judgement = handler.grade(Work(problem.payload, right, student_key=learner), course_jail)
        assert judgement.correct
        return tuple(test.short for test in judgement.tests)

    drawn = {learner: numbers(learner) for learner in map(str, range(12))}
    assert len(set(drawn.values())) > 1
    assert all(numbers(learner) == drawn[learner] for learner in ("3", "7"))


def test_what_is_printed_right_counts_by_test(handler: GradelibHandler, course_jail: Jail) -> None:
    sample = _sample("functions/leap_year", "incorrect-julian")
    judgement = handler.grade(Work(_problem("functions/leap_year").payload, sample.response), course_jail)
    assert judgement.score == pytest.approx(8 / 11)
    assert [test.short for test in judgement.tests if not test.correct] == [
        "is_leap(1900)",
        "is_leap(2100)",
        "is_leap(100)",
    ]


def test_the_readme_of_the_course_names_every_problem() -> None:
    text = (ROOT / "README.md").read_text()
    folders = [problem.grader.removesuffix("/grader.py") for problem in PROBLEMS]
    assert [folder for folder in folders if f"| `{folder}` |" not in text] == []


def test_the_authors_handbook_explains_every_verdict() -> None:
    text = (ROOT.parent / "docs" / "course-authors.md").read_text()
    assert [verdict for verdict in Verdict if f"| `{verdict}` |" not in text] == []
