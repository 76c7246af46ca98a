# attack: crashes a child of its own and looks for the core, of its own and of others
# expect: ok
# report: [False, []]
# expect-reduced: exit
import ctypes, os, signal

child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGABRT)
    ctypes.string_at(0)
_, status = os.waitpid(child, 0)
names = [name for top in ("/", "/tmp", "/home", "/home/learner", "/dev") for name in os.listdir(top) if "core" in name]
result = [os.WCOREDUMP(status), names + [path for path in ("/proc/sys/kernel/core_pattern", "/var/crash", "/var/lib/systemd/coredump") if os.path.exists(path)]]
