"""The lock-down: what a freshly forked child does to itself before anybody else's code runs in it.

Runs in: child (standard library only, CPython >= 3.8).

Theory of operation.  The zygote is process 1 of the jail's pid namespace and holds capabilities in the jail's
user namespace only.  Before each fork it asks for a new pid namespace, so the child is process 1 of its own:
when it dies, however it dies, the kernel kills all that it started.  The child shuts the doors from the
outermost to the innermost, each step needing a right that a later step gives up; the order is the point:

    session, namespaces   needs CAP_SYS_ADMIN in the jail's user namespace
    scratch, bundle       needs CAP_SYS_ADMIN; from here on the old files are out of sight
    rlimits               before capabilities go: lowering needs none, but nothing may run unlimited
    stdio                 the only descriptors that lead out: stdout, stderr, report
    capabilities          all sets empty: mount, setns and friends are gone
    no_new_privs          needed by the next two; no setuid program helps any more
    landlock              files: read what the root shows, write in the scratch; no TCP, no outside signals
    descriptors           all closed but 0, 1, 2 and the report
    seccomp               last, as it forbids the calls used above

Only then it writes READY to the report pipe.  What precedes READY in that pipe was written by this module;
so the zygote can tell "the sandbox failed at step X" from anything that the code inside may say.

A resident child (staff code only) goes on after its first report: it reads the next request from a pipe of
its own, which the zygote fills, and reports again.

    request = total:u32  name:u16  "module:function"  request
    report  = "-"?  "+"  size:u32  growth:u32  peak:u32  report      (both sizes of memory in KiB)

The "-" is `retire()`: the process asks to serve nobody after this request. It is written at once, before
whatever made the process unfit may run, so it cannot be taken back.
"""

from __future__ import annotations

import _thread
import gc
import os
import resource
import struct
import sys

from sandbox import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any, Callable


READY = b"."
FAILED = b"!"
SCRATCH = "/home/learner"
BUNDLE = "/course"
NO_BUNDLE = "none"
"""Name of the empty folder among the bundles."""
REPORT_FD = 3
REQUEST_FD = 4
"""Of residents only."""
RETIRE = b"-"
REPORT = b"+"
REPORT_HEAD = struct.Struct("!III")
REQUEST_HEAD = struct.Struct("!IH")
EXIT_SETUP = 70
# What the entry point died of, in its own words. Code in here may claim these; whatever it claims, the blame
# is the same, so lying gains nothing. Where a control group counts, the trusted side knows by itself.
EXIT_MEMORY = 71
EXIT_PROCESSES = 72

# Limits that do not depend on the task: nothing of this is of use to a submission.
FIXED_LIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_SIGPENDING, 64),
    (resource.RLIMIT_NICE, 0),
    (resource.RLIMIT_RTPRIO, 0),
)
SCRATCH_BYTES = SCRATCH.encode()
BUNDLE_BYTES = BUNDLE.encode()
READ_ONLY = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
STACK_BYTES = 8 * 1024 * 1024


def lock_down(
    scratch_fd: int,
    bundle: bytes,
    limits: dict[str, int],
    pipes: tuple[int, ...],
    null_fd: int,
    landlock_fd: int,
    seccomp: kernel.SeccompFilter,
) -> None:
    """Shut every door. Raises OSError (with the failing call in its message) if one does not shut.

    `limits` holds integers: cpu_s, memory_bytes (address space), file_bytes, processes, open_files.
    `pipes` are the write ends for stdout, stderr and the report; a resident has the read end for requests.
    """
    # The report pipe takes the place of the zygote's line to the worker, which is of no business to us.
    os.dup2(pipes[2], REPORT_FD, inheritable=False)

    kept = REPORT_FD
    if len(pipes) > 3:
        kept = REQUEST_FD
        os.dup2(pipes[3], REQUEST_FD, inheritable=False)

    # session: no terminal, no process group shared with anybody
    os.setsid()

    # namespaces: mounts of its own (the pid namespace came with the fork). Net, IPC and UTS are the jail's:
    # they are empty, and the filter refuses every call that could leave something in them for the next child.
    kernel.unshare(kernel.CLONE_NEWNS)

    # scratch: the tmpfs that the zygote made for this child. bundle: this task's folder is mounted over the
    # folder of all bundles, which is out of reach from then on. (Covering is cheaper than unmounting.)
    kernel.attach_mount(scratch_fd, SCRATCH_BYTES)
    kernel.mount(bundle, BUNDLE_BYTES, None, kernel.MS_BIND)
    kernel.mount(None, BUNDLE_BYTES, None, READ_ONLY)
    os.chdir(SCRATCH)

    # rlimits: soft = hard, so that nothing can be raised again
    for which, value in FIXED_LIMITS:
        resource.setrlimit(which, (value, value))
    # Process 1 of a namespace ignores SIGXCPU, so the soft limit is of no use: the hard one kills.
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"], limits["cpu_s"]))
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"], limits["memory_bytes"]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"], limits["file_bytes"]))
    resource.setrlimit(resource.RLIMIT_NPROC, (limits["processes"], limits["processes"]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits["open_files"], limits["open_files"]))
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, STACK_BYTES))

    # stdio: nothing to read, two pipes to write
    os.dup2(null_fd, 0)
    os.dup2(pipes[0], 1)
    os.dup2(pipes[1], 2)

    # capabilities: effective, permitted, inheritable (and with them ambient); the bounding set is empty since
    # the zygote's start. Not dumpable: nothing may attach, no core.
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if landlock_fd >= 0:
        kernel.landlock_restrict_self(landlock_fd)
    kernel.close_range(kept + 1, 0xFFFFFFFF)
    seccomp.install()


