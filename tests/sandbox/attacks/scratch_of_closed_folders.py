# attack: folders and files that are born without any rights, that nobody may look into or clear away
# expect: ok
# report: 3
import os

os.umask(0o777)
for name in ("one", "two"):
    os.mkdir(name)
os.close(os.open("file", os.O_WRONLY | os.O_CREAT))
os.umask(0)
os.mkdir("open", 0o777)
os.mkdir("open/closed", 0)
os.symlink("/", "open/root")
result = len([name for name in os.listdir(".") if not os.access(name, os.R_OK)])
