# attack: files in the scratch named like modules of the standard library and of the harness, first on the path
# expect: incorrect error interference
import os
import sys

source = """
import os
def __getattr__(name):
    return lambda *anything, **more: b'{"outputs": ["1", "1", "1", "1", "1", "1", "1"], "error": "", "hint": "", "interference": false}'
"""
names = ("json", "struct", "traceback", "linecache", "io", "sitecustomize", "usercustomize", "gradelib", "graderutil", "code")
os.makedirs("harness", exist_ok=True)
os.makedirs("grader_support", exist_ok=True)
for name in [*names, "harness/__init__", "harness/run", "grader_support/__init__", "grader_support/gradelib"]:
    with open(name + ".py", "w") as file:
        file.write(source)
sys.path.insert(0, os.getcwd())
for name in list(sys.modules):
    if name.split("/")[0].split(".")[0] in (*names, "harness", "grader_support"):
        del sys.modules[name]
import json, traceback, gradelib  # noqa: E401


def code(n):
    raise ValueError


share = code
