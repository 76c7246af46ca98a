"""The plan is a pure function of its seed; the reckoning finds what is broken."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from graders.manifest import Problem, Sample
from graders.model import Verdict
from tests.chaos.checks import Evidence, Hit, Line, violations
from tests.chaos.faults import faults_of
from tests.chaos.lms import Callback
from tests.chaos.script import AHEAD, Kind, Plan, Target, Trouble, Wishes, plan

RIGHT, WRONG = frozenset({Verdict.CORRECT}), frozenset({Verdict.INCORRECT})
PROBLEMS = [
    Problem(
        f"p{number}/grader.py",
        f"p{number}",
        json.dumps({"grader": f"p{number}/grader.py"}),
        (Sample("right", "x = 1", RIGHT), Sample("wrong", "x = 2", WRONG)),
    )
    for number in range(5)
]
WISHES = Wishes(submissions=400, drills=((Trouble.REFUSED, 3.0), (Trouble.PASSWORD, 3.0)))


def a_plan(seed: int = 7, wishes: Wishes = WISHES) -> Plan:
    return plan(seed, PROBLEMS, wishes)


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert a_plan() == a_plan()
    assert list(a_plan().lines()) == list(a_plan().lines())
    assert a_plan(8) != a_plan()


@pytest.mark.parametrize("server", ["embedded", "edx"])
def test_a_plan_has_what_was_wished(server: str) -> None:
    found = a_plan(wishes=replace(WISHES, server=server))
    kinds = [item.kind for item in found.items]
    assert len(kinds) == 400 and kinds.count(Kind.POISON) == 3 and kinds.count(Kind.STRANGE) == 5
    assert len({item.key for item in found.items}) == 400
    assert {item.queue for item in found.items} == {"left", "right"}
    for verb, faults in faults_of(server).items():
        assert set(faults) <= set(found.faults[verb])
    assert len({blow.target for blow in found.blows}) >= len(Target) - 1
    assert [drill.trouble for drill in found.drills] == [Trouble.REFUSED, Trouble.PASSWORD]


def test_nobody_is_poisoned_during_a_drill() -> None:
    for seed in range(20):
        found = a_plan(seed)
        poisoned = [n for n, item in enumerate(found.items) if item.kind is Kind.POISON]
        assert not any(drill.at <= n < drill.at + AHEAD for n in poisoned for drill in found.drills)


def test_without_faults_nothing_is_spoilt() -> None:
    assert all(not any(fates) for fates in a_plan(wishes=replace(WISHES, fault_rate=0)).faults.values())


# -- the reckoning ---------------------------------------------------------------------------------------


def evidence() -> Evidence:
    """A run in which all went well."""
    items = a_plan(wishes=Wishes(submissions=20, poison=1, strange=1)).items
    current = {item.key: f"{item.key}.0" for item in items}
    callbacks = [
        Callback(current[item.key], reply(item.expected == RIGHT), float(number))
        for number, item in enumerate(items)
    ]
    journal = [
        Line(
            current[item.key],
            "DELIVERED",
            1,
            float(number),
            number + 0.5,
            item.kind is not Kind.PLAIN,
            next(iter(item.expected)),
            "",
        )
        for number, item in enumerate(items)
    ]
    return Evidence(items, current, callbacks, journal, [])


def reply(correct: bool, msg: str = "<p/>") -> str:
    return json.dumps({"correct": correct, "score": int(correct), "msg": msg})


def found_in(evidence: Evidence) -> list[str]:
    return list(violations(evidence, lambda text: "" if "bad" not in text else "not well-formed"))


def plain(evidence: Evidence, verdict: Verdict = Verdict.CORRECT) -> int:
    """The number of a plain item of that verdict."""
    return next(n for n, i in enumerate(evidence.items) if i.kind is Kind.PLAIN and i.expected == {verdict})


def test_a_run_in_which_all_went_well_breaks_no_promise() -> None:
    assert found_in(evidence()) == []


def test_a_result_that_comes_again_word_by_word_is_no_harm_and_another_one_is() -> None:
    good = evidence()
    first = good.callbacks[plain(good)]
    assert found_in(replace(good, callbacks=[*good.callbacks, first])) == []
    other = replace(first, body=reply(True, "<p>differs</p>"))
    assert any("differ" in line for line in found_in(replace(good, callbacks=[*good.callbacks, other])))


def test_every_broken_promise_is_found() -> None:
    good = evidence()
    one = plain(good)
    call, line = good.callbacks[one], good.journal[one]

    def calls(changed: Callback | None) -> Evidence:
        return replace(
            good,
            callbacks=[*good.callbacks[:one], *([changed] if changed else []), *good.callbacks[one + 1 :]],
        )

    def rows(changed: Line | None) -> Evidence:
        return replace(
            good, journal=[*good.journal[:one], *([changed] if changed else []), *good.journal[one + 1 :]]
        )

    for broken, words in (
        (calls(None), "no result"),
        (calls(replace(call, body=reply(False))), "correct is False"),
        (calls(replace(call, body=reply(True, "bad"))), "the LMS does not take"),
        (calls(replace(call, key="nobody")), "nobody asked"),
        (rows(None), "no row"),
        (rows(replace(line, state="DEAD")), "ends as DEAD"),
        (rows(replace(line, dead=True)), "did not make"),
        (rows(replace(line, verdict="incorrect")), "verdict incorrect"),
        (rows(replace(line, attempts=2)), "2 attempts, and 0 blows"),
        (rows(replace(line, key="plain-0.7")), "no row"),
    ):
        assert any(words in found for found in found_in(broken)), (words, found_in(broken))


def test_attempts_are_explained_by_blows_that_landed_while_it_was_graded() -> None:
    good = evidence()
    one = plain(good)
    line = replace(good.journal[one], attempts=2)
    journal = [*good.journal[:one], line, *good.journal[one + 1 :]]
    near = Hit(line.pulled_at + 0.1, line.pulled_at + 0.2, "kill worker")
    assert found_in(replace(good, journal=journal, hits=[near])) == []
    later = Hit(line.pulled_at + 5, line.pulled_at + 6, "kill worker")
    assert len(found_in(replace(good, journal=journal, hits=[later]))) == 1
