"""The system call filter: compiled once per jail, loaded as bytes by each child.

Runs in: worker (compiles), never in the child. pyseccomp is imported here and nowhere else.

Three answers. ALLOWED calls pass. DEADLY calls kill the whole process (outcome FORBIDDEN): nobody needs them
by accident, so meeting one is an attack, and it shall not get a second try. Everything else that the kernel
knows or will know is answered as if it did not exist (ENOSYS), or, where programs expect it to exist, as not
permitted. clone3 is among those that "do not exist": its flags lie in memory, out of a filter's reach, and
libc falls back to clone, whose flags are looked at.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
from dataclasses import dataclass

import pyseccomp

from sandbox.kernel import OWN_ID, PR_SET_PDEATHSIG
from sandbox.landlock import ABI_TRUNCATE

# Families in one line each; see syscalls(2). A name unknown to this libseccomp or machine is passed over.
# Left out on purpose: memfd_create, System V shared memory, vmsplice: they hold memory that no rlimit counts;
# inotify: files of the host that are shown are watched for everybody, so it tells what neighbours import.
ALLOWED = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range open
openat openat2 creat access faccessat faccessat2 stat fstat lstat newfstatat statx readlink readlinkat
getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2
link linkat symlink symlinkat chmod fchmod fchmodat umask truncate ftruncate fallocate utime utimes
utimensat futimesat statfs fstatfs fsync fdatasync sync_file_range flock fadvise64 readahead
copy_file_range sendfile dup dup2 dup3 pipe pipe2 poll ppoll select pselect6 epoll_create epoll_create1
epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 timerfd_create timerfd_settime
timerfd_gettime signalfd signalfd4 mmap
munmap mremap mprotect brk madvise msync mincore mlock munlock membarrier futex futex_waitv
set_robust_list get_robust_list set_tid_address rseq restart_syscall fork vfork wait4 waitid exit
exit_group getpid getppid gettid getpgrp getpgid setpgid getsid setsid getuid geteuid getgid getegid
getresuid getresgid getgroups getrlimit getrusage times sysinfo uname getpriority setpriority
execve sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max
sched_get_priority_min
sched_rr_get_interval getcpu clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time alarm
getitimer setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete kill tkill
tgkill rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait
rt_sigqueueinfo sigaltstack pause arch_prctl getrandom pidfd_open pidfd_send_signal sendto sendmsg
sendmmsg recvfrom recvmsg recvmmsg shutdown getsockname getpeername getsockopt
""".split()  # noqa: SIM905 - reads better than a list

DEADLY = """
ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd mount umount umount2
pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr unshare setns
open_by_handle_at name_to_handle_at mknod mknodat bpf perf_event_open userfaultfd io_uring_setup
io_uring_enter io_uring_register keyctl add_key request_key kexec_load kexec_file_load init_module
finit_module delete_module reboot swapon swapoff syslog acct settimeofday clock_settime clock_adjtime
adjtimex setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset iopl
ioperm modify_ldt vm86 vm86old personality quotactl quotactl_fd lookup_dcookie nfsservctl sethostname
setdomainname vhangup uselib fanotify_init fanotify_mark seccomp migrate_pages move_pages
set_mempolicy memfd_secret landlock_create_ruleset
""".split()  # noqa: SIM905 - reads better than a list

# Known to every program, and refused in the way that programs understand.
REFUSED = {
    "socket": errno.EACCES,
    "connect": errno.EACCES,
    "bind": errno.EACCES,
    "listen": errno.EACCES,
    "accept": errno.EACCES,
    "accept4": errno.EACCES,
    "execve": errno.EACCES,
    "execveat": errno.EACCES,
    "sched_setaffinity": errno.EPERM,
    "sched_setscheduler": errno.EPERM,
    "sched_setparam": errno.EPERM,
    "sched_setattr": errno.EPERM,
    "mbind": errno.EPERM,  # numpy's OpenBLAS calls it when it is loaded, and does without
    "setrlimit": errno.EPERM,
    "chown": errno.EPERM,
    "fchown": errno.EPERM,
    "lchown": errno.EPERM,
    "fchownat": errno.EPERM,
    "setxattr": errno.ENOTSUP,
    "getxattr": errno.ENOTSUP,
    "lgetxattr": errno.ENOTSUP,
    "fgetxattr": errno.ENOTSUP,
    "listxattr": errno.ENOTSUP,
}