class Residence:
    """What a child knows of its own staying. `served` counts the requests answered before this one."""

    def __init__(self) -> None:
        self.resident = False
        self.served = 0
        self.retired = False
        self.peak_kib = 0  # when it was born


residence = Residence()


def retire() -> None:
    """Called by an entry: after this request another process shall serve. Nothing to an ordinary child."""
    if residence.resident and not residence.retired:
        residence.retired = True
        os.write(REPORT_FD, RETIRE)


def run(entry: Callable[[bytes], bytes], request: bytes, setup: tuple[Any, ...]) -> None:
    """Lock down, call `entry(request)`, write the report; a resident goes on with the next. Never returns."""
    code = 1
    try:
        try:
            residence.resident = len(setup[3]) > 3
            lock_down(*setup)
        except BaseException as error:
            number = getattr(error, "errno", None) or 0
            text = "%d %s" % (number, error)
            os.write(REPORT_FD, FAILED + text.encode("utf-8", "replace")[:500])
            os._exit(EXIT_SETUP)
        gc.enable()
        os.write(REPORT_FD, READY)
        if residence.resident:
            _reside(entry, request)
        else:
            report = entry(request)
            _write(struct.pack("!I", len(report)) + report)
        code = 0
    except BaseException as error:
        code = _exit_code(error)
        _explain(error)
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            pass
        os._exit(code)


def _reside(entry: Callable[[bytes], bytes], request: bytes) -> None:
    """Answer the first request and those that come; until the pipe is closed, which means no more."""
    residence.peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while True:
        report = entry(request)
        # What was printed belongs to this request: it must be in the pipes before the report is.
        sys.stdout.flush()
        sys.stderr.flush()
        if _thread._count() or _has_children():
            retire()  # who knows what they will do, and they would count against a learner's processes
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _write(REPORT + REPORT_HEAD.pack(len(report), max(0, peak - residence.peak_kib), peak) + report)
        residence.served += 1
        head = _read(REQUEST_HEAD.size)
        if not head:
            return
        total, named = REQUEST_HEAD.unpack(head)
        body = _read(total)
        module, _, function = body[:named].decode().partition(":")
        entry = getattr(sys.modules[module], function)
        request = body[named:]


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(REPORT_FD, view) :]


def _read(size: int) -> bytes:
    """So many bytes of a request; b"" if there will be no more."""
    data = os.read(REQUEST_FD, size)
    while 0 < len(data) < size:
        more = os.read(REQUEST_FD, size - len(data))
        if not more:
            return b""
        data += more
    return data


def _exit_code(error: BaseException) -> int:
    if isinstance(error, MemoryError):
        return EXIT_MEMORY
    if isinstance(error, BlockingIOError) or "can't start new thread" in str(error):
        return EXIT_PROCESSES
    return 1


def _explain(error: BaseException) -> None:
    """The entry point raised: say so on stderr, for operators. Harnesses catch what learners raise."""
    try:
        import traceback

        traceback.print_exception(type(error), error, error.__traceback__)
    except BaseException:
        pass
