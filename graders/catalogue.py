"""Find a grader under its root, and read what a pass may see of it, never following a path out of the root.

Runs in: worker, tools.

Every component of a path is opened from the descriptor of the folder before it, without following symbolic
links (openat(2), O_NOFOLLOW). A link is read and walked by the same rules from the root, so it may point to
another place under the root but never out of it. What was read is kept as long as the stat signature (inode,
size, mtime) of every file and folder that was looked at stays the same, so a warm look-up costs a few stats.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from graders.errors import CatalogueError
from sandbox.model import Bundle

GRADER_FILE = "grader.py"
ANSWER_FILE = "answer.py"
LOCALE = "conf/locale"

MOST_BYTES = 8 << 20
MOST_FILES = 512
_MOST_DEPTH = 8
_MOST_LINKS = 8
_MOST_CACHED = 256
_MOST_NAME = 1024

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A grader, ready for its passes.

    `name` is its path under the root. In the bundle lie `file` (the grader), `folders` (its own folder first,
    then shared modules: the import path) and `catalogue` (translations, "" if none). The answer is apart.
    """

    name: str
    file: str
    folders: tuple[str, ...]
    catalogue: str
    bundle: Bundle = field(repr=False)
    answer: str = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all its files, the answer included."""
        return hashlib.sha256(f"{self.bundle.digest}:{self.answer}".encode("utf-8", "replace")).hexdigest()


class Catalogue:
    """Reads the problems under one root. `modules` are folders of shared modules, relative to the root."""

    def __init__(self, root: Path, modules: Sequence[str] = ()) -> None:
        self.root = root.absolute()
        self._modules = tuple(modules)
        self._cached: OrderedDict[tuple[str, str], tuple[Signature, Problem]] = OrderedDict()

    def problem(self, name: str, lang: str = "en") -> Problem:
        """The problem whose grader is `name`, with the translations for `lang` if the course has any.

        `name` is a path of a file, or of a folder with a grader.py.

        Raises:
            CatalogueError: there is no such grader, or it may not or cannot be read.
        """
        key = (name, lang)
        cached = self._cached.get(key)
        if cached is not None and unchanged(cached[0]):
            self._cached.move_to_end(key)
            return cached[1]
        self._cached.pop(key, None)
        reading = Reading(self.root)
        try:
            problem = _read_problem(reading, name, lang, self._modules)
        except OSError as error:
            raise CatalogueError(f"grader {name!r} under {self.root}: {error.strerror}") from error
        except RecursionError:
            raise CatalogueError(f"grader {name!r} under {self.root}: folders too deep") from None
        self._cached[key] = (tuple(reading.seen), problem)
        while len(self._cached) > _MOST_CACHED:
            self._cached.popitem(last=False)
        return problem


def list_graders(root: Path) -> list[str]:
    """Every grader.py under the root that has an answer.py beside it, as paths relative to it, sorted."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if GRADER_FILE in files and ANSWER_FILE in files:
            found.append((Path(folder) / GRADER_FILE).relative_to(root).as_posix())
    return sorted(found)


def parts_of(name: str) -> list[str]:
    """Components of a relative path.

    Raises:
        CatalogueError: it is absolute, climbs, or is no path at all.
    """
    if not name or len(name) > _MOST_NAME or any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise CatalogueError(f"grader {name[:80]!r}: not the path of a grader")
    if name.startswith("/"):
        raise CatalogueError(f"grader {name!r}: an absolute path; it must be relative to the grader root")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise CatalogueError(f"grader {name!r}: '..' is not allowed")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CatalogueError(f"grader {name!r}: not the path of a grader") from None
    return parts


def _read_problem(reading: Reading, name: str, lang: str, modules: Sequence[str]) -> Problem:
    parts = parts_of(name)
    with reading.opened(parts) as place:
        if stat.S_ISDIR(place.info.st_mode):
            parts = [*parts, GRADER_FILE]
    *folder, file = parts
    files: dict[str, bytes] = {}
    reading.tree(folder, "grader", files)
    if f"grader/{file}" not in files:
        raise CatalogueError(f"grader {name!r}: no such file under {reading.root}")
    try:
        answer = reading.file([*folder, ANSWER_FILE]).decode("utf-8-sig")
    except FileNotFoundError:
        raise CatalogueError(f"grader {name!r}: there is no {ANSWER_FILE} beside it") from None
    except UnicodeDecodeError as error:
        raise CatalogueError(f"grader {name!r}: {ANSWER_FILE} is not UTF-8: {error}") from None
    folders = ["grader"]
    for number, module in enumerate(modules):
        folders.append(f"modules/{number}")
        reading.tree(parts_of(module), folders[-1], files)
    catalogue = ""
    translations = _translations(reading, lang)
    if translations:
        catalogue = "locale.mo"
        files[catalogue] = translations
    return Problem("/".join(parts), f"grader/{file}", tuple(folders), catalogue, Bundle.of(files), answer)


