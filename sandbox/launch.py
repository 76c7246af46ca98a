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

Any failure is one frame {"error": step and reason}; nothing has run then.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from sandbox import kernel, landlock, mounts, namespaces, wire
from sandbox.child import BUNDLE, SCRATCH
from sandbox.zygote import CONTROL_FD, LANDLOCK_FD, PIDNS_FD

# What the zygote may do inside its own user namespace; children give up all of it.
CAP_SETPCAP = 8
CAP_SYS_ADMIN = 21
AMBIENT = (CAP_SETPCAP, CAP_SYS_ADMIN)

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
}


def launch(config: dict[str, Any]) -> None:
    """Build the jail, clone the zygote, and send its pid, as the worker sees it, and the layers in force."""
    shown = [mounts.Show(*item) for item in config["shown"]] + mounts.system_paths()
    proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    staging = (
        "/sys"  # any folder that exists and of which nothing is shown: only our own namespace sees the mount
    )
    if namespaces.privileged():
        kernel.unshare(kernel.CLONE_NEWNS)
        # Taken before the old root goes: a path through our own descriptor of the host's /proc.
        mounts.build_root(staging, shown)
        os.fchdir(proc_fd)
        namespaces.enter_as_root(namespaces.Ids(config["uid"], config["gid"]), ".")
        os.chdir("/")
    else:
        namespaces.enter_as_user()
        mounts.build_root(staging, shown)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount(b"tmpfs", BUNDLE.encode(), b"tmpfs", flags, b"size=256m,nr_inodes=65536,mode=0755")
    socket.sethostname("jail")
    parent = str(Path(SCRATCH).parent)
    landlock_fd, abi = landlock.ruleset("/", parent, mounts.DEVICES)

    go_read, go_write = os.pipe()
    pid = kernel.clone_as_sibling()
    if pid == 0:
        try:
            os.close(go_write)
            os.read(go_read, 1)  # until the launcher has sent its frame: one speaks at a time
            _become_zygote(config, proc_fd, landlock_fd)
        except BaseException as error:  # the frame is all that is left to say
            wire.send(CONTROL_FD, {"error": f"starting {config['interpreter']}: {error}"})
        finally:
            os._exit(1)
    layers = [*namespaces.LAYERS, "private-root", "rlimits", "no-new-privs", "seccomp"]
    if abi:
        layers.append(f"landlock-{abi}")
    wire.send(CONTROL_FD, {"pid": pid, "layers": layers})
    os.close(go_write)


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
    os.set_inheritable(CONTROL_FD, True)
    kernel.close_range(last + 1, 0xFFFFFFFF)
    mask = 0
    for cap in AMBIENT:
        mask |= 1 << cap
    kernel.capset(mask, mask, mask)
    for cap in AMBIENT:
        kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_RAISE, cap)
    interpreter = config["interpreter"]
    os.execve(interpreter, [interpreter, "-s", "-B", "-c", BOOT], ENVIRONMENT)  # noqa: S606


def main() -> None:
    """Entry point of the launcher process."""
    os.setsid()  # Ctrl-C at a terminal is for the worker; how a jail ends is his business
    frame = wire.receive(CONTROL_FD)
    if frame is None:
        return
    config = frame[0]
    try:
        launch(config)
    except OSError as error:
        wire.send(CONTROL_FD, {"error": str(error), "errno": error.errno})
        sys.exit(1)


if __name__ == "__main__":
    main()
