"""systemd's sd_notify: READY, STATUS, RELOADING, STOPPING, WATCHDOG, as datagrams to $NOTIFY_SOCKET.

Runs in: supervisor. Without systemd (no NOTIFY_SOCKET) everything here does nothing.
Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notifier:
    """`address` is the socket's ("" = nobody listens); `watchdog_s` how often to speak, None = not asked."""

    address: str = ""
    watchdog_s: float | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> Notifier:
        """As the environment says. WATCHDOG_PID, where it is set, must be ours."""
        watchdog_s = None
        usec = environ.get("WATCHDOG_USEC", "")
        if usec.isdigit() and int(usec) > 0 and environ.get("WATCHDOG_PID", str(pid)) == str(pid):
            watchdog_s = int(usec) / 1e6 / 2  # half of it, as the manual advises
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)

    def reloading(self) -> None:
        """A reload begins; READY ends it. The time tells systemd which of two reloads it is."""
        self.tell(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))

    def tell(self, **fields: str) -> None:
        """Send e.g. tell(READY="1", STATUS="polling 3 queues"). A manager that is gone is not our trouble."""
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.sendto(text.encode(), socket.MSG_DONTWAIT, address)


def from_environment() -> Notifier:
    """The notifier of this process."""
    return Notifier.of(os.environ, os.getpid())
