"""Sixteen jails side by side: eight attack their neighbours, eight do honest work, which must come out right.

The honest ones use what the attackers take away: threads and processes, memory, room and names in their
scratch, CPU. Each attacker gets to know the pids of all zygotes, and searches for a secret that every honest
one has in its files, its memory and the name of one of its files.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.jail import Jail
from sandbox.model import Limits, Outcome, OutcomeKind, Task

from .conftest import PROFILE, slot

ROUNDS = 3
HONEST_LIMITS = Limits(wall_s=15.0, cpu_s=2.0, memory_mib=128, scratch_mib=8, scratch_files=64, processes=12)
HOSTILE_LIMITS = Limits(wall_s=1.0, cpu_s=0.2, memory_mib=64, scratch_mib=8, scratch_files=64, processes=12)

HONEST = {
    "starts threads": """
import threading
found = []
threads = [threading.Thread(target=lambda n=n: found.append(sum(range(n)))) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
result = sorted(found)
""",
    "starts processes": """
import os
read, write = os.pipe()
for number in range(8):
    if os.fork() == 0:
        os.write(write, bytes([number])); os._exit(0)
for _ in range(8): assert os.wait()[1] == 0
os.close(write)
result = sorted(os.read(read, 100))
""",
    "uses its memory": """
block = bytearray(48 << 20)
block[::4096] = b"x" * len(block[::4096])
result = block.count(b"x")
""",
    "uses its scratch": """
import os
for number in range(40):
    with open("file%d" % number, "wb") as file: file.write(bytes([number]) * 150000)
result = sum(open("file%d" % number, "rb").read()[-1] for number in range(40)), len(os.listdir("."))
""",
    "computes": """
result = 0
for number in range(400000): result = (result * 31 + number) % 1000003
""",
    "prints": """
for number in range(5000): print(number)
result = number
""",
    "keeps a secret in a file": """
import os, time
with open("secret-4711", "w") as file: file.write("secret-4711")
os.mkdir("/tmp/secret-folder")
open(os.path.dirname(os.__file__) + "/this.py").read()
time.sleep(0.2)
result = sorted(os.listdir("/tmp"))
""",
    "keeps a secret in its memory": """
import os, signal, time
os.environ["SECRET"] = secret = "secret-" + "4711" * 1000
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append("killed"))
time.sleep(0.2)
result = told, len(os.environ["SECRET"])
""",
}

HOSTILE = {
    # what it tries: (program, outcomes that are right, report if it comes to one)
    "kills by every pid": (
        """
import os, signal
result = []
for pid in [*range(2, 32769), *ZYGOTES]:
    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        try: os.kill(pid, number); result.append(pid)
        except ProcessLookupError: break
try: os.kill(-1, signal.SIGKILL); result.append(-1)
except ProcessLookupError: pass
""",
        "ok cpu",
        b"[]",
    ),
    "reads through /proc and shared folders": (
        """
import os
result = []
for top in ("/proc", "/home", "/tmp", "/dev", "/course", "/run", "/var", "/sys"):
    for folder, folders, files in os.walk(top):
        result += [name for name in folders + files if "secret" in name or name.isdigit()]
for pid in ZYGOTES:
    for name in ("mem", "environ", "maps", "root/home/learner", "cwd", "fd"):
        try: os.stat("/proc/%d/%s" % (pid, name)); result.append(name)
        except OSError: pass
""",
        "ok",
        b"[]",
    ),
    "reads memory of others": (
        """
import ctypes, os, struct
libc = ctypes.CDLL(None)
result = []
buffer = ctypes.create_string_buffer(64)
vector = struct.pack("@PN", ctypes.addressof(buffer), 64)
for pid in [1, 2, *ZYGOTES]:
    child = os.fork()
    if child == 0:
        os._exit(0 if libc.process_vm_readv(pid, vector, 1, vector, 1, 0) > 0 else 1)
    if os.waitpid(child, 0)[1] == 0: result.append(pid)
""",
        "ok",
        b"[]",
    ),
    "fills the temporary folders": (
        """
import os
for top in ("/tmp", "/home/learner", "/box"):
    try:
        for number in range(1000): open(os.path.join(top, "x%d" % number), "wb").write(bytes(1 << 20))
    except OSError: pass
