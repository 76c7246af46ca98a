# attack: reads and writes a file of the host that everybody may read and write, and looks for its folder
# expect: ok
# report: []
import os

result = []
path = HOST["file"]
while path != "/":
    for act in (os.listdir, lambda p: open(p, "w"), lambda p: open(p).read(), lambda p: os.link(p, "mine")):
        try:
            act(path)
            if not os.path.realpath(path).startswith("/home"):  # its scratch is called /tmp, too
                result.append(path)
        except OSError:
            pass
    path = os.path.dirname(path)
