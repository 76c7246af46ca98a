"""The start-up self-test: a sound jail holds every escape; a layer broken on purpose is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import kernel, seccomp, selftest
from sandbox.jail import REQUIRED, Jail
from sandbox.line import Line
from sandbox.model import Isolation, Outcome, OutcomeKind, SandboxError, SandboxUnavailable, Task

from .conftest import PROFILE, slot

ROOT = Path(__file__).parents[2]
REDUCED = replace(PROFILE, require=Isolation.REDUCED)
FULL = sorted(REQUIRED[Isolation.FULL])

PR_GET_NO_NEW_PRIVS = 39


def planted() -> set[Path]:
    return set(Path(selftest.planting_ground()).glob(f"{selftest.PLANTED}*"))


def opened_and_tested(jail: Jail) -> None:
    with jail:
        selftest.run(jail.run, jail.isolation, jail.layers, jail.pid, jail.profile.programs)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """For changing the filter's tables: it is compiled anew before and after."""
    seccomp.forget()
    yield monkeypatch
    monkeypatch.undo()
    seccomp.forget()


# -- a sound jail ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("programs", [False, True], ids=["Python", "programs"])
@pytest.mark.parametrize("tier", list(Isolation))
def test_every_escape_that_must_be_held_is_and_nothing_is_left_behind(
    tier: Isolation, programs: bool
) -> None:
    before = planted()
    profile = replace(PROFILE, require=tier, programs=programs)
    with Jail(profile, slot(9), best=tier) as jail:
        attempts = selftest.trial(jail.run, jail.pid)
        assert {one.name for one in attempts} == set(selftest.STOPPED_BY)
        assert selftest.judge(attempts, jail.layers, tier, programs) == []
        assert list(selftest.outside(jail.pid, jail.layers)) == []
        loose = {one.name for one in attempts if not one.held}
        allowed = {"execute", "take-memory"} if programs else set()
        allowed |= {"see-parent", *selftest.NOT_IN_REDUCED} if tier is Isolation.REDUCED else set()
        if not selftest.in_force("landlock-5", jail.layers):
            allowed.add("device-control")
        assert loose <= allowed
        assert jail.run(Task("inside:echo", b"still well")).report == b"still well"
    assert planted() == before


# -- broken on purpose -----------------------------------------------------------------------------------


def test_without_any_jail_the_canary_reports_every_escape(tmp_path: Path) -> None:
    """The canary in an ordinary process: what it cannot notice here it would not notice anywhere."""
    (tmp_path / "host").mkdir()
    secret = tmp_path / "host" / "secret"
    secret.write_text("the token")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    asked = {
        "secret": str(secret),
        "token": "the token",
        "pids": [os.getpid()],
        "names": ["XQUEUE_PASSWORD"],
        "memory_bytes": 256 << 20,
    }
    read_end, write_end = os.pipe()
    code = (
        "import os, resource, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from sandbox import canary\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "sys.stdout.buffer.write(canary.attempt(sys.stdin.buffer.read()))\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(asked).encode(),
            capture_output=True,
            env={"XQUEUE_PASSWORD": "hunter2"},
            cwd=scratch,
            pass_fds=[write_end],
            timeout=30,
        )
    finally:
        os.close(read_end)
        os.close(write_end)
    told: dict[str, dict[str, Any]] = {one["attempt"]: one for one in json.loads(done.stdout)}
    held = {name for name, one in told.items() if one["held"]}
    # An ordinary user has no capabilities to use.
    expected = set() if os.geteuid() == 0 else {"use-capability"}
    if kernel.prctl(PR_GET_NO_NEW_PRIVS):  # we have it ourselves
        expected.add("see-new-privileges")
    assert held == expected, told
    assert set(told) == set(selftest.STOPPED_BY)
    assert not [one for one in told.values() if "could not be tried" in one["detail"]]
    assert str(secret) in told["read-host-file"]["detail"]
    assert str(write_end) in told["see-descriptors"]["detail"]
    assert "XQUEUE_PASSWORD" in told["see-environment"]["detail"]
    assert "hunter2" not in done.stdout.decode()
    assert list(scratch.iterdir()) == [], "it leaves nothing behind"
    assert [path.name for path in (tmp_path / "host").iterdir()] == ["secret"]


