"""`warden doctor`: on this machine, on worse ones, and what each answer of a probe is made to mean."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sandbox.jail import REQUIRED
from sandbox.machine import Host
from sandbox.model import Isolation
from sandbox.probe import PROBES, Tried
from sandbox.selftest import Attempt
from supervisor.cli.verbs import warden
from supervisor.doctor.findings import Finding, State, exit_status, summary
from supervisor.doctor.layers import available, missing, why_no_user_namespace
from supervisor.doctor.machine import examine
from supervisor.doctor.trials import Trial, of_trial
from tests.sandbox.test_probe import NO_USER_NAMESPACES, ROOT, without

CONFIG = """
[servers.main]
url = "https://xqueue.example.org"
username = "warden"
password_file = "secret"

[sandboxes.python]

[queues.one]
server = "main"
[[queues.one.handlers]]
kind = "gradelib"
grader_root = "course"
sandbox = "python"
"""


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(warden, ["doctor", "--offline", *arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "course").mkdir()
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("open sesame")
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path / "config.toml"


def elsewhere(prelude: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and document of `warden doctor --json` on a machine made worse by `prelude`."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{prelude}\nfrom supervisor.cli import main\nmain()\n"
    )
    command = [sys.executable, "-c", code, "doctor", "--offline", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd="/")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def states(document: dict[str, Any]) -> dict[str, str]:
    return {f"{one['area']}/{one['name']}": one["state"] for one in document["findings"]}


def finding(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in document["findings"] if f"{one['area']}/{one['name']}" == name]
    return found


# -- the command -----------------------------------------------------------------------------------------


def test_this_machine_is_fit_and_its_sandbox_holds(config: Path) -> None:
    ran = doctor("--config", str(config), "--json")
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.stdout)
    assert document["ok"] is True
    assert document["tiers"]["full"] is True
    assert REQUIRED[Isolation.FULL] <= set(document["layers"])
    (trial,) = document["trials"]
    assert REQUIRED[Isolation.FULL] <= set(trial["layers"])
    assert len(trial["attempts"]) >= 5
    assert {"sandbox python/opens", "sandbox python/self-test", "sandbox python/runs"} <= set(
        states(document)
    )


def test_without_a_configuration_the_defaults_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WARDEN_CONFIG", raising=False)
    document = json.loads(doctor("--json").stdout)
    assert states(document)["configuration/file"] == "ok"
    assert [trial["name"] for trial in document["trials"]] == ["default"]
    monkeypatch.undo()


def test_a_configuration_that_was_named_and_is_not_there_is_bad(tmp_path: Path) -> None:
    ran = doctor("--config", str(tmp_path / "none.toml"))
    assert ran.exit_code == 2
    assert "there is no such file" in ran.output


def test_the_text_has_a_line_for_each_finding_and_a_verdict(config: Path) -> None:
    lines = doctor("--config", str(config)).output.splitlines()
    assert lines[-1].startswith("this installation is fit for what is required (0 bad, ")
    assert any(line.startswith("ok       isolation") and "full" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_on_a_terminal_it_is_a_table(config: Path) -> None:
    ours, theirs = pty.openpty()
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom supervisor.cli import main\nmain()"
    command = [sys.executable, "-c", code, "doctor", "--offline", "--config", str(config)]
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(theirs)
        drawn = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while piece := screen.read(4096):
                drawn += piece
        assert process.wait(30) == 0, drawn
    assert b"this installation is fit for what is required" in drawn
    assert b"\x1b[32m" in drawn and b"Traceback" not in drawn


def test_a_sandbox_that_a_queue_uses_and_that_does_not_open_is_bad(config: Path) -> None:
    ran = doctor("--config", str(config), "--json", "--set", 'sandboxes.python.preload=["no_such_module"]')
    document = json.loads(ran.stdout)
    assert (ran.exit_code, document["ok"]) == (2, False)
    assert "no_such_module" in finding(document, "sandbox python/opens")["finding"]


def test_a_sandbox_that_no_queue_uses_is_a_warning(config: Path) -> None:
    ran = doctor("--config", str(config), "--json", "--set", 'sandboxes.idle.preload=["no_such_module"]')
    assert ran.exit_code == 0
    assert states(json.loads(ran.stdout))["sandbox idle/opens"] == "warning"
    arguments = ["--config", str(config), "--strict", "--set", 'sandboxes.idle.preload=["no_such_module"]']
    assert doctor(*arguments).exit_code == 1


# -- worse machines --------------------------------------------------------------------------------------


def test_a_machine_without_user_namespaces_is_told_the_sysctl(config: Path) -> None:
    status, document = elsewhere(NO_USER_NAMESPACES, "--config", str(config))
    assert (status, document["tiers"]["full"]) == (2, False)
    found = finding(document, "namespaces/user")
    assert (found["state"], found["finding"]) == ("bad", "refused: user.max_user_namespaces is 0")
    assert found["mend"].startswith("sysctl -w user.max_user_namespaces=")
    assert "SANDBOX_UNAVAILABLE" in found["consequence"]
    full = finding(document, "isolation/full")
    assert (full["state"], 'require = "reduced"' in full["mend"]) == ("bad", True)
    assert (finding(document, "isolation/reduced")["state"], document["tiers"]["reduced"]) == ("ok", True)
    assert finding(document, "sandbox python/opens")["state"] == "bad"
    assert states(document)["system calls/seccomp"] == "ok", "what works is said, too"


def test_a_container_is_told_what_its_filter_must_allow() -> None:
    _, document = elsewhere(without("EPERM", "unshare"))
    found = finding(document, "namespaces/user")
    assert "seccomp filter" in found["finding"] and "(EPERM)" in found["finding"]
    assert "pivot_root" in found["mend"]


def test_an_old_kernel_is_told_which_one_is_new_enough() -> None:
    status, document = elsewhere(without("ENOSYS", "mount_setattr", "landlock_create_ruleset"))
    assert status == 2
    assert finding(document, "files/mount-setattr")["mend"] == "Linux 5.12 or newer"
    landlock = finding(document, "landlock/files")
    assert (landlock["state"], landlock["mend"][:21]) == ("warning", "Linux 5.13 or newer w")


# -- meaning -----------------------------------------------------------------------------------------------

WELL = {
    **{name: Tried(name, True) for name in PROBES},
    "landlock-files": Tried("landlock-files", True, found=("landlock-7",)),
    "process-limit": Tried("process-limit", True, found=("own",)),
    "control-group": Tried("control-group", True, found=("cgroup2-memory", "cgroup2-pids")),
    "foreign-calls": Tried("foreign-calls", True, signal=31, detail="died of SIGSYS"),
}
HOST = Host(kernel="6.12.0", machine="x86_64", uid=1000, swap_bounded=True, hierarchy="2", group="/warden")


def found(
    host: Host = HOST, wanted: tuple[Isolation, ...] = (Isolation.FULL,), **worse: Tried
) -> dict[str, Finding]:
    tried = {**WELL, **{name.replace("_", "-"): one for name, one in worse.items()}}
    return {f"{one.area}/{one.name}": one for one in examine(host, tried, REQUIRED, wanted)}


def failed(name: str, number: int = 0, detail: str = "no") -> Tried:
    return Tried(name, False, number, detail=detail)


def test_where_all_is_well_all_is_ok_and_needs_no_words() -> None:
    assert {one.state for one in found().values()} == {State.OK}
    assert not [one for one in found().values() if one.mend]


def test_every_probe_that_fails_is_a_finding_with_consequence_and_mend() -> None:
    for name in PROBES:
        if name in ("landlock-tcp", "landlock-signals"):
            continue
        bad = [
            one
            for one in found(**{name: failed(name, errno.EPERM)}).values()
            if one.state in (State.BAD, State.WARNING) and one.area != "isolation"
        ]
        assert bad, name
        assert all(one.consequence and one.mend for one in bad), name


@pytest.mark.parametrize("layer", sorted(REQUIRED[Isolation.FULL]))
def test_a_required_layer_that_is_missing_is_bad_and_takes_its_tier_away(layer: str) -> None:
    from supervisor.doctor.layers import PARTS

    for probe in PARTS[layer]:
        told = found(**{probe: failed(probe, errno.EPERM)})
        assert told["isolation/full"].state is State.BAD
        assert layer in told["isolation/full"].finding
        assert exit_status(told.values(), strict=False) == 2
        idle = found(wanted=(), **{probe: failed(probe, errno.EPERM)})
        assert exit_status(idle.values(), strict=False) == 0, "nobody requires it"
        assert exit_status(idle.values(), strict=True) == 1


def test_each_tier_is_judged_by_its_own_layers() -> None:
    reduced = (Isolation.REDUCED,)
    told = found(wanted=reduced, user=failed("user", errno.EPERM))
    assert exit_status(told.values(), strict=False) == 0, "it needs no user namespace"
    assert told["isolation/full"].state is State.WARNING
    for probe in ("landlock-files", "filter-kills", "subreaper"):
        told = found(wanted=reduced, **{probe: failed(probe, errno.ENOSYS)})
        assert told["isolation/reduced"].state is State.BAD, probe


EPERM = failed("user", errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize(
    ("tried", "host", "says", "mends"),
    [
        (failed("user", errno.ENOSPC), {"user.max_user_namespaces": "0"}, "is 0", "sysctl -w user.max_user"),
        (failed("user", errno.ENOSPC), {"user.max_user_namespaces": "9"}, "all 9 are in use", "sysctl -w"),
        (failed("user", errno.EINVAL), {}, "this kernel (6.12.0) has none", "CONFIG_USER_NS"),
        (EPERM, {"kernel.unprivileged_userns_clone": "0"}, "to ordinary users", "userns_clone=1"),
        (EPERM, {"kernel.apparmor_restrict_unprivileged_userns": "1"}, "AppArmor", "docs/doctor.md"),
        (EPERM, {"kernel.apparmor_restrict_unprivileged_userns": "0"}, "(EPERM)", "security module"),
    ],
)
def test_why_there_is_no_user_namespace(tried: Tried, host: dict[str, str], says: str, mends: str) -> None:
    text, mend = why_no_user_namespace(tried, replace(HOST, sysctls=host))
    assert says in text
    assert mends in mend


def test_the_sysctls_for_ordinary_users_do_not_explain_what_root_is_refused() -> None:
    sysctls = {"kernel.unprivileged_userns_clone": "0", "kernel.apparmor_restrict_unprivileged_userns": "1"}
    text, _ = why_no_user_namespace(EPERM, replace(HOST, privileged=True, sysctls=sysctls))
    assert "sysctl" not in text and "AppArmor" not in text


def test_who_is_inside_of_what_is_told() -> None:
    text, mend = why_no_user_namespace(EPERM, replace(HOST, filtered=True, container="docker"))
    assert "the container (docker)" in text and "mount_setattr" in mend
    text, mend = why_no_user_namespace(EPERM, replace(HOST, filtered=True))
    assert "systemd" in text and "RestrictNamespaces=no" in mend
    text, _ = why_no_user_namespace(EPERM, replace(HOST, apparmor="snap.x (enforce)"))
    assert "snap.x (enforce)" in text


@pytest.mark.parametrize(
    ("abi", "lacks", "has"),
    [
        (1, ["moving files", "truncating", "TCP", "ioctl", "signals"], []),
        (3, ["TCP", "ioctl", "signals"], ["truncating"]),
        (6, [], ["TCP", "signals"]),
    ],
)
def test_what_a_landlock_abi_does_not_govern_is_named(abi: int, lacks: list[str], has: list[str]) -> None:
    told = found(landlock_files=Tried("landlock-files", True, found=(f"landlock-{abi}",)))["landlock/files"]
    assert told.state is (State.WARNING if lacks else State.OK)
    assert all(word in told.finding for word in lacks)
    assert not lacks or not any(word in told.finding for word in has)


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSYS, "has none"), (errno.EOPNOTSUPP, "switched off at boot")]
)
def test_why_there_is_no_landlock(number: int, says: str) -> None:
    told = found(landlock_files=failed("landlock-files", number))["landlock/files"]
    assert says in told.finding
    assert "lsm=" in told.mend


@pytest.mark.parametrize(
    ("hierarchy", "mends"), [("2", "Delegate=yes"), ("1", "chown"), ("", "mount -t cgroup2")]
)
def test_control_groups_that_cannot_be_made_are_told_how(hierarchy: str, mends: str) -> None:
    told = found(
        replace(HOST, hierarchy=hierarchy),
        control_group=failed("control-group", detail="no group can be made"),
    )
    for controller in ("memory", "pids"):
        one = told[f"control groups/{controller}"]
        assert (one.state, mends in one.mend) == (State.WARNING, True)


def test_one_controller_of_two_is_told_apart() -> None:
    told = found(control_group=Tried("control-group", True, found=("cgroup2-pids",)))
    assert told["control groups/pids"].state is State.OK
    assert "not handed down to /warden" in told["control groups/memory"].finding


@pytest.mark.parametrize(
    ("swap_kib", "bounded", "group", "state"),
    [
        (0, False, False, "ok"),
        (4096, True, True, "ok"),
        (4096, True, False, "warning"),
        (4096, False, True, "warning"),
    ],
)
def test_swap_is_a_warning_where_nothing_keeps_jails_out_of_it(
    swap_kib: int, bounded: bool, group: bool, state: str
) -> None:
    host = replace(HOST, swap_kib=swap_kib, swap_bounded=bounded)
    told = found(host) if group else found(host, control_group=failed("control-group"))
    assert told["host/swap"].state == state


def test_processes_that_count_on_the_whole_host_are_a_warning() -> None:
    told = found(process_limit=Tried("process-limit", True))["limits/processes"]
    assert (told.state, "5.14" in told.mend) == (State.WARNING, True)
    few = found(replace(HOST, processes_limit=300, processes=200))["limits/user's processes"]
    assert (few.state, "LimitNPROC" in few.mend) == (State.WARNING, True)
    assert (
        found(replace(HOST, processes_limit=30000, processes=200))["limits/user's processes"].state
        is State.OK
    )


def test_a_core_pattern_that_pipes_gets_nothing_of_children() -> None:
    piped = replace(HOST, sysctls={"kernel.core_pattern": "|/usr/share/apport/apport %p"})
    for wanted in Isolation:
        told = found(piped, wanted=(wanted,))["host/core dumps"]
        assert told.state is State.OK and "apport" in told.finding and "RLIMIT_CORE 1" in told.consequence
    assert "nothing" in found(replace(HOST, sysctls={"kernel.core_pattern": "|"}))["host/core dumps"].finding


def test_a_required_landlock_is_any_abi_or_at_least_the_one_named() -> None:
    assert missing({"landlock", "seccomp"}, {"landlock-3", "seccomp"}) == []
    assert missing({"landlock-4", "seccomp"}, {"landlock-3"}) == ["landlock-4", "seccomp"]


def test_layers_are_available_when_all_their_probes_succeed() -> None:
    assert available(WELL) >= {*REQUIRED[Isolation.FULL], "landlock-7", "cgroup2-memory", "subreaper"}
    assert "pid" not in available({**WELL, "user": failed("user")})
    assert available({}) == frozenset()


# -- sandboxes and languages ----------------------------------------------------------------------------


def trial(**more: Any) -> dict[str, Finding]:
    given: dict[str, Any] = {"layers": tuple(REQUIRED[Isolation.FULL]), "runs": "in 2 ms", **more}
    return {one.name: one for one in of_trial(Trial("sandbox", "x", Isolation.FULL, **given))}


def test_a_layer_of_a_sandbox_that_does_not_hold_is_bad() -> None:
    told = trial(attempts=(Attempt("make-socket", False, "a socket was made: inet"),))
    assert told["self-test"].state is State.BAD
    assert "seccomp does not hold: make-socket: a socket was made: inet" in told["self-test"].finding


def test_a_run_that_fails_is_bad_and_a_sandbox_that_does_not_open_has_no_more_to_tell() -> None:
    assert trial(error="it ended with wall")["runs"].state is State.BAD
    assert trial(layers=(), error="no such file")["opens"].finding == "no such file"
    assert set(trial(layers=(), error="no such file")) == {"opens"}
    assert trial(layers=(), error="x", needed=False)["opens"].state is State.WARNING


def test_exit_status_and_summary() -> None:
    ok, warning, bad, unknown = (Finding("a", "b", state, "c") for state in State)
    assert [exit_status(all_, False) for all_ in ([ok], [ok, warning], [unknown], [warning, bad])] == [
        0,
        0,
        0,
        2,
    ]
    assert [exit_status(all_, True) for all_ in ([ok], [ok, warning], [unknown], [warning, bad])] == [
        0,
        1,
        1,
        2,
    ]
    assert (
        summary([ok, warning])
        == "this installation is fit for what is required (0 bad, 1 warning of 2 findings)"
    )
    assert "NOT fit" in summary([bad])


def test_the_page_names_every_exit_status_area_and_the_profile() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    for one in found(replace(HOST, container="lxc", sysctls={"kernel.core_pattern": "|x"})).values():
        assert f"| {one.area} |" in page, one.area
    for word in ("--strict", "Delegate=yes", "userns,", "AppArmorProfile=warden"):
        assert word in page
