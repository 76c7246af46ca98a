# attack: symbolic links that lead out
# expect: ok
# report: []
import os

result = []
for number, target in enumerate(("/../../../etc/shadow", "/proc/self/root", "/proc/1/cwd")):
    os.symlink(target, "link%d" % number)
    if os.path.exists("link%d" % number):
        result.append(target)