def _translations(reading: Reading, lang: str) -> bytes:
    """The compiled catalogue (.mo) for the language, or for the language without its region; b"" if none."""
    language, _, region = lang.replace("-", "_").partition("_")
    for folder in dict.fromkeys((lang, f"{language}_{region.upper()}", language)):
        messages = [*LOCALE.split("/"), folder, "LC_MESSAGES"]
        try:
            names = reading.names(messages)
        except (FileNotFoundError, NotADirectoryError):
            continue
        # "graders" is the domain that existing courses use; another will do if it is the only one.
        compiled = sorted(name for name in names if name.endswith(".mo"))
        if "graders.mo" in compiled:
            compiled = ["graders.mo"]
        if len(compiled) == 1:
            return reading.file([*messages, compiled[0]])
    return b""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file or folder is: its name in an open folder. No link any more when it was looked at."""

    parent: int
    name: str
    info: os.stat_result


class Reading:
    """One walk over the files of a problem: notes what was looked at, and stops at the size caps."""

    def __init__(self, root: Path, most_bytes: int | None = None, most_files: int | None = None) -> None:
        self.root = root
        self.seen: list[tuple[str, int, int, int]] = []
        self._most_bytes = MOST_BYTES if most_bytes is None else most_bytes
        self._most_files = MOST_FILES if most_files is None else most_files
        self._bytes = 0
        self._files = 0
        self._digest = hashlib.sha256()

    @contextmanager
    def opened(self, parts: Sequence[str]) -> Iterator[_Place]:
        """Walk to a file or folder under the root.

        Raises:
            CatalogueError: a link leads out of the root, or round in circles.
            OSError: it is not there, or not readable.
        """
        pending = list(reversed(parts))
        done: list[str] = []
        links = 0
        handles = [os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        try:
            while pending:
                part = pending.pop()
                if part == "..":  # only a link can bring one
                    if not done:
                        raise CatalogueError(f"{'/'.join(parts)!r}: a link leads out of {self.root}")
                    done.pop()
                    os.close(handles.pop())
                    continue
                handles.append(os.open(part, _WALK, dir_fd=handles[-1]))
                done.append(part)
                info = os.fstat(handles[-1])
                if not stat.S_ISLNK(info.st_mode):
                    continue
                self._note(done, info)
                links += 1
                target = os.readlink("", dir_fd=handles[-1])
                if target.startswith("/") or links > _MOST_LINKS:
                    raise CatalogueError(f"{'/'.join(parts)!r}: a link leads out of {self.root}")
                done.pop()
                os.close(handles.pop())
                pending.extend(reversed([step for step in target.split("/") if step not in ("", ".")]))
            info = os.fstat(handles[-1])
            self._note(done, info)
            parent, name = (handles[-2], done[-1]) if done else (handles[-1], ".")
            yield _Place(parent, name, info)
        finally:
            for handle in handles:
                os.close(handle)

    def names(self, parts: Sequence[str]) -> list[str]:
        """Names in a folder, sorted."""
        with self.opened(parts) as place:
            folder = os.open(place.name, _FOLDER, dir_fd=place.parent)
            try:
                with os.scandir(folder) as entries:
                    return sorted(entry.name for entry in entries)
            finally:
                os.close(folder)

    def file(self, parts: Sequence[str]) -> bytes:
        """Contents of a regular file."""
        with self.opened(parts) as place:
            return self._contents(place, parts)

    def tree(self, parts: Sequence[str], prefix: str, into: dict[str, bytes], depth: int = 0) -> None:
        """Put the files of a folder, and of its sub-folders that are no problems themselves, under `prefix`.

        Left out: the answer, hidden and compiled files, and whatever is neither file nor folder.
        """
        if depth > _MOST_DEPTH:
            raise CatalogueError(f"{'/'.join(parts)!r}: folders too deep")
        names = self.names(parts)
        if depth and (GRADER_FILE in names or ANSWER_FILE in names):
            return
        for name in names:
            if not _is_shown(name):
                continue
            path = [*parts, name]
            is_folder = False
            try:
                with self.opened(path) as place:
                    is_folder = stat.S_ISDIR(place.info.st_mode)
                    if stat.S_ISREG(place.info.st_mode):
                        into[f"{prefix}/{name}"] = self._contents(place, path)
            except FileNotFoundError:
                continue  # a dangling link, or gone since
            if is_folder:
                self.tree(path, f"{prefix}/{name}", into, depth + 1)

    def _contents(self, place: _Place, parts: Sequence[str]) -> bytes:
        size = place.info.st_size
        self._bytes += size
        self._files += 1
        if self._bytes > self._most_bytes or self._files > self._most_files:
            raise CatalogueError(
                f"{'/'.join(parts)!r}: the grader's folder holds more than {self._most_bytes >> 20} MiB"
                f" or {self._most_files} files"
            )
        with os.fdopen(os.open(place.name, _FILE, dir_fd=place.parent), "rb") as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise CatalogueError(f"{'/'.join(parts)!r}: not a regular file")
            contents = source.read(size + 1)
        if len(contents) > size:
            raise CatalogueError(f"{'/'.join(parts)!r}: grew while it was read")
        name = "/".join(parts).encode("utf-8", "surrogateescape")
        self._digest.update(b"%d:%d:" % (len(name), len(contents)) + name)
        self._digest.update(contents)
        return contents

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of names and contents of all files read, in the order of their reading."""
        return self._digest.hexdigest()

    def _note(self, path: Sequence[str], info: os.stat_result) -> None:
        self.seen.append((str(self.root.joinpath(*path)), info.st_ino, info.st_size, info.st_mtime_ns))


def _is_shown(name: str) -> bool:
    hidden = name.startswith(".") or name in (ANSWER_FILE, "answer", "__pycache__") or name.endswith(".pyc")
    return not hidden and name.isprintable()


def unchanged(signature: Signature) -> bool:
    """Whether all that was looked at is still as it was."""
    try:
        for path, inode, size, mtime_ns in signature:
            info = os.lstat(path)
            if (info.st_ino, info.st_size, info.st_mtime_ns) != (inode, size, mtime_ns):
                return False
    except OSError:
        return False
    return True
