# Looks at the other processes: their arguments, environment, working folders, open files and memory.
import os

found = []
try:
    numbers = [name for name in os.listdir("/proc") if name.isdigit()]
except OSError:
    numbers = []
for number in numbers + ["self/task/1", "1"]:
    for what in ("environ", "cmdline"):
        try:
            text = open("/proc/%s/%s" % (number, what), "rb").read(10000).lower()
        except OSError:
            continue
        for secret in (b"password", b"secret", b"token", b"config.toml", b"xqueue", b"warden", b"course/"):
            if secret in text:
                found.append("%s in /proc/%s/%s" % (secret.decode(), number, what))
    try:
        for fd in os.listdir("/proc/%s/fd" % number):
            target = os.readlink("/proc/%s/fd/%s" % (number, fd))
            if target.endswith((".sqlite", ".sqlite3", ".db", ".toml", "answer.py")):
                found.append(target)
    except OSError:
        pass
    if number not in (str(os.getpid()), "1", "self/task/1"):
        try:
            open("/proc/%s/mem" % number, "rb").close()
            found.append("memory of %s" % number)
        except OSError:
            pass
if found:
    print("LEAK", found)
