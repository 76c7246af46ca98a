"""What takes the place of namespaces in a reduced jail: folders of the host's, /proc, and a subreaper.

Runs in: zygote, child, launcher; clear_away() and sweep_stale() in the worker (standard library only,
CPython >= 3.8).

No user namespace is to be had, so there is no private root, no pid namespace, no file system of its own:

    files        Landlock alone says what can be opened; the filter refuses what Landlock does not rule
                 (modes, times, truncation by path, watches)
    processes    children of a Python profile cannot fork; programs can, but nothing that they start can
                 leave their process group, which is killed as one; what they leave behind becomes a child
                 of the zygote, a subreaper, which so knows when all of it is gone
    scratch      a folder, measured every few milliseconds while the child runs, and removed afterwards
    counting     RLIMIT_NPROC counts all that a user runs, so it is only the outer bound; the tree is counted
                 when the scratch is

Who ends what.  The zygote sweeps after each task.  When it dies, its child dies (parent-death signal), and
the keeper sweeps what that may have started, and removes the folder.  When the keeper is killed, the zygote
dies, and the worker finds the folder still there; when all three are killed at once, the next worker to start
does.  Those two are nobody's parents, so they go by the mark: a number in the folder's name that each child
wears as a resource limit, which it cannot change and hands on to all that it starts.

`Ground` is the zygote's view; `Look` one child's watch.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import stat
import time

from sandbox import kernel
from sandbox.wire import KILLED

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any, Iterable

LOOK_S = 0.01
LOOK_SHARE = 20
"""A look that took long is followed by a pause so many times as long."""
SLACK = 256
"""Processes that others of the same user may start while a child runs, before its own limit is touched."""
SLACK_ALONE = 32
"""The same where the user id is the slot's own: keepers and zygotes of its other jails, which are idle."""
COUNT_AGAIN_S = 5.0
SWEEP_S = 5.0
DEEPEST = 100
"""Folders in folders; more are too many files. No program needs them, and each costs a descriptor."""
LOWEST_PRIORITY = 19
RLIMIT_MARK = 15
"""RLIMIT_RTTIME: how long it may run in real time, which none of ours may at all. So it means nothing."""
MARK_LINE = b"Max realtime timeout"
HOME_PREFIX = "warden-jail-"


