"""Each step of building a jail and of the lock-down is made to fail in turn. The steps are found, not listed.

Nothing in production is made for this. A test shows a jail copies of its modules to which a few lines were
added, or starts the launcher with a few lines before it: a profile function (sys.setprofile) that counts the
calls into the kernel and, when its turn has come, raises what the kernel would. So a step that is added later
is tried without anybody thinking of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import sandbox
from sandbox import cgroup, kernel
from sandbox.jail import Jail
from sandbox.model import (
    Isolation,
    Limits,
    Outcome,
    OutcomeKind,
    Profile,
    SandboxError,
    SandboxUnavailable,
    Task,
)
from sandbox.reduced import HOME_PREFIX
from sandbox.watch import Seen

from .conftest import LIMITS, PROFILE, slot
from .test_reduced import wait_until

TOKEN = "learner's code ran here"
ECHO = "/usr/bin/echo"
FILES = 100
"""Limits of open files and of files in the scratch, from here on, say whose turn it is to fail."""

STEPS = (
    *("report", "group", "namespaces", "scratch", "rlimits", "stdio", "capabilities"),
    *("no_new_privs", "landlock", "descriptors", "seccomp"),
)
"""What must be found, in this order; each is one call or more."""

# What cannot go wrong, or is no step: looking something up.
COUNTING = """
import os as _os, sys as _sys
FILES = 100
PASSIVE = set('''
fspath strerror getpid getppid getuid geteuid getegid uname sysconf stat lstat readlink
scandir listdir access getcwd umask _exit is_full cpu_clock parent_is_gone landlock_abi close
fstat urandom closerange waitstatus_to_exitcode WIFSIGNALED WEXITSTATUS statvfs
'''.split())
def _call_of(frame, event, arg):
    # "module.function" of a call into the kernel, or None
    if event == "c_call":
        module, name = getattr(arg, "__module__", None), arg.__name__
        if module not in ("posix", "resource"):
            return None
    elif event == "call":
        name = frame.f_code.co_name
        module = frame.f_globals.get("__name__", "").rpartition(".")[2]
        if module != "kernel" or name.startswith("_") or name == "fork":
            return None
    else:
        return None
    return None if name in PASSIVE else "%s.%s" % (module, name)
"""

FAULTY_CHILD = (
    COUNTING
    + """
class _Fault:
    turn = -1
    seen = 0
    name = ""

def _hook(frame, event, arg):
    name = _call_of(frame, event, arg)
    if name is not None:
        _Fault.seen += 1
        if _Fault.seen == _Fault.turn + 1:
            _Fault.name = name
            raise OSError(1, "Operation not permitted")

_honest_lock_down = lock_down
def lock_down(setup, stdin_fd):
    # whose turn it is comes as the limit of open files
    _Fault.turn = setup.limits[5] - FILES
    _sys.setprofile(_hook)
    try:
        _honest_lock_down(setup, stdin_fd)
    except OSError:
        _sys.setprofile(None)
        text = ("injected into %s\\n" % _Fault.name).encode()
        try:
            _os.write(setup.pipes[1], text)
        except OSError:  # closed by now, and in its place
            _os.write(2, text)
        raise
    _sys.setprofile(None)
    text = "swallowed %s\\n" % _Fault.name if _Fault.name else "complete %d\\n" % _Fault.seen
    _os.write(2, text.encode())
"""
)
FAULTY_ZYGOTE = (
    COUNTING
    + """
_honest_fork, _honest_run, _honest_execute = Zygote.fork, child.run, child.execute
def _run(*arguments):
    _sys.setprofile(None)
    _honest_run(*arguments)
def _execute(*arguments):
    _sys.setprofile(None)
    _honest_execute(*arguments)
child.run, child.execute = _run, _execute
def _faulty_fork(self, record, *rest):
    turn = record[14] - FILES  # the limit of files in the scratch
    state = [0, ""]
    def hook(frame, event, arg):
        name = _call_of(frame, event, arg)
        if name is not None:
            state[0] += 1
            if state[0] == turn + 1:
                state[1] = name
                raise OSError(1, "Operation not permitted")
    _sys.setprofile(hook)
    try:
        return _honest_fork(self, record, *rest)
    finally:
        _sys.setprofile(None)
        if state[1]:
            _os.write(2, ("injected into %s\\n" % state[1]).encode())
