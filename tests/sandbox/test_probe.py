"""The probes: on this machine, and on hosts that grant less, imitated by a filter or a spent namespace.

Needs a Linux that grants everything (user namespaces, Landlock; as root also control groups).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox import cgroup, kernel, machine, probe

ROOT = Path(__file__).parents[2]

NO_USER_NAMESPACES = """
import os
from sandbox import kernel
uid, gid = os.geteuid(), os.getegid()
kernel.unshare(kernel.CLONE_NEWUSER)
open('/proc/self/setgroups', 'w').write('deny')
open('/proc/self/uid_map', 'w').write(f'{uid} {uid} 1')
open('/proc/self/gid_map', 'w').write(f'{gid} {gid} 1')
open('/proc/sys/user/max_user_namespaces', 'w').write('0')
"""


def without(error: str, *calls: str) -> str:
    """Code after which these system calls fail with this errno, as in an old kernel or a container."""
    return (
        "import errno, pyseccomp\n"
        "from sandbox import kernel\n"
        "kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)\n"
        "rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)\n"
        f"for call in {calls!r}: rules.add_rule(pyseccomp.ERRNO(errno.{error}), call)\n"
        "rules.load()\n"
    )


def probed(prelude: str) -> dict[str, dict[str, Any]]:
    """What the probes find after `prelude`, in a process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{prelude}\n"
        "import json\nfrom dataclasses import asdict\nfrom sandbox import probe\n"
        "print(json.dumps({name: asdict(one) for name, one in probe.try_all().items()}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(tried: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, one in tried.items() if not one["ok"]}


# -- this machine ----------------------------------------------------------------------------------------


def test_everything_that_the_sandbox_needs_works_here() -> None:
    tried = probe.try_all()
    assert set(tried) <= set(probe.PROBES)
    failed = {name for name, one in tried.items() if not one.ok}
    assert failed <= (set() if os.geteuid() == 0 else {"control-group"}), [tried[name] for name in failed]
    assert tried["landlock-files"].found == (f"landlock-{kernel.landlock_abi()}",)
    assert tried["filter-kills"].signal == signal.SIGSYS
    assert tried["process-limit"].found == ("own",)


def test_the_control_group_of_a_probe_limits_and_is_removed() -> None:
    """In this process, so that its groups have our name. Root must be able to make them where we test."""
    if os.geteuid() == 0:
        found = probe.control_group()
        assert {layer.partition("-")[2] for layer in found} == {"memory", "pids"}
    else:
        with contextlib.suppress(probe.NoEffect):
            probe.control_group()
    assert not list(cgroup.MOUNT.rglob(f"{cgroup.PREFIX}{os.getpid()}-0"))


# -- trying ----------------------------------------------------------------------------------------------


def test_a_probe_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    def hang() -> None:
        if os.fork() == 0:
            (tmp_path / "pid").write_text(str(os.getpid()))
        signal.pause()

    began = time.monotonic()
    found = probe.attempt("hang", hang, timeout_s=0.5)
    assert (found.ok, found.detail) == (False, "no answer within 0.5 s")
    assert time.monotonic() - began < 5
    grandchild = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{grandchild}/cmdline").exists() and Path(f"/proc/{grandchild}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "what the probe started lives on"


def test_an_answer_says_who_refused_and_a_death_of_what() -> None:
    def refuse() -> None:
        raise OSError(1, "Operation not permitted")

    def die() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def vanish() -> None:
        os._exit(3)

    def fail() -> None:
        raise KeyError("x")

    def nothing() -> None:
        raise probe.NoEffect("it is all the same")

    assert probe.attempt("x", refuse) == probe.Tried("x", False, 1, 0, "Operation not permitted")
    assert probe.attempt("x", die) == probe.Tried("x", False, 0, signal.SIGSEGV, "died of SIGSEGV")
    assert probe.attempt("filter-kills", die).ok is False, "only the filter's own signal is right"
    assert "code 3 and said nothing" in probe.attempt("x", vanish).detail
    assert "KeyError" in probe.attempt("x", fail).detail
    assert probe.attempt("x", nothing) == probe.Tried("x", False, detail="it is all the same")
    assert probe.attempt("x", lambda: ("a", "b")) == probe.Tried("x", True, found=("a", "b"))


# -- other machines --------------------------------------------------------------------------------------


