"""What the probes of the host mean: limits, control groups, kernel, swap, core dumps, containers.

Runs in: tools. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from sandbox.machine import Host
from sandbox.model import Isolation
from sandbox.probe import Tried
from supervisor.doctor.findings import Finding, State
from supervisor.doctor.layers import Needs, mend_for, ok, reason

# --- limits and control groups ------------------------------------------------------------------------

FEW_PROCESSES: Final = 256
"""Fewer than this left to the user: workers, zygotes and children of a small host need about that."""


def limits(host: Host, tried: Mapping[str, Tried], needs: Needs) -> Iterator[Finding]:
    area = "limits"
    one = tried.get("rlimits")
    if one is not None:
        if one.ok:
            yield Finding(area, "rlimits", State.OK, "memory is refused above the limit")
        else:
            yield Finding(
                area,
                "rlimits",
                needs.state("rlimits"),
                f"not enforced: {reason(one)}",
                needs.consequence("rlimits", "a learner's program may take all memory"),
                "run on Linux itself (some emulations ignore limits)",
            )
    one = tried.get("process-limit")
    if one is not None and ok(tried, "user"):
        if one.ok and "own" in one.found:
            text = "RLIMIT_NPROC counts what is in the jail, and nothing else"
            yield Finding(area, "processes", State.OK, text)
        elif one.ok:
            yield Finding(
                area,
                "processes",
                State.WARNING,
                f"RLIMIT_NPROC counts all processes of this user, on the whole host (kernel {host.kernel})",
                "jails take processes away from each other, and honest programs may find none left",
                "Linux 5.14 or newer; or run as root, where each slot has a user of its own",
            )
        else:
            consequence = "a fork bomb is stopped by the control group or the time limit only"
            mend = mend_for(one, host, "a newer kernel")
            yield Finding(area, "processes", State.WARNING, f"not enforced: {reason(one)}", consequence, mend)
    one = tried.get("subreaper")
    if one is not None:
        if one.ok:
            yield Finding(area, "subreaper", State.OK, "what children leave behind comes to their zygote")
        else:
            yield Finding(
                area,
                "subreaper",
                needs.state("subreaper"),
                f"refused: {reason(one)}",
                needs.consequence(
                    "subreaper", "without a pid namespace, what learner code starts outlives it"
                ),
                mend_for(one, host, "Linux 3.4 or newer"),
            )
    if host.processes_limit is not None and host.uid != 0:
        left = host.processes_limit - host.processes
        text = f"this user may have {host.processes_limit} processes, and has {host.processes}"
        if left < FEW_PROCESSES:
            yield Finding(
                area,
                "user's processes",
                State.WARNING,
                text,
                "workers or children may fail to start, which is nobody's marks but everybody's time",
                "LimitNPROC= in the unit, or nproc in /etc/security/limits.conf",
            )
        else:
            yield Finding(area, "user's processes", State.OK, text)


GROUPS: Final = (
    ("memory", "the memory of a whole jail is not limited, only that of each of its processes"),
    ("pids", "processes are counted by RLIMIT_NPROC alone"),
)


def groups(host: Host, tried: Mapping[str, Tried], needs: Needs) -> Iterator[Finding]:
    one = tried.get("control-group")
    if one is None:
        return
    for controller, otherwise in GROUPS:
        layer = next((name for name in one.found if name.endswith(controller)), "")
        if layer:
            text = f"works (v{layer[6:7]}): a group was made, and its limit held"
            yield Finding("control groups", controller, State.OK, text)
            continue
        wanted = next((name for name in needs.required if name.endswith(f"-{controller}")), controller)
        if not host.hierarchy:
            why = "there is no hierarchy at /sys/fs/cgroup"
        elif not one.ok:
            why = f"{one.detail or reason(one)}, below {host.group or '/'} (v{host.hierarchy})"
        else:
            why = f"this controller is not handed down to {host.group or '/'} (v{host.hierarchy})"
        yield Finding(
            "control groups",
            controller,
            needs.state(wanted),
            why,
            needs.consequence(wanted, otherwise),
            group_mend(host),
        )


def group_mend(host: Host) -> str:
    """How to get a control group of one's own."""
    if host.hierarchy == "2":
        by_hand = "systemd-run --user --scope -p Delegate=yes warden run"
        return f"Delegate=yes in the service's unit; by hand: {by_hand}"
    if host.hierarchy == "1":
        own = "mkdir /sys/fs/cgroup/memory/warden /sys/fs/cgroup/pids/warden, chown both to its user"
        return f"run as root; or in folders of its own: {own}, start it with its pid in their cgroup.procs"
    return "mount it: mount -t cgroup2 none /sys/fs/cgroup; in a container, one with its own cgroup namespace"


# --- the rest -----------------------------------------------------------------------------------------


def rest(host: Host, tried: Mapping[str, Tried], wanted: Collection[Isolation]) -> Iterator[Finding]:
    area = "host"
    one = tried.get("handles")
    if one is not None:
        if one.ok:
            yield Finding(area, "kernel", State.OK, f"Linux {host.kernel} on {host.machine}")
        else:
            yield Finding(
                area,
                "kernel",
                State.BAD,
                f"Linux {host.kernel} on {host.machine}: {reason(one)}",
                "no sandbox opens: processes are watched by descriptors, and descriptors closed by range",
                mend_for(one, host, "Linux 5.9 or newer (pidfd_open, close_range)"),
            )
    bounded = host.swap_bounded and any(
        name.endswith("-memory") for name in tried.get("control-group", Tried("", False)).found
    )
    if not host.swap_kib:
        yield Finding(area, "swap", State.OK, "off")
    elif bounded:
        text = f"{host.swap_kib // 1024} MiB are on; control groups keep jails out of it"
        yield Finding(area, "swap", State.OK, text)
    else:
        yield Finding(
            area,
            "swap",
            State.WARNING,
            f"{host.swap_kib // 1024} MiB are on, and nothing keeps jails out of it",
            "a program that takes much memory slows the host down, and honest ones run out of time",
            "swapoff -a, also in /etc/fstab; or a memory control group (v1: boot with swapaccount=1)",
        )
    pattern = host.sysctls.get("kernel.core_pattern", "")
    if pattern.startswith("|"):
        words = pattern[1:].split()
        text = f"are piped to {words[0] if words else 'nothing'}, whatever the limit of their size"
        follows = (
            "those of the service itself get there; for those of children the kernel refuses (RLIMIT_CORE 1)"
        )
        yield Finding(area, "core dumps", State.OK, text, follows)
    if host.container or not host.initial_ids:
        kind = host.container or "a user namespace"
        text = f"we are inside: {kind}{', with a seccomp filter' if host.filtered else ''}"
        yield Finding(area, "container", State.OK, text)
