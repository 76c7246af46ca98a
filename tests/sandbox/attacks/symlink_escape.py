# attack: symbolic links that lead out
# expect: ok
# report: []
import os

result = []
for number, target in enumerate(("/../../../etc/shadow", "/proc/self/root", "/proc/1/cwd")):
    os.symlink(target, "link%d" % number)
    for act in (open, os.listdir, lambda path: open(path, "w")):
        try:
            act("link%d" % number)
            result.append(target)
        except OSError:
            pass
