"""Starts deliveries, each in a process of its own (supervisor.alerts.post), and hears what came of them.

Runs in: sender, tools. Job and outcome are memory files, so that nothing blocks, and no secret is on a
disk, in an argument or in an environment.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from supervisor.alerts.post import Job, Outcome, ToCommand

SPARE_S: Final = 10.0
"""A post that runs so much longer than its job may is killed: start of the interpreter, import of apprise."""

_PASSED: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    | {
        name
        for word in ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
        for name in (word, word.upper())
    }
)


def environment(environ: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """What processes of alerts see of the environment: no secrets, but those named in `more`."""
    names = {*_PASSED, *more}
    return {name: value for name, value in environ.items() if name in names or name.startswith("LC_")}


@dataclass(slots=True)
class Delivery:
    """One that is under way. `pidfd` is readable when it has ended; `deadline` is monotonic seconds."""

    process: subprocess.Popen[bytes]
    pidfd: int
    outcome_fd: int
    deadline: float

    def outcome(self) -> Outcome:
        """Of a process that has ended; closes everything."""
        code = self.process.wait()
        os.close(self.pidfd)
        os.lseek(self.outcome_fd, 0, os.SEEK_SET)
        with os.fdopen(self.outcome_fd, "rb") as file:
            raw = file.read(64 * 1024)
        try:
            return msgspec.json.decode(raw, type=Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Outcome(False, f"the delivery ended with status {code} and no answer")

    def kill(self) -> None:
        """End it; its outcome is then a failure."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


def start(job: Job, timeout_s: float, now: float) -> Delivery:
    """Start a delivery.

    Raises:
        OSError: the machine gives no process or no memory.
    """
    job_fd = os.memfd_create("job")
    outcome_fd = os.memfd_create("outcome")
    try:
        os.write(job_fd, msgspec.json.encode(job))
        os.lseek(job_fd, 0, os.SEEK_SET)
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "supervisor.alerts.post", str(os.getpid())],
            stdin=job_fd,
            stdout=outcome_fd,
            stderr=subprocess.DEVNULL,  # libraries write URLs in their complaints
            env=environment(os.environ),
        )
    except BaseException:
        os.close(outcome_fd)
        raise
    finally:
        os.close(job_fd)
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        process.kill()
        process.wait()
        os.close(outcome_fd)
        raise
    return Delivery(process, pidfd, outcome_fd, now + timeout_s + SPARE_S)


def deliver(job: Job, timeout_s: float) -> Outcome:
    """Deliver, and wait for it.

    Raises:
        OSError: as `start`.
    """
    delivery = start(job, timeout_s, 0.0)
    limit_s = timeout_s + (SPARE_S if isinstance(job, ToCommand) else 0.0)
    ended, _, _ = select.select([delivery.pidfd], [], [], limit_s)
    if not ended:
        delivery.kill()
    outcome = delivery.outcome()
    return outcome if ended else Outcome(False, f"no answer within {limit_s:g} s")
