"""The lock-down: what a freshly forked child does to itself before anybody else's code runs in it.

Runs in: child (standard library only, CPython >= 3.8).

Theory of operation.  The zygote is process 1 of the jail's pid namespace and holds capabilities in the jail's
user namespace only.  Before each fork it asks for a new pid namespace, so the child is process 1 of its own:
when it dies, however it dies, the kernel kills all that it started.  An ordinary child finds its scratch and
its bundle in place, in the jail's mount namespace; only a resident mounts for itself.  The request is read
first, from a sealed file.  Then the child shuts the doors, in this order; the order is the point:

    report                the way to the worker takes the place of the zygote's own line to it
    group                 a process group of its own
    namespaces            residents: a mount namespace of their own; needs CAP_SYS_ADMIN
    scratch, bundle       residents mount theirs, which needs CAP_SYS_ADMIN, too; all go to the scratch
    rlimits               before capabilities go: lowering needs none, but nothing may run unlimited
    stdio                 the only descriptors that lead out: stdout, stderr, report
    capabilities          all sets empty: mount, setns and friends are gone; not dumpable
    no_new_privs          needed by the next two; no setuid program helps any more
    landlock              files: read what the root shows, write in the scratch; no TCP, no outside signals
    descriptors           all closed but 0, 1, 2 and the report (of a resident also where its requests come)
    seccomp               last, as it forbids the calls used above. Most of the filter the zygote wears
                          already; what is added takes those calls away that the two of them needed

In a reduced jail there are no namespaces and no mounts.  "namespaces" is then: die with the zygote, wear the
jail's mark.  Landlock alone says which of the host's files can be seen, and the filter comes as a whole; the
child stays dumpable (sandbox/reduced.py).

Only then it writes READY to the report pipe.  What precedes READY in that pipe was written by this module;
so the worker can tell "the sandbox failed at step X" from anything that the code inside may say.

A child that runs a program (`execute`) starts it as a child of its own after that, and waits; or, in a
reduced jail, becomes it.

A resident child (staff code only) goes on after its first report: it reads its requests from a pipe of its
own, which the worker fills, and reports again.

    request = total:u32  name:u16  "module:function"  request
    report  = "-"?  "+"  size:u32  growth:u32  peak:u32  report      (both sizes of memory in KiB)

The "-" is `retire()`: the process asks to serve nobody after this request. It is written at once, before
whatever made the process unfit may run, so it cannot be taken back.
"""

from __future__ import annotations

import _thread
import gc
import json
import os
import resource
import select
import signal
import struct
import sys
import time

from sandbox import kernel, reduced, wire

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Callable


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
CPU_LOOK_S = 0.02
INHERITED_SIGNALS = (int(signal.SIGPIPE), int(signal.SIGXFSZ))
"""Python ignores them, and what it executes would, too."""
EXIT_SETUP = 70
# What the entry point died of, in its own words. Code in here may claim these; whatever it claims, the blame
# is the same, so lying gains nothing. Where a control group counts, the trusted side knows by itself.
EXIT_MEMORY = 71
EXIT_PROCESSES = 72

# Process 1 of a namespace ignores SIGXCPU, so a soft limit would be of no use: the hard one kills.
RLIMITS = (
    resource.RLIMIT_CPU,
    resource.RLIMIT_AS,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NPROC,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_STACK,
)
# Limits that do not depend on the task: nothing of this is of use to a submission, nor to the zygote, which
# takes them upon itself once.
FIXED_LIMITS = (
    (resource.RLIMIT_CORE, 1),  # 0 would still let a program of the host's be started with a core
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_SIGPENDING, 64),
    (resource.RLIMIT_NICE, 0),
    (resource.RLIMIT_RTPRIO, 0),
)
SCRATCH_BYTES = SCRATCH.encode()
BUNDLE_BYTES = BUNDLE.encode()
READ_ONLY = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV


