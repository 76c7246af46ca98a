"""The guest's side of `make test-vm`: runs the parts, one after another, and says what came out.

Runs in: tools (a systemd service of the guest, as root). Lines on stdout for deploy/vm/test-vm.sh: "== " is
progress, "-- " is the result; the last of these is "-- verdict: passed" or "failed".

Each part is one pytest run in a transient service, as systemd starts the real one: a group of its own,
delegated or not, as root or as an ordinary user. The host says on the kernel's command line which parts
(vm.parts=a,b, or "all"; by default all but the long ones), which tests of them (vm.only=word,word), with how
much patience (vm.patience=8), and what is tested (vm.what).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

USER = "warden"
REPORT = Path("/var/tmp/report.xml")
PART_S = 3600
"""A part that is not over by then is killed."""
NO_USERNS = "user.max_user_namespaces"
NO_USERNS_DEBIAN = "kernel.unprivileged_userns_clone"


@dataclass(frozen=True, slots=True)
class Part:
    """One pytest run: as whom, in what kind of group, on what kind of host."""

    name: str
    arguments: tuple[str, ...]
    only: str = ""  # of these tests, as for pytest -k
    user: str = USER
    delegated: bool = True
    properties: tuple[str, ...] = ()  # of the transient service
    sysctls: Mapping[str, int] = field(default_factory=dict)
    long: bool = False  # hours on an emulated processor: only when named

    def __str__(self) -> str:
        words = [self.name, f"as {self.user}", "delegated" if self.delegated else "not delegated"]
        words += [f"{name}={value}" for name, value in self.sysctls.items()]
        return ", ".join((*words, *self.properties))


@dataclass(frozen=True, slots=True)
class Result:
    """Counts of one part. `failed` holds errors, too; `status` is pytest's."""

    passed: int
    failed: int
    skipped: int
    took_s: float
    status: int

    @property
    def right(self) -> bool:
        return self.status == 0 and self.failed == 0 and self.passed > 0

    def __str__(self) -> str:
        end = "" if self.right or self.failed else f", pytest ended with {self.status}"
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"{counts} ({self.took_s:.0f} s){end}"


ATTACKS = ("tests/sandbox/test_attacks.py",)
ON_GROUPS = "memory_ or fork_ or thread_bomb or many_ or cpu_shared or cgroup"
"""What control groups judge, and what another kernel may judge otherwise."""
ON_BORDERS = "mount or unshare or setns or clone or userns or proc or signal or kill"


def parts() -> list[Part]:
    """All of them, in the order in which they run: the short ones first."""
    refusing = {NO_USERNS: 0}
    attacks = f"({ON_GROUPS} or {ON_BORDERS})"
    return [
        Part("delegated", ("tests/vm/delegated.py",)),
        Part("delegated-root", ("tests/vm/delegated.py",), "not course", user="root"),
        Part("unit", ("tests/vm/unit.py",), user="root"),
        Part("installed", ("tests/vm/installed.py",), user="root"),
        Part("slice", ("tests/vm/crowded.py",), properties=("MemoryMax=400M",)),
        Part("not-delegated", ("tests/vm/undelegated.py",), delegated=False),
        Part("refused", ("tests/vm/refused.py",), sysctls=refusing),
        Part("refused-debian", ("tests/vm/refused.py",), sysctls={NO_USERNS_DEBIAN: 0}),
        Part("reduced", ("tests/vm/reduced.py",), sysctls=refusing),
        Part("attacks", ATTACKS, f"{attacks} and not reduced"),
        Part("attacks-root", ATTACKS, f"({ON_GROUPS}) and not reduced", user="root"),
        Part("attacks-reduced", ATTACKS, f"{attacks} and reduced", sysctls=refusing),
        Part("sandbox-reduced", ("tests/sandbox",), "reduced", sysctls=refusing, long=True),
        Part("sandbox-root", ("tests/sandbox",), user="root", long=True),
        Part("sandbox-user", ("tests/sandbox",), "not reduced", long=True),
    ]


