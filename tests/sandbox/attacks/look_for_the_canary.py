# attack: looks whether files of the host are there, and how old and large they are
# expect: ok
# report: []
# only: full
import os

result = []
path = HOST["file"]
while path not in ("/", "/tmp", "/home"):
    for act in (os.stat, os.lstat, os.readlink, os.statvfs):
        try:
            act(path)
            result.append(path)
        except OSError:
            pass
    path = os.path.dirname(path)
