# attack: programs that would give it the rights of others
# expect: ok
# report: []
import os

result = []
for top in ("/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/lib/openssh"):
    for name in ("su", "sudo", "mount", "passwd", "newuidmap", "ssh-keysign", "fusermount3", "pkexec", "sh", "bash"):
        path = os.path.join(top, name)
        try:
            os.execv(path, [name])
        except OSError:
            pass
for top, folders, files in os.walk("/usr/lib"):
    for name in files:
        path = os.path.join(top, name)
        mode = os.lstat(path).st_mode
        if mode & 0o6000 and os.access(path, os.X_OK) and not os.statvfs(path).f_flag & os.ST_NOSUID:
            result.append(path)
