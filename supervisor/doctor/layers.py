"""What the probes of the layers mean: which there are, why others are not, and what mends that.

Runs in: tools. Pure.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sandbox.machine import Host
from sandbox.model import Isolation
from sandbox.probe import Tried
from sandbox.selftest import in_force
from supervisor.doctor.findings import Finding, State

# --- which layers there are ---------------------------------------------------------------------------

PARTS: Final[dict[str, tuple[str, ...]]] = {
    "user": ("user", "all-together"),
    **{name: ("user", name) for name in ("pid", "mount", "net", "ipc", "uts", "cgroup-ns")},
    "private-root": ("private-root", "detached-tmpfs", "mount-setattr"),
    "rlimits": ("rlimits",),
    "no-new-privs": ("no-new-privs",),
    "seccomp": ("filter-refuses", "filter-kills"),
    "subreaper": ("subreaper",),
}
"""Layer -> the probes that must all succeed."""


def available(tried: Mapping[str, Tried]) -> frozenset[str]:
    """Names of the layers that this machine can give; those with a number or version as they were found."""
    layers = {layer for layer, probes in PARTS.items() if all(ok(tried, probe) for probe in probes)}
    for probe in ("landlock-files", "control-group"):
        if ok(tried, probe):
            layers.update(tried[probe].found)
    return frozenset(layers)


def missing(required: Collection[str], layers: Collection[str]) -> list[str]:
    """The required layers that are not among `layers`, sorted. "landlock" is satisfied by any ABI."""
    return sorted(one for one in required if not in_force("landlock-1" if one == "landlock" else one, layers))


def ok(tried: Mapping[str, Tried], probe: str) -> bool:
    return probe in tried and tried[probe].ok


@dataclass(frozen=True, slots=True)
class Needs:
    """What is required, and what follows if it is not there."""

    required: frozenset[str]

    def state(self, layer: str) -> State:
        return State.BAD if layer in self.required else State.WARNING

    def consequence(self, layer: str, otherwise: str) -> str:
        if layer in self.required:
            return f"sandboxes that require it do not open (SANDBOX_UNAVAILABLE): {otherwise}"
        return otherwise


def tiers_given(
    layers: frozenset[str], tiers: Mapping[Isolation, frozenset[str]], wanted: Collection[Isolation]
) -> Iterator[Finding]:
    for tier, required in tiers.items():
        lacking = missing(required, layers)
        needed = tier in wanted
        said = "required; " if needed else ""
        if not lacking:
            text = f"{said}this machine can give it: {', '.join(sorted(required))}"
            yield Finding("isolation", tier.value, State.OK, text)
            continue
        mend = "see the findings below"
        others = [one.value for one in tiers if one is not tier and not missing(tiers[one], layers)]
        if others:
            mend += f'; or, knowing what it lacks (docs/threat-model.md), require = "{others[0]}"'
        yield Finding(
            "isolation",
            tier.value,
            State.BAD if needed else State.WARNING,
            f"{said}not to be had, missing: {', '.join(lacking)}",
            "nothing is graded in sandboxes that require it" if needed else "no sandbox can require it",
            mend,
        )


# --- namespaces ---------------------------------------------------------------------------------------

NAMESPACES: Final = {
    "pid": "what learner code starts can outlive it, and it sees the processes of others",
    "mount": "learner code sees the files of the host",
    "net": "learner code has the host's network",
    "ipc": "learner code shares System V memory and message queues with the host",
    "uts": "learner code sees the host's name",
    "cgroup-ns": "learner code can see the names of the host's control groups",
}

NEEDED: Final = (
    *("unshare", "clone", "setns", "mount", "umount2", "pivot_root", "fsopen", "fsconfig", "fsmount"),
    *("move_mount", "mount_setattr", "sethostname", "seccomp", "landlock_*"),
)
"""System calls that building a jail needs and container runtimes' filters refuse."""
SYSTEMD: Final = "under systemd also: RestrictNamespaces=no, and no SystemCallFilter= without @mount"


def namespaces(host: Host, tried: Mapping[str, Tried], needs: Needs) -> Iterator[Finding]:
    area = "namespaces"
    if not ok(tried, "user"):
        finding, mend = why_no_user_namespace(tried.get("user", Tried("user", False)), host)
        consequence = needs.consequence("user", "all other namespaces and the private root depend on it")
        yield Finding(area, "user", needs.state("user"), finding, consequence, mend)
        text = f"{', '.join(NAMESPACES)}: cannot be made without a user namespace"
        yield Finding(area, "others", State.UNKNOWN, text, "", "mend the user namespace first")
        return
    together = tried.get("all-together")
    if together is not None and not together.ok:
        yield Finding(
            area,
            "user",
            needs.state("user"),
            f"one can be made, but the slots' users cannot be mapped into it: {reason(together)}",
            needs.consequence("user", "as root each slot has a user id of its own, from 900000 on"),
            "give the container the whole range of ids, or run warden as an ordinary user",
        )
    else:
        yield Finding(area, "user", State.OK, "may be made, and ids may be mapped into it")
    for name, otherwise in NAMESPACES.items():
        one = tried.get(name)
        if one is None:
            continue
        if one.ok:
            yield Finding(area, name, State.OK, "may be made")
        else:
            yield Finding(
                area,
                name,
                needs.state(name),
                f"refused: {reason(one)}",
                needs.consequence(name, otherwise),
                mend_for(
                    one, host, f"a kernel with this namespace (CONFIG_{_CONFIG.get(name, 'NAMESPACES')})"
                ),
            )


