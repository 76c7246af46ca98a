"""Children of staff passes that stay: what they share, how they end, and that learners do not meet them."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from sandbox.jail import Jail
from sandbox.model import Bundle, Limits, Outcome, OutcomeKind, Task
from sandbox.resident import MOST_REQUESTS, MOST_RESIDENTS

from .conftest import LIMITS, PROFILE

REMEMBER = "import sys\nsys.seen = getattr(sys, 'seen', 0) + 1\nresult = sys.seen"


@pytest.fixture
def jail() -> Iterator[Jail]:
    with Jail(PROFILE, slot=2000 + os.getpid() % 1000) as jail:
        yield jail


def stay(jail: Jail, source: str, limits: Limits = LIMITS, bundle: Bundle | None = None) -> Outcome:
    return jail.run(Task("inside:execute", source.encode(), limits, bundle, resident=True))


def attempt(jail: Jail, source: str, limits: Limits = LIMITS) -> Outcome:
    return jail.run(Task("inside:execute", source.encode(), limits))


def residents(jail: Jail) -> list[int]:
    return [process.pid for process in psutil.Process(jail.pid).children()]


def bundle(number: int) -> Bundle:
    return Bundle.of({"grader.py": b"number = %d" % number})


def test_one_process_answers_one_request_after_the_other(jail: Jail) -> None:
    assert stay(jail, REMEMBER).report == b"1"
    (pid,) = residents(jail)
    for number in range(2, 6):
        outcome = stay(jail, REMEMBER + "\nprint(result)")
        assert outcome.kind is OutcomeKind.OK
        assert (outcome.report, outcome.stdout) == (b"%d" % number, b"%d\n" % number)
        assert outcome.usage.cpu_s < 0.1 and outcome.usage.memory_bytes > 2**20
    assert residents(jail) == [pid]


def test_an_ordinary_task_gets_a_fresh_child_all_the_same(jail: Jail) -> None:
    stay(jail, REMEMBER)
    assert attempt(jail, REMEMBER).report == b"1"
    assert stay(jail, REMEMBER).report == b"2"


def test_another_bundle_or_other_limits_get_another_process(jail: Jail) -> None:
    assert stay(jail, REMEMBER, bundle=bundle(1)).report == b"1"
    assert stay(jail, REMEMBER, bundle=bundle(2)).report == b"1"
    assert stay(jail, REMEMBER, replace(LIMITS, wall_s=3), bundle(1)).report == b"1"
    assert stay(jail, REMEMBER, bundle=bundle(1)).report == b"2"


def test_requests_and_reports_larger_than_a_pipe(jail: Jail) -> None:
    for size in (10, 500_000, 300_000, 10):
        request = os.urandom(size)
        assert jail.run(Task("inside:echo", request, LIMITS, resident=True)).report == request
    assert len(residents(jail)) == 1


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("while True: pass", OutcomeKind.CPU),
        ("import time; time.sleep(60)", OutcomeKind.WALL),
        ("print('x' * 2**20)", OutcomeKind.OUTPUT),
        ("result = 'x' * 2**21", OutcomeKind.OUTPUT),
        ("import os; os.kill(os.getpid(), 9); os.abort()", OutcomeKind.SIGNAL),
        ("import os; os._exit(3)", OutcomeKind.EXIT),
        ("import os; os.write(3, b'nonsense')", OutcomeKind.EXIT),
        ("import os; os.write(3, 2 * (b'+' + bytes(12)))", OutcomeKind.EXIT),
        ("import os; os.close(3)", OutcomeKind.EXIT),
        ("x = bytearray(2**30)", OutcomeKind.MEMORY),
        ("import os; os.closerange(0, 99); import time; time.sleep(60)", OutcomeKind.WALL),
    ],
)
def test_each_request_has_its_own_limits_and_the_next_one_is_served(
    jail: Jail, source: str, kind: OutcomeKind
) -> None:
    limits = replace(LIMITS, wall_s=1.5, cpu_s=0.25)
    for _ in range(2):  # of a used process, and of a fresh one
        assert stay(jail, REMEMBER, limits).report == b"1"
        found = stay(jail, source, limits)
        assert found.kind is kind, found
        assert found.report is None
        assert residents(jail) == []
        assert stay(jail, source, limits).kind is kind


def test_cpu_time_of_earlier_requests_is_not_counted(jail: Jail) -> None:
    burn = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    for _ in range(4):  # more than LIMITS.cpu_s together
        outcome = stay(jail, burn)
        assert outcome.kind is OutcomeKind.OK
        assert 0.15 < outcome.usage.cpu_s < 0.4
    assert len(residents(jail)) == 1


def test_a_used_process_that_gives_up_is_asked_again_fresh(jail: Jail) -> None:
    stay(jail, REMEMBER)
    outcome = stay(jail, REMEMBER + "\nif result > 1: raise ValueError")
    assert (outcome.kind, outcome.report) == (OutcomeKind.OK, b"1")


def test_a_fresh_one_takes_the_place_of_one_that_died_idle(jail: Jail) -> None:
    stay(jail, REMEMBER)
    (pid,) = residents(jail)
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([pidfd], [], [], 5)[0], "it is dead"
    os.close(pidfd)
    assert stay(jail, REMEMBER).report == b"1"
    assert residents(jail) != [pid]


def test_what_it_writes_between_requests_is_nobodys_report(jail: Jail) -> None:
    late = (
        "import signal, os\n"
        "signal.signal(signal.SIGALRM, lambda *_: os.write(3, b'+' + bytes(12)))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.1)"
    )
    stay(jail, late)
    (pid,) = residents(jail)
    before = psutil.Process(pid).num_ctx_switches().voluntary
    assert attempt(jail, "import time; time.sleep(0.5)").kind is OutcomeKind.OK
    assert psutil.Process(pid).num_ctx_switches().voluntary > before, "the timer went off"
    assert stay(jail, REMEMBER).report == b"1"


@pytest.mark.parametrize(
    "source",
    [
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "import os, time\nif os.fork() == 0: time.sleep(60)",
        "import sys\nsys.big = bytearray(32 << 20)",
        "open('large', 'wb').write(bytes(7 << 20))\nimport sys\nsys.big = b'x' * (12 << 20)",
        "for n in range(40): open(str(n), 'w').close()",
        "from sandbox import child; child.retire()",
    ],
)
def test_one_that_would_cost_others_is_not_kept(jail: Jail, source: str) -> None:
    assert stay(jail, source).kind is OutcomeKind.OK
    assert residents(jail) == []
    assert stay(jail, REMEMBER).report == b"1"


def test_only_a_handful_stays_and_the_least_recently_used_goes(jail: Jail) -> None:
    for number in range(MOST_RESIDENTS):
        assert stay(jail, REMEMBER, bundle=bundle(number)).report == b"1"
    assert stay(jail, REMEMBER, bundle=bundle(0)).report == b"2"
    assert stay(jail, REMEMBER, bundle=bundle(99)).report == b"1"
    assert len(residents(jail)) == MOST_RESIDENTS
    assert stay(jail, REMEMBER, bundle=bundle(0)).report == b"3"
    assert stay(jail, REMEMBER, bundle=bundle(1)).report == b"1"


def test_none_serves_for_ever(jail: Jail) -> None:
    for number in range(MOST_REQUESTS):
        assert stay(jail, REMEMBER).report == b"%d" % (number + 1)
    assert stay(jail, REMEMBER).report == b"1"


def test_a_bundle_that_is_forgotten_takes_its_resident_along(jail: Jail) -> None:
    stay(jail, REMEMBER, bundle=bundle(0))
    for number in range(1, 70):
        jail.run(Task("inside:read_bundle", b"grader.py", LIMITS, bundle(number)))
    assert residents(jail) == []


def test_close_ends_them_too(jail: Jail) -> None:
    stay(jail, REMEMBER)
    processes = [psutil.Process(pid) for pid in residents(jail)]
    jail.close()
    assert processes and not any(process.is_running() for process in processes)


def test_a_learners_limit_of_processes_is_the_same_beside_residents(jail: Jail) -> None:
    count = (
        "import os, time\nmade = 0\n"
        "try:\n    while made < 99:\n        if os.fork() == 0:\n            time.sleep(60)\n"
        "        made += 1\nexcept OSError: pass\nprint(made, flush=True)\nos._exit(0)"
    )
    alone = attempt(jail, count)
    for number in range(MOST_RESIDENTS):
        stay(jail, REMEMBER, bundle=bundle(number))
    assert len(residents(jail)) == MOST_RESIDENTS
    beside = attempt(jail, count)
    assert int(alone.stdout) >= LIMITS.processes - 1
    assert (beside.stdout, beside.kind) == (alone.stdout, alone.kind)


def test_a_learner_finds_no_trace_of_a_resident(jail: Jail) -> None:
    stay(jail, REMEMBER)
    stay(jail, "import sys; sys.secret = 'pass' + 'word'; open('note', 'w').write(sys.secret)")
    look = (
        "import os, sys\nreached = []\n"
        "for pid in [*range(2, 300), -1]:\n"
        "    try: os.kill(pid, 9); reached.append(pid)\n"
        "    except OSError: pass\n"
        "for pid in range(2, 300):\n"
        "    try: os.pidfd_open(pid); reached.append(('pidfd', pid))\n"
        "    except OSError: pass\n"
        "open_files = []\n"
        "for fd in range(300):\n"
        "    try: os.fstat(fd); open_files.append(fd)\n"
        "    except OSError: pass\n"
        "result = os.getpid(), reached, open_files, os.listdir('.'), hasattr(sys, 'secret')"
    )
    assert attempt(jail, look).report == b"(1, [], [0, 1, 2, 3], [], False)"
    assert stay(jail, REMEMBER).report == b"2"


def test_one_resident_cannot_write_to_another(jail: Jail) -> None:
    look = (
        "import os\nopen_files = []\n"
        "for fd in range(300):\n"
        "    try: os.fstat(fd); open_files.append(fd)\n"
        "    except OSError: pass\n"
        "result = open_files"
    )
    for number in range(2):
        assert stay(jail, look, bundle=bundle(number)).report == b"[0, 1, 2, 3, 4]"
