# attack: opens and lists what belongs to the host, to the worker, and to the zygote, wherever it can be seen
# expect: ok
# report: []
import os

result = []
paths = ["/", "/etc", "/etc/shadow", "/etc/hostname", "/etc/machine-id", "/root", "/home", "/var/log", "/run", "/boot"]
paths += ["/dev", "/dev/shm", "/dev/kmsg", "/dev/mem", "/dev/pts", "/dev/tty", "/dev/fuse", "/sys", "/sys/kernel", "/proc"]
paths += ["/proc/version", "/proc/mounts", "/proc/kallsyms", "/proc/keys", "/proc/sys/kernel/random/boot_id"]
paths += [HOST["file"], os.path.dirname(HOST["file"]), HOST["unix"], "/sys/fs/cgroup"]
for pid in ("self", "thread-self", os.getppid(), HOST["worker"], HOST["zygote"]):
    for name in ("environ", "cmdline", "maps", "mem", "status", "fd", "root", "cwd", "task", "oom_score_adj", "syscall", "ns/user"):
        if not (str(pid).endswith("self") and name in ("cwd", "ns/user")):  # where it is, it may be
            paths.append("/proc/%s/%s" % (pid, name))
for path in paths:
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT, os.O_RDONLY | os.O_DIRECTORY):
        try:
            fd = os.open(path, flags)
            if path not in ("/", "/etc", "/home", "/dev") or flags & 3:  # the private root has these, and little in them
                result.append(path)
            os.close(fd)
        except OSError:
            pass
