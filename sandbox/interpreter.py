"""What a jail must show so that an interpreter runs in it.

Runs in: worker.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from sandbox import mounts
from sandbox.model import BUNDLE, SCRATCH, SandboxUnavailable

COVERED = (SCRATCH, BUNDLE, mounts.LIBRARY, "/dev")
"""Folders that a jail has for itself: what the host has there cannot be seen in it."""

ASK = """
import json, os, sys, sysconfig
paths = sysconfig.get_paths()
print(json.dumps({
    "executable": sys.executable, "prefix": sys.prefix, "base_prefix": sys.base_prefix,
    "version": list(sys.version_info[:3]), "implementation": sys.implementation.name,
    "stdlib": paths["stdlib"], "platstdlib": paths["platstdlib"],
    "libdir": sysconfig.get_config_var("LIBDIR") or "",
    "shared": bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter and the host paths that it needs to see."""

    executable: str
    version: tuple[int, int, int]
    paths: tuple[str, ...]


def default() -> str:
    """The interpreter that runs us, without its virtualenv."""
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return os.path.realpath(base if base.exists() else sys.executable)


def _ours() -> Interpreter:
    """The default one: we are it, so there is nobody to ask (30 ms less)."""
    base = {"platbase": sys.base_exec_prefix, "installed_platbase": sys.base_exec_prefix}
    paths = [default(), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib", vars=base)]
    libraries = sysconfig.get_config_var("LIBDIR")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and libraries and sys.base_prefix != "/usr":
        paths.append(libraries)
    return Interpreter(paths[0], sys.version_info[:3], tuple(dict.fromkeys(paths)))


def _links(path: str) -> list[str]:
    """The symbolic links that lead from `path` to the file, each a path of its own."""
    found: list[str] = []
    while Path(path).is_symlink() and len(found) < 40:
        found.append(path)
        path = os.path.normpath(Path(path).parent / Path(path).readlink())
    return found


@functools.cache
def examine(path: str) -> Interpreter:
    """Ask an interpreter where its parts are.

    Raises:
        SandboxUnavailable: it cannot be started, is no CPython >= 3.8, or lies where a jail cannot show it.
    """
    found = _ask(path) if path else _ours()
    check_place(found)
    return found


def check_place(found: Interpreter) -> None:
    """Refuse what a jail would cover.

    Raises:
        SandboxUnavailable
    """
    for shown in found.paths:
        for folder in COVERED:
            if Path(shown).is_relative_to(folder):
                raise SandboxUnavailable(
                    f"the interpreter {found.executable} needs {shown}; a jail has a {folder} of its own, "
                    "so install it elsewhere"
                )


def _ask(path: str) -> Interpreter:
    command = [path, "-I", "-c", ASK]
    try:
        run = subprocess.run(command, capture_output=True, timeout=30, check=True, env={"LANG": "C.UTF-8"})
        told = json.loads(run.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SandboxUnavailable(f"the interpreter {command[0]} cannot be asked: {error}") from None
    version = tuple(told["version"])
    if told["implementation"] != "cpython" or version < (3, 8):
        raise SandboxUnavailable(f"the interpreter {command[0]} is not CPython >= 3.8")
    executable = os.path.realpath(told["executable"])
    paths: list[str] = [executable, told["stdlib"], told["platstdlib"]]
    if told["prefix"] != told["base_prefix"]:  # a virtualenv: its packages, and the way to its interpreter
        executable = told["executable"]
        paths += [told["prefix"], *_links(executable)]
    if told["shared"] and told["libdir"] and told["base_prefix"] != "/usr":
        paths.append(told["libdir"])
    return Interpreter(executable, version, tuple(dict.fromkeys(paths)))
