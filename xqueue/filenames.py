"""Uploaders' file names made harmless. Pure.

Runs in: worker, tools. No I/O.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from xqueue.protocol import clean

MAX_NAME_BYTES = 100
"""Longest sanitised file name; a file system takes 255, a suffix for uniqueness must fit in too."""


def sanitise_file_name(name: str) -> str:
    """An uploader's file name as one harmless path component.

    The last component only, of slashes either way; letters, digits and a few marks stay, the rest becomes
    "_"; no leading dot or dash; at most MAX_NAME_BYTES bytes of UTF-8, its suffix kept; never empty.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", clean(name)))[-1]
    safe = "".join(c if c.isalnum() or c in "._-+=,@() " else "_" for c in last)
    safe = re.sub(r"^[.\- ]+", "", safe).rstrip(". ")
    if not safe:
        return "file"
    stem, dot, suffix = safe.rpartition(".")
    if dot and stem and len(suffix.encode()) <= 16:
        return f"{_cut(stem, MAX_NAME_BYTES - len(suffix.encode()) - 1)}.{suffix}"
    return _cut(safe, MAX_NAME_BYTES)


def sanitise_file_names(names: Iterable[str]) -> dict[str, str]:
    """Each of the names with a sanitised one of its own: two that come out equal are numbered apart."""
    taken: set[str] = set()
    found: dict[str, str] = {}
    for name in names:
        safe = candidate = sanitise_file_name(name)
        number = 1
        while candidate in taken:
            number += 1
            candidate = f"{number}-{safe}"
        taken.add(candidate)
        found[name] = candidate
    return found


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore")
