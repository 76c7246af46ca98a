"""Every file in attacks/ is a hostile program with a sentence for a name; here they all meet a real jail.

Each runs once per tier of isolation, as whoever runs the tests (`make test` runs them as root and as an
ordinary user). After each, the host must be as it was before, and an honest task must be served.

Header lines of an attack:
    # attack: what it tries
    # expect: OUTCOME [OUTCOME...]     any of these
    # expect-TIER: OUTCOME...          the same in one tier, where it differs; so with report- and reveals-
    # only: TIER                       it says nothing in other tiers
    # report: REPR                     what its variable `result` must be, if it ended by itself
    # reveals: TEXT                    what its stderr must contain
    # needs: cgroup                    the expectation holds only with a memory control group in force
    # wall: SECONDS                    a wall-clock limit of its own, for those that sleep
    # within: SECONDS                  it must be over by then, whatever the limit
    # repeat: COUNT                    what follows the header is repeated so often
    # costs: zygote                    the kernel may end the jail for its memory; the next task has a new one
A program that mentions HOST gets a dictionary of that name: where the canaries of this host are
(tests/sandbox/host.py), as if the attacker had found all of it out.
"""

from __future__ import annotations

import ast
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.jail import Jail
from sandbox.model import Isolation, Limits, OutcomeKind, Task

from .conftest import LIMITS as USUAL
from .host import Canaries, snapshot

LIMITS = replace(USUAL, cpu_s=0.3)
OVER_S = 0.5
"""How much longer than its limit a run may take."""
HONEST = b"import os; result = sorted(os.listdir('.')), 6 * 7"


def header(source: str) -> dict[str, str]:
    found = {}
    for line in source.splitlines():
        if not line.startswith("# ") or ":" not in line:
            break
        key, _, value = line[2:].partition(":")
        found[key.strip()] = value.strip()
    return found


def python_task(source: str, told: dict[str, str], host: dict[str, object], limits: Limits) -> Task:
    if "repeat" in told:
        body = source.split("\n", len(told))[-1]
        source = body * int(told["repeat"])
    if "HOST" in source:
        source = f"HOST = {host!r}\n{source}"
    return Task("inside:execute", source.encode(), limits)


LANGUAGES: dict[str, Callable[[str, dict[str, str], dict[str, object], Limits], Task]] = {".py": python_task}
"""How a file of each suffix becomes a task."""

ATTACKS = sorted(path for path in (Path(__file__).parent / "attacks").iterdir() if path.suffix in LANGUAGES)


def meetings() -> list[object]:
    """Each attack in each tier in which it says something."""
    found = []
    for tier in Isolation:
        for path in ATTACKS:
            told = header(path.read_text())
            if told.get("only", str(tier)) == str(tier):
                marks = [pytest.mark.leaves_behind] if "costs" in told else []
                found.append(pytest.param(tier, path, id=f"{tier}-{path.stem}", marks=marks))
    return found


@pytest.fixture(scope="session")
def bounded(tier_jail: Jail) -> Jail:
    """The jail, once it is shown that limits do hold in there: bombs are for bounded places only."""
    assert {"rlimits", "seccomp", "no-new-privs"} <= set(tier_jail.layers)
    probe = (
        "import resource as r\n"
        "names = 'AS CPU NPROC FSIZE NOFILE CORE MEMLOCK SIGPENDING'.split()\n"
        "result = {n: r.getrlimit(getattr(r, 'RLIMIT_' + n, 11)) for n in names}\n"
    )
    outcome = tier_jail.run(Task("inside:execute", probe.encode(), LIMITS))
    assert outcome.kind is OutcomeKind.OK and outcome.report is not None
    limits = ast.literal_eval(outcome.report.decode())
    most = {
        "AS": tier_jail._address_space + LIMITS.memory_mib * 2**20,
        "CPU": LIMITS.cpu_s + 2,
        # In a reduced jail it counts what the user runs elsewhere, too: the tree is counted instead.
        "NPROC": LIMITS.processes + (8 if tier_jail.isolation is Isolation.FULL else 512),
        "FSIZE": LIMITS.scratch_mib * 2**20,
        "NOFILE": LIMITS.open_files,
        "CORE": 1,
        "MEMLOCK": 0,
        "SIGPENDING": 64,
    }
    for name, (soft, hard) in limits.items():
        assert 0 <= soft <= most[name] and 0 <= hard <= most[name], f"RLIMIT_{name}: {soft, hard}"
    group = tier_jail._group
    if group and group.memory:
        name = "memory.max" if group.unified else "memory.limit_in_bytes"
        assert int((group.memory / name).read_text()) <= (LIMITS.memory_mib + LIMITS.scratch_mib + 64) * 2**20
    if group and group.pids:
        assert int((group.pids / "pids.max").read_text()) == LIMITS.processes + 1
    return tier_jail