_CONFIG = {"pid": "PID_NS", "net": "NET_NS", "ipc": "IPC_NS", "uts": "UTS_NS", "cgroup-ns": "CGROUPS"}


def why_no_user_namespace(user: Tried, host: Host) -> tuple[str, str]:
    """(finding, mend) for a user namespace that was refused: by its errno, and the files that explain it."""
    sysctls = host.sysctls
    if user.errno in (errno.ENOSPC, errno.EUSERS):
        most = sysctls.get("user.max_user_namespaces", "?")
        if most == "0":
            return "refused: user.max_user_namespaces is 0", _sysctl("user.max_user_namespaces", "15000")
        return (
            f"refused: all {most} are in use, or they are nested too deeply (32)",
            _sysctl("user.max_user_namespaces", "65536"),
        )
    if user.errno in (errno.EINVAL, errno.ENOSYS):
        return (
            f"this kernel ({host.kernel}) has none: {reason(user)}",
            "a kernel with CONFIG_USER_NS; all distributions' kernels have it",
        )
    if not host.privileged and sysctls.get("kernel.unprivileged_userns_clone") == "0":
        return (
            "refused to ordinary users: kernel.unprivileged_userns_clone is 0",
            _sysctl("kernel.unprivileged_userns_clone", "1"),
        )
    if not host.privileged and sysctls.get("kernel.apparmor_restrict_unprivileged_userns") == "1":
        restricted = "kernel.apparmor_restrict_unprivileged_userns"
        finding = f"AppArmor leaves an ordinary user no rights in his own namespace ({restricted} is 1)"
        profile = "a profile that allows userns, for the service's unit (docs/doctor.md has one)"
        return finding, f"{profile}; or, for everybody: {_sysctl(restricted, '0')}"
    if host.filtered:
        where = f"the container ({host.container})" if host.container else "a container, or systemd"
        finding = f"refused by the seccomp filter of {where} that we run in: {reason(user)}"
        return finding, f"a seccomp profile that allows {', '.join(NEEDED)}; or run outside of it; {SYSTEMD}"
    text = f"refused: {reason(user)}"
    if host.apparmor and host.apparmor != "unconfined":
        return f"{text}; we run under AppArmor's profile {host.apparmor}", "allow userns and mount in it"
    if host.container:
        return f"{text}; we run in a container ({host.container})", "a container with more rights, or none"
    return text, "look for a security module (dmesg) or a chroot that forbids it"


def _sysctl(name: str, value: str) -> str:
    return f"sysctl -w {name}={value}, and the same line in /etc/sysctl.d/99-warden.conf"


def reason(one: Tried) -> str:
    name = errno.errorcode.get(one.errno, "")
    return f"{one.detail} ({name})" if name else one.detail or "no reason given"


def mend_for(one: Tried, host: Host, newer: str) -> str:
    """`newer` (a kernel) if the kernel does not know it; else who else can have refused it."""
    if one.errno in (errno.ENOSYS, errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP):
        return newer
    if one.errno in (errno.EPERM, errno.EACCES):
        if host.filtered:
            return f"allow it in the seccomp profile of the container, or run outside of it; {SYSTEMD}"
        if host.sysctls.get("kernel.apparmor_restrict_unprivileged_userns") == "1" and not host.privileged:
            return _sysctl("kernel.apparmor_restrict_unprivileged_userns", "0")
        return "look for a security module that forbids it (dmesg, AppArmor, SELinux), or a container's rules"
    if one.errno == errno.ENOSPC:
        return "raise the limits user.max_*_namespaces"
    return "see the reason; tell us of it if it is none of this machine's"


# --- files and calls ----------------------------------------------------------------------------------

FILES: Final = (
    ("private-root", "a root that shows only what is needed", "pivot_root in a namespace of its own"),
    ("detached-tmpfs", "a scratch of limited size for each child", "Linux 5.2 or newer (fsopen, fsmount)"),
    ("mount-setattr", "read-only trees, with all that is mounted in them", "Linux 5.12 or newer"),
)


def files(host: Host, tried: Mapping[str, Tried], needs: Needs) -> Iterator[Finding]:
    for name, what, newer in FILES:
        one = tried.get(name)
        if one is None:
            continue
        if one.ok:
            yield Finding("files", name, State.OK, f"works: {what}")
        elif not ok(tried, "user"):
            text = f"cannot be tried without a user namespace: {what}"
            yield Finding("files", name, State.UNKNOWN, text, "", "mend the user namespace first")
        else:
            yield Finding(
                "files",
                name,
                needs.state("private-root"),
                f"refused: {reason(one)}",
                needs.consequence("private-root", f"a jail has to do without {what}"),
                mend_for(one, host, newer),
            )


