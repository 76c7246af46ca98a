# Moves its root to where the rest of the file system might be seen.
import os

for step in (os.chroot, os.chdir):
    try:
        step("/box")
        if step is os.chroot:
            print("LEAK", "chroot")
    except OSError:
        pass