CLONE_NEW_MASK = 0x7E020080  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET,TIME}
CLONE_PTRACE = 0x2000
TIOCSTI = 0x5412
TIOCLINUX = 0x541C
# ioctls that files and pipes answer; compared on 32 bits, as the kernel does, so no high bits slip through
IOCTLS = (
    0x5401,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
PR_ALLOWED = (
    15,  # PR_SET_NAME
    16,  # PR_GET_NAME
    1,  # PR_SET_PDEATHSIG
    2,  # PR_GET_PDEATHSIG
    3,  # PR_GET_DUMPABLE
    38,  # PR_SET_NO_NEW_PRIVS
    39,  # PR_GET_NO_NEW_PRIVS
    21,  # PR_GET_SECCOMP
    0x53564D41,  # PR_SET_VMA: malloc and Python name their arenas
)
SOCKET_OPTIONS = (2, 7, 8, 9, 13, 20, 21)  # SO_REUSEADDR SNDBUF RCVBUF KEEPALIVE LINGER RCVTIMEO SNDTIMEO
LOW_32 = 0xFFFFFFFF


# In a reduced jail these would reach what is the host's, as there is no root of its own and no pid namespace.
# Landlock does not rule modes, times, and what can be seen of files without opening them.
REDUCED = {
    "chmod": errno.EPERM,
    "fchmod": errno.EPERM,
    "fchmodat": errno.EPERM,
    "utime": errno.EPERM,
    "utimes": errno.EPERM,
    "utimensat": errno.EPERM,
    "futimesat": errno.EPERM,
    "pidfd_open": errno.ENOSYS,  # poll on it tells of others' deaths
    "pidfd_send_signal": errno.ENOSYS,
    "openat2": errno.ENOSYS,  # its flags lie in memory
    "tkill": errno.EPERM,
    "setpriority": errno.EPERM,
    # All that a child starts stays in its process group: killing that is one call, which no fork outruns.
    "setsid": errno.EPERM,
    "setpgid": errno.EPERM,
    # Files that are on their way between sockets are nobody's: their size could not be seen.
    "sendmsg": errno.EPERM,
    "sendmmsg": errno.EPERM,
}
# Without a pid namespace, a process may signal itself only: not what is the host's, nor what a sweep stopped.
SIGNALS = ("kill", "tgkill", "rt_sigqueueinfo")
CLONE_THREAD = 0x10000
O_ACCMODE, O_TRUNC = 0x3, 0x200
MAP_SHARED_ANONYMOUS = 0x21
SOCK_STREAM, SOCK_SEQPACKET, SOCK_TYPE_MASK = 1, 5, 0xF


@dataclass(frozen=True, slots=True)
class Variant:
    """Which filter. `programs`: children execute programs. `shared_memory`: whether anonymous memory may be
    shared, which only an address-space limit counts. `reduced`: there are no namespaces; then `abi` is
    Landlock's."""

    programs: bool = False
    shared_memory: bool = True
    reduced: bool = False
    abi: int = 0


# What the zygote and the lock-down itself must call. Attaching a filter takes the kernel longer the larger it
# is, so the zygote wears one that leaves these open, and each child only adds one that takes them away.
SET_UP = (
    *("setns", "unshare", "mount", "umount2", "move_mount", "fsopen", "fsconfig", "fsmount", "capset"),
    *("setrlimit", "memfd_create", "landlock_restrict_self"),
)
PR_SET_UP = (4, 22)  # PR_SET_DUMPABLE, PR_SET_SECCOMP


def programs(variant: Variant = Variant()) -> tuple[bytes, ...]:
    """The filters of a jail: the zygote's own, which its children inherit, and the one that each child adds.

    Together they answer each call as `program` does alone; a reduced jail has that one, for children only.

    Raises:
        OSError: libseccomp is missing or could not compile it.
    """
    if variant.reduced:
        return (program(variant),)
    return program(variant, set_up=True), _rest(variant)


@functools.cache
def _rest(variant: Variant) -> bytes:
    """What a child adds to the zygote's filter: the set-up's calls are answered as by `program`."""
    filter_ = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    filter_.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    refused, _ = _tables(variant)
    for name in SET_UP:
        if name in DEADLY:
            _rule(filter_, pyseccomp.KILL_PROCESS, name)
        elif name not in ALLOWED:
            _rule(filter_, pyseccomp.ERRNO(refused.get(name, errno.ENOSYS)), name)
    unknown = pyseccomp.ERRNO(errno.ENOSYS)
    for option in PR_SET_UP:
        _rule(filter_, unknown, "prctl", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, LOW_32, option))
    _rule(filter_, unknown, "prlimit64", pyseccomp.Arg(2, pyseccomp.NE, 0))
    return _exported(filter_)