class Place:
    """Where the jail's folders are. Fixed in a private root; in a reduced jail a folder of the host's."""

    def __init__(self) -> None:
        self.scratch = SCRATCH
        self.bundles = BUNDLE
        self.bundle = BUNDLE  # of the task at hand

    def move(self, home: str) -> None:
        self.scratch = home + "/scratch"
        self.bundles = home + "/course"
        self.bundle = self.bundles


place = Place()


class Setup:
    """What the lock-down needs, as the zygote prepared it: descriptors, integers, bytes.

    `limits` are integers in the order of RLIMITS, -1 for none. `pipes` are stdout, stderr, the report, and
    where the request comes from: a sealed file, or the read end of a pipe for a resident. `ground` is that of
    a reduced jail, or None. `step` is the one that is being taken: the name that a failure is reported
    under.
    """

    __slots__ = (
        "bundle",
        "ground",
        "landlock_fd",
        "limits",
        "null_fd",
        "pipes",
        "request_bytes",
        "resident",
        "scratch_fd",
        "seccomp",
        "step",
    )
    scratch_fd: int
    bundle: str
    limits: tuple[int, ...]
    pipes: list[int]
    request_bytes: int
    resident: bool
    null_fd: int
    landlock_fd: int
    seccomp: kernel.SeccompFilter
    ground: reduced.Ground | None
    step: str


def lock_down(setup: Setup, stdin_fd: int) -> None:
    """Shut every door. Raises OSError (with the failing call in its message) if one does not shut."""
    pipes = setup.pipes
    setup.step = "report"
    # The report pipe takes the place of the zygote's line to the worker, which is of no business to us.
    os.dup2(pipes[2], REPORT_FD, False)
    kept = REPORT_FD
    if setup.resident:
        kept = REQUEST_FD
        os.dup2(pipes[3], REQUEST_FD, False)

    setup.step = "group"
    # process group: none that is shared with anybody. (The session is the launcher's own, without a terminal;
    # a new one for each child would be a new group for the scheduler, which takes its time.)
    os.setpgid(0, 0)

    setup.step = "namespaces"
    if setup.ground is not None:
        setup.ground.enter()
        place.bundle = setup.bundle
    elif setup.resident:
        # namespaces: mounts of its own (the pid namespace came with the fork). Other children find theirs
        # in place, in the jail's mount namespace. Net, IPC and UTS are the jail's: they are empty, and the
        # filter refuses every call that could leave something in them for the next child.
        kernel.unshare(kernel.CLONE_NEWNS)

        setup.step = "scratch"
        # scratch: the tmpfs that the zygote made for this child. bundle: this task's folder is mounted over
        # the folder of all bundles, which is out of reach from then on: cheaper than unmounting that.
        kernel.attach_mount(setup.scratch_fd, SCRATCH_BYTES)
        kernel.mount(setup.bundle.encode(), BUNDLE_BYTES, None, kernel.MS_BIND)
        kernel.mount(None, BUNDLE_BYTES, None, READ_ONLY)
    setup.step = "scratch"
    os.chdir(place.scratch)

    setup.step = "rlimits"
    # rlimits: soft = hard, so that nothing can be raised again
    setrlimit = resource.setrlimit
    for which, value in zip(RLIMITS, setup.limits):
        setrlimit(which, (value, value))

    setup.step = "stdio"
    # stdio: nothing to read (or a sealed file), two pipes to write
    os.dup2(stdin_fd, 0)
    os.dup2(pipes[0], 1)
    os.dup2(pipes[1], 2)

    setup.step = "capabilities"
    # capabilities: effective, permitted, inheritable (and with them ambient); the bounding set is empty since
    # the zygote's start. Not dumpable: nothing may attach, no core.
    kernel.drop_capabilities()
    if setup.ground is None:
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    setup.step = "no_new_privs"
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    setup.step = "landlock"
    if setup.ground is not None:
        setup.ground.restrict(setup.bundle)
    elif setup.landlock_fd >= 0:
        kernel.landlock_restrict_self(setup.landlock_fd)
    setup.step = "descriptors"
    kernel.close_range(kept + 1, 0xFFFFFFFF)
    setup.step = "seccomp"
    setup.seccomp.install()


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


