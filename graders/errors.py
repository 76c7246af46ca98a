"""Typed errors of judging. Faults of the learner are values (see verdict); these are the course's.

Runs in: worker, tools.
"""

from __future__ import annotations

from graders.model import Cause


class CourseError(Exception):
    """The course cannot be graded with; the message is for operators and never shown to a learner."""

    cause = Cause.GRADER_BUG


class PayloadError(CourseError):
    """The grader_payload does not say which grader to use."""

    cause = Cause.CONFIG


class CatalogueError(CourseError):
    """The grader's files are missing, not readable, too large, or outside the grader root."""

    cause = Cause.CONFIG


class PassFailed(CourseError):
    """A pass of staff code failed."""

    def __init__(self, message: str, cause: Cause) -> None:
        super().__init__(message)
        self.cause = cause
