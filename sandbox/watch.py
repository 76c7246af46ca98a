"""Watching one child: reads what it writes, up to the caps, kills it at its limits, says what was seen.

Runs in: worker, tools.

One poll() waits for three pipes, the line to the zygote and the nearest deadline. The child is dead when the
zygote says so; then the pipes are read to their end.
"""

from __future__ import annotations

import os
import select
import struct
import time
from dataclasses import dataclass

from sandbox import child as inside
from sandbox.line import ANSWER_S, Child, End, Line
from sandbox.model import Limits, SandboxError

CHUNK = 1 << 16
CPU_LOOK_S = 0.02
"""The CPU clock is looked at when the limit can have been reached, and not more often than this."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the trusted side saw of a child, or of one request to a resident."""

    killed: str  # "", or why: the keys in sandbox.outcome.classify
    truncated: bool
    exit_code: int | None
    signal: int | None
    wall_s: float
    cpu_s: float
    peak_bytes: int
    scratch_full: bool
    stdout: bytes
    stderr: bytes
    raw: bytes  # what came through the report pipe


class Watch:
    """One child under observation; of a resident one request, `frame`, to be written to its pipe."""

    def __init__(
        self, line: Line, child: Child, limits: Limits, frame: bytes = b"", fresh: bool = True
    ) -> None:
        self.line = line
        self.child = child
        self.resident = child.requests >= 0
        self.started = child.started if fresh else time.monotonic()
        self.wall_at = self.started + limits.wall_s
        self.cpu_s = limits.cpu_s
        self.cpu_before_s = 0.0 if fresh else child.cpu_s()
        self.output_left = limits.output_kib * 1024
        # READY and the length; a resident's frame has a larger head
        self.report_left = limits.report_kib * 1024 + (2 + inside.REPORT_HEAD.size if self.resident else 5)
        self.killed = ""
        self.truncated = False
        self.open = {fd: index for index, fd in enumerate(child.reads)}
        self.data = [bytearray(), bytearray(), bytearray()]  # stdout, stderr, report
        self.end: End | None = None
        self.frame = memoryview(frame)
        self.fresh = fresh
        self.answered = False
        self.retired = False
        self.grown_kib = 0
        self.peak_kib = 0

    def kill(self, why: str) -> None:
        """Once; the first reason is the one that counts."""
        if not self.killed:
            self.killed = why
            self.child.kill()

    def until_dead(self) -> Seen:
        """Until it is dead and all is read; or, a resident, until its report is complete.

        Raises:
            SandboxError: the zygote is gone, or does not say that the child is dead.
        """
        poll = select.poll()
        for fd in self.open:
            poll.register(fd, select.POLLIN)
        control = self.line.fileno()
        poll.register(control, select.POLLIN)
        if self.resident:
            poll.register(self.child.pidfd, select.POLLIN)
        if self.frame and not self.ask():
            poll.register(self.child.requests, select.POLLOUT)
        look_at = self.started + self.cpu_s
        gone_at = 0.0
        while self.end is None or self.open:
            now = time.monotonic()
            if self.end is not None:
                timeout_s = 0.0
            elif self.killed:
                gone_at = gone_at or now + ANSWER_S
                timeout_s = gone_at - now
                if timeout_s <= 0:
                    raise SandboxError("a child that was killed is not dead")
            else:
                if now >= self.wall_at:
                    self.kill("wall")
                    continue
                if now >= look_at:
                    left = self.cpu_s - (self.child.cpu_s() - self.cpu_before_s)
                    if left <= 0:
                        self.kill("cpu")
                        continue
                    look_at = now + max(left, CPU_LOOK_S)
                timeout_s = min(self.wall_at, look_at) - now
                if self.answered:
                    timeout_s = 0.0  # what it printed before the report is in the pipes
            events = poll.poll(timeout_s * 1000 + (1 if timeout_s else 0))
            if not events:
                if self.answered and not self.killed and self.end is None:
                    return self.seen_alive()
                if self.end is not None:
                    raise SandboxError("a dead child's pipe is still open")
            for fd, _events in events:
                if fd == control:
                    self.end = self.line.end(ANSWER_S)
                    poll.unregister(control)
                elif fd == self.child.pidfd:
                    poll.unregister(fd)
                    self.line.reap(self.child)
                elif fd == self.child.requests:
                    if self.ask():
                        poll.unregister(fd)
                elif not self.read(fd):
                    poll.unregister(fd)
                    del self.open[fd]
        return self.seen(self.end)

    def seen(self, end: End) -> Seen:
        """Of the dead."""
        if self.resident and not self.answered and (not self.fresh or self.data[2][:1] == inside.READY):
            self.data[2] = bytearray(inside.READY)  # locked down, nothing reported
        signalled = os.WIFSIGNALED(end.status)
        stdout, stderr, raw = map(bytes, self.data)
        return Seen(
            killed=self.killed or end.killed,
            truncated=self.truncated,
            exit_code=None if signalled else os.WEXITSTATUS(end.status),
            signal=os.WTERMSIG(end.status) if signalled else None,
            wall_s=time.monotonic() - self.started if self.resident else end.wall_s,
            cpu_s=max(0.0, end.cpu_s - self.cpu_before_s),
            peak_bytes=end.peak_kib * 1024,
            scratch_full=end.scratch_full,
            stdout=stdout,
            stderr=stderr,
            raw=raw,
        )

    def seen_alive(self) -> Seen:
        """Of a resident that has answered."""
        stdout, stderr, raw = map(bytes, self.data)
        wall_s = time.monotonic() - self.started
        cpu_s = self.child.cpu_s() - self.cpu_before_s
        return Seen("", False, 0, None, wall_s, cpu_s, self.peak_kib * 1024, False, stdout, stderr, raw)

    def ask(self) -> bool:
        """Write what the resident's pipe takes of its request; True when nothing is left to write."""
        try:
            while self.frame:
                self.frame = self.frame[os.write(self.child.requests, self.frame) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self.frame = memoryview(b"")  # its death is about to be seen
        return True

    def read(self, fd: int) -> bool:
        """Take what is there; False at the end."""
        data = os.read(fd, CHUNK)
        if not data:
            return False
        index = self.open[fd]
        if index == 2:
            self.report_left -= len(data)
            if self.report_left < 0:
                self.kill("report")
            else:
                self.data[2] += data
                if self.resident:
                    self.look()
        else:
            keep = data[: max(0, self.output_left)]
            self.output_left -= len(data)
            self.data[index] += keep
            if self.output_left < 0:
                self.truncated = True
                self.kill("output")
        return True

    def look(self) -> None:
        """Of a resident: whether its report is complete. More than one report is none."""
        data = self.data[2]
        if self.answered:
            self.answered = False
            self.kill("frame")
            return
        if self.fresh:
            if data[:1] != inside.READY:
                return  # it says what failed, and dies
            start = 1
        else:
            start = 0
        if data[start : start + 1] == inside.RETIRE:
            self.retired = True
            start += 1
        head = data[start + 1 : start + 1 + inside.REPORT_HEAD.size]
        if data[start : start + 1] not in (inside.REPORT, b""):
            self.kill("frame")
        elif len(head) == inside.REPORT_HEAD.size:
            size, grown_kib, peak_kib = inside.REPORT_HEAD.unpack(head)
            end = start + 1 + len(head) + size
            if len(data) > end:
                self.kill("frame")
            elif len(data) == end:
                self.answered = True
                self.grown_kib, self.peak_kib = grown_kib, peak_kib
                # In the form that an ordinary child reports in.
                self.data[2] = bytearray(inside.READY + struct.pack("!I", size)) + data[end - size :]


def split_report(raw: bytes) -> tuple[str | None, bytes | None]:
    """(set-up failure or None, complete report or None) of what came through the report pipe."""
    if raw[:1] == inside.FAILED:
        return raw[1:].decode("utf-8", "replace"), None
    if raw[:1] != inside.READY:
        return "the child died before it was locked down", None
    if len(raw) >= 5:
        (size,) = struct.unpack_from("!I", raw, 1)
        if len(raw) == 5 + size:
            return None, raw[5:]
    return None, None