def test_a_host_without_user_namespaces() -> None:
    tried = probed(NO_USER_NAMESPACES)
    inside = {"pid", "mount", "net", "ipc", "uts", "cgroup-ns", "detached-tmpfs", "mount-setattr"}
    assert {"user", "all-together", *inside} <= refused(tried)
    assert tried["user"]["detail"].startswith("unshare")
    works = {"filter-refuses", "filter-kills", "landlock-files", "no-new-privs", "rlimits", "subreaper"}
    assert not works & refused(tried), "what needs no namespace works all the same"


def test_a_container_whose_filter_refuses_to_make_namespaces() -> None:
    tried = probed(without("EPERM", "unshare"))
    assert (tried["user"]["ok"], tried["user"]["errno"]) == (False, 1)
    assert not {"filter-refuses", "landlock-files"} & refused(tried)


def test_a_kernel_without_landlock() -> None:
    tried = probed(without("ENOSYS", "landlock_create_ruleset"))
    assert refused(tried) - {"control-group"} == {"landlock-files", "landlock-tcp", "landlock-signals"}
    assert tried["landlock-files"]["errno"] == 38


def test_a_kernel_whose_landlock_is_switched_off() -> None:
    assert probed(without("EOPNOTSUPP", "landlock_create_ruleset"))["landlock-files"]["errno"] == 95


def test_a_kernel_without_the_new_mount_calls() -> None:
    tried = probed(without("ENOSYS", "fsopen", "mount_setattr"))
    expected = {"detached-tmpfs", "mount-setattr", "private-root"}
    assert refused(tried) - {"control-group"} == expected
    assert {tried[name]["errno"] for name in expected} == {38}


def test_limits_that_have_no_effect_are_noticed() -> None:
    """Accepted and not enforced, as some emulated kernels do: a success that is none."""
    prelude = "import resource\nresource.setrlimit = lambda *_: None"
    assert refused(probed(prelude)) >= {"rlimits", "process-limit"}


# -- what the files say ----------------------------------------------------------------------------------


def host(root: Path, **files: str) -> machine.Host:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return machine.look(root)


def test_an_empty_root_says_nothing_and_raises_nothing(tmp_path: Path) -> None:
    found = machine.look(tmp_path)
    assert (found.swap_kib, found.hierarchy, found.group, dict(found.sysctls)) == (0, "", "", {})
    assert (found.filtered, found.container) == (False, "")


def test_an_ubuntu_in_a_container_is_recognised(tmp_path: Path) -> None:
    found = host(
        tmp_path,
        proc__self__status="Name:\tx\nSeccomp:\t2\n",
        proc__self__uid_map="         0     100000      65536\n",
        proc__self__cgroup="0::/system.slice/warden.service\n",
        proc__self__attr__current="docker-default (enforce)\n",
        proc__swaps="Filename Type Size Used\n/swap.img file 2097148 0\n/dev/dm-1 partition 4 0\n",
        proc__sys__kernel__apparmor_restrict_unprivileged_userns="1\n",
        proc__sys__kernel__core_pattern="|/usr/share/apport/apport %p\n",
        proc__1__environ="PATH=/bin\0container=lxc\0",
        sys__fs__cgroup__cgroupDOTcontrollers="memory pids\n",
        sys__kernel__security__lsm="lockdown,yama,apparmor",
    )
    assert (found.filtered, found.container, found.initial_ids) == (True, "lxc", False)
    assert (found.hierarchy, found.group) == ("2", "/system.slice/warden.service")
    assert (found.swap_kib, found.swap_bounded) == (2097152, True)
    assert found.apparmor == "docker-default (enforce)"
    assert found.sysctls == {
        "kernel.apparmor_restrict_unprivileged_userns": "1",
        "kernel.core_pattern": "|/usr/share/apport/apport %p",
    }


@pytest.mark.parametrize(
    ("memsw", "bounded"),
    [("", False), ("9223372036854771712\n", True)],
    ids=["no swapaccount", "swapaccount"],
)
def test_a_v1_host_bounds_swap_only_with_swap_accounting(tmp_path: Path, memsw: str, bounded: bool) -> None:
    files = {"sys__fs__cgroup__memory__tasks": "", "proc__self__cgroup": "4:memory:/a/b\n1:cpu:/\n0::/\n"}
    if memsw:
        files["sys__fs__cgroup__memory__memoryDOTmemswDOTlimit_in_bytes"] = memsw
    found = host(tmp_path, **files)
    assert (found.hierarchy, found.group, found.swap_bounded) == ("1", "/a/b", bounded)
