"""The pure codec of the XQueue wire, both directions: text in, frozen values out, and back.

Runs in: worker, queue server, tools. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Submission:
    """One pulled submission, decoded as far as it can be without judging it.

    `header` is the xqueue_header to send back, as text, unchanged if it came as text. `files` maps the
    uploader's own (unsanitised!) names to URLs, absolute or root-relative. `body_digest` (SHA-256 hex of the
    xqueue_body and xqueue_files as received) tells a re-hand-out from another submission under a reused id.
    `payload` is the grader_payload as text ("" for null or absent; JSON text if it came as an object).
    `response` is the student_response as text (JSON text if it was not a string).
    """

    queue: str
    submission_id: str
    submission_key: str
    header: str
    payload: str
    response: str
    student_key: str  # anonymous_student_id, "" if absent
    submitted_at: float | None  # unix seconds, None if absent or unreadable
    random_seed: int  # 1 if absent
    files: Mapping[str, str]
    body_digest: str
    problem: str = ""  # why the body could not be decoded ("" if it could): still to be answered


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back on the wire as xqueue_body."""

    correct: bool
    score: float | int
    msg: str
