"""What takes the place of namespaces in a reduced jail: folders of the host's, /proc, and a subreaper.

Runs in: zygote, child (standard library only, CPython >= 3.8).

No user namespace is to be had, so there is no private root, no pid namespace, no file system of its own:

    files        Landlock alone says what can be opened; the filter refuses what Landlock does not rule
                 (modes, times, truncation by path, watches)
    processes    children of a Python profile cannot fork; programs can: what they leave behind becomes a
                 child of the zygote, a subreaper, which stops and kills all of them
    scratch      a folder, measured every few milliseconds while the child runs, and removed afterwards
    counting     RLIMIT_NPROC counts all that a user runs, so it is only the outer bound; the tree is counted
                 when the scratch is

`Ground` is the zygote's view; `Look` one child's watch.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import time

from sandbox import kernel
from sandbox.wire import KILLED

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any

LOOK_S = 0.01
SLACK = 256
"""Processes that others of the same user may start while a child runs, before its own limit is touched."""
COUNT_AGAIN_S = 5.0
SWEEP_S = 5.0


class Ground:
    """The folder of a reduced jail and how its children are restricted.

    `config`: home (the folder), alone (nobody else has this user id), landlock (the result of
    sandbox.landlock.rules).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.home = config["home"]
        self.alone = config["alone"]
        self.landlock = config["landlock"]
        self.counted_at = -COUNT_AGAIN_S
        self.counted = 0
        os.mkdir(self.home + "/course", 0o700)

    # -- scratch -----------------------------------------------------

    def open_scratch(self) -> int:
        """A fresh, empty scratch folder: a descriptor of it."""
        path = self.home + "/scratch"
        os.mkdir(path, 0o700)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def clear_scratch(self) -> None:
        """Remove it with all that is in it, whatever modes it was given."""
        path = self.home + "/scratch"
        shutil.rmtree(path, onerror=_open_up)
        if os.path.lexists(path):
            raise OSError(39, "the scratch folder cannot be removed: " + path)

    def is_full(self, limits: dict[str, Any]) -> bool:
        """Whether the child has met the caps of its scratch. (One file counts less than a tmpfs counts.)"""
        used, files = self.measure(limits["scratch_bytes"], limits["scratch_files"])
        return bool(used >= limits["scratch_bytes"] or files >= limits["scratch_files"])

    def measure(self, most_bytes: int, most_files: int) -> tuple[int, int]:
        """(bytes, files and folders) in the scratch; stops counting when either passes its cap."""
        used = files = 0
        todo = [self.home + "/scratch"]
        while todo and used <= most_bytes and files <= most_files:
            try:
                with os.scandir(todo.pop()) as entries:
                    for entry in entries:
                        files += 1
                        if files > most_files:
                            break
                        info = entry.stat(follow_symlinks=False)
                        used += info.st_blocks * 512
                        if stat.S_ISDIR(info.st_mode):
                            todo.append(entry.path)
            except OSError:
                continue  # gone, or closed to us too: then nothing can be written in it either
        return used, files

    # -- processes ---------------------------------------------------

    def wait(self, pid: int, pidfd: int, limits: dict[str, Any]) -> int:
        """Until the child is dead: 0, or why it was killed (an index of wire.KILLED)."""
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        look = Look(self, pid, limits)
        why = 0
        while not poll.poll(LOOK_S * 1000):
            why = why or KILLED.index(look.trouble())
            if why:
                _signal(pid, signal.SIGKILL)
        return why

    def with_others(self, limits: tuple[int, ...]) -> tuple[int, ...]:
        """The child's rlimits, with the processes that others of this user may have."""
        return (*limits[:4], limits[4] + self.others(), *limits[5:])

    def others(self) -> int:
        """How many processes and threads of this user there may be besides the child's."""
        if self.alone:
            return 2  # the keeper and the zygote
        now = time.monotonic()
        if now - self.counted_at >= COUNT_AGAIN_S:
            self.counted_at = now
            self.counted = _count_tasks(os.getuid())
        return self.counted + SLACK

    # -- in the child ------------------------------------------------

    def restrict(self, bundle: str) -> None:
        """Landlock: the rules of the profile, this task's bundle, the scratch. Needs no_new_privs."""
        rules = self.landlock
        fd = kernel.landlock_create_ruleset(rules["files"], rules["network"], rules["scopes"], rules["abi"])
        for path, rights in rules["rules"]:
            kernel.landlock_add_path(fd, path, rights)
        kernel.landlock_add_path(fd, bundle, rules["bundle"])
        kernel.landlock_add_path(fd, self.home + "/scratch", rules["scratch"])
        kernel.landlock_restrict_self(fd)


class Look:
    """What the watch of one child must look at, as nothing else enforces it."""

    def __init__(self, ground: Ground, pid: int, limits: dict[str, Any]) -> None:
        self.ground = ground
        self.pid = pid
        self.limits = limits

    def trouble(self) -> str:
        """ "disk" or "processes" if it has more than it may, else ""."""
        most_bytes, most_files = self.limits["scratch_bytes"], self.limits["scratch_files"]
        used, files = self.ground.measure(most_bytes, most_files)
        if used > most_bytes or files > most_files:
            return "disk"
        if sum(map(_threads, tree())) > self.limits["processes"]:
            return "processes"
        return ""


def sweep() -> None:
    """Kill and reap all that descends from this process. What dies hands its children to us.

    First they are stopped, until a look finds no new ones: a process that is stopped does not fork, and as it
    is still there it keeps its place under RLIMIT_NPROC. Killing one by one would only make room for more.

    Raises:
        OSError: something is still there after SWEEP_S.
    """
    deadline = time.monotonic() + SWEEP_S
    while True:
        stopped: set[int] = set()
        while True:
            running = [pid for pid in tree() if pid not in stopped]
            if not running:
                break
            for pid in running:
                _signal(pid, signal.SIGSTOP)
            stopped.update(running)
            if time.monotonic() > deadline:
                break
        for pid in stopped:
            _signal(pid, signal.SIGKILL)
        try:
            while not os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) and stopped:
                if time.monotonic() > deadline:
                    raise OSError(16, "processes of the jail cannot be killed")
                time.sleep(0.0002)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def tree() -> list[int]:
    """The processes that descend from this one, each after its parent."""
    pid = os.getpid()
    found = _children("/proc/%d/task/%d/children" % (pid, pid))
    for pid in found:  # it grows while we go
        found += _children("/proc/%d/task/%d/children" % (pid, pid))
    return found


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _children(path: str) -> list[int]:
    try:
        with open(path) as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []
    except ProcessLookupError:
        return []


def _threads(pid: int) -> int:
    try:
        with open("/proc/%d/stat" % pid) as file:
            return int(file.read().rpartition(")")[2].split()[17])
    except (OSError, IndexError, ValueError):
        return 0


def _count_tasks(uid: int) -> int:
    total = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/status" % name) as file:
                text = file.read()
        except OSError:
            continue
        fields = dict(line.partition(":")[::2] for line in text.splitlines())
        if fields.get("Uid", "-1").split()[0] == str(uid):
            total += int(fields.get("Threads", "1"))
    return total


def _open_up(function: object, path: str, _error: object) -> None:
    """For rmtree: a folder that its maker closed is opened again, and removed with what is in it."""
    parent = os.path.dirname(path)
    for folder in (parent, path):
        try:
            if stat.S_ISDIR(os.lstat(folder).st_mode):
                os.chmod(folder, 0o700)
        except OSError:
            pass
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except OSError:
        pass
