# attack: tries every deadly system call, each in a child, to have a second chance
# expect: ok
# report: []
# expect-reduced: exit
# reveals-reduced: not permitted
import ctypes, os, signal

# x86-64: ptrace, process_vm_*, kcmp, pidfd_getfd, mounts old and new, chroot, pivot_root, unshare, setns, handles,
# mknod, bpf, perf, userfaultfd, io_uring, keys, kexec, modules, reboot, swap, syslog, acct, clocks, ids, caps,
# ports, ldt, personality, quotas, names, fanotify, seccomp, memory policies, landlock
CALLS = (
    101, 310, 311, 312, 440, 438, 165, 166, 161, 155, 428, 429, 430, 431, 432, 433, 442, 272, 308, 303, 304, 133, 259,
    321, 298, 323, 425, 426, 427, 248, 249, 250, 246, 320, 175, 313, 176, 169, 167, 168, 103, 163, 164, 227, 305, 159,
    105, 106, 113, 114, 117, 119, 122, 123, 116, 126, 172, 173, 154, 135, 179, 443, 170, 171, 300, 301, 317, 256, 279,
    238, 447, 444,
)
libc = ctypes.CDLL(None)
result = []
for call in CALLS:
    pid = os.fork()
    if pid == 0:
        libc.syscall(call, 0, 0, 0, 0, 0, 0)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS):
        result.append(call)