Zygote.fork = _faulty_fork
"""
)


class Faulty(Jail):
    """A jail with lines added to its own modules. It lives on after an error, unless it is told not to."""

    def __init__(
        self, profile: Profile, number: int, tier: Isolation, added: dict[str, str], folder: Path
    ) -> None:
        super().__init__(replace(profile, require=tier), slot(number), best=tier)
        self.keep = False
        self.seen: Seen | None = None
        self.copies = {}
        for name, text in added.items():
            source = Path(sandbox.__file__).parent / name
            self.copies[f"/warden/sandbox/{name}"] = folder / name
            (folder / name).write_text(source.read_text() + text)

    def _shown(self, python: Any) -> list[tuple[str, str, bool]]:
        return [
            (str(self.copies.get(target, source)), target, copied)
            for source, target, copied in super()._shown(python)
        ]

    def _outcome(self, seen: Seen, task: Task, files: Any) -> Outcome:
        self.seen = seen
        return super()._outcome(seen, task, files)

    def close(self) -> None:
        if not self.keep:
            super().close()

    def __exit__(self, *_: object) -> None:
        self.keep = False
        self.close()


def turn_limits(turn: int | None, zygote: int | None) -> Limits:
    limits = LIMITS if turn is None else replace(LIMITS, open_files=FILES + turn)
    return limits if zygote is None else replace(limits, scratch_files=FILES + zygote)


def entry_task(turn: int | None = None, zygote: int | None = None) -> Task:
    return Task("inside:execute", f"print({TOKEN!r})".encode(), turn_limits(turn, zygote))


def resident_task(turn: int | None = None, zygote: int | None = None) -> Task:
    return replace(entry_task(turn, zygote), resident=True)


def program_task(turn: int | None = None, zygote: int | None = None) -> Task:
    return Task(command=(ECHO, TOKEN), limits=turn_limits(turn, zygote))


PROGRAMS = replace(PROFILE, programs=True, show=(ECHO,))
KINDS: dict[str, tuple[Profile, Callable[..., Task]]] = {
    "entry": (PROFILE, entry_task),
    "resident": (PROFILE, resident_task),
    "program": (PROGRAMS, program_task),
}
MEETINGS = [(tier, kind) for tier in Isolation for kind in KINDS]


@pytest.mark.parametrize("tier, kind", MEETINGS)
def test_no_code_runs_when_a_step_of_the_lock_down_fails_and_the_error_names_the_step(
    tier: Isolation, kind: str, tmp_path: Path
) -> None:
    profile, task = KINDS[kind]
    found: list[str] = []
    with Faulty(profile, 10, tier, {"child.py": FAULTY_CHILD}, tmp_path) as jail:
        jail.open()
        jail.keep = True
        before = len(os.listdir(f"/proc/{jail.pid}/fd")) + 1  # the scratch that is ready for the next
        while True:
            try:
                outcome = jail.run(task(len(found)))
            except SandboxError as error:
                words = str(error)
            else:
                assert b"swallowed" not in outcome.stderr, outcome.stderr
                break
            assert words.startswith("lock-down: 1 "), words
            assert jail.seen is not None and b"injected into" in jail.seen.stderr
            assert TOKEN.encode() not in jail.seen.stdout
            assert wait_until(lambda: len(os.listdir(f"/proc/{jail.pid}/fd")) <= before)
            assert not psutil.Process(jail.pid).children()
            found.append(words.split()[2].rstrip(":"))
            assert len(found) < 500
        # The last run met no failure: all steps have had their turn.
        assert f"complete {len(found)}\n".encode() in outcome.stderr
        assert outcome.kind is OutcomeKind.OK and TOKEN.encode() in outcome.stdout
    # The zygote has set the stage for all but residents; that its steps fail is tried below.
    staged = tier is Isolation.FULL and kind != "resident"
    assert tuple(dict.fromkeys(found)) == tuple(step for step in STEPS if not staged or step != "namespaces")
    assert len(found) >= 20, found
    with Jail(replace(profile, require=tier), slot(10), best=tier) as honest:
        assert honest.run(task()).kind is OutcomeKind.OK


def test_a_child_that_went_on_after_a_failed_step_would_be_noticed(tmp_path: Path) -> None:
    """The control of the test above: with a lock-down that passes over failures, the code does run."""
    careless = (
        FAULTY_CHILD + "\ndef _shut(setup, stdin_fd):\n    try:\n        lock_down(setup, stdin_fd)\n"
        "    except OSError:\n        _os.dup2(setup.pipes[0], 1)\n"
    )
    with Faulty(PROFILE, 10, Isolation.FULL, {"child.py": careless}, tmp_path) as jail:
        assert TOKEN.encode() in jail.run(entry_task(15)).stdout
        assert jail.seen is not None and b"injected into" in jail.seen.stderr


@pytest.mark.parametrize("tier, kind", MEETINGS)
def test_a_task_whose_preparation_fails_in_the_zygote_is_an_error_and_leaves_nothing(
    tier: Isolation, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What ran may have been the task: then the error says that it is not known. The jail is given up."""
    profile, task = KINDS[kind]
    failed = 0
    jail = Faulty(profile, 11, tier, {"zygote.py": FAULTY_ZYGOTE}, tmp_path)
    while True:
        jail.open()
        capfd.readouterr()
        try:
            outcome = jail.run(task(None, failed))
            fired = "injected into" in capfd.readouterr().err
            if not fired:
                break
            # It was cleaning up that failed, after the end was told: the next task may find it unusable.
            assert outcome.kind is OutcomeKind.OK and TOKEN.encode() in outcome.stdout
            assert jail.run(task()).kind is OutcomeKind.OK
        except SandboxError:
            assert jail.pid == 0
            assert not left_behind(jail), failed
        finally:
            jail.close()
        failed += 1
        assert failed < 200
    assert failed >= 5
    assert outcome.kind is OutcomeKind.OK and TOKEN.encode() in outcome.stdout
    assert not left_behind(jail)


