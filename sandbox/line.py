"""The worker's end of the line to a zygote: orders, answers, children.

Runs in: worker, tools.

The zygote is trusted not to lie, but a hung one must not hang the worker: every wait has a deadline. Frames
and records are those of sandbox/wire.py.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import kernel, wire
from sandbox.model import SandboxError

ANSWER_S = 10.0
"""How long a healthy zygote may take to answer an order: a busy host delays it."""


@dataclass(frozen=True, slots=True)
class Order:
    """A child, as the zygote shall fork it. `rlimits` in the order of sandbox.child.RLIMITS, -1 for none."""

    rlimits: tuple[int, ...]
    scratch_bytes: int
    scratch_files: int
    processes: int
    cpu_s: float
    entry: str = ""
    bundle: str = ""
    command: tuple[str, ...] = ()
    resident: bool = False
    collect: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """How a child died, as the zygote saw it."""

    status: int  # of wait4
    cpu_s: float  # with all that it had waited for
    wall_s: float
    peak_kib: int
    scratch_full: bool
    killed: str  # "", or why the zygote had to kill it (wire.KILLED)


class Child:
    """A child at work: `pid` is the zygote's number for it. Close it after its end."""

    def __init__(self, pid: int, pidfd: int, scratch: int, reads: Sequence[int], requests: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.scratch = scratch  # of a resident, to be measured; else -1
        self.reads = tuple(reads)  # stdout, stderr, report
        self.requests = requests  # of a resident; else -1
        self.started = time.monotonic()
        self._clock: int | None = None

    def kill(self) -> None:
        """All of it: it is process 1 of its namespace, or what it started is swept by the zygote."""
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise SandboxError(f"a child cannot be killed: {error}") from None

    def cpu_s(self) -> float:
        """CPU time of its first process. 0.0 once it is dead.

        Raises:
            OSError: there is no such clock.
        """
        if self._clock is None:
            # Its number as we see it; the kernel translates.
            for line in Path(f"/proc/self/fdinfo/{self.pidfd}").read_text().splitlines():
                if line.startswith("Pid:"):
                    self._clock = kernel.cpu_clock(int(line.split()[1]))
        if self._clock is None or self._clock >= 0:  # no number: it is dead, or not to be seen from here
            return 0.0
        try:
            return time.clock_gettime(self._clock)
        except OSError:  # it died just now
            return 0.0

    def close(self) -> None:
        for fd in (*self.reads, self.requests, self.scratch, self.pidfd):
            if fd >= 0:
                os.close(fd)


class Line:
    """To one zygote. Not for use from two threads at once."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        connection.settimeout(ANSWER_S)
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def close(self) -> None:
        self.socket.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    # -- frames ------------------------------------------------------

    def tell(self, head: dict[str, Any], contents: Sequence[bytes] | None = None) -> None:
        """Send a frame, with a sealed file of `contents` if there are any.

        Raises:
            OSError: the other side is gone or does not read.
        """
        fds = [] if contents is None else [wire.sealed_file(tuple(contents))]
        try:
            wire.send_with(self.socket, wire.encode(head), fds)
        finally:
            for fd in fds:
                os.close(fd)

    def hear(self, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """The next frame.

        Raises:
            SandboxError: it did not come in time, or the other side is dead. wire.WireError: it is no frame.
        """
        head, fds = self.hear_with(timeout_s)
        for fd in fds:
            os.close(fd)
        return head

    def hear_with(self, timeout_s: float) -> tuple[dict[str, Any], list[int]]:
        """The next frame, and the descriptors that came with it."""
        deadline = time.monotonic() + timeout_s
        start, fds = self._take(4, deadline)
        more, _ = self._take(wire.size_of(start), deadline)
        return wire.decode(more), fds

    def _take(self, size: int, deadline: float) -> tuple[bytes, list[int]]:
        data, fds = b"", []
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000 + 1):
                raise SandboxError("no answer in time")
            try:
                piece, came = wire.receive_with(self.socket, size - len(data))
            except ConnectionResetError:  # with something unread
                piece, came = b"", []
            fds += came
            if not piece:
                raise SandboxError("the zygote died")
            data += piece
        return data, fds

    def _record(self, kind: bytes, size: int, timeout_s: float) -> tuple[bytes, list[int]]:
        """A record of this kind; a frame in its place is what went wrong."""
        deadline = time.monotonic() + timeout_s
        start, fds = self._take(1, deadline)
        if start != kind:
            rest, _ = self._take(3, deadline)
            more, _ = self._take(wire.size_of(start + rest), deadline)
            for fd in fds:
                os.close(fd)
            raise SandboxError(str(wire.decode(more).get("error", "an answer that was not asked for")))
        more, came = self._take(size - 1, deadline)
        return start + more, fds + came

    # -- children ----------------------------------------------------

    def fork(self, order: Order, request: bytes) -> Child:
        """Have a child forked; a resident gets no request yet.

        Raises:
            SandboxError: the zygote could not, or did not answer.
        """
        reads: list[int] = []
        given: list[int] = []
        requests = -1
        try:
            for _ in range(3):
                read_end, write_end = os.pipe()
                reads.append(read_end)
                given.append(write_end)
            if order.resident:
                read_end, requests = os.pipe()
                given.append(read_end)
                os.set_blocking(requests, False)
            else:
                given.append(wire.sealed_file((request,)))
            wire.send_with(self.socket, _packed(order, len(request)), given)
            record, fds = self._record(b"B", wire.BORN.size, ANSWER_S)
            child = Child(
                wire.BORN.unpack(record)[1], fds[0], fds[1] if order.resident else -1, reads, requests
            )
        except BaseException:
            for fd in (*reads, requests):
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in given:
                os.close(fd)
        return child

    def end(self, timeout_s: float) -> End:
        """How the child died that is being waited for.

        Raises:
            SandboxError: it is not known.
        """
        record, _ = self._record(b"E", wire.END.size, timeout_s)
        _, status, cpu_s, wall_s, peak_kib, full, why = wire.END.unpack(record)
        return End(status, cpu_s, wall_s, peak_kib, full, wire.KILLED[why])

    def reap(self, child: Child) -> None:
        """Ask for the end of a resident, which nobody waits for. `end` tells it."""
        self.tell({"order": "reap", "pid": child.pid})


def _packed(order: Order, request_bytes: int) -> bytes:
    entry, bundle = order.entry.encode(), order.bundle.encode()
    command = json.dumps(order.command).encode() if order.command else b""
    flags = (
        (wire.RESIDENT if order.resident else 0)
        | (wire.COMMAND if order.command else 0)
        | (wire.COLLECT if order.collect else 0)
    )
    record = wire.FORK.pack(
        b"F",
        flags,
        len(entry),
        len(bundle),
        len(command),
        request_bytes,
        *order.rlimits,
        order.scratch_bytes,
        order.scratch_files,
        order.processes,
        order.cpu_s,
    )
    return record + entry + bundle + command
