# attack: hard links, renames and copies of files outside into its own folder, where its own rights hold
# expect: ok
# report: []
import os

result = []
for path in ("/etc/passwd", "/warden/sandbox/child.py", os.__file__, "/dev/zero", "/course", "/usr"):
    for name, act in (("link", os.link), ("rename", os.rename)):
        try:
            act(path, "mine")
            result.append((name, path))
        except OSError:
            pass
os.symlink("/etc/passwd", "soft")
for act in (lambda: open("soft", "a"), lambda: os.truncate("soft", 0), lambda: os.chmod("soft", 0o666), lambda: os.utime("soft")):
    try:
        act()
        result.append("through a link")
    except OSError:
        pass