# -- the launcher ------------------------------------------------------

FAULTY_LAUNCHER = (
    COUNTING
    + """
_fail = _sys.argv[2]
def _place(frame):
    # the nearest line of ours: that is what makes a step another step
    while frame:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("sandbox.") and module not in ("sandbox.kernel", "sandbox.wire"):
            return "%s.%s:%d" % (module, frame.f_code.co_name, frame.f_lineno)
        frame = frame.f_back
    return ""
def _hook(frame, event, arg):
    name = _call_of(frame, event, arg)
    place = name and _place(frame.f_back if event == "call" else frame)
    if not place:
        return
    site = name + " in " + place
    _os.write(1, (site + "\\n").encode())
    if site == _fail:
        raise OSError(1, "Operation not permitted")
_sys.setprofile(_hook)
"""
)


def start_faulty(log: Path, fail: str) -> Callable[..., subprocess.Popen[bytes]]:
    """Like sandbox.jail._start_launcher, with a profile function put before the launcher's first line."""

    def start(control: Any) -> subprocess.Popen[bytes]:
        code = (
            "import os, sys; fd = int(sys.argv[1]); fd == 3 or (os.dup2(fd, 3), os.close(fd))\n"
            "from sandbox.launch import main\n" + FAULTY_LAUNCHER + "main()\n"
        )
        with log.open("a") as stdout:
            return subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", code, str(control.fileno()), fail],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                pass_fds=[control.fileno()],
                env={"LANG": "C.UTF-8"},
            )

    return start


def ours() -> set[str]:
    """Processes below this one, and folders of its jails."""
    prefix = f"{HOME_PREFIX}{os.getpid()}-"
    found = {f"process {child.pid}" for child in psutil.Process().children(recursive=True)}
    return found | {name for name in os.listdir(tempfile.gettempdir()) if name.startswith(prefix)}


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    """Jails that other tests of this session keep open are none of ours."""
    KNOWN.clear()
    KNOWN.update(ours())
    yield


KNOWN: set[str] = set()


def left_behind(jail: Jail) -> list[str]:
    """What a jail that could not be opened may have left: processes, control groups, folders, mounts."""
    found = sorted(ours() - KNOWN)
    for home in cgroup._homes().values():
        found += [str(path) for path in home.glob(f"{cgroup.PREFIX}{os.getpid()}-{jail.slot}*")]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "warden" in line]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("tier", Isolation)