def run(entry: Callable[[bytes], bytes], setup: Setup) -> None:
    """Lock down, call `entry(request)`, write the report; a resident goes on with the next. Never returns."""
    code = 1
    try:
        residence.resident = setup.resident
        request = b"" if setup.resident else wire.content(setup.pipes[3], setup.request_bytes)
        _shut(setup, setup.null_fd)
        gc.enable()
        os.write(REPORT_FD, READY)
        if setup.resident:
            _reside()
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


def execute(line: str, environment: dict[str, str], cpu_s: float, setup: Setup) -> None:
    """Lock down, have the program do its work, report how it ended. Never returns.

    With a pid namespace this process is its process 1, and the program a child of it: process 1 ignores
    signals, so abort() and raise() would not end a program there. It alone holds the report pipe; the kernel
    lets nobody in there signal or trace it. When the program ends, so does this process, and with it all that
    the program may have started. Without a namespace, it becomes the program.
    """
    code = EXIT_SETUP
    try:
        _shut(setup, setup.pipes[3])
        command = [
            word.replace("{bundle}", place.bundle).replace("{scratch}", place.scratch)
            for word in json.loads(line)
        ]
        os.write(REPORT_FD, READY)
        try:
            if setup.ground is not None:
                for number in INHERITED_SIGNALS:
                    signal.signal(number, signal.SIG_DFL)
                os.execve(command[0], command, environment)
            pid = os.posix_spawn(command[0], command, environment, setsigdef=INHERITED_SIGNALS)
        except OSError as error:
            _report_end(0, error.errno or 0, 0)
        else:
            killed = _watch_program(pid, cpu_s)
            _, status, _ = os.wait4(pid, 0)
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            _report_end(status, 0, usage.ru_maxrss, killed)
        code = 0
    finally:
        os._exit(code)


PROGRAM_END = struct.Struct("!iiIB")
"""How a program ended: wait status, errno of trying to execute it, peak in KiB, whether killed for CPU."""


def _report_end(status: int, number: int, peak_kib: int, killed: bool = False) -> None:
    _write(struct.pack("!I", PROGRAM_END.size) + PROGRAM_END.pack(status, number, peak_kib, killed))


def _watch_program(pid: int, cpu_s: float) -> bool:
    """Until it has ended, or has used so much CPU time that it was killed: then True."""
    pidfd = kernel.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    wait_s = cpu_s
    while not poll.poll(wait_s * 1000 + 1):
        try:
            wait_s = max(cpu_s - time.clock_gettime(kernel.cpu_clock(pid)), 0.0)
        except OSError:  # it ended just now
            continue
        if not wait_s:
            os.kill(pid, signal.SIGKILL)
            return True
        wait_s = max(wait_s, CPU_LOOK_S)
    return False


def _shut(setup: Setup, stdin_fd: int) -> None:
    """Lock down, or say what failed and die."""
    try:
        lock_down(setup, stdin_fd)
    except BaseException as error:
        number = getattr(error, "errno", None) or 0
        text = "%d %s: %s" % (number, setup.step, error)
        # Until the report pipe is in its place, the zygote's line to the worker is there.
        pipe = setup.pipes[2] if setup.step == "report" else REPORT_FD
        os.write(pipe, FAILED + text.encode("utf-8", "replace")[:500])
        os._exit(EXIT_SETUP)


def _reside() -> None:
    """Answer the requests that come; until the pipe is closed, which means no more."""
    residence.peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while True:
        head = _read(REQUEST_HEAD.size)
        if not head:
            return
        total, named = REQUEST_HEAD.unpack(head)
        body = _read(total)
        module, _, function = body[:named].decode().partition(":")
        report = getattr(sys.modules[module], function)(body[named:])
        # What was printed belongs to this request: it must be in the pipes before the report is.
        sys.stdout.flush()
        sys.stderr.flush()
        if _thread._count() or _has_children():
            retire()  # who knows what they will do, and they would count against a learner's processes
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _write(REPORT + REPORT_HEAD.pack(len(report), max(0, peak - residence.peak_kib), peak) + report)
        residence.served += 1


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
