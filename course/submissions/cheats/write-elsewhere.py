# Writes where the next run, or the harness itself, would read it.
import os
import sys

found = []
for folder in ["/", "/course", "/etc", "/usr", "/usr/lib", "/dev/shm", "/var/tmp", "/opt"] + sys.path:
    for name in ("answer.py", "sitecustomize.py", "grader.py"):
        path = os.path.join(folder or "/course", name)
        if path.startswith(("/box", "/tmp")):
            continue
        try:
            with open(path, "a") as out:
                out.write("\n")
            found.append(path)
        except OSError:
            pass
if found:
    print("LEAK", found)