class Ground:
    """The folder of a reduced jail and how its children are restricted.

    `config`: home (the folder), alone (nobody else has this user id), programs (children may execute some),
    landlock (the result of sandbox.landlock.rules).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.home = config["home"]
        self.alone = config["alone"]
        self.programs = config["programs"]
        self.landlock = config["landlock"]
        self.mark = mark_of(self.home)
        self.zygote = os.getpid()
        self.top = -1
        self.counted_at = -COUNT_AGAIN_S
        self.counted = 0
        os.mkdir(self.home + "/course", 0o700)

    # -- scratch -----------------------------------------------------

    def open_scratch(self) -> int:
        """A fresh, empty scratch folder: a descriptor of it."""
        path = self.home + "/scratch"
        os.mkdir(path, 0o700)
        try:
            self.top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            return os.dup(self.top)
        except OSError:
            self.clear_scratch()
            raise

    def clear_scratch(self) -> None:
        """Remove it with all that is in it, whatever modes it was given.

        Raises:
            OSError: something cannot be removed.
        """
        if self.top >= 0:
            os.close(self.top)
            self.top = -1
        remove(self.home + "/scratch")

    def is_full(self, limits: dict[str, Any]) -> bool:
        """Whether the child has met the caps of its scratch. (One file counts less than a tmpfs counts.)"""
        used, files = self.measure(limits["scratch_bytes"], limits["scratch_files"])
        return bool(used >= limits["scratch_bytes"] or files >= limits["scratch_files"])

    def measure(self, most_bytes: int, most_files: int) -> tuple[int, int]:
        """(bytes, files and folders) in the scratch; stops counting when either passes its cap.

        Whoever fills it is at work meanwhile: nothing is followed, and no path is walked twice.
        """
        used = files = 0
        linked: set[int] = set()
        levels: list[tuple[int, list[str]]] = []  # an open folder, and the folders in it that are left to do
        folder = os.dup(self.top)
        try:
            while True:
                below = []
                try:
                    with os.scandir(folder) as entries:
                        for entry in entries:
                            files += 1
                            if files > most_files:
                                break
                            try:
                                info = entry.stat(follow_symlinks=False)
                            except OSError:
                                continue
                            if stat.S_ISDIR(info.st_mode):
                                below.append(entry.name)
                            elif info.st_nlink > 1:
                                if info.st_ino in linked:
                                    continue
                                linked.add(info.st_ino)
                            used += info.st_blocks * 512
                except OSError:
                    pass
                levels.append((folder, below))
                folder = -1
                if used > most_bytes or files > most_files:
                    break
                if len(levels) > DEEPEST:
                    files = most_files + 1
                    break
                while levels and folder < 0:
                    top, names = levels[-1]
                    if not names:
                        levels.pop()
                        os.close(top)
                        continue
                    try:
                        folder = open_folder(names.pop(), top)
                    except OSError:
                        continue  # gone
                if folder < 0:
                    break
        finally:
            for fd, _ in levels:
                os.close(fd)
            if folder >= 0:
                os.close(folder)
        return used, files

    def hidden(self, pids: Iterable[int], most_bytes: int) -> tuple[int, int]:
        """(bytes, files) of the scratch that have no name any more: opened or mapped, and removed."""
        sizes: dict[int, int] = {}
        device = os.fstat(self.top).st_dev
        inside = os.fsencode(self.home) + b"/scratch"
        mapped: dict[int, int] = {}
        for pid in pids:
            # Each thread for itself: it may have other descriptors, and the first one may be gone.
            for task in _list("/proc/%d/task" % pid):
                top = "/proc/%d/task/%s" % (pid, task)
                for fd in _list(top + "/fd"):
                    try:
                        info = os.stat(top + "/fd/" + fd)
                    except OSError:
                        continue
                    if stat.S_ISREG(info.st_mode) and not info.st_nlink and info.st_dev == device:
                        sizes[info.st_ino] = info.st_blocks * 512
            text = _read("/proc/%d/maps" % pid)
            if b"(deleted)" in text:
                for line in text.splitlines():
                    if line.endswith(b"(deleted)") and inside in line:
                        span, _, _, _, inode, _ = line.split(None, 5)
                        start, _, end = span.partition(b"-")
                        number = int(inode)
                        mapped[number] = mapped.get(number, 0) + int(end, 16) - int(start, 16)
        for number, size in mapped.items():  # how much of it was written cannot be seen
            sizes.setdefault(number, min(size, most_bytes))
        return sum(sizes.values()), len(sizes)

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
                kill_group(pid)
        kill_group(pid)  # not reaped yet, so its number is still its own
        return why

    def with_others(self, limits: tuple[int, ...]) -> tuple[int, ...]:
        """The child's rlimits, with the processes that others of this user may have."""
        return (*limits[:4], limits[4] + self.others(), *limits[5:])

    def others(self) -> int:
        """How many processes and threads of this user there may be besides the child's."""
        if self.alone:
            return SLACK_ALONE
        now = time.monotonic()
        if now - self.counted_at >= COUNT_AGAIN_S:
            self.counted_at = now
            self.counted = _count_tasks(os.getuid())
        return self.counted + SLACK

    # -- in the child ------------------------------------------------

    def enter(self) -> None:
        """What a namespace would do: die with the zygote, be known as this jail's, come after everybody."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.zygote:
            raise OSError(errno.ESRCH, "the zygote is gone")
        resource.setrlimit(RLIMIT_MARK, (self.mark, self.mark))
        if self.programs:  # however many they are, the zygote gets to stop them
            os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)

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
        self.next_at = 0.0

    def trouble(self) -> str:
        """ "disk" or "processes" if it has more than it may, else ""."""
        started = time.monotonic()
        if started < self.next_at:
            return ""
        spent_s = -time.process_time()
        found = self._trouble()
        spent_s += time.process_time()
        self.next_at = started + min(spent_s * LOOK_SHARE, 10 * LOOK_S)
        return found

    def _trouble(self) -> str:
        pids = tree() if self.ground.programs else [self.pid]
        if sum(map(_threads, pids)) > self.limits["processes"]:
            return "processes"
        most_bytes, most_files = self.limits["scratch_bytes"], self.limits["scratch_files"]
        used, files = self.ground.measure(most_bytes, most_files)
        more_used, more_files = self.ground.hidden(pids, most_bytes)
        if used + more_used > most_bytes or files + more_files > most_files:
            return "disk"
        return ""


# -- processes -------------------------------------------------------


def kill_group(pid: int) -> None:
    """Kill a child and all that it has started: its filter lets nobody leave the process group.

    The kernel does it in one go, with no new process in between, however fast they fork.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it was not even a session's leader yet
        _signal(pid, signal.SIGKILL)


def sweep() -> None:
    """Kill and reap all that descends from this process. What dies hands its children to us.

    That nothing is left is known for sure when this process has no children: it is a subreaper.

    Raises:
        OSError: something is still there after SWEEP_S.
    """
    deadline = time.monotonic() + SWEEP_S
    while True:
        for pid in _children(os.getpid()):
            _kill_with_group(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, "processes of the jail cannot be killed")
        time.sleep(0.0005)


def _kill_with_group(pid: int) -> None:
    try:
        group = os.getpgid(pid)
    except ProcessLookupError:
        return
    if group == os.getpgrp():  # ours too: a child that has not begun, or a helper
        _signal(pid, signal.SIGKILL)
    else:
        kill_group(group)


def tree() -> list[int]:
    """The processes that descend from this one, each after its parent."""
    found = _children(os.getpid())
    for pid in found:  # it grows while we go
        found += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    """Those that any thread of `pid` has started, or was handed. Empty if `pid` is gone."""
    found: list[int] = []
    top = "/proc/%d/task/" % pid
    for task in _list(top):
        found += map(int, _read(top + task + "/children").split())
    return found


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _threads(pid: int) -> int:
    try:
        return int(_read("/proc/%d/stat" % pid).rpartition(b")")[2].split()[17])
    except (IndexError, ValueError):
        return 0


