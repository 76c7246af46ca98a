"""The run step of a compiled program against a bare fork and exec of the same binary, in turns."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from graders.languages import built_in
from sandbox.model import OutcomeKind, SandboxUnavailable
from sandbox.program import Programs

ADD = '#include <stdio.h>\nint main(void){int a,b;scanf("%d %d",&a,&b);printf("%d\\n",a+b);return 0;}\n'
STDIN = b"20 22\n"

# What it costs to run a program without any sandbox, wired in the same way: its input in a file in memory,
# pipes for what it writes, read to their end. The parent is small: a fork copies what a process maps.
PARENT = """
import os, sys, time
program, text = sys.argv[1], sys.argv[2].encode()
for line in sys.stdin:
    started = time.perf_counter()
    given = os.memfd_create("stdin", os.MFD_CLOEXEC)
    os.write(given, text)
    os.lseek(given, 0, os.SEEK_SET)
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(given, 0)
        os.dup2(out_end, 1)
        os.dup2(err_end, 2)
        os.execv(program, [program])
    for fd in (given, out_end, err_end):
        os.close(fd)
    said = b""
    for fd in (out, err):
        while more := os.read(fd, 65536):
            said += more
        os.close(fd)
    _, status = os.waitpid(pid, 0)
    assert status == 0 and said == b"42\\n", (status, said)
    print(time.perf_counter() - started, flush=True)
"""


@dataclass(frozen=True, slots=True)
class ProgramRuns:
    """Medians in seconds: one test in a warm jail, wall clock; CPU of the child; without a jail."""

    jailed_s: float
    jailed_cpu_s: float
    bare_s: float


def measure(rounds: int) -> ProgramRuns | None:
    """`rounds` of each, in turns. None where there is no C compiler.

    Raises:
        SandboxError: the sandbox failed.
    """
    with Programs(built_in()["c"]) as programs, TemporaryDirectory(prefix="warden-bench-") as folder:
        try:
            compiled = programs.compile({"main.c": ADD.encode()})
        except SandboxUnavailable:
            return None
        binary = Path(folder) / "program"
        binary.write_bytes(compiled.bundle.files["program"])
        binary.chmod(0o755)
        parent = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", PARENT, str(binary), STDIN.decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdin is not None and parent.stdout is not None
        jailed: list[float] = []
        cpu: list[float] = []
        bare: list[float] = []
        for number in range(rounds + 10):
            started = time.perf_counter()
            outcome = programs.run(compiled, STDIN)
            took = time.perf_counter() - started
            assert outcome.kind is OutcomeKind.OK and outcome.stdout == b"42\n", outcome
            parent.stdin.write("\n")
            parent.stdin.flush()
            alone = float(parent.stdout.readline())
            if number >= 10:  # everything warm before it counts
                jailed.append(took)
                cpu.append(outcome.usage.cpu_s)
                bare.append(alone)
        parent.stdin.close()
        parent.wait()
        parent.stdout.close()
    return ProgramRuns(statistics.median(jailed), statistics.median(cpu), statistics.median(bare))
