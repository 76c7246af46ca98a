# attack: looks for processes where /proc could be: other spellings, links, descriptors, lax lookups
# expect: ok
# report: []
# only: full
import ctypes, os, struct

libc = ctypes.CDLL(None, use_errno=True)
result = []
os.symlink("/proc", "link")
for path in ("/proc", "/./proc", "//proc", "/home/../proc", "link", "link/self", "/dev/fd", "/dev/fd/3", "/dev/stdin",
             "/dev/pts", "/proc/self/fd/3", "/proc/thread-self", "/sys", "/sys/kernel", "/sys/fs/cgroup", "/debug"):
    if os.path.exists(path):
        result.append(path)
root = os.open("/", os.O_PATH)
for path in (b"proc", b"../proc", b"../../../../proc/1/root", b"sys"):
    for resolve in (0, 0x10, 0x08):  # RESOLVE_IN_ROOT, RESOLVE_BENEATH
        how = struct.pack("=QQQ", os.O_PATH, 0, resolve)
        if libc.syscall(437, root, path, how, len(how)) >= 0:
            result.append(path)
