# Reads the configuration of the service, the accounts of the host, and keys.
import glob
import os

wanted = [
    "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/hostname", "/etc/machine-id", os.path.expanduser("~root/.ssh"), os.path.expanduser("~root/.bashrc"),
    "/proc/1/root/etc/shadow", "/proc/self/root/etc/shadow", "/var/run/docker.sock", "/etc/xqueue-warden",
    "/dev/mem", "/dev/kmsg", "/dev/sda", "/proc/kcore", "/sys/kernel", "/var/lib", "/var/log",
]
for root in ("/", "/box", "/course", "..", "../..", "/opt/*", "/srv/*", "/home/*", os.path.expanduser("~root"), "/app"):
    wanted += glob.glob(root + "/config.toml") + glob.glob(root + "/var/secrets/*") + glob.glob(root + "/.env")
wanted += [folder for folder in glob.glob("/home/*") if folder != os.path.expanduser("~")]
found = []
for path in wanted:
    try:
        found += [path] if os.path.isdir(path) and os.listdir(path) else []
        if os.path.isfile(path) and open(path, "rb").read(100):
            found.append(path)
    except OSError:
        pass
try:
    found += [line for line in open("/etc/passwd") if "/bin/bash" in line]
except OSError:
    pass
if found:
    print("LEAK", found)
