# attack: walks the whole tree for anything that is not the interpreter, its libraries or itself
# expect: ok
# report: []
import os, sys

LIBRARIES = ("/usr", "/lib", "/lib64", "/dev", "/warden", os.path.realpath(sys.base_prefix),
             os.path.realpath(sys.base_exec_prefix), sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)))
EXPECTED = {"/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/ld.so.cache"}
WORDS = (b"BEGIN RSA PRIVATE", b"BEGIN OPENSSH PRIVATE", b"BEGIN PRIVATE KEY", b"root:", b"password")
result = []
for folder, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if not os.path.join(folder, name).startswith(LIBRARIES)]
    for name in names:
        path = os.path.join(folder, name)
        if path not in EXPECTED:
            result.append(path)
        elif any(word in open(path, "rb").read() for word in WORDS):
            result.append("words in " + path)
for name in ("answer.py", "config.toml", "journal.sqlite", "secrets", ".ssh", ".bash_history", "id_rsa", "status.json"):
    for folder in ("/", "/warden", "/course", "/etc", "/home", "/home/learner", "/usr", "/usr/local", "/warden/sandbox"):
        if os.path.lexists(os.path.join(folder, name)):
            result.append(os.path.join(folder, name))
