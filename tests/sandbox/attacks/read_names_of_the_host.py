# attack: finds out which host this is: name, domain, cgroup, boot and machine ids, addresses
# expect: ok
# report: ['jail', '(none)', 1000, 1000, 1000, 1000]
# only: full
import ctypes, os, socket

libc = ctypes.CDLL(None)
name = os.uname()
libc.uname(buffer := ctypes.create_string_buffer(65 * 6))
result = [name.nodename, buffer.raw[65 * 5:].rstrip(b"\0").decode(), os.getuid(), os.geteuid(), os.getgid(), os.getegid()]
if socket.gethostname() != "jail":
    result.append(socket.gethostname())
for path in ("/etc/hostname", "/etc/machine-id", "/etc/hostid", "/etc/resolv.conf", "/etc/os-release", "/proc/version",
             "/proc/sys/kernel/random/boot_id", "/sys/class/dmi/id/product_uuid", "/proc/self/cgroup", "/etc/fstab"):
    if os.path.exists(path):
        result.append(path)
try:
    result += [name for _, name in socket.if_nameindex()]
except OSError:
    pass
