# attack: climbs: .. from every folder, /box and /tmp, and folders opened before they were left
# expect: ok
# report: []
# expect-reduced: exit
import os

result = []
root = (os.stat("/").st_dev, os.stat("/").st_ino)
for start in ("/", "/home/learner", "/box", "/tmp", "/course", "/dev", "/etc", "/warden"):
    fd = os.open(start, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(40):
        fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd) if fd < 40 else fd
    os.fchdir(fd)
    for _ in range(20):
        os.chdir("..")
    here = os.stat(".")
    if (here.st_dev, here.st_ino) != root or "proc" in os.listdir("."):
        result.append(start)
    os.closerange(4, 64)
for link in ("/box", "/tmp"):
    if os.path.realpath(link) != "/home/learner":
        result.append(link)
if os.getcwd() != "/":
    result.append(os.getcwd())