@functools.cache
def program(variant: Variant = Variant(), set_up: bool = False) -> bytes:
    """The compiled filter: an array of struct sock_filter for this machine.

    `set_up`: with the calls left open that a zygote needs.

    Raises:
        OSError: libseccomp is missing or could not compile it.
    """
    kill = pyseccomp.KILL_PROCESS
    allow = pyseccomp.ALLOW
    opened = SET_UP if set_up else ()
    filter_ = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.ENOSYS))
    filter_.set_attr(pyseccomp.Attr.ACT_BADARCH, kill)
    filter_.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)
    refused, special = _tables(variant)
    for name in dict.fromkeys((*ALLOWED, *opened)):
        if name in opened or (name not in refused and name not in special):
            _rule(filter_, allow, name)
    for name in DEADLY:
        if name not in opened:
            _rule(filter_, kill, name)
    for name, number in refused.items():
        if name in opened:
            continue
        if number != errno.ENOSYS:  # the default answer; libseccomp refuses rules that say the same
            _rule(filter_, pyseccomp.ERRNO(number), name)

    argument = pyseccomp.Arg
    masked, equal = pyseccomp.MASKED_EQ, pyseccomp.EQ
    # Threads and processes, but no namespaces: any of those bits is an attack.
    bad = CLONE_NEW_MASK | CLONE_PTRACE
    if "fork" in refused:  # threads only
        _rule(filter_, allow, "clone", argument(0, masked, bad | CLONE_THREAD, CLONE_THREAD))
        _rule(filter_, pyseccomp.ERRNO(errno.EPERM), "clone", argument(0, masked, bad | CLONE_THREAD, 0))
    else:
        _rule(filter_, allow, "clone", argument(0, masked, bad, 0))
    for bit in range(32):
        if bad & (1 << bit):
            _rule(filter_, kill, "clone", argument(0, masked, 1 << bit, 1 << bit))
    for request in IOCTLS:
        _rule(filter_, allow, "ioctl", argument(1, masked, LOW_32, request))
    for request in (TIOCSTI, TIOCLINUX):
        _rule(filter_, kill, "ioctl", argument(1, masked, LOW_32, request))
    for option in (*PR_ALLOWED, *(PR_SET_UP if set_up else ())):
        if variant.reduced and option == PR_SET_PDEATHSIG:
            continue  # it is by this that children die with the zygote
        _rule(filter_, allow, "prctl", argument(0, masked, LOW_32, option))
    # Pairs of connected sockets lead nowhere; asyncio and multiprocessing need them. Datagrams could be sent
    # to other addresses than the partner's.
    for kind in (SOCK_STREAM, SOCK_SEQPACKET):
        family = argument(0, masked, LOW_32, socket.AF_UNIX)
        _rule(filter_, allow, "socketpair", family, argument(1, masked, SOCK_TYPE_MASK, kind))
    # Buffers and timeouts; no filter programs for the kernel, no names by the back door (SO_PASSCRED binds).
    for option in SOCKET_OPTIONS:
        one, name = argument(1, masked, LOW_32, socket.SOL_SOCKET), argument(2, masked, LOW_32, option)
        _rule(filter_, allow, "setsockopt", one, name)
    # Duplicates, flags, locks, seals; not F_SETOWN/F_SETSIG (signals), F_SETPIPE_SZ (kernel memory) nor
    # F_SETLEASE (which makes others wait).
    for command in (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1033, 1034):
        _rule(filter_, allow, "fcntl", argument(1, masked, LOW_32, command))
    # prlimit64 may read, for this process (0) only: the second structure pointer is the new limit.
    # (For the set-up it may be there.)
    limits = () if set_up else (argument(2, equal, 0),)
    _rule(filter_, allow, "prlimit64", argument(0, equal, 0), *limits)
    if "mmap" in special:
        for bits in (0, 0x01, 0x20):
            _rule(filter_, allow, "mmap", argument(3, masked, MAP_SHARED_ANONYMOUS, bits))
    if "kill" in special:
        for name in SIGNALS:
            _rule(filter_, allow, name, argument(0, masked, LOW_32, OWN_ID))
    if "openat" in special:
        # Before ABI 3 Landlock does not see that an open for reading truncates.
        for name, index in (("open", 1), ("openat", 2)):
            for bits in range(8):
                mode, truncate = bits & O_ACCMODE, O_TRUNC if bits & 4 else 0
                # Neither reading nor writing (3) asks nothing of Landlock, and does truncate.
                if mode in (os.O_WRONLY, os.O_RDWR) or not truncate:
                    checked = argument(index, masked, O_ACCMODE | O_TRUNC, mode | truncate)
                    _rule(filter_, allow, name, checked)

    return _exported(filter_)


def forget() -> None:
    """Compile anew when next asked: for tests that change the tables."""
    program.cache_clear()
    _rest.cache_clear()


def _exported(filter_: pyseccomp.SyscallFilter) -> bytes:
    with os.fdopen(os.memfd_create("seccomp"), "w+b") as file:
        filter_.export_bpf(file)
        file.seek(0)
        return file.read()


def _tables(variant: Variant) -> tuple[dict[str, int], set[str]]:
    """(calls that are refused, calls whose arguments decide) for a variant; both leave ALLOWED."""
    refused = dict(REFUSED)
    special: set[str] = set()
    if variant.programs:
        del refused["execve"]
    if not variant.shared_memory:
        special.add("mmap")
    if variant.reduced:
        refused |= REDUCED
        if not variant.programs:
            refused |= {"fork": errno.EPERM, "vfork": errno.EPERM}
        special |= set(SIGNALS)
        if variant.abi < ABI_TRUNCATE:
            refused["truncate"] = errno.EACCES
            special |= {"open", "openat"}
    return refused, special


def _rule(filter_: pyseccomp.SyscallFilter, action: int, name: str, *arguments: object) -> None:
    unknown = -1  # __NR_SCMP_ERROR: newer than this libseccomp; the default answer holds
    if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) != unknown:
        filter_.add_rule(action, name, *arguments)
