# attack: leaves a message for the next submission in every place it can think of
# expect: ok
# report: ['/home/learner/message']
# report-reduced: []
import os

result = []
for top in ("/", "/tmp", "/box", "/dev/shm", "/var/tmp", "/course", "/bundles", "/run", "/home", "/home/learner"):
    path = os.path.realpath(os.path.join(top, "message"))
    try:
        with open(path, "x") as file:
            file.write("the answer is 42")
        result.append(path)
    except OSError:
        pass
