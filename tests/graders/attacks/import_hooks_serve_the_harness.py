# attack: a finder that answers every later import with a module that agrees to everything
# expect: incorrect error interference
import builtins
import importlib.abc
import importlib.machinery
import sys


class Loader(importlib.abc.Loader):
    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__getattr__ = lambda name: lambda *anything, **more: True


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, Loader())


sys.meta_path.insert(0, Finder())
sys.path_hooks.insert(0, lambda path: Finder())
sys.path_importer_cache.clear()
for name in list(sys.modules):
    if name.split(".")[0] in ("traceback", "linecache", "json", "gettext", "tokenize"):
        del sys.modules[name]
honest_import = builtins.__import__
builtins.__import__ = lambda name, *more: honest_import(name, *more)


def code(n):
    raise ValueError("so that a traceback is wanted")


share = code
