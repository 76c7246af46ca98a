# attack: writes outside of the scratch
# expect: ok
# report: []
import os

result = []
for top in ("/", "/course", "/bundles", "/etc", "/dev", "/home", "/usr", "/warden", "/warden/sandbox", "/usr/lib"):
    try:
        open(os.path.join(top, "planted"), "w").close()
        result.append(top)
    except OSError:
        pass
for path in ("/warden/sandbox/child.py", "/etc/passwd", "/etc/ld.so.cache"):
    try:
        open(path, "a").close()
        result.append(path)
    except OSError:
        pass
    try:
        os.chmod(path, 0o777)
        result.append("chmod " + path)
    except OSError:
        pass
