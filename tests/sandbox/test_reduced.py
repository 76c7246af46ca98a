"""The tier `reduced`: there are no namespaces, so what they would do is proved here piece by piece.

Run as root (each slot has a user id of its own) and as an ordinary user (who shares his with the service).
Programs that fork without end run only after a test has seen their limits. Whatever a test leaves by failing
is killed by its mark when it ends.
"""

from __future__ import annotations

import ast
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sandbox.jail
from sandbox import cgroup, reduced
from sandbox.jail import UID_BASE, UID_SPAN, Jail
from sandbox.model import Bundle, Isolation, Limits, Outcome, OutcomeKind, Profile, SandboxError, Task

from .conftest import LIMITS, PROFILE, slot

SLOT = slot(14)
SOURCE = Path(__file__).parent / "restless.c"
PYTHON = replace(PROFILE, require=Isolation.REDUCED)
OVER_S = 1.0
"""How long after its limit a run may take, on a busy machine."""

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="this machine has no gcc")


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.01)
    return True


def uid() -> int:
    return UID_BASE + SLOT % UID_SPAN if os.geteuid() == 0 else os.geteuid()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the jails of this module have their folders. Everybody may write there, as in /tmp."""
    tmp_path_factory.getbasetemp()  # made when first asked for, and not in a folder that goes
    folder = Path(tempfile.mkdtemp(prefix="warden-test-", dir="/tmp"))
    folder.chmod(0o1777)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder
    left = homes(folder)
    for home in left:
        reduced.clear_away(str(home))
    shutil.rmtree(folder)
    assert not left


def homes(folder: Path) -> set[Path]:
    return {path for path in folder.iterdir() if path.name.startswith(reduced.HOME_PREFIX)}


@pytest.fixture(autouse=True)
def nothing_survives(ground: Path) -> Iterator[None]:
    before = homes(ground)
    yield
    extra = homes(ground) - before
    survivors = [pid for home in extra for pid in reduced._marked(reduced.mark_of(str(home)))]
    for home in extra:
        reduced.clear_away(str(home))
    assert not extra, f"folders left behind: {extra}, and processes: {survivors}"


@pytest.fixture(scope="module")
def restless(ground: Path) -> Path:
    """The folder of the compiled program."""
    folder = ground / "programs"
    folder.mkdir()
    folder.chmod(0o755)
    subprocess.run(
        ["gcc", "-O1", "-w", "-pthread", "-o", str(folder / "restless"), str(SOURCE)], check=True, timeout=60
    )
    return folder


@pytest.fixture
def python_jail(ground: Path) -> Iterator[Jail]:
    with Jail(PYTHON, SLOT, best=Isolation.REDUCED) as jail:
        yield jail


@pytest.fixture
def program_jail(restless: Path) -> Iterator[Jail]:
    """A jail for the restless program, once its limits have been seen in there."""
    with Jail(program_profile(restless), SLOT, best=Isolation.REDUCED) as jail:
        outcome = program(jail, "limits")
        processes, cpu_s, file_bytes = map(int, outcome.stdout.split())
        assert 0 < processes <= reduced._count_tasks(uid()) + reduced.SLACK + 256
        assert 0 < cpu_s <= 10 and 0 < file_bytes <= LIMITS.scratch_mib << 20
        yield jail


def program_profile(folder: Path) -> Profile:
    return Profile(programs=True, show=(str(folder),), require=Isolation.REDUCED)


def program(jail: Jail, *words: str, limits: Limits = LIMITS) -> Outcome:
    command = (f"{jail.profile.show[0]}/restless", *words)
    return jail.run(Task(command=command, limits=limits))


def execute(jail: Jail, source: str, limits: Limits = LIMITS) -> Outcome:
    return jail.run(Task("inside:execute", source.encode(), limits))


def pretend_abi(abi: int) -> Callable[[Any], subprocess.Popen[bytes]]:
    """Start launchers that find a kernel with an older Landlock."""

    def start(control: Any) -> subprocess.Popen[bytes]:
        code = (
            "import os, sys; fd = int(sys.argv[1]); fd == 3 or (os.dup2(fd, 3), os.close(fd)); "
            "from sandbox import kernel; from sandbox.launch import main; "
            f"kernel.landlock_abi = lambda: min({abi}, 99); main()"
        )
        return subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", code, str(control.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[control.fileno()],
            env={"LANG": "C.UTF-8"},
        )

    return start


# -- files of the host -------------------------------------------------

ATTEMPTS = r"""
import ctypes, errno, mmap, os, resource, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
file, folder, others = HOST["file"], HOST["folder"], HOST["processes"]
def touch(flags): os.close(os.open(file, flags))
def through_link(name, target):
    os.symlink(target, name)
    return open(name).read()