def test_a_jail_whose_building_fails_at_any_step_is_refused_with_its_name_and_leaves_nothing(
    tier: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.touch()
    profile = replace(PROFILE, require=tier)
    monkeypatch.setattr("sandbox.jail._start_launcher", start_faulty(log, ""))
    with Jail(profile, slot(12), best=tier) as jail:
        assert jail.run(entry_task()).kind is OutcomeKind.OK
    sites = list(dict.fromkeys(log.read_text().splitlines()))
    assert len(sites) > 20, sites
    wrong = []
    for site in sites:
        monkeypatch.setattr("sandbox.jail._start_launcher", start_faulty(log, site))
        jail = Jail(profile, slot(12), best=tier)
        call, _, place = site.partition(" in sandbox.")
        try:
            outcome = jail.run(entry_task())
        except SandboxError as error:
            words = str(error)
            if place.replace(":", " (line ") not in words and "could not map uid" not in words:
                wrong.append(f"{site}: {words}")
            later = call == "posix.write" or "zygote" in place or "_execute" in place
            if not isinstance(error, SandboxUnavailable) and not later:
                wrong.append(f"{site}: may be tried again: {words}")
        else:
            # Of no consequence: what was to be made was there already; or the keeper's, with the jail closed.
            harmless = call in ("posix.mkdir", "posix.utime")
            if not harmless and not place.startswith(("launch._keep", "reduced.")):
                wrong.append(f"{site}: the jail was opened all the same")
            if outcome.kind is not OutcomeKind.OK or TOKEN.encode() not in outcome.stdout:
                wrong.append(f"{site}: {outcome}")
            jail.close()
        if left := left_behind(jail):
            wrong.append(f"{site}: {left}")
    assert not wrong, "\n".join(wrong)


# -- by strace: the kernel itself says no ----------------------------------

# System call, which of them (each process counts its own) -> what the error says.
TRACED = {
    "unshare:error=ENOSPC:when=1": "unshare",
    "unshare:error=EPERM:when=2": "unshare",
    "setgroups:error=EPERM:when=1": "enter_as_root",
    "setresuid:error=EPERM:when=1": "enter_as_root",
    "mount:error=EPERM:when=2": "mount",
    "mount_setattr:error=EPERM:when=3": "mount_setattr",
    "pivot_root:error=EINVAL:when=1": "pivot_root",
    "umount2:error=EBUSY:when=1": "umount",
    "sethostname:error=EPERM:when=1": "launch.launch",
    "landlock_create_ruleset:error=ENOMEM:when=2": "landlock_create_ruleset",
    "landlock_add_rule:error=EINVAL:when=1": "landlock_add_rule",
    "capset:error=EPERM:when=1": "capset",
    "move_mount:error=EPERM:when=1": "scratch",
    "landlock_restrict_self:error=E2BIG:when=1": "landlock",
    "close_range:error=EPERM:when=1": "launch._execute",
}


@pytest.mark.skipif(shutil.which("strace") is None, reason="this machine has no strace")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: what is traced gains no capabilities else")
@pytest.mark.parametrize("fault", TRACED)
def test_a_call_that_the_kernel_refuses_is_named_and_no_code_runs(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(control: Any) -> subprocess.Popen[bytes]:
        code = (
            "import os, sys; fd = int(sys.argv[1]); fd == 3 or (os.dup2(fd, 3), os.close(fd)); "
            "from sandbox.launch import main; main()"
        )
        # -D: the launcher stays our child, strace becomes its grandchild
        strace = ["strace", "-D", "-f", "-qq", "-o", os.devnull, "-e", "signal=none"]
        strace += ["-e", f"trace={fault.partition(':')[0]}", "-e", f"inject={fault}"]
        return subprocess.Popen(
            [*strace, sys.executable, "-I", "-B", "-c", code, str(control.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[control.fileno()],
            env={"LANG": "C.UTF-8", "PATH": os.environ["PATH"]},
        )

    monkeypatch.setattr("sandbox.jail._start_launcher", start)
    jail = Jail(PROFILE, slot(13))
    with pytest.raises(SandboxError, match=TRACED[fault]), jail:
        jail.run(entry_task())
    assert not left_behind(jail)
    monkeypatch.undo()
    with jail:
        assert TOKEN.encode() in jail.run(entry_task()).stdout


FAILING: list[Callable[[], object]] = [
    lambda: kernel.unshare(1),
    lambda: kernel.setns(-1, 0),
    lambda: kernel.mount(b"none", b"/no/such/folder", b"none", 0),
    lambda: kernel.umount(b"/no/such/folder"),
    lambda: kernel.pivot_root(b"/no/such/folder", b"/"),
    lambda: kernel.mount_setattr(b"/no/such/folder", kernel.MOUNT_ATTR_RDONLY),
    lambda: kernel.detached_tmpfs(b"nonsense", b"8"),
    lambda: kernel.attach_mount(-1, b"/no/such/folder"),
    lambda: kernel.pidfd_open(-1),
    lambda: kernel.prctl(-1),
    lambda: kernel.SeccompFilter(b"\xff" * 8).install(),
    lambda: kernel.landlock_create_ruleset(1 << 63, 0, 0, 1),
    lambda: kernel.landlock_add_path(-1, "/", 0),
    lambda: kernel.landlock_restrict_self(-1),
]


@pytest.mark.parametrize("call", FAILING)
def test_a_call_that_fails_raises(call: Callable[[], object]) -> None:
    """A libc function's -1, read with the wrong type, was 4294967295 once, and no failure."""
    with pytest.raises(OSError, match=r"\w"):
        call()