def run(part: Part) -> Result:
    """Run one part on a host set up for it; the host is as before afterwards."""
    before = {name: _sysctl(name).read_text() for name in part.sysctls}
    REPORT.unlink(missing_ok=True)
    started = time.monotonic()
    try:
        for name, value in part.sysctls.items():
            _sysctl(name).write_text(str(value))
        status = subprocess.run(command(part)).returncode
    finally:
        for name, text in before.items():
            _sysctl(name).write_text(text)
    passed = failed = skipped = 0
    if REPORT.exists():
        for suite in ElementTree.parse(REPORT).getroot().iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            passed += int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0))
            failed += bad
            skipped += int(suite.get("skipped", 0))
    return Result(passed, failed, skipped, time.monotonic() - started, status)


def command(part: Part) -> list[str]:
    """The transient service. Its main process is pytest, as that of the real one is `warden run`."""
    properties = [
        f"Delegate={'yes' if part.delegated else 'no'}",
        f"RuntimeMaxSec={PART_S}",
        *part.properties,
    ]
    return [
        *("systemd-run", "--quiet", "--wait", "--collect", "--pipe", "--service-type=exec"),
        *(f"--property={one}" for one in properties),
        *(f"--uid={part.user}", f"--working-directory={os.getcwd()}"),
        *("--setenv=PYTHONDONTWRITEBYTECODE=1", "--setenv=LANG=C.UTF-8", "--setenv=TMPDIR=/var/tmp"),
        f"--setenv=WARDEN_TEST_PATIENCE={words().get('vm.patience', '1')}",
        *("--setenv=HYPOTHESIS_STORAGE_DIRECTORY=/var/tmp/hypothesis", "--setenv=PATH=/usr/bin:/bin"),
        *(
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "--color=no",
            "--tb=short",
            "--no-header",
            "-p",
            "tests.vm.plugin",
        ),
        *("-p", "no:cacheprovider", "--timeout=300", f"--junitxml={REPORT}", *only(part), *part.arguments),
    ]


def only(part: Part) -> list[str]:
    wanted = [f"({one})" for one in (part.only, " or ".join(words().get("vm.only", "").split(","))) if one]
    return ["-k", " and ".join(wanted)] if wanted else []


def facts() -> dict[str, str]:
    """What this machine is."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", "/sys/fs/cgroup"], capture_output=True, text=True)
    return {
        "tested": words().get("vm.what", "unknown"),
        "kernel": " ".join(os.uname()[2:4]),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "systemd": subprocess.run(["systemctl", "--version"], capture_output=True, text=True).stdout.split(
            "\n"
        )[0],
        "python": platform.python_version(),
        "/sys/fs/cgroup": kind.stdout.strip(),
        "cgroup.controllers": Path("/sys/fs/cgroup/cgroup.controllers").read_text().strip(),
        "security modules": Path("/sys/kernel/security/lsm").read_text().strip(),
    }


def words() -> dict[str, str]:
    """What the host said on the kernel's command line."""
    pairs = (word.partition("=") for word in Path("/proc/cmdline").read_text().split())
    return {key: value for key, _, value in pairs}


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def main() -> None:
    for name, value in facts().items():
        print(f"-- {name}: {value}", flush=True)
    wanted = [name for name in words().get("vm.parts", "").split(",") if name]
    if wanted == ["all"]:
        chosen = parts()
    else:
        chosen = [part for part in parts() if (part.name in wanted if wanted else not part.long)]
    results = []
    for part in chosen:
        print(f"== {part}", flush=True)
        result = run(part)
        results.append(result)
        print(f"== {result}")
        print(f"-- part {part}: {result}", flush=True)
    right = bool(results) and all(result.right for result in results)
    print(f"-- verdict: {'passed' if right else 'failed'}", flush=True)


if __name__ == "__main__":
    main()
