# attack: looks for files of the host
# expect: ok
# report: []
# only: full
import os

result = []
for path in ("/etc/shadow", "/etc/hostname", "/root", "/proc", "/sys", "/proc/1/environ", "/var", "/home/learner/..",
             "/etc/machine-id", "/run", "/dev/kmsg", "/dev/mem", "/dev/shm", "/usr/bin/passwd", "/bundles/x", "/etc/ssh"):
    if path.endswith(".."):
        if os.listdir(path) != ["learner"]:
            result.append(path)
    elif os.path.exists(path):
        result.append(path)
passwd = open("/etc/passwd").read()
if passwd.count("\n") != 1:
    result.append(passwd)
