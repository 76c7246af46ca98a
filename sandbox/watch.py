"""Watching one child: reads what it writes, up to the caps, kills it at its limits, says what it saw.

Runs in: zygote (standard library only, CPython >= 3.8).

One poll() waits for three pipes, the child's pidfd, the worker's socket and the nearest deadline.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import time

from sandbox import child, kernel, reduced

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any

CONTROL_FD = 3
"""The zygote's line to its worker; when it closes, all of the jail shall end."""
CHUNK = 1 << 16
# The trusted side looks at the CPU clock at the earliest when the limit can have been reached, and not more
# often than this.
CPU_LOOK_S = 0.02


class Watch:
    """One child under observation: reads what it writes, up to the caps, and kills it at its limits.

    Of a resident one request is watched: `cpu_s` is what it had used before, `frame` the request, to be
    written to `requests`. `look` is what a reduced jail must look at besides.
    """

    def __init__(
        self,
        pid: int,
        reads: list[int],
        limits: dict[str, Any],
        started: float,
        resident: bool = False,
        cpu_s: float = 0.0,
        requests: int = -1,
        frame: bytes = b"",
        look: reduced.Look | None = None,
    ) -> None:
        self.pid = pid
        self.started = started
        self.wall_at = started + limits["wall_s"]
        self.cpu_s = limits["cpu_s"]
        self.cpu_before_s = cpu_s
        self.output_left = limits["output_bytes"]
        # READY and the length; a resident's frame has a larger head
        self.report_left = limits["report_bytes"] + (2 + child.REPORT_HEAD.size if resident else 5)
        self.killed = ""
        self.truncated = False
        self.open = dict((fd, index) for index, fd in enumerate(reads))
        self.data = [bytearray(), bytearray(), bytearray()]  # stdout, stderr, report
        self.dead = False
        self.resident = resident
        self.requests = requests
        self.look_around = look
        self.frame = memoryview(frame)
        self.fresh = not frame
        self.answered = False
        self.retired = False
        self.grown_kib = 0
        self.peak_kib = 0

    def kill(self, why: str) -> None:
        if not self.killed:
            self.killed = why
            if self.look_around:
                reduced.kill_group(self.pid)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def until_dead(self) -> dict[str, object]:
        """Until it is dead and all is read; or, a resident, until its report is complete."""
        poll = select.poll()
        for fd in self.open:
            poll.register(fd, select.POLLIN)
        pidfd = kernel.pidfd_open(self.pid)
        poll.register(pidfd, select.POLLIN)
        poll.register(CONTROL_FD, select.POLLRDHUP if hasattr(select, "POLLRDHUP") else 0)
        if self.frame and not self.ask():
            poll.register(self.requests, select.POLLOUT)
        look_at = self.started + self.cpu_s
        status = usage = None
        try:
            while not (self.dead and not self.open):
                timeout = None
                if not self.dead and not self.killed:
                    now = time.monotonic()
                    if now >= self.wall_at:
                        self.kill("wall")
                    elif now >= look_at:
                        used = time.clock_gettime(kernel.cpu_clock(self.pid)) - self.cpu_before_s
                        left = self.cpu_s - used
                        if left <= 0:
                            self.kill("cpu")
                        look_at = now + max(left, CPU_LOOK_S)
                    timeout = max(0.0, min(self.wall_at, look_at) - now) * 1000 + 1
                    if self.look_around:
                        why = self.look_around.trouble()
                        if why:
                            self.kill(why)
                        timeout = min(timeout, reduced.LOOK_S * 1000)
                if self.answered and not self.killed:
                    timeout = 0  # what it printed before the report is in the pipes
                events = poll.poll(timeout)
                if self.answered and not events and not self.killed:
                    return self.facts_of_the_living()
                for fd, _events in events:
                    if fd == pidfd:
                        self.dead = True
                        poll.unregister(pidfd)
                        if self.look_around:  # not reaped yet, so its number is still its own
                            reduced.kill_group(self.pid)
                        _, status, usage = os.wait4(self.pid, 0)
                        if self.look_around:
                            reduced.sweep()  # what it started holds its pipes
                    elif fd == CONTROL_FD:  # the worker is gone: so are we, and the kernel takes the rest
                        os._exit(0)
                    elif fd == self.requests:
                        if self.ask():
                            poll.unregister(fd)
                    elif not self.read(fd):
                        poll.unregister(fd)
                        del self.open[fd]
        finally:
            os.close(pidfd)
        if self.resident and not self.answered and (not self.fresh or self.data[2][:1] == child.READY):
            self.data[2] = bytearray(child.READY)  # locked down, nothing reported
        assert status is not None and usage is not None  # noqa: S101
        signalled = os.WIFSIGNALED(status)
        return {
            "killed": self.killed,
            "truncated": self.truncated,
            "exit_code": None if signalled else os.WEXITSTATUS(status),
            "signal": os.WTERMSIG(status) if signalled else None,
            "wall_s": time.monotonic() - self.started,
            "cpu_s": usage.ru_utime + usage.ru_stime - self.cpu_before_s,
            "memory_bytes": usage.ru_maxrss * 1024,
        }

    def facts_of_the_living(self) -> dict[str, object]:
        return {
            "killed": "",
            "truncated": False,
            "exit_code": 0,
            "signal": None,
            "wall_s": time.monotonic() - self.started,
            "cpu_s": time.clock_gettime(kernel.cpu_clock(self.pid)) - self.cpu_before_s,
            "memory_bytes": self.peak_kib * 1024,
        }

    def ask(self) -> bool:
        """Write some more of the request. True when nothing is left to write."""
        try:
            self.frame = self.frame[os.write(self.requests, self.frame) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it closed its end, or it is dead, which the pidfd tells
            self.frame = self.frame[:0]
        return not self.frame

    def read(self, fd: int) -> bool:
        """Read once. False at the end of the pipe."""
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
            if data[:1] != child.READY:
                return  # it says what failed, and dies
            start = 1
        else:
            start = 0
        if data[start : start + 1] == child.RETIRE:
            self.retired = True
            start += 1
        head = data[start + 1 : start + 1 + child.REPORT_HEAD.size]
        if data[start : start + 1] not in (child.REPORT, b""):
            self.kill("frame")
        elif len(head) == child.REPORT_HEAD.size:
            size, grown_kib, peak_kib = child.REPORT_HEAD.unpack(head)
            end = start + 1 + len(head) + size
            if len(data) > end:
                self.kill("frame")
            elif len(data) == end:
                self.answered = True
                self.grown_kib, self.peak_kib = grown_kib, peak_kib
                # In the form that an ordinary child reports in.
                self.data[2] = bytearray(child.READY + struct.pack("!I", size)) + data[end - size :]


def split_report(raw: bytes) -> tuple[str | None, bytes | None]:
    """(set-up failure or None, complete report or None) of what came through the report pipe."""
    if raw[:1] == child.FAILED:
        return raw[1:].decode("utf-8", "replace"), None
    if raw[:1] != child.READY:
        return "the child died before it was locked down", None
    if len(raw) >= 5:
        (size,) = struct.unpack_from("!I", raw, 1)
        if len(raw) == 5 + size:
            return None, raw[5:]
    return None, None