def moved():
    open("own", "w").close()
    os.rename("own", folder + "/own")
def datagrams():
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"x", HOST["socket"])
def by_message():
    one, two = socket.socketpair()
    one.sendmsg([b"x"])
TRIES = {
    "read": lambda: touch(os.O_RDONLY),
    "write": lambda: touch(os.O_WRONLY),
    "append": lambda: touch(os.O_WRONLY | os.O_APPEND),
    "truncate by reading": lambda: touch(os.O_RDONLY | os.O_TRUNC),
    "truncate by neither": lambda: touch(3 | os.O_TRUNC),
    "truncate by openat2": lambda: call(437, -100, file.encode(), (ctypes.c_uint64 * 3)(0o1000, 0, 0), 24),
    "truncate": lambda: os.truncate(file, 0),
    "chmod": lambda: os.chmod(file, 0o777),
    "chmod by path and descriptor": lambda: os.fchmod(os.open(file, os.O_PATH), 0o777),
    "fchmodat2": lambda: call(452, -100, file.encode(), 0o777, 0),
    "utime": lambda: os.utime(file, (1, 1)),
    "futimens": lambda: os.utime(os.open("mine", os.O_CREAT | os.O_RDWR), (1, 1)),
    "chown": lambda: os.chown(file, -1, os.getgid()),
    "xattr": lambda: os.setxattr(file, "user.x", b"x"),
    "unlink": lambda: os.unlink(file),
    "rename": lambda: os.rename(file, "stolen"),
    "move out": moved,
    "hard link": lambda: os.link(file, "linked"),
    "hard link of what is shown": lambda: os.link(os.__file__, "linked"),
    "symbolic link": lambda: through_link("soft", file),
    "create": lambda: open(folder + "/new", "w"),
    "nameless": lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600),
    "folder": lambda: os.mkdir(folder + "/new"),
    "list": lambda: os.listdir(folder),
    "list temporary": lambda: os.listdir(os.path.dirname(folder)),
    "passwd": lambda: open("/etc/passwd").read(),
    "own proc": lambda: open("/proc/self/status").read(),
    "own memory": lambda: open("/proc/self/mem", "r+b"),
    "list proc": lambda: os.listdir("/proc"),
    "environment of others": lambda: [open("/proc/%d/environ" % pid).read() for pid in others],
    "root of others": lambda: open("/proc/%d/root%s" % (others[0], file)).read(),
    "this repository": lambda: os.listdir(HOST["repository"]),
    "this project": lambda: open(HOST["repository"] + "/pyproject.toml").read(),
    "execute": lambda: os.execv("/bin/true", ["true"]),
    "fork": os.fork,
    "memfd": lambda: os.memfd_create("x"),
    "session": os.setsid,
    "group": lambda: os.setpgid(0, 0),
    "parent's death": lambda: call(157, 1, 0, 0, 0, 0) or os._exit(3),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, others[0], 19),
    "affinity": lambda: os.sched_setaffinity(others[0], {0}),
    "limits of others": lambda: resource.prlimit(others[0], resource.RLIMIT_CPU, (1, 1)),
    "own mark": lambda: resource.setrlimit(15, (7, 7)),
    "datagram": datagrams,
    "message": by_message,
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "inet": lambda: socket.socket(socket.AF_INET),
    "netlink": lambda: socket.socket(socket.AF_NETLINK),
    "watch": lambda: call(254, 0),
}
for pid in others:
    TRIES["kill %d" % pid] = lambda pid=pid: os.kill(pid, 0)
    TRIES["tgkill %d" % pid] = lambda pid=pid: call(234, pid, pid, 0)
    TRIES["tkill %d" % pid] = lambda pid=pid: call(200, pid, 0)
    TRIES["sigqueue %d" % pid] = lambda pid=pid: call(129, pid, 0, (ctypes.c_char * 128)())
    TRIES["pidfd %d" % pid] = lambda pid=pid: call(434, pid, 0)
