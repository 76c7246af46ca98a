"""Judge submissions: from a grader's name and a learner's text to a verdict, a blame and feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graders.base import Grader

__all__ = ["Grader"]


def __getattr__(name: str) -> type[Grader]:
    # Lazily: a worker that needs no class of its own does not load the base of them.
    if name == "Grader":
        from graders.base import Grader

        return Grader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
