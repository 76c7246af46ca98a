"""Is the import name `supervisor` ours alone? PyPI's supervisord has it, too.

Runs in: tools. Two distributions in one folder that both bring `supervisor/` overwrite each other's files,
and which of them wins depends on the order of installation. So the service runs only where it owns the name:
in a virtualenv of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from typing import Final

OURS: Final = "xqueue-warden"
NAME: Final = "supervisor"

_RECORD: Final = re.compile(rf"^{NAME}(/|\.py,)", re.MULTILINE)


def foreign_owners(path: Iterable[str] | None = None) -> tuple[str, ...]:
    """Names of other distributions that bring a package `supervisor`, sorted.

    Args:
        path: the folders to look in, by default sys.path.
    """
    found = metadata.distributions() if path is None else metadata.distributions(path=list(path))
    owners = set()
    for distribution in found:
        name = str(distribution.metadata["Name"] or "")
        if re.sub(r"[-_.]+", "-", name).lower() == OURS:
            continue
        top_level = (distribution.read_text("top_level.txt") or "").split()
        # The raw text instead of Distribution.files: a virtualenv has ten thousands of them.
        if NAME in top_level or _RECORD.search(distribution.read_text("RECORD") or ""):
            owners.add(name or "a distribution without a name")
    return tuple(sorted(owners))


def refusal(path: Iterable[str] | None = None) -> str:
    """Why warden must not run in this environment; "" if it may."""
    owners = foreign_owners(path)
    if not owners:
        return ""
    return (
        f'another distribution here owns the import name "{NAME}": {", ".join(owners)}. '
        f"Install {OURS} into a virtualenv of its own: "
        f"python3 -m venv /opt/warden && /opt/warden/bin/pip install {OURS}"
    )