def _count_tasks(uid: int) -> int:
    total = 0
    for name in _list("/proc"):
        if not name.isdigit():
            continue
        fields = dict(line.partition(b":")[::2] for line in _read("/proc/%s/status" % name).splitlines())
        if int(fields.get(b"Uid", b"-1").split()[0]) == uid:
            total += int(fields.get(b"Threads", b"1"))
    return total


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _read(path: str) -> bytes:
    """A file of /proc; nothing if its process is gone."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


# -- folders ---------------------------------------------------------


def open_folder(name: str, inside: int) -> int:
    """A descriptor to list the folder by; its mode is mended if it forbids that. No link is followed.

    Raises:
        OSError: it is no folder, or gone.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=inside)
    except PermissionError:
        pass
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        os.chmod("/proc/self/fd/%d" % fd, 0o700)
        return os.open("/proc/self/fd/%d" % fd, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """Remove a folder and all that is in it, however deep, whatever the modes. No link is followed.

    Nobody may be writing in it any more. Folders in folders are moved up first, so depth costs nothing.

    Raises:
        OSError: something cannot be removed.
    """
    parent, _, name = path.rpartition("/")
    outer = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # it need not be ours to list
    try:
        top = open_folder(name, outer)
        try:
            prefix = ".%s-" % os.urandom(8).hex()
            moved = 0
            names = os.listdir(top)
            while names:
                for one in names:
                    if _unlink(one, top):
                        continue
                    folder = open_folder(one, top)
                    try:
                        os.fchmod(folder, 0o700)  # to be listed is not all
                        for below in os.listdir(folder):
                            if not _unlink(below, folder):
                                inner = open_folder(below, folder)
                                os.fchmod(inner, 0o700)  # it must be writable to be moved
                                os.close(inner)
                                moved += 1
                                os.rename(below, "%s%d" % (prefix, moved), src_dir_fd=folder, dst_dir_fd=top)
                    finally:
                        os.close(folder)
                    os.rmdir(one, dir_fd=top)
                names = os.listdir(top)
        finally:
            os.close(top)
        os.rmdir(name, dir_fd=outer)
    finally:
        os.close(outer)


def _unlink(name: str, folder: int) -> bool:
    """False if it is a folder."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return False
    return True


# -- what the killed left behind -------------------------------------


def name_home(folder: str, worker: int) -> str:
    """A name that nobody has yet for the folder of a jail of `worker` (its pid)."""
    return "%s/%s%d-%s" % (folder.rstrip("/"), HOME_PREFIX, worker, os.urandom(6).hex())


def mark_of(home: str) -> int:
    """The number that the processes of this jail wear."""
    return int(home.rpartition("-")[2], 16) + 1


def clear_away(home: str) -> bool:
    """If the keeper did not: kill what wears the mark of this jail, and remove its folder.

    True if there was something to do. The folder is the last that a keeper removes.

    Raises:
        OSError: something could not be killed, or removed.
    """
    try:
        info = os.lstat(home)
    except FileNotFoundError:
        return False
    kill_marked(mark_of(home), info.st_uid)
    remove(home)
    return True


def kill_marked(mark: int, uid: int) -> None:
    """Kill all processes of this user that wear the mark; returns when there are none."""
    deadline = time.monotonic() + SWEEP_S
    while True:
        found = [pid for pid in _marked(mark) if _owner(pid) == uid]
        if not found:
            return
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, "processes of a jail cannot be killed")
        for pid in found:
            _kill_with_group(pid)
        time.sleep(0.001)


def _marked(mark: int) -> list[int]:
    """The living processes that wear it."""
    word = str(mark).encode()
    found = []
    for name in _list("/proc"):
        if not name.isdigit():
            continue
        line = _read("/proc/%s/limits" % name).partition(MARK_LINE)[2]
        if line.split(None, 1)[:1] == [word]:
            state = _read("/proc/%s/stat" % name).rpartition(b")")[2].split()[:1]
            if state not in ([b"Z"], [b"X"], []):
                found.append(int(name))
    return found


def _owner(pid: int) -> int:
    for line in _read("/proc/%d/status" % pid).splitlines():
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    return -1


def sweep_stale(folder: str, uids: range) -> list[str]:
    """Clear away the jails in `folder` whose worker is dead and which are ours; returns their folders.

    Ours are those of our own user; for root also those of `uids`. What cannot be cleared away now, another
    start will try again.
    """
    removed = []
    for name in _list(folder):
        pid, _, mark = name[len(HOME_PREFIX) :].partition("-")
        if not name.startswith(HOME_PREFIX) or not pid.isdigit() or not kernel.is_dead(int(pid)):
            continue
        path = "%s/%s" % (folder.rstrip("/"), name)
        try:
            info = os.lstat(path)
            int(mark, 16)
            mine = info.st_uid == os.geteuid() or (os.geteuid() == 0 and info.st_uid in uids)
            if mine and stat.S_ISDIR(info.st_mode) and clear_away(path):
                removed.append(path)
        except (OSError, ValueError):
            continue
    return removed
