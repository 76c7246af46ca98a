"""The launcher: builds a jail around itself and turns into its zygote.

Runs in: launcher (`python -I -m sandbox.launch`, exec'd by a worker; descriptor 3 is its socket).

Theory of operation.  The worker holds secrets, so it never forks a jail from its own memory; it executes this
module in a new process. The launcher reads one frame (what to show, which interpreter), then, as root:

    new mount namespace -> private root -> user namespace (mapped to the slot's uid) -> the other namespaces

and as an ordinary user:

    user namespace and all others at once -> private root

It prepares what needs our own packages or the host's files (Landlock ruleset, descriptors), and clones the
zygote as its own *sibling* (CLONE_PARENT): the worker becomes the zygote's parent, can wait for it, and the
parent-death signal means the worker's death. The clone is process 1 of the new pid namespace; it raises the
capabilities that the zygote needs to ambient ones and executes the profile's interpreter. The launcher sends
the zygote's pid and the layers in force, and exits.

After the private root is entered, this process can import nothing more: all imports stand at the top.

In a reduced jail (no user namespace to be had) there is none of that: see `launch_reduced`. The launcher then
stays, as the zygote's parent and the subreaper of all that may be left when the zygote is gone.

Any failure is one frame {"error": step and reason}; nothing has run then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from sandbox import kernel, landlock, mounts, namespaces, reduced, wire
from sandbox.child import BUNDLE, SCRATCH
from sandbox.zygote import CONTROL_FD, LANDLOCK_FD, PIDNS_FD

# What the zygote may do inside its own user namespace; children give up all of it.
CAP_SETPCAP = 8
CAP_SYS_ADMIN = 21
AMBIENT = (CAP_SETPCAP, CAP_SYS_ADMIN)

SELF_MADE = ("rlimits", "no-new-privs", "seccomp")
"""Layers that each child puts on itself; if one fails, the child never runs."""

BOOT = f"import sys; sys.path[0] = {mounts.LIBRARY!r}; from sandbox.zygote import main; main()"

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": SCRATCH,
    "TMPDIR": SCRATCH,
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "USER": "learner",
    # Sets must iterate in the same order for the reference and for the attempt, whichever jail ran them.
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    # A thread's malloc arena reserves 64 MiB of address space, which the memory limit counts.
    "MALLOC_ARENA_MAX": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # There is no display; without this, each child would look for one.
    "MPLBACKEND": "Agg",
}


def launch(config: dict[str, Any]) -> None:
    """Build the jail, clone the zygote, and send its pid, as the worker sees it, and the layers in force."""
    shown = mounts.without_parts([mounts.Show(*item) for item in config["shown"]] + mounts.system_paths())
    devices = mounts.devices(config["programs"])
    proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    staging = (
        "/sys"  # any folder that exists and of which nothing is shown: only our own namespace sees the mount
    )
    if namespaces.privileged():
        kernel.unshare(kernel.CLONE_NEWNS)
        # Taken before the old root goes: a path through our own descriptor of the host's /proc.
        mounts.build_root(staging, shown, devices)
        os.fchdir(proc_fd)
        namespaces.enter_as_root(namespaces.Ids(config["uid"], config["gid"]), ".")
        os.chdir("/")
    else:
        namespaces.enter_as_user()
        mounts.build_root(staging, shown, devices)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | (0 if config["programs"] else kernel.MS_NOEXEC)
    kernel.mount(b"tmpfs", BUNDLE.encode(), b"tmpfs", flags, b"size=256m,nr_inodes=65536,mode=0755")
    socket.sethostname("jail")
    parent = str(Path(SCRATCH).parent)
    landlock_fd, abi = landlock.ruleset("/", parent, devices, config["programs"])

    go_read, go_write = os.pipe()
    pid = kernel.clone_as_sibling()
    if pid == 0:
        _in_zygote(go_read, go_write, lambda: _become_zygote(config, proc_fd, landlock_fd), config)
    layers = [*namespaces.LAYERS, "private-root", *SELF_MADE]
    if abi:
        layers.append(f"landlock-{abi}")
    wire.send(CONTROL_FD, {"pid": pid, "layers": layers, "ground": None, "abi": abi})
    os.write(go_write, b"g")


def launch_reduced(config: dict[str, Any]) -> None:
    """Without namespaces: a folder on the host, Landlock, a subreaper. Stays until the zygote is dead.

    Nothing but the rules of Landlock hides the host's files from the children, so it must be there.
    """
    abi = kernel.landlock_abi()
    if not abi:
        raise OSError(errno.EOPNOTSUPP, "no Landlock in this kernel (needed without namespaces)")
    alone = os.geteuid() == 0
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        raise OSError(errno.EOPNOTSUPP, "no /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN)")
    home = reduced.name_home(config["folder"], os.getppid())
    Path(home).mkdir(mode=0o700)
    try:
        library = Path(home) / mounts.LIBRARY[1:]
        folders, files = [str(library)], []
        for show in [mounts.Show(*item) for item in config["shown"]] + mounts.system_paths():
            if show.target.startswith(mounts.LIBRARY + "/"):
                mounts.copy(Path(show.source), Path(home + show.target))
            elif Path(show.source).is_dir():
                folders.append(show.source)
            else:
                files.append(show.source)
        if alone:  # root: from here on as the slot's own user
            _give(Path(home), config["uid"], config["gid"])
            os.setgroups([])
            os.setresgid(config["gid"], config["gid"], config["gid"])
            os.setresuid(config["uid"], config["uid"], 0)
            if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
                os.setresuid(0, 0, 0)  # to remove it
                raise OSError(errno.EACCES, f"uid {config['uid']} cannot get at its folder: {home}")
            os.setresuid(config["uid"], config["uid"], config["uid"])
        config["boot"] = BOOT.replace(mounts.LIBRARY, str(library))
        ground = {
            "home": home,
            "alone": alone,
            "programs": config["programs"],
            "landlock": landlock.rules(
                abi, folders, files, mounts.devices(config["programs"]), config["programs"]
            ),
        }
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        # The worker's death is ours; a signal that can be waited for, as there is something to clear away.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)
        go_read, go_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD})
            _in_zygote(go_read, go_write, lambda: _execute(config, CONTROL_FD, home), config)
        layers = [*SELF_MADE, f"landlock-{abi}", "subreaper"]
        if alone:
            layers.append("uid")
        wire.send(CONTROL_FD, {"pid": pid, "layers": layers, "ground": ground, "abi": abi})
        os.write(go_write, b"g")
        os.close(CONTROL_FD)
        _keep(pid)
    finally:
        with contextlib.suppress(OSError):  # the worker finds it, and what may still be at work in it
            reduced.remove(home)


def _keep(zygote: int) -> None:
    """Until the zygote or the worker is dead; then nothing of the jail is left."""
    while True:
        signal.sigtimedwait({signal.SIGTERM, signal.SIGCHLD}, 3600)
        if kernel.parent_is_gone() or os.waitid(os.P_PID, zygote, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
    reduced.sweep()


def _give(path: Path, uid: int, gid: int) -> None:
    os.chown(path, uid, gid)
    for folder, names, files in os.walk(path):
        for name in names + files:
            os.chown(Path(folder) / name, uid, gid, follow_symlinks=False)


def _in_zygote(go_read: int, go_write: int, become: Callable[[], None], config: dict[str, Any]) -> NoReturn:
    """In the process that will be the zygote: never returns."""
    try:
        # From here on, not from its own first line: stopped before that, nothing else would end it.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(go_write)
        # Until the launcher has sent its frame: one speaks at a time. If it could not, nobody knows of us.
        if os.read(go_read, 1):
            become()
    except BaseException as error:  # the frame is all that is left to say
        wire.send(CONTROL_FD, {"error": f"starting {config['interpreter']}: {_where(error)}: {error}"})
    finally:
        os._exit(1)


def _become_zygote(config: dict[str, Any], proc_fd: int, landlock_fd: int) -> None:
    """In the clone: put the descriptors in their places, keep two capabilities, exec."""
    pidns = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fd)
    # Out of the way first: any of them may sit on another's place.
    pidns = os.dup(pidns)
    if landlock_fd >= 0:
        os.dup2(os.dup(landlock_fd), 100)
    os.dup2(pidns, 101)
    os.dup2(101, PIDNS_FD, inheritable=True)
    last = PIDNS_FD
    if landlock_fd >= 0:
        os.dup2(100, LANDLOCK_FD, inheritable=True)
        last = LANDLOCK_FD
    mask = 0
    for cap in AMBIENT:
        mask |= 1 << cap
    kernel.capset(mask, mask, mask)
    for cap in AMBIENT:
        kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_RAISE, cap)
    _execute(config, last, "")


def _execute(config: dict[str, Any], last_fd: int, home: str) -> None:
    """Become the interpreter, with the descriptors up to `last_fd` and no others."""
    os.set_inheritable(CONTROL_FD, True)
    kernel.close_range(last_fd + 1, 0xFFFFFFFF)
    interpreter = config["interpreter"]
    environment = dict(ENVIRONMENT)
    if home:
        environment.update(HOME=home + "/scratch", TMPDIR=home + "/scratch")
    boot = config.get("boot", BOOT)
    os.execve(interpreter, [interpreter, "-s", "-B", "-c", boot], environment)  # noqa: S606


def main() -> None:
    """Entry point of the launcher process."""
    try:
        os.setsid()  # Ctrl-C at a terminal is for the worker; how a jail ends is his business
        frame = wire.receive(CONTROL_FD)
        if frame is None:
            return
        config = frame
        if config["reduced"]:
            launch_reduced(config)
        else:
            launch(config)
    except OSError as error:
        with contextlib.suppress(OSError):  # a keeper has no line any more; the worker clears up after it
            wire.send(CONTROL_FD, {"error": f"{_where(error)}: {error}", "errno": error.errno})
        sys.exit(1)


def _where(error: BaseException) -> str:
    """The step that failed: the kernel's own words do not say. The function of ours, and the line."""
    found = "launcher"
    trace = error.__traceback__
    while trace:
        module = str(trace.tb_frame.f_globals.get("__name__"))
        if module.startswith("sandbox.") and module not in ("sandbox.kernel", "sandbox.wire"):
            name = f"{module.partition('.')[2]}.{trace.tb_frame.f_code.co_name}"
            found = f"{name} (line {trace.tb_lineno})"
        trace = trace.tb_next
    return found


if __name__ == "__main__":
    main()
