# attack: hard links in the scratch to files outside of it, to be written or kept there
# expect: ok
# report: []
import glob, os

result = []
for number, path in enumerate([os.__file__, "/etc/passwd", "/dev/null", "/warden/inside.py"] + glob.glob("/lib64/*")):
    try:
        os.link(path, "link%d" % number)
        result.append(path)
    except OSError:
        pass
    try:
        os.rename(path, "moved%d" % number)
        result.append(path)
    except OSError:
        pass
