"""What is left after many runs: one process, jails opened once, everything counted before and after.

Every outcome is checked, too: a sandbox that ran nothing would not leak either.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from bench.mix import Mix, opened
from sandbox.model import BUNDLE, Isolation, SandboxError

WARM_UP_SHARE = 0.02
"""Of the runs; at least a whole round of the mix, so that whatever is done for the first time is done."""
MEMORY_GROWTH = 0.02
SETTLE_S = 5.0
WRITABLE = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass(frozen=True, slots=True)
class Item:
    """One number, before and after. `memory` may grow by a share, everything else not at all.

    `judged` is False for what others on the machine change, too.
    """

    name: str
    before: int
    after: int
    memory: bool
    judged: bool

    @property
    def growth(self) -> int:
        return self.after - self.before

    @property
    def ok(self) -> bool:
        most = self.before * MEMORY_GROWTH if self.memory else 0
        return not self.judged or self.growth <= most

    @property
    def share(self) -> float:
        """Growth as a share of what was there."""
        return self.growth / self.before if self.before else 0.0


@dataclass(frozen=True, slots=True)
class Leak:
    """Of `runs` runs. `outcomes` counts the kinds, `wrong` are outcomes that nobody expected."""

    runs: int
    items: tuple[Item, ...]
    outcomes: dict[str, int]
    wrong: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.wrong and all(item.ok for item in self.items)

    @property
    def memory_growth(self) -> float:
        """Of the process that grew most, as a share."""
        return max(item.share for item in self.items if item.memory and item.judged)

    @property
    def other_growth(self) -> int:
        """How many things more than before, of all that is not memory."""
        return sum(max(0, item.growth) for item in self.items if not item.memory)


def measure(runs: int, tick: Callable[[int, int], None] = lambda done, total: None) -> Leak:
    """`runs` runs after a warm-up. `tick` is told after each run how many of how many are done.

    Raises:
        SandboxError: the sandbox failed before it began. Later failures are in `wrong`.
    """
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    with opened() as mix:
        warm_up = max(len(mix.cases), int(runs * WARM_UP_SHARE))
        before = after = _Seen()
        for number in range(warm_up + runs):
            if number == warm_up:
                before = _look(mix)
                outcomes.clear()
            case = mix.cases[number % len(mix.cases)]
            try:
                outcome = case.run()
            except SandboxError as error:
                wrong.append(f"run {number}, {case.name}: {error}")
            else:
                outcomes[outcome.kind.value] += 1
                if outcome.kind not in case.expected:
                    wrong.append(f"run {number}, {case.name}: {outcome.kind.value} {outcome.detail}")
            tick(number + 1, warm_up + runs)
        after = _look(mix)
        missing = (*mix.missing, *after.unseen)
    items = tuple(
        Item(name, value, after.items[name][0], memory, judged)
        for name, (value, memory, judged) in before.items.items()
    )
    return Leak(runs, items, dict(sorted(outcomes.items())), tuple(wrong), missing)


@dataclass(slots=True)
class _Seen:
    """Numbers by name: value, whether it is memory in bytes, whether it is ours alone."""

    items: dict[str, tuple[int, bool, bool]] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)

    def count(self, name: str, look: Callable[[], int]) -> None:
        try:
            self.items[name] = (look(), False, True)
        except PermissionError:  # a zygote is not dumpable: only root sees into it
            self.unseen.append(f"{name}: not to be seen by this user")

    def memory(self, name: str, value: int, judged: bool) -> None:
        self.items[name] = (value, True, judged)


def _look(mix: Mix) -> _Seen:
    """All that could have grown, with the jails idle and each resident there."""
    _settle(mix)
    gc.collect()
    seen = _Seen()
    own = os.getpid()
    _look_at(seen, "worker", own)
    for name, jail in mix.jails.items():
        _look_at(seen, f"zygote {name}", jail.pid)
        if jail.isolation is Isolation.FULL:
            seen.count(f"zygote {name}: files of bundles", partial(_inodes, f"/proc/{jail.pid}/root{BUNDLE}"))
    statuses = [_status(process) for process in psutil.Process().children(recursive=True)]
    seen.count("processes below the worker", lambda: len(statuses))
    seen.count("… of them zombies", lambda: statuses.count(psutil.STATUS_ZOMBIE))
    homes = {folder.parent for jail in mix.jails.values() if jail._group for folder in jail._group.folders()}
    groups = [path for home in homes for path in home.glob(f"warden-{own}-*")]
    seen.count("control groups", lambda: sum(1 + _folders(path) for path in groups))
    # The kernel frees what was the dead's when it likes: half a megabyte up and down.
    seen.memory("control groups: memory, the kernel's too", sum(map(_charged, groups)), judged=False)
    seen.count("temporary files", lambda: _below(Path(tempfile.gettempdir())))
    uids = {psutil.Process(jail.pid).uids().real for jail in mix.jails.values()} - {os.getuid()}
    if uids:
        seen.count("files of the jails' users elsewhere", lambda: sum(_owned(top, uids) for top in WRITABLE))
    return seen


def _look_at(seen: _Seen, name: str, pid: int) -> None:
    process = psutil.Process(pid)
    seen.memory(f"{name}: RSS", int(process.memory_info().rss), judged=True)
    with contextlib.suppress(psutil.AccessDenied):
        # Depends on who else maps the same libraries at this moment.
        seen.memory(f"{name}: PSS", int(process.memory_full_info().pss), judged=False)
    seen.count(f"{name}: descriptors", lambda: len(os.listdir(f"/proc/{pid}/fd")))
    seen.count(f"{name}: mounts", lambda: len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()))


def _settle(mix: Mix) -> None:
    """Idle, and as after any other look. A resident that was used up is replaced; one too many will count."""
    zygote = psutil.Process(mix.jails["python"].pid)
    for _ in range(3):
        for run in mix.residents:
            run()
        if len(zygote.children()) == len(mix.residents):
            break
    for run in mix.last:
        run()
    # A zygote makes ready for the next child when the last one is dead and told of. Then it waits for orders.
    deadline = time.monotonic() + SETTLE_S
    for jail in mix.jails.values():
        while psutil.Process(jail.pid).status() != psutil.STATUS_SLEEPING and time.monotonic() < deadline:
            select.select([], [], [], 0.01)


def _inodes(folder: str) -> int:
    """Of the whole file system that it is in, whatever is mounted over it."""
    usage = os.statvfs(folder)
    return usage.f_files - usage.f_ffree


def _below(*tops: Path) -> int:
    """Files and folders."""
    found = 0
    for top in tops:
        os.listdir(top)  # os.walk says nothing of what it may not see
        found += sum(len(names) + len(folders) for _, folders, names in os.walk(top))
    return found


def _folders(top: Path) -> int:
    return sum(len(folders) for _, folders, _ in os.walk(top))


def _charged(group: Path) -> int:
    """Bytes of a control group that holds memory, 0 of others: all but the cache of the host's files."""
    if not (group / "memory.stat").exists():
        return 0
    fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    kernel = group / "memory.kmem.usage_in_bytes"
    if kernel.exists():  # v1
        return int(fields["rss"]) + int(fields["shmem"]) + int(kernel.read_text())
    return int(fields["anon"]) + int(fields["shmem"]) + int(fields.get("kernel", 0))


def _owned(top: str, uids: set[int]) -> int:
    found = 0
    with os.scandir(top) as entries:
        for entry in entries:
            try:
                found += entry.stat(follow_symlinks=False).st_uid in uids
            except FileNotFoundError:  # somebody else's, and gone
                continue
    return found


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "gone"