TRIES["kill everybody"] = lambda: os.kill(-1, 0)
TRIES["kill own group"] = lambda: os.kill(0, 0)
TRIES["kill a group"] = lambda: os.killpg(others[0], 0)
result = {}
for name, attempt in TRIES.items():
    try:
        attempt()
        result[name] = "done"
    except OSError as error:
        result[name] = errno.errorcode.get(error.errno, error.errno)
"""
REFUSALS = {"EACCES", "EPERM", "ENOSYS", "EXDEV", "ENOTSUP", "EOPNOTSUPP"}


@pytest.mark.parametrize("abi", [99, 2, 1], ids=["this-kernel", "abi-2", "abi-1"])
def test_no_file_process_or_socket_of_the_host_can_be_reached(
    ground: Path, abi: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if they belong to the same user. Before ABI 3 the filter alone stands against truncation."""
    from sandbox import kernel

    monkeypatch.setattr("sandbox.jail._start_launcher", pretend_abi(min(abi, kernel.landlock_abi())))
    folder = ground / f"host-{abi}"
    folder.mkdir()
    file = folder / "file"
    file.write_text("untouched")
    for path in (folder, file):
        os.chown(path, uid(), -1)
        path.chmod(0o777 if path == folder else 0o666)
    status = file.stat()
    with Jail(PYTHON, SLOT, best=Isolation.REDUCED) as jail:
        assert f"landlock-{min(abi, kernel.landlock_abi())}" in jail.layers
        assert jail._launcher is not None
        told = {
            "file": str(file),
            "folder": str(folder),
            "socket": str(folder / "socket"),
            "repository": str(Path(__file__).parents[2]),
            "processes": [jail.pid, jail._launcher.pid, os.getpid()],
        }
        outcome = execute(jail, f"HOST = {told!r}\n{ATTEMPTS}")
        assert outcome.kind is OutcomeKind.OK and outcome.report is not None, outcome
        answers = ast.literal_eval(outcome.report.decode())
    assert len(answers) > 60
    assert {name: answer for name, answer in answers.items() if answer not in REFUSALS} == {}
    after = file.stat()
    assert file.read_text() == "untouched" and os.listdir(folder) == ["file"]
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (
        status.st_mode,
        status.st_mtime_ns,
        status.st_nlink,
    )


def test_neighbours_of_the_same_user_see_neither_scratch_nor_bundle(ground: Path) -> None:
    limits = replace(LIMITS, wall_s=10.0)
    bundle = Bundle.of({"answer.txt": b"42"})
    waiting = "open('secret', 'w').write('mine')\nimport sys, time\nwhile True: time.sleep(0.01)"
    with (
        Jail(PYTHON, SLOT, part="a", best=Isolation.REDUCED) as one,
        Jail(PYTHON, SLOT, part="b", best=Isolation.REDUCED) as other,
    ):
        task = Task("inside:execute", waiting.encode(), limits, bundle)
        lost: list[str] = []

        def wait() -> None:
            try:
                one.run(task)
            except SandboxError as error:
                lost.append(str(error))

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            secret = Path(one._home) / "scratch" / "secret"
            assert wait_until(lambda: _readable(secret))
            answer = next(Path(one._home).glob("course/*/answer.txt"))
            paths = [str(secret), str(answer), str(secret.parent), one._home, other._home, str(ground)]
            source = (
                f"import os\nresult = []\nfor path in {paths!r}:\n"
                "    for act in (open, os.listdir):\n"
                "        try: act(path); result.append(path)\n        except OSError: pass\n"
            )
            assert execute(other, source).report == b"[]"
        finally:
            os.kill(one.pid, signal.SIGKILL)
            thread.join()
        assert lost


def _readable(path: Path) -> bool:
    try:
        return path.read_text() == "mine"
    except OSError:
        return False