def calls(host: Host, tried: Mapping[str, Tried], needs: Needs) -> Iterator[Finding]:
    area = "system calls"
    one = tried.get("no-new-privs")
    if one is not None:
        if one.ok:
            yield Finding(area, "no-new-privs", State.OK, "works: no program can give more rights")
        else:
            otherwise = "setuid programs keep their effect"
            yield Finding(
                area,
                "no-new-privs",
                needs.state("no-new-privs"),
                f"refused: {reason(one)}",
                needs.consequence("no-new-privs", otherwise),
                "Linux 3.5 or newer",
            )
    broken = [
        tried[name] for name in ("filter-refuses", "filter-kills") if name in tried and not tried[name].ok
    ]
    if broken:
        text = reason(broken[0])
        library = "libseccomp" in text or "Error:" in text
        yield Finding(
            area,
            "seccomp",
            needs.state("seccomp"),
            f"the filter cannot be compiled: {text}" if library else f"the filter does not work: {text}",
            needs.consequence("seccomp", "every system call is open to learner code"),
            "install libseccomp2"
            if library
            else mend_for(broken[0], host, "a kernel with CONFIG_SECCOMP_FILTER"),
        )
    elif ok(tried, "filter-refuses"):
        yield Finding(area, "seccomp", State.OK, "the filter is compiled, loaded, refuses and kills")
    foreign = tried.get("foreign-calls")
    if foreign is not None:
        if foreign.ok:
            yield Finding(area, "foreign calls", State.OK, f"32-bit calls are deadly: {foreign.detail}")
        else:
            yield Finding(
                area,
                "foreign calls",
                needs.state("seccomp"),
                f"32-bit calls are not stopped: {reason(foreign)}",
                needs.consequence(
                    "seccomp", "the filter can be gone around by the calls of another machine type"
                ),
                "tell us of it; meanwhile a kernel without CONFIG_IA32_EMULATION (ia32_emulation=0 at boot)",
            )


# --- Landlock -----------------------------------------------------------------------------------------

ABIS: Final = (
    (2, "5.19", "moving files between folders"),
    (3, "6.2", "truncating files"),
    (4, "6.7", "TCP"),
    (5, "6.10", "ioctl on devices"),
    (6, "6.12", "signals and abstract unix sockets"),
)
"""(ABI, the first kernel that has it, what it is the first to govern)."""
LSM: Final = "add landlock to the list of the boot parameter lsm= (see /sys/kernel/security/lsm)"


def landlock(host: Host, tried: Mapping[str, Tried], needs: Needs) -> Iterator[Finding]:
    one = tried.get("landlock-files")
    if one is None:
        return
    layer = next((one for one in needs.required if one.startswith("landlock")), "landlock")
    second = "the file system has one guard less behind the private root"
    if not one.ok:
        if one.errno == errno.EOPNOTSUPP:
            finding, mend = "this kernel has it, but it was switched off at boot", LSM
        elif one.errno == errno.ENOSYS:
            finding = f"this kernel ({host.kernel}) has none"
            mend = f"Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK; {LSM}"
        else:
            finding, mend = f"does not work: {reason(one)}", mend_for(one, host, "Linux 5.13 or newer")
        yield Finding(
            "landlock", "files", needs.state(layer), finding, needs.consequence(layer, second), mend
        )
        return
    abi = int(one.found[0].rpartition("-")[2]) if one.found else 1
    lacking = [(number, since, what) for number, since, what in ABIS if number > abi]
    enough = not missing([layer] if layer != "landlock" else [], one.found)
    if not lacking:
        yield Finding("landlock", "files", State.OK, f"ABI {abi}: files, TCP, devices, signals, sockets")
    else:
        number, since, _ = lacking[-1]
        yield Finding(
            "landlock",
            "files",
            State.WARNING if enough else State.BAD,
            f"ABI {abi} of {number}: not governed are {'; '.join(what for _, _, what in lacking)}",
            needs.consequence(layer, "these have one guard less")
            if not enough
            else "in isolation full other layers stop these; in a lesser one some of them nothing stops",
            f"Linux {since} or newer",
        )
    for name, needed, what in (
        ("landlock-tcp", 4, "TCP ports are refused"),
        ("landlock-signals", 6, "signals to processes outside are refused"),
    ):
        other = tried.get(name)
        if other is None or abi < needed:
            continue
        if other.ok:
            yield Finding("landlock", name.partition("-")[2], State.OK, what)
        else:
            text = f"the kernel says ABI {abi}, but: {reason(other)}"
            yield Finding("landlock", name.partition("-")[2], State.WARNING, text, "one guard less", "")
