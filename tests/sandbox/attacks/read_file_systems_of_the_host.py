# attack: looks through statfs and stat for the host's disks: size, kind and identity of the root
# expect: ok
# report: []
# expect-reduced: exit
import os

result = []
for path in ("/", "/home", "/home/learner", "/course", "/dev", "/etc"):
    space = os.statvfs(path)
    if space.f_blocks * space.f_frsize > 512 << 20:
        result.append((path, space.f_blocks * space.f_frsize))
    if os.major(os.stat(path).st_dev):  # tmpfs has no device; disks do
        result.append((path, os.stat(path).st_dev))
if os.stat("/").st_ino != os.stat("/..").st_ino:
    result.append("..")
