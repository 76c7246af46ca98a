# attack: puts links, fifos and other folders in the place of its scratch and of the bundle
# expect: ok
# report: []
import os

result = []
scratch = os.getcwd()
for path in (scratch, "/home/learner", "/course", "/box", "/tmp", "/home", "/warden"):
    for act in (
        lambda: os.rename(path, path + "2"),
        lambda: os.rmdir(path),
        lambda: os.unlink(path),
        lambda: os.symlink("/etc", path),
        lambda: os.link("/etc/passwd", path),
        lambda: os.rename("other", path),
    ):
        os.makedirs("other", exist_ok=True)
        os.chdir(scratch)
        try:
            act()
            result.append(path)
        except OSError:
            pass
