"""The server end of the legacy XQueue's wire: its words, letter for letter, and its reading of headers.

The texts themselves are built by `xqueue.protocol`, which both ends share. Runs in: queue server. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from xqueue.protocol import ProtocolError, SubmitHeader, decode_submit_header, encode_envelope

LOGIN_REQUIRED: Final = "login_required"
LOGGED_IN: Final = "Logged in"
BAD_LOGIN: Final = "Incorrect login credentials"
SHORT_LOGIN: Final = "Insufficient login info"
GOODBYE: Final = "Goodbye"
STATUS_OK: Final = "OK"
BAD_SUBMIT: Final = "Queue request has invalid format"
SUBMIT_BY_POST: Final = "Queue requests should use HTTP POST"
BAD_REPLY: Final = "Incorrect reply format"
PUT_BY_POST: Final = "'put_result' must use HTTP POST"
NO_SUBMISSION: Final = "Submission does not exist"
WRONG_KEY: Final = "Incorrect key for submission"

MAX_HEADER_CHARS: Final = 16 * 1024
"""Of a header in either direction. The legacy server dies of more than 1,024 when it is submitted."""

MAX_ID: Final = 2**63 - 1


def ok(content: object) -> str:
    """The envelope of a success."""
    return encode_envelope(0, content)


def error(text: str) -> str:
    """The envelope of a refusal."""
    return encode_envelope(1, text)


def no_queue_name(verb: str) -> str:
    return f"'{verb}' must provide parameter 'queue_name'"


def no_such_queue(queue: str) -> str:
    return f"Queue '{queue}' not found"


def queue_is_empty(queue: str) -> str:
    return f"Queue '{queue}' is empty"


def valid_queues(names: list[str]) -> str:
    return "Valid queue names are: " + ", ".join(names)


def too_large(what: str, limit_bytes: int) -> str:
    return f"Request is too large: {what} may have {limit_bytes} bytes"


@dataclass(frozen=True, slots=True)
class PutHeader:
    """What a grader's xqueue_header says. `submission_id` is 0 for an id that no submission can have."""

    submission_id: int
    submission_key: str | None  # None: not a text, so never the right one


def read_submit_header(text: str) -> SubmitHeader | None:
    """The header of a submit, or None if it is not one.

    A `callback_url` of "" is an extension: call nobody.
    """
    if len(text) > MAX_HEADER_CHARS:
        return None
    try:
        return decode_submit_header(text)
    except ProtocolError:
        return None


def read_put_header(text: str) -> PutHeader | None:
    """The header of a put_result, or None if it is not one. The id may be 5 or "5".

    Not the pulling end's `decode_reply_header`: a key that is null or a number is a wrong key here, not a
    wrong format, and an id that is no integer is a wrong format.
    """
    if len(text) > MAX_HEADER_CHARS:
        return None
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or "submission_id" not in header or "submission_key" not in header:
        return None
    number, key = header["submission_id"], header["submission_key"]
    if isinstance(number, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,1000}\s*", number):
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        return None
    return PutHeader(number if 0 < number <= MAX_ID else 0, key if isinstance(key, str) else None)