def test_a_filter_that_allows_sockets_is_found(table: pytest.MonkeyPatch) -> None:
    table.setattr(seccomp, "ALLOWED", [*seccomp.ALLOWED, "socket"])
    table.setattr(seccomp, "REFUSED", {k: v for k, v in seccomp.REFUSED.items() if k != "socket"})
    with pytest.raises(SandboxUnavailable, match=r"seccomp does not hold: make-socket: a socket was made"):
        opened_and_tested(Jail(PROFILE, slot=slot(9)))


@pytest.mark.parametrize("call", ["unshare", "mount", "ptrace"])
def test_a_filter_that_lets_a_deadly_call_through_is_found(call: str, table: pytest.MonkeyPatch) -> None:
    table.setattr(seccomp, "ALLOWED", [*seccomp.ALLOWED, call])
    table.setattr(seccomp, "DEADLY", [name for name in seccomp.DEADLY if name != call])
    with pytest.raises(SandboxUnavailable, match=f"seccomp does not hold: {call}: "):
        opened_and_tested(Jail(PROFILE, slot=slot(9)))


@pytest.mark.parametrize("call", ["unshare", "mount", "ptrace"])
def test_a_deadly_call_that_is_not_is_found_where_children_cannot_fork(
    call: str, table: pytest.MonkeyPatch
) -> None:
    table.setattr(seccomp, "ALLOWED", [*seccomp.ALLOWED, call])
    table.setattr(seccomp, "DEADLY", [name for name in seccomp.DEADLY if name != call])
    with pytest.raises(SandboxUnavailable, match=f"seccomp does not hold: {call}: "):
        opened_and_tested(Jail(REDUCED, slot(9), best=Isolation.REDUCED))


class Showing(Jail):
    """A jail whose root shows the host's folder of temporary files."""

    def _shown(self, *args: Any) -> Any:
        folder = selftest.planting_ground()
        return [*super()._shown(*args), (folder, folder, False)]


def test_a_root_that_shows_a_folder_of_the_host_is_found() -> None:
    with pytest.raises(SandboxUnavailable, match=r"private-root.* does not hold: read-host-file: "):
        opened_and_tested(Showing(PROFILE, slot=slot(9)))


class WithoutLandlock(Line):
    """A line whose zygote is told that there is no Landlock."""

    def tell(self, head: dict[str, Any], contents: Any = None) -> None:
        super().tell({**head, "landlock": False} if "landlock" in head else head, contents)


def test_landlock_that_is_claimed_but_not_in_force_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with Jail(PROFILE, slot=slot(9)) as jail:
        known = selftest.in_force("landlock-5", jail.layers)
    if known:  # what only Landlock stops in this jail is of ABI 5
        monkeypatch.setattr("sandbox.jail.Line", WithoutLandlock)
        with pytest.raises(SandboxUnavailable, match=r"landlock-5 does not hold: device-control"):
            opened_and_tested(Jail(PROFILE, slot=slot(9)))


def test_a_jail_in_our_own_namespaces_and_control_group_is_found() -> None:
    layers = [*FULL, "cgroup-ns", "cgroup1-memory", "cgroup2-pids"]
    found = dict(selftest.outside(os.getpid(), layers))
    assert set(found) == {*selftest.NAMESPACES, "cgroup1-memory", "cgroup2-pids"}
    assert "our own namespace" in found["net"]


def test_a_zygote_that_is_gone_is_not_taken_for_isolated() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert dict(selftest.outside(dead.pid, ["net"])).keys() == {"net"}