@needs_compiler
def test_programs_execute_what_is_shown_and_nothing_else(program_jail: Jail) -> None:
    this = f"{program_jail.profile.show[0]}/restless"
    assert program(program_jail, "execute", this, "hello").stdout == b"hello\n"
    assert program(program_jail, "execute", "/bin/ls", "/").stdout == b"Permission denied"
    assert program(program_jail, "copy", "./copy", "hello").stdout == b"Permission denied"
    assert program(program_jail, "open", "/etc/passwd").stdout == b"Permission denied"


@needs_compiler
def test_a_program_that_the_loader_maps_from_the_scratch_gains_nothing(program_jail: Jail) -> None:
    """Landlock rules execve, not mmap. What so runs is the learner's own, as before, and as confined."""
    loaders = sorted(Path("/lib64").glob("ld-linux-*"))
    if not loaders:
        pytest.skip("the loader lies elsewhere on this machine")
    loader = str(loaders[0])
    assert program(program_jail, "copy", loader, "./copy", "hello").stdout in (b"hello\n", b"")
    for way in (("open", "/etc/passwd"), ("execute", "/bin/ls")):
        assert b"Permission denied" in program(program_jail, "copy", loader, "./copy", *way).stdout


# -- the scratch -------------------------------------------------------

LITTER = {
    "closed folders": (
        "for mode in (0, 0o100, 0o200, 0o300, 0o400, 0o500, 0o600):\n"
        "    os.mkdir('outer%o' % mode); os.mkdir('outer%o/inner' % mode, mode)\n"
        "    os.mkdir('m%o' % mode, mode)\n"
        "    try: os.mkdir('m%o/below' % mode, 0); open('m%o/file' % mode, 'w').close()\n"
        "    except OSError: pass\n"
    ),
    "a path longer than any": (
        "for depth in range(50):\n    os.mkdir('d' * 200); os.chdir('d' * 200)\nopen('end', 'w').write('x')\n"
    ),
    "links to the host": (
        "os.symlink(HOST['file'], 'file'); os.symlink(HOST['folder'], 'folder'); os.symlink('/', 'root')\n"
        "os.mkdir('real'); os.symlink('../real', 'real/loop'); os.symlink('nowhere', 'dangling')\n"
    ),
    "odd names": (
        "open(b'\\xff\\n\\t', 'w').close(); os.mkdir('-rf'); open('-rf/ *', 'w').close(); open('~', 'w')\n"
    ),
    "many links to one file": (
        "open('one', 'w').write('x' * 1000000)\nfor n in range(40): os.link('one', 'n%d' % n)\n"
    ),
}


@pytest.mark.parametrize("name", LITTER)
def test_whatever_is_in_the_scratch_is_removed_and_nothing_else(
    python_jail: Jail, ground: Path, name: str, tmp_path: Path
) -> None:
    host = ground / "kept"
    host.mkdir(exist_ok=True)
    file = host / "file"
    file.write_text("untouched")
    for path in (host, file):
        os.chown(path, uid(), -1)
    told = {"file": str(file), "folder": str(host)}
    scratch = Path(python_jail._home) / "scratch"
    for _ in range(2):
        outcome = execute(python_jail, f"import os\nHOST = {told!r}\n{LITTER[name]}\nresult = 7")
        assert outcome.report == b"7", outcome
        assert wait_until(lambda: not os.path.lexists(scratch))
    assert file.read_text() == "untouched" and os.listdir(host) == ["file"]


def test_a_fifo_cannot_be_made(python_jail: Jail) -> None:
    assert execute(python_jail, "import os\nos.mkfifo('x')").kind is OutcomeKind.FORBIDDEN


