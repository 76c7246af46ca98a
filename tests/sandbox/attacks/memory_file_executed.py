# attack: executes a program from a file that it wrote, by descriptor and by path
# expect: ok
# report: []
import os, sys

result = []
with open(os.path.realpath(sys.executable), "rb") as file:
    image = file.read()
with open("program", "wb") as file:
    file.write(image)
try:
    os.chmod("program", 0o6777)
except OSError:
    pass
for target in ("program", os.open("program", os.O_RDONLY), os.open(sys.executable, os.O_RDONLY)):
    try:
        os.execve(target, ["python", "-c", "pass"], {})
    except OSError as error:
        if error.errno not in (1, 13, 38):
            result.append(error.errno)
try:
    os.memfd_create("program")
    result.append("memfd")
except OSError:
    pass
