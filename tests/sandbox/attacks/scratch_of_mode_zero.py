# attack: takes all rights from its scratch folder, so that nobody can clean up
# expect: ok
# expect-reduced: exit
# reveals-reduced: not permitted
import os

os.makedirs("a/b/c")
open("a/b/c/file", "w").close()
os.chmod("a/b/c/file", 0)
for folder in ("a/b/c", "a/b", "a", "/home/learner"):
    os.chmod(folder, 0)
result = True
