# attack: leaves messages in the timestamps and modes of the devices that it shares with the host
# expect: ok
# report: ([], 3)
import os

changed = []
written = 0
for path in ("/dev/null", "/dev/zero", "/dev/urandom"):
    for act in (
        lambda: os.utime(path),
        lambda: os.utime(path, (1, 1)),
        lambda: os.chmod(path, 0o600),
        lambda: os.chown(path, 0, 0),
        lambda: os.truncate(path, 1),
        lambda: os.unlink(path),
        lambda: os.rename(path, path + "1"),
        lambda: os.setxattr(path, "user.x", b"1"),
    ):
        try:
            act()
            changed.append(path)
        except OSError:
            pass
for path in ("/dev/null", "/dev/zero", "/dev/urandom"):  # to use them is another thing
    with open(path, "r+b", buffering=0) as device:
        written += device.write(b"x")
result = changed, written
