"""Text from outside, made harmless for a line of a terminal or of a log. Apart from log, for quick commands.

Runs in: supervisor, worker, tools.
"""

from __future__ import annotations

from typing import Final

MAX_FIELD: Final = 2000
"""Characters of one field or message; the rest is cut."""


def plain(value: object) -> str:
    """One printable line of bounded length: control characters, line breaks and such are shown escaped."""
    text = str(value)
    cut = text if len(text) <= MAX_FIELD else text[:MAX_FIELD] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
