"""The one trusted fork: a worker is born, pinned, named, and bound to die with the supervisor.

Runs in: supervisor (`spawn`), worker (`_become`). Nothing else in this package forks.

The child is the supervisor's copy with everything imported and frozen (`freeze`), so it is ready in
milliseconds and shares the pages. Before any work of its own it, in this order:

  1. asks to be killed when its parent dies (PR_SET_PDEATHSIG), and checks that the parent still lives;
  2. puts the signals back, so that the supervisor's handlers do not run in it;
  3. closes every descriptor but stdin/out/err and its channel: the lock, its siblings' channels, all;
  4. leaves the terminal's process group, so that Ctrl-C reaches the supervisor alone, which drains;
  5. names itself, and pins itself to its CPU.

It leaves by os._exit only: nothing of the supervisor's (buffers, atexit) may run twice.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import prctl

from supervisor import signals
from supervisor.events import pair
from supervisor.log import where

log = logging.getLogger(__name__)

EXIT_ORDERLY: Final = 0
EXIT_UNAVAILABLE: Final = 69  # EX_UNAVAILABLE: this machine cannot isolate; trying again is of no use
EXIT_CRASH: Final = 70  # EX_SOFTWARE: an exception nobody caught
EXIT_JOURNAL: Final = 74  # EX_IOERR: the journal is damaged; only a start of all workers mends it
EXIT_ORPHAN: Final = 75  # EX_TEMPFAIL: the supervisor is gone
EXIT_CONFIG: Final = 78  # EX_CONFIG: the configuration of this queue cannot work


@dataclass(frozen=True, slots=True)
class Seat:
    """What a worker is told of itself. `owner` signs its journal rows; no two workers ever share one.

    `spared`: what the last worker in this slot was grading when it died has no part in that.
    """

    slot: str
    queue: str
    index: int  # among all slots of this host
    cpu: int | None
    owner: str
    spared: bool = False


@dataclass(frozen=True, slots=True)
class Child:
    """A worker as the supervisor holds it: descriptors of its process and of its channel."""

    pid: int
    pidfd: int
    channel: socket.socket


Main = Callable[[Seat, socket.socket], int]
"""A worker's main: its seat and its end of the channel in, an exit code out."""


def freeze() -> None:
    """Once, before the first fork: keep the collector off the shared pages (gc.freeze, bpo-31558)."""
    gc.collect()
    gc.freeze()


def spawn(seat: Seat, main: Main) -> Child:
    """Fork a worker that runs `main`.

    Raises:
        OSError: the machine gives no process or no descriptor.
    """
    ours, theirs = pair()
    supervisor_pid = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    # Between the fork and the reset in the child no handler of ours may run there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(seat, main, theirs, supervisor_pid, before)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    try:
        return Child(pid, os.pidfd_open(pid), ours)
    except OSError:
        ours.close()
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        os.waitpid(pid, 0)
        raise


def _become(
    seat: Seat,
    main: Main,
    channel: socket.socket,
    supervisor_pid: int,
    mask: Collection[signal.Signals | int],
) -> None:
    code = EXIT_CRASH
    try:
        prctl.set_pdeathsig(signal.SIGKILL)
        if os.getppid() != supervisor_pid:
            os._exit(EXIT_ORPHAN)
        _reset_signals(mask)
        _close_all_but(channel.fileno())
        os.setsid()
        prctl.set_name(f"w:{seat.slot}"[:15])
        prctl.set_proctitle(f"warden worker {seat.slot}")
        if seat.cpu is not None:
            _pin(seat.cpu)
        code = main(seat, channel)
    except BaseException as error:  # the worker's edge: whatever it is, it must not run on as a supervisor
        log.critical("worker crashed: %s", where(error))
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _reset_signals(mask: Collection[signal.Signals | int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signals.hold_off()  # a `systemctl kill -s USR1` reaches workers, too
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _close_all_but(keep: int) -> None:
    # The supervisor's socket and selector objects still live in this copy, referenced by the frames below us;
    # they are never collected, so no reused number is closed behind our back.
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number != keep:
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                os.close(number)


def _pin(cpu: int) -> None:
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:  # the CPU went offline, or the service's cpuset changed: work anywhere
        log.warning("cannot pin to CPU %d: %s", cpu, error.strerror)


def reap(child: Child) -> int:
    """Close what is held of an ended child; its exit code, or minus the signal that killed it."""
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pidfd)
    child.channel.close()
    return os.waitstatus_to_exitcode(status)


def kill(child: Child, number: signal.Signals) -> None:
    """Signal exactly this child; one that has ended already is no trouble."""
    try:
        signal.pidfd_send_signal(child.pidfd, number)
    except ProcessLookupError:
        return