# -- judging ---------------------------------------------------------------------------------------------


def everything(held: bool) -> list[selftest.Attempt]:
    return [selftest.Attempt(name, held, "" if held else "through") for name in selftest.STOPPED_BY]


def test_what_is_held_is_no_finding() -> None:
    assert selftest.judge(everything(True), FULL) == []


@pytest.mark.parametrize("name", sorted(selftest.STOPPED_BY))
def test_each_escape_that_gets_through_is_a_finding_that_names_its_layer(name: str) -> None:
    attempts = [replace(one, held=one.name != name, detail="x") for one in everything(True)]
    ((layer, detail),) = selftest.judge(attempts, [*FULL, "landlock-7"])
    assert detail == f"{name}: x"
    assert layer == "lock-down" or set(layer.split(" and ")) <= set(selftest.STOPPED_BY[name])


def test_an_escape_that_was_not_tried_is_not_held() -> None:
    assert len(selftest.judge([], FULL)) == len(selftest.judge(everything(False), FULL))
    assert "was not tried" in selftest.judge([], FULL)[0][1]


def names(attempts: list[selftest.Attempt], *rest: Any) -> set[str]:
    return {detail.partition(":")[0] for _, detail in selftest.judge(attempts, *rest)}


def test_only_layers_in_force_must_hold() -> None:
    """Without namespaces, and with an early Landlock, nobody promised what they would stop."""
    layers = ["subreaper", "rlimits", "no-new-privs", "seccomp", "landlock-3"]
    found = names(everything(False), layers, Isolation.REDUCED)
    assert set(selftest.STOPPED_BY) - found == {"see-parent", "device-control", "see-dumpable"}
    assert "signal-outside" not in names(everything(False), layers, Isolation.FULL)
    bare = names(everything(False), [])
    assert bare == {"see-dumpable", "use-capability", "see-descriptors", "see-environment"}


def test_programs_may_execute_and_their_memory_is_the_control_groups_where_there_is_one() -> None:
    rest = set(selftest.STOPPED_BY) - {"execute"}
    layers = [*FULL, "landlock-7"]
    assert names(everything(False), layers, Isolation.FULL, True) == rest
    layers.append("cgroup2-memory")
    assert names(everything(False), layers, Isolation.FULL, True) == rest - {"take-memory"}


@pytest.mark.parametrize(
    ("layer", "layers", "holds"),
    [
        ("seccomp", ["seccomp"], True),
        ("seccomp", ["seccomp-log"], False),
        ("landlock-5", ["landlock-5"], True),
        ("landlock-5", ["landlock-12"], True),
        ("landlock-5", ["landlock-4"], False),
        ("landlock-1", [], False),
    ],
)
def test_a_later_abi_is_an_earlier_one_too(layer: str, layers: list[str], holds: bool) -> None:
    assert selftest.in_force(layer, layers) is holds


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome(OutcomeKind.FORBIDDEN, detail="forbidden"), SandboxUnavailable),
        (Outcome(OutcomeKind.EXIT, stderr=b"Traceback\nKeyError: 'x'\n"), SandboxUnavailable),
        (Outcome(OutcomeKind.OK, report=b"not json"), SandboxUnavailable),
        (Outcome(OutcomeKind.OK, report=b"[]"), SandboxUnavailable),
        (Outcome(OutcomeKind.WALL), SandboxError),
        (Outcome(OutcomeKind.PROCESSES), SandboxError),
    ],
)
def test_a_canary_without_an_answer_is_never_a_pass(outcome: Outcome, error: type[Exception]) -> None:
    """A busy host may be tried again; a canary that died shows a jail that is not as it should be."""
    with pytest.raises(SandboxError) as caught:
        selftest.run(lambda task: outcome, Isolation.FULL, FULL)
    assert isinstance(caught.value, SandboxUnavailable) is (error is SandboxUnavailable)
