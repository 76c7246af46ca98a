"""The jail from the worker's side: outcomes, bundles, loss of the zygote, refusal."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sandbox import cgroup
from sandbox.jail import REQUIRED, Jail
from sandbox.model import (
    Bundle,
    Isolation,
    Limits,
    OutcomeKind,
    Profile,
    SandboxError,
    SandboxUnavailable,
    Task,
)

from .conftest import LIMITS, PROFILE


def run(jail: Jail, source: str, limits: Limits = LIMITS, bundle: Bundle | None = None):
    return jail.run(Task("inside:execute", source.encode(), limits, bundle))


def test_report_is_what_the_entry_returned(shared_jail: Jail) -> None:
    request = bytes(range(256)) * 1000
    outcome = shared_jail.run(Task("inside:echo", request, LIMITS))
    assert outcome.kind is OutcomeKind.OK
    assert outcome.report == request


def test_all_layers_of_full_are_in_force_and_named_in_the_outcome(shared_jail: Jail) -> None:
    outcome = run(shared_jail, "result = 1")
    assert REQUIRED[Isolation.FULL] <= set(outcome.isolation)


def test_usage_is_measured(shared_jail: Jail) -> None:
    outcome = run(
        shared_jail,
        "import time\nx = bytearray(40 << 20)\nend = time.process_time() + 0.2\n"
        "while time.process_time() < end: pass",
    )
    assert outcome.kind is OutcomeKind.OK
    assert 0.15 < outcome.usage.cpu_s < 0.45
    assert outcome.usage.wall_s >= 0.15
    assert 40 << 20 < outcome.usage.memory_bytes < 80 << 20


def test_output_is_kept_up_to_the_limit_and_marked(shared_jail: Jail) -> None:
    outcome = run(shared_jail, "import sys\nprint('out'); print('err', file=sys.stderr)")
    assert (outcome.stdout, outcome.stderr, outcome.truncated) == (b"out\n", b"err\n", False)
    outcome = run(shared_jail, "print('x' * 2**20)", Limits(output_kib=4))
    assert outcome.kind is OutcomeKind.OUTPUT
    assert outcome.truncated and len(outcome.stdout) == 4096


def test_bundle_is_seen_by_its_own_task_only_and_cannot_be_written(shared_jail: Jail) -> None:
    one = Bundle.of({"grader.py": b"one", "lib/data.txt": b"data"})
    two = Bundle.of({"grader.py": b"two"})
    for bundle, text in ((one, b"one"), (two, b"two"), (one, b"one")):
        assert shared_jail.run(Task("inside:read_bundle", b"grader.py", LIMITS, bundle)).report == text
    look = (
        "import os\nresult = []\n"
        "for top, folders, files in os.walk('/'):\n"
        "    result += [os.path.join(top, f) for f in files if f in ('grader.py', 'data.txt')]\n"
    )
    assert run(shared_jail, look, bundle=one).report == b"['/course/grader.py', '/course/lib/data.txt']"
    assert run(shared_jail, look).report == b"[]"
    write = (
        "import os\nresult = []\npath = '/course/grader.py'\n"
        "for act in (lambda: open(path, 'a'), lambda: os.chmod(path, 0o777), lambda: os.unlink(path),\n"
        "            lambda: os.rename('/course/lib', '/course/x')):\n"
        "    try: act(); result.append('done')\n"
        "    except OSError as error: result.append(error.errno)\n"
    )
    assert run(shared_jail, write, bundle=one).report == b"[30, 30, 30, 30]"


def test_a_bundle_may_not_reach_out_of_its_folder(jail: Jail) -> None:
    with pytest.raises(SandboxError, match="outside"):
        jail.run(Task("inside:echo", b"", LIMITS, Bundle.of({"../../home/x": b"x"})))
    assert run(jail, "result = 1").report == b"1"


def test_more_bundles_than_are_kept(jail: Jail) -> None:
    for number in range(70):
        bundle = Bundle.of({"grader.py": str(number).encode()})
        task = Task("inside:read_bundle", b"grader.py", LIMITS, bundle)
        assert jail.run(task).report == str(number).encode()
    first = Bundle.of({"grader.py": b"0"})
    assert jail.run(Task("inside:read_bundle", b"grader.py", LIMITS, first)).report == b"0"


def test_two_children_never_draw_the_same_random_numbers(shared_jail: Jail) -> None:
    source = "import random, os\nresult = random.random(), os.urandom(4)"
    assert run(shared_jail, source).report != run(shared_jail, source).report


def test_lost_zygote_is_a_sandbox_error_and_the_next_task_is_served(jail: Jail) -> None:
    victim = jail.pid
    killer = threading.Timer(0.3, os.kill, (victim, signal.SIGKILL))
    killer.start()
    with pytest.raises(SandboxError):
        run(jail, "import time; time.sleep(1)")
    killer.join()
    assert run(jail, "result = 2").report == b"2"
    assert jail.pid != victim


def test_task_does_not_pay_for_a_zygote_that_was_killed_before_it_came(jail: Jail) -> None:
    victim = jail.pid
    pidfd = os.pidfd_open(victim)
    try:
        os.kill(victim, signal.SIGKILL)
        assert select.select([pidfd], [], [], 10)[0]
        assert run(jail, "result = 2").report == b"2"
    finally:
        os.close(pidfd)
    assert jail.pid != victim


def test_child_killed_from_outside_is_not_the_learners_fault(jail: Jail) -> None:
    def kill_child() -> None:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            children = psutil.Process(jail.pid).children()
            if children:
                children[0].kill()
                return

    killer = threading.Thread(target=kill_child)
    killer.start()
    with pytest.raises(SandboxError, match=r"from outside|before it was locked down"):
        run(jail, "import time; time.sleep(1.5)")
    killer.join()


def test_nothing_is_left_when_the_worker_is_killed(tmp_path: Path) -> None:
    """A worker dies by SIGKILL while a child runs: zygote, child and its daemon are gone within a second."""
    program = tmp_path / "worker.py"
    program.write_text(
        "import sys\nfrom pathlib import Path\nfrom sandbox.jail import Jail\nfrom sandbox.model import *\n"
        f"profile = Profile(library={{'inside': Path({str(Path(__file__).parent / 'inside.py')!r})}})\n"
        "jail = Jail(profile)\njail.open()\nprint(jail.pid, flush=True)\n"
        "source = b'import os, time\\nfor _ in range(3):\\n    os.fork()\\n'\n"
        "source += b'os.getpid() == 1 or os.setsid()\\ntime.sleep(99)'\n"
        "jail.run(Task('inside:execute', source, Limits(wall_s=60)))\n"
    )
    worker = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    zygote = psutil.Process(int(worker.stdout.readline()))
    deadline = time.monotonic() + 5
    while len(family := zygote.children(recursive=True)) < 8 and time.monotonic() < deadline:
        os.sched_yield()
    assert len(family) >= 8, family
    watched = [os.pidfd_open(process.pid) for process in (zygote, *family)]
    worker.kill()
    worker.wait()
    worker.stdout.close()
    left = [pidfd for pidfd in watched if not select.select([pidfd], [], [], 3)[0]]
    for pidfd in watched:
        os.close(pidfd)
    assert not left
    cgroup.sweep()


@pytest.mark.parametrize("best", [Isolation.FULL, Isolation.REDUCED])
def test_a_zygote_stopped_before_its_first_line_does_not_outlive_the_worker(best: Isolation) -> None:
    code = (
        "import sys\nfrom sandbox.jail import Jail\nfrom sandbox.model import Isolation, Profile\n"
        "best = Isolation(sys.argv[1])\nJail(Profile(require=best), slot=90, best=best).open()"
    )
    for _ in range(3):
        worker = subprocess.Popen([sys.executable, "-c", code, best.value], stderr=subprocess.PIPE, text=True)
        zygote: psutil.Process | None = None
        while zygote is None and worker.poll() is None:
            for process in psutil.Process(worker.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "-c" in process.cmdline() and "sandbox.zygote" in process.cmdline()[-1]:
                        process.suspend()
                        zygote = process
                        break
        worker.kill()
        worker.wait()
        _, left = psutil.wait_procs([zygote] if zygote else [], timeout=3)
        for process in left:
            process.kill()
        _, complaint = worker.communicate(timeout=10)
        assert zygote is not None, complaint
        assert not left, "the stopped zygote is still there"


def test_close_kills_everything(jail: Jail) -> None:
    zygote = psutil.Process(jail.pid)
    jail.close()
    assert not zygote.is_running()
    if (group := cgroup.make(jail.slot)) is not None:
        group.remove()


def test_interpreter_that_is_none_is_refused_with_its_path() -> None:
    with (
        pytest.raises(SandboxUnavailable, match="/no/such/python"),
        Jail(Profile(interpreter="/no/such/python")),
    ):
        pass


def test_preload_that_fails_says_so() -> None:
    with pytest.raises(SandboxError, match="no_such_module"), Jail(Profile(preload=("no_such_module",))):
        pass


def test_a_host_without_user_namespaces_is_refused_with_words(tmp_path: Path) -> None:
    """In a user namespace one may forbid further ones: a cheap host that grants none."""
    code = (
        "import os\nfrom sandbox import kernel\n"
        "uid, gid = os.geteuid(), os.getegid()\n"
        "kernel.unshare(kernel.CLONE_NEWUSER)\n"
        "open('/proc/self/setgroups', 'w').write('deny')\n"
        "open('/proc/self/uid_map', 'w').write(f'{uid} {uid} 1')\n"
        "open('/proc/self/gid_map', 'w').write(f'{gid} {gid} 1')\n"
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0')\n"
        "from sandbox.jail import Jail\nfrom sandbox.model import *\n"
        "try:\n    Jail(Profile()).run(Task('os:getcwdb', b''))\n"
        "except SandboxUnavailable as error:\n    print('refused:', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith('refused: isolation "full" is not to be had'), done
    assert "unshare" in done.stdout or "mount" in done.stdout


def test_memory_limit_of_the_whole_jail_comes_from_the_control_group(shared_jail: Jail) -> None:
    if not any("memory" in layer for layer in shared_jail.layers):
        assert os.geteuid() != 0, "root must be able to make control groups on the machines that we test on"
        return
    source = (
        "import os\n"
        "for _ in range(6):\n"
        "    if os.fork() == 0:\n"
        "        x = bytearray(100 << 20)\n"
        "        for i in range(0, len(x), 4096): x[i] = 1\n"
        "        __import__('time').sleep(1); os._exit(0)\n"
        "for _ in range(6): os.wait()\n"
    )
    limits = replace(LIMITS, wall_s=20)
    assert run(shared_jail, source, limits).kind is OutcomeKind.MEMORY


def test_profile_is_shared_by_two_jails_at_once() -> None:
    with Jail(PROFILE, slot=1) as one, Jail(PROFILE, slot=2) as two:
        assert run(one, "result = 1").report == b"1"
        assert run(two, "result = 2").report == b"2"


def test_a_course_virtualenv_is_shown_with_its_packages_and_through_its_links(tmp_path: Path) -> None:
    home = tmp_path / "course-venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(home)], check=True)
    (packages,) = home.glob("lib/python3*/site-packages")
    (packages / "course_package.py").write_text("ANSWER = 42\n")
    profile = replace(PROFILE, interpreter=str(home / "bin" / "python"), preload=("inside", "course_package"))
    with Jail(profile, slot=3) as jail:
        outcome = run(jail, "import sys, course_package\nresult = course_package.ANSWER, sys.prefix")
        assert outcome.report == repr((42, str(home))).encode()


def test_an_interpreter_may_be_named_by_a_link(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    with Jail(replace(PROFILE, interpreter=str(link)), slot=3) as jail:
        assert run(jail, "result = 1").report == b"1"


def test_modules_of_a_bundle_are_compiled_once_and_each_stays_what_it_is(shared_jail: Jail) -> None:
    look = (
        "import sys\nsys.path.insert(0, '/course')\nimport helper\n"
        "result = open(helper.__cached__, 'rb').read()[4:8], helper.where()\n"
    )
    for number in range(2):
        source = f"import sys\ndef where(): return {number}, sys._getframe().f_code.co_filename\n"
        outcome = run(shared_jail, look, bundle=Bundle.of({"helper.py": source.encode()}))
        assert outcome.report == repr((b"\x01\0\0\0", (number, "/course/helper.py"))).encode(), outcome


def test_a_bundle_whose_modules_do_not_compile_is_laid_out_all_the_same(shared_jail: Jail) -> None:
    files = {"grader.py": b"def (:", "deep.py": b"(" * 100_000, "zeros.py": b"\0", "fine.py": b"x = 1"}
    bundle = Bundle.of(files)
    assert shared_jail.run(Task("inside:read_bundle", b"grader.py", LIMITS, bundle)).report == b"def (:"
    source = "import sys\nsys.path.insert(0, '/course')\nimport fine\nresult = fine.x"
    assert run(shared_jail, source, bundle=bundle).report == b"1"