@pytest.mark.timeout(30)
@pytest.mark.parametrize("tier_jail, path", meetings(), indirect=["tier_jail"])
def test_attack_ends_as_expected_and_the_host_does_not_notice(
    bounded: Jail, canaries: Canaries, path: Path
) -> None:
    jail = bounded
    source = path.read_text()
    told = header(source)
    assert "attack" in told, "an attack says what it tries"
    told |= {key.removesuffix(f"-{jail.isolation}"): value for key, value in told.items()}
    kinds = {OutcomeKind(word) for word in told["expect"].split()}
    if told.get("needs") == "cgroup" and not any("memory" in layer for layer in jail.layers):
        kinds = set(OutcomeKind)  # bounded by rlimits per process only; it must still end in time
    limits = replace(LIMITS, wall_s=float(told.get("wall", LIMITS.wall_s)))
    task = LANGUAGES[path.suffix](source, told, canaries.told(jail), limits)
    before = snapshot(jail, canaries)
    zygote = jail.pid

    started = time.monotonic()
    outcome = jail.run(task)
    took_s = time.monotonic() - started

    said = outcome.stderr.decode("utf-8", "replace")
    assert outcome.kind in kinds, f"{outcome.kind}: {outcome.detail}; {outcome.report!r}; {said[-400:]}"
    most_s = min(limits.wall_s + OVER_S, float(told.get("within", "inf")))
    assert outcome.usage.wall_s <= took_s <= most_s
    assert len(outcome.stdout) + len(outcome.stderr) <= limits.output_kib * 1024
    assert outcome.isolation == jail.layers or outcome.kind is OutcomeKind.MEMORY
    if "report" in told and outcome.kind is OutcomeKind.OK:
        assert outcome.report == told["report"].encode(), outcome.report
    if told.get("reveals"):
        assert told["reveals"] in said, said[-400:]
    assert canaries.visited() == []
    honest = jail.run(Task("inside:execute", HONEST, LIMITS))
    assert honest.report == b"([], 42)", honest
    after = snapshot(jail, canaries)
    if told.get("costs") == "zygote" and jail.pid != zygote:
        assert outcome.kind is OutcomeKind.MEMORY
        assert not Path(f"/proc/{zygote}").exists()
        after = replace(before, mounts=after.mounts, files=after.files, canary=after.canary)
    assert before.differences(after) == {}


def test_the_suite_is_as_large_as_promised() -> None:
    assert len(ATTACKS) >= 150


def test_the_canaries_notice_every_kind_of_visit(canaries: Canaries) -> None:
    assert canaries.visited() == []
    with socket.create_connection(canaries.tcp.getsockname()), socket.socket(socket.AF_UNIX) as stream:
        stream.connect(canaries.path)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(b"x", canaries.udp.getsockname())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
            datagram.sendto(b"x", canaries.datagram_path)
            datagram.sendto(b"x", "\0" + canaries.abstract)
        assert canaries.visited() == ["tcp", "udp", "unix", "datagram", "abstract"]
    assert canaries.visited() == []


def test_the_snapshot_notices_what_changes(jail: Jail, canaries: Canaries, tmp_path: Path) -> None:
    jail.open()
    before = snapshot(jail, canaries)
    assert before.differences(snapshot(jail, canaries)) == {}
    extra = canaries.folder / "planted"
    extra.touch()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert set(before.differences(snapshot(jail, canaries))) == {"canary", "descriptors"}
    finally:
        os.close(fd)
        extra.unlink()
    affinity = os.sched_getaffinity(jail.pid)
    niceness = os.getpriority(os.PRIO_PROCESS, jail.pid)
    os.setpriority(os.PRIO_PROCESS, jail.pid, niceness + 1)
    assert set(before.differences(snapshot(jail, canaries))) == {"zygote"}
    assert os.sched_getaffinity(jail.pid) == affinity
