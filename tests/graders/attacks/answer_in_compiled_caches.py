# attack: takes every compiled file that it can see apart, constants of constants, and looks for other problems
# expect: incorrect
import marshal
import os

found = []


def walk(thing):
    if isinstance(thing, str):
        found.append(thing)
    for inner in getattr(thing, "co_consts", ()) or (thing if isinstance(thing, tuple) else ()):
        walk(inner)
    found.extend(getattr(thing, "co_names", ()))


for top in ("/course", "/course/..", "/warden", "/home", "/box", "/tmp"):
    for folder, folders, names in os.walk(top):
        if top.endswith("..") and folder == top:
            folders[:] = [name for name in folders if name not in ("usr", "lib", "lib64", "opt", "dev")]
        found.extend(folders + names)
        for name in names:
            try:
                data = open(os.path.join(folder, name), "rb").read()
            except OSError:
                continue
            if name.endswith(".pyc"):
                walk(marshal.loads(data[16:]))
            elif "submission" not in name:
                found.append(data.decode("latin-1"))
wanted = ["answer" + "word", "stranger" + "word", "secret" + "word", "othercourse" + "word"]
hits = [text[max(0, text.find(word) - 20) :][:100] for text in found for word in wanted if word in text]


def code(n):
    return hits or -1


share = code