while True: os.mkdir(str(os.getpid() + len(os.listdir("."))))
""",
        "disk",
        None,
    ),
    "watches the times of shared files": (
        """
import os, time
top = os.path.dirname(os.__file__)
watched = [top + "/this.py", top, "/tmp", "/dev", "/home", "/warden", "/course", "/etc/passwd"]
def look(path):
    seen = os.stat(path)
    return seen.st_atime_ns, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_nlink
before = [look(path) for path in watched]
time.sleep(0.4)
result = [path for path, seen in zip(watched, before) if seen != look(path)]
""",
        "ok",
        b"[]",
    ),
    "takes all processes": (
        """
import os
while True:
    try: os.fork()
    except OSError: pass
""",
        "processes cpu wall",
        None,
    ),
    "takes all threads and memory": (
        """
import threading, time
keep = []
try:
    while True: threading.Thread(target=time.sleep, args=(10,), daemon=True).start()
except RuntimeError: pass
while True: keep.append(bytearray(1 << 20))
""",
        "memory processes",
        None,
    ),
    "floods its pipes": (
        """
import os
if os.fork():
    while True: os.write(1, b"x" * 4096)
while True: os.write(3, b"x" * 4096)
""",
        "output",
        None,
    ),
}


@pytest.fixture
def jails() -> Iterator[list[Jail]]:
    # Opened here, not in the threads that use them: a zygote dies with the thread that started it.
    with ExitStack() as stack:
        yield [
            stack.enter_context(Jail(PROFILE, slot(20 + number)))
            for number in range(len(HONEST) + len(HOSTILE))
        ]


def work(jail: Jail, source: str) -> tuple[OutcomeKind, bytes | None, bytes]:
    outcome = jail.run(Task("inside:execute", source.encode(), HONEST_LIMITS))
    return outcome.kind, outcome.report, outcome.stdout


@pytest.mark.timeout(90)
def test_honest_work_comes_out_the_same_with_eight_attackers_next_door(jails: list[Jail]) -> None:
    honest = list(zip(jails[::2], HONEST.items(), strict=True))
    hostile = list(zip(jails[1::2], HOSTILE.items(), strict=True))
    pids = [jail.pid for jail in jails]
    assert len(set(pids)) == 16
    alone = {name: work(jail, source) for jail, (name, source) in honest}
    assert {kind for kind, _, _ in alone.values()} == {OutcomeKind.OK}
    over = threading.Event()

    def attack(jail: Jail, source: str) -> list[Outcome]:
        task = Task("inside:execute", f"ZYGOTES = {pids}\n{source}".encode(), HOSTILE_LIMITS)
        found = [jail.run(task)]
        while not over.is_set():
            found.append(jail.run(task))
        return found

    def persist(jail: Jail, source: str) -> list[tuple[OutcomeKind, bytes | None, bytes]]:
        return [work(jail, source) for _ in range(ROUNDS)]

    with ThreadPoolExecutor(len(jails)) as pool:
        attacks = {name: pool.submit(attack, jail, told[0]) for jail, (name, told) in hostile}
        works = {name: pool.submit(persist, jail, source) for jail, (name, source) in honest}
        try:
            came = {name: future.result() for name, future in works.items()}
        finally:
            over.set()

    assert came == {name: [outcome] * ROUNDS for name, outcome in alone.items()}
    for name, (_, kinds, report) in HOSTILE.items():
        outcomes = attacks[name].result()
        assert report is None or any(outcome.kind is OutcomeKind.OK for outcome in outcomes), name
        for outcome in outcomes:
            said = outcome.stderr.decode("utf-8", "replace")[-300:]
            assert str(outcome.kind) in kinds.split(), f"{name}: {outcome.kind}: {outcome.detail}: {said}"
            if report is not None and outcome.kind is OutcomeKind.OK:
                assert outcome.report == report, f"{name}: {outcome.report!r}"
    for jail, pid in zip(jails, pids, strict=True):
        assert jail.pid == pid and Path(f"/proc/{pid}").exists(), "a neighbour's zygote is gone"
