"""classify(): who killed it comes before how it died."""

from __future__ import annotations

import signal
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sandbox.model import Limits, OutcomeKind
from sandbox.outcome import Facts, classify

facts = st.builds(
    Facts,
    killed=st.sampled_from(["", "wall", "cpu", "output", "report"]),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    cpu_s=st.floats(0, 100),
    complete=st.booleans(),
    scratch_full=st.booleans(),
    oom_kills=st.integers(0, 3),
    fork_failures=st.integers(0, 3),
)


@given(facts)
def test_total_and_ok_only_for_a_clean_end(given_facts: Facts) -> None:
    kind, detail = classify(given_facts, Limits())
    if kind is OutcomeKind.OK:
        assert given_facts.complete and given_facts.exit_code == 0
        assert given_facts.signal is None and not given_facts.killed and not given_facts.oom_kills
    else:
        assert detail and "\n" not in detail


@given(facts)
def test_what_the_trusted_side_did_outweighs_everything(given_facts: Facts) -> None:
    kind, _ = classify(given_facts, Limits())
    table = {
        "wall": OutcomeKind.WALL,
        "cpu": OutcomeKind.CPU,
        "output": OutcomeKind.OUTPUT,
        "report": OutcomeKind.OUTPUT,
    }
    assert kind is table.get(given_facts.killed, kind)


def test_each_kind_has_its_own_fact() -> None:
    limits = Limits(cpu_s=1)
    rows = {
        OutcomeKind.OK: Facts(complete=True, exit_code=0),
        OutcomeKind.EXIT: Facts(exit_code=0),
        OutcomeKind.MEMORY: Facts(oom_kills=1, signal=signal.SIGKILL),
        OutcomeKind.CPU: Facts(signal=signal.SIGKILL, cpu_s=3.0),
        OutcomeKind.FORBIDDEN: Facts(signal=signal.SIGSYS),
        OutcomeKind.PROCESSES: Facts(fork_failures=1, exit_code=1),
        OutcomeKind.DISK: Facts(scratch_full=True, exit_code=1),
        OutcomeKind.SIGNAL: Facts(signal=signal.SIGSEGV),
    }
    for kind, row in rows.items():
        assert classify(row, limits)[0] is kind


def test_time_spent_on_reading_its_own_files_again_was_a_want_of_memory() -> None:
    limits = Limits(cpu_s=1, memory_mib=100)
    full = 60 << 20
    for facts in (Facts(killed="cpu"), Facts(killed="wall"), Facts(cpu_s=1.1, signal=signal.SIGKILL)):
        assert classify(replace(facts, refaulted_bytes=full), limits)[0] is OutcomeKind.MEMORY
        assert classify(replace(facts, refaulted_bytes=full // 2), limits)[0] is not OutcomeKind.MEMORY
    for facts in (Facts(complete=True, exit_code=0, cpu_s=0.9), Facts(killed="output", cpu_s=1.1)):
        assert classify(replace(facts, refaulted_bytes=full), limits) == classify(facts, limits)