def test_the_scratch_of_a_killed_zygote_is_removed_with_its_folder(python_jail: Jail, ground: Path) -> None:
    killer = threading.Timer(0.3, os.kill, (python_jail.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(SandboxError):
        execute(python_jail, f"import os, time\n{LITTER['closed folders']}\nwhile True: time.sleep(1)")
    killer.join()
    assert homes(ground) == set()


CHUNKS = (
    "import os\nchunk = bytes(1 << 20)\ntry:\n  for number in range(400):\n"
    "    %s\n"
    "    os.write(fd, chunk); os.write(1, b'.')\n"
    "except OSError: pass\n"  # no more descriptors, if the machine is so busy that nobody looked until then
    "while True: pass\n"
)
FILLING = {
    "many files": CHUNKS % "fd = os.open('f%d' % (number // 4), os.O_CREAT | os.O_APPEND | os.O_WRONLY)",
    "files below a folder that cannot be listed": CHUNKS
    % (
        "number or os.mkdir('closed', 0o300)\n"
        "    fd = os.open('closed/f%d' % (number // 4), os.O_CREAT | os.O_APPEND | os.O_WRONLY)"
    ),
    "files at the end of a path longer than any": CHUNKS
    % (
        "for depth in range(0 if number else 30): os.mkdir('d' * 200); os.chdir('d' * 200)\n"
        "    fd = os.open('f%d' % (number // 4), os.O_CREAT | os.O_APPEND | os.O_WRONLY)"
    ),
    "files that were removed": CHUNKS % "fd = os.open('f', os.O_CREAT | os.O_WRONLY); os.unlink('f')",
    "files that never had a name": CHUNKS % "fd = os.open('.', os.O_TMPFILE | os.O_WRONLY)",
}
MOST_OVER_MIB = 200
"""What may be written before the look that notices: a matter of the disk's speed and the machine's load."""


@pytest.mark.parametrize("way", FILLING)
def test_a_scratch_that_is_filled_ends_as_disk_soon_after_the_cap(python_jail: Jail, way: str) -> None:
    outcome = execute(python_jail, FILLING[way])
    assert outcome.kind is OutcomeKind.DISK, outcome
    assert len(outcome.stdout) - LIMITS.scratch_mib <= MOST_OVER_MIB


@pytest.mark.parametrize(
    "what", ["open('f%d' % n, 'w')", "os.mkdir('f%d' % n)", "os.symlink('x', 'f%d' % n)"]
)
def test_too_many_files_end_as_disk(python_jail: Jail, what: str) -> None:
    source = (
        f"import os\nfor n in range(99999):\n    {what}\n    n % 64 or os.write(1, b'.')\nwhile True: pass"
    )
    outcome = execute(python_jail, source)
    assert outcome.kind is OutcomeKind.DISK, outcome
    assert len(outcome.stdout) * 64 < 30000


def test_folders_too_deep_end_as_disk(python_jail: Jail) -> None:
    limits = replace(LIMITS, scratch_files=5000)
    source = "import os\nfor n in range(2000):\n    os.mkdir('d'); os.chdir('d')\nwhile True: pass"
    assert execute(python_jail, source, limits).kind is OutcomeKind.DISK


@needs_compiler
@pytest.mark.parametrize("way", ["unlinked", "mapped"])
def test_files_without_a_name_count_in_programs_too(program_jail: Jail, way: str) -> None:
    outcome = program(program_jail, way)
    assert outcome.kind is OutcomeKind.DISK, outcome
    assert outcome.usage.wall_s < LIMITS.wall_s


# -- processes ---------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("way", ["bomb", "bomb_session", "chain", "daemons", "thread", "many"])
def test_nothing_that_a_program_starts_outlives_its_task(program_jail: Jail, way: str) -> None:
    started = time.monotonic()
    outcome = program(program_jail, way)
    took_s = time.monotonic() - started
    assert took_s < LIMITS.wall_s + OVER_S, outcome
    expected = {OutcomeKind.WALL, OutcomeKind.PROCESSES} | ({OutcomeKind.OK} if way == "chain" else set())
    assert outcome.kind in expected
    mark = reduced.mark_of(program_jail._home)
    assert reduced._marked(mark) == []
    zygote = program_jail.pid
    assert program(program_jail, "hello").stdout == b"hello\n"
    assert program_jail.pid == zygote


@needs_compiler
def test_too_many_processes_are_noticed_though_others_of_the_user_have_room(program_jail: Jail) -> None:
    outcome = program(program_jail, "many")
    counted = any(layer.endswith("-pids") for layer in program_jail.layers)
    assert outcome.kind is (OutcomeKind.WALL if counted else OutcomeKind.PROCESSES), outcome


WORKER = """
import sys, tempfile
from dataclasses import replace
tempfile.tempdir = sys.argv[1]
from sandbox.jail import Jail
from sandbox.model import *
limits = Limits(wall_s=30.0, cpu_s=5.0, memory_mib=128, scratch_mib=8, scratch_files=64, processes=12)
profile = Profile(programs=True, show=(sys.argv[2],), require=Isolation.REDUCED)
jail = Jail(profile, int(sys.argv[4]), best=Isolation.REDUCED)
jail.open()
# Many are wanted for as long as it takes to kill somebody: they shall not be too many.
order = jail._order
jail._order = lambda task: replace(order(task), processes=100000)
print(jail.pid, jail._launcher.pid, jail._home, flush=True)
try:
    jail.run(Task(command=(sys.argv[2] + "/restless", sys.argv[3]), limits=limits))
except SandboxError as error:
    print("lost", flush=True)
jail.close()
print("closed", flush=True)
"""


@needs_compiler
@pytest.mark.parametrize("way", ["daemons", "bomb_session"])
@pytest.mark.parametrize(
    "killed", [("worker",), ("keeper",), ("zygote",), ("keeper", "zygote"), ("worker", "keeper", "zygote")]
)
def test_nothing_survives_whoever_is_killed(
    killed: tuple[str, ...], way: str, ground: Path, restless: Path, program_jail: Jail
) -> None:
    """Bounded as seen in `program_jail`: RLIMIT_NPROC is the outer bound here, as the tree is not counted."""
    program_jail.close()
    arguments = [str(ground), str(restless), way, str(SLOT)]
    worker = subprocess.Popen(
        [sys.executable, "-B", "-c", WORKER, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    try:
        zygote, keeper, home = worker.stdout.readline().split()
        pids = {"worker": worker.pid, "keeper": int(keeper), "zygote": int(zygote)}
        mark = reduced.mark_of(home)
        assert wait_until(lambda: len(reduced._marked(mark)) > 6)
        for name in ("worker", "keeper", "zygote"):  # the worker first, else it would notice
            if name in killed:
                os.kill(pids[name], signal.SIGKILL)
        if "worker" not in killed:
            assert worker.stdout.read().split() == ["lost", "closed"]
            assert worker.wait(10) == 0
            assert reduced._marked(mark) == [] and not os.path.exists(home)
        elif len(killed) == 1:
            worker.wait(10)
            assert wait_until(lambda: not os.path.exists(home)) and reduced._marked(mark) == []
        else:  # nobody is left to do it, until a worker starts
            worker.wait(10)
            sandbox.jail.sweep()  # (some may have met their CPU limit by now)
            assert reduced._marked(mark) == [] and not os.path.exists(home)
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
        cgroup.sweep()


def test_the_sweep_at_the_start_takes_only_what_is_ours_and_dead(ground: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    elsewhere = ground / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    dead, alive = (ground / f"{reduced.HOME_PREFIX}{pid}-0a1b2c" for pid in (gone.pid, os.getpid()))
    (dead / "scratch" / "below").mkdir(parents=True)
    alive.mkdir()
    link = ground / f"{reduced.HOME_PREFIX}{gone.pid}-ffff"
    link.symlink_to(elsewhere)
    odd = ground / f"{reduced.HOME_PREFIX}{gone.pid}-no-number"
    odd.mkdir()
    foreign = ground / f"{reduced.HOME_PREFIX}{gone.pid}-abcd"
    if os.geteuid() == 0:
        foreign.mkdir()
        os.chown(foreign, 12345, -1)
    try:
        assert reduced.sweep_stale(str(ground), range(UID_BASE, UID_BASE + UID_SPAN)) == [str(dead)]
        assert alive.exists() and odd.exists() and link.is_symlink() and (elsewhere / "file").exists()
        assert foreign.exists() or os.geteuid() != 0
    finally:
        link.unlink()
        for path in (alive, odd, foreign):
            if path.exists():
                path.rmdir()


def test_a_folder_that_the_user_cannot_reach_is_refused_with_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: an ordinary user reaches his own folders")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    with pytest.raises(SandboxError, match="cannot get at its folder"):
        Jail(PYTHON, SLOT, best=Isolation.REDUCED).open()
    assert homes(closed) == set()
