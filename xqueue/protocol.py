"""The pure codec of the XQueue wire, both directions: text in, frozen values out, and back.

The nesting, outermost first: an *envelope* {"return_code", "content"}; its content is a *pull*
{"xqueue_header", "xqueue_body", "xqueue_files"} of JSON texts. A reply travels as two form fields, the header
as it was received and an xqueue_body of {"correct", "score", "msg"}. Texts are written as a legacy XQueue
writes them: a space after separators, everything beyond ASCII escaped.

Nothing but ProtocolError is raised for any input. Runs in: worker, queue server, tools. No I/O.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote_plus

from xqueue.errors import ProtocolError

__all__ = [
    "Envelope",
    "ProtocolError",
    "Reply",
    "ReplyHeader",
    "Submission",
    "SubmitHeader",
    "decode_envelope",
    "decode_files",
    "decode_reply",
    "decode_reply_header",
    "decode_submission",
    "decode_submit_header",
    "encode_body",
    "encode_envelope",
    "encode_pull",
    "encode_reply",
    "encode_reply_header",
    "encode_submit_header",
]

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Largest HTTP answer worth reading. Servers take 2.5 MiB of form; each nesting may double a backslash."""

MAX_RESPONSE_CHARS = 4 * 1024 * 1024
"""Longest student_response or grader_payload that is graded. A longer one is answered, not graded."""

MAX_REPLY_BYTES = 2_000_000
"""Largest reply, header and body, urlencoded: both servers cut off at 2.5 MiB (2,621,440) of form as sent."""

UNUSABLE_REPLY = '{"correct": false, "score": null, "msg": "<p>not a result</p>"}'
"""An xqueue_body that edx-submissions takes without storing it; see XQueueClient.set_aside."""

MAX_SCORE = 1_000_000
"""Largest score: points of a problem, and a 32-bit column on the LMS's side."""

MAX_FILES = 100
"""Most files of one submission; the LMS itself lets a learner upload 20."""


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


@dataclass(frozen=True, slots=True)
class Envelope:
    """The outermost object. `return_code` is None for an error of the LMS's API, which has `detail` only."""

    return_code: int | None
    content: object = None
    detail: str = ""

    @property
    def text(self) -> str:
        """What it says, if it says it in words."""
        return self.content if isinstance(self.content, str) else self.detail


@dataclass(frozen=True, slots=True)
class ReplyHeader:
    """The two members of an xqueue_header that a server reads when a result is put."""

    submission_id: str
    submission_key: str


@dataclass(frozen=True, slots=True)
class SubmitHeader:
    """The xqueue_header with which an LMS submits."""

    callback_url: str
    lms_key: str
    queue: str


# -- JSON, with every failure made ours ----------------------------------------------------------------------


def _loads(text: str | bytes, what: str) -> object:
    if len(text) > MAX_ANSWER_BYTES:
        raise ProtocolError(f"{what} is too long: {len(text)} bytes, {MAX_ANSWER_BYTES} are read")
    try:
        return json.loads(text)
    except RecursionError:
        raise ProtocolError(f"{what} is nested too deeply") from None
    except ValueError as error:  # bad JSON, bad UTF-8, an integer of thousands of digits
        raise ProtocolError(f"{what} is not JSON: {_reason(error)}") from None


def _reason(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__


def _dumps(value: object, what: str) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"{what} cannot be written as JSON: {type(error).__name__}") from None


def _object(value: object, what: str) -> Mapping[str, object]:
    """`value` as an object, parsed first if it is a text."""
    if isinstance(value, str):
        value = _loads(value, what)
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} is not an object but {_kind(value)}")
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def clean(text: str) -> str:
    """Lone surrogates, which JSON escapes can spell and UTF-8 cannot, become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _text(value: object, what: str) -> str:
    """A value as the text a grader sees: "" for null, a string as it is, anything else as JSON."""
    if value is None:
        return ""
    return clean(value if isinstance(value, str) else _dumps(value, what))


# -- The envelope --------------------------------------------------------------------------------------------


def encode_envelope(return_code: int, content: object) -> str:
    """{"return_code": ..., "content": ...}, as a legacy XQueue writes it."""
    return _dumps({"return_code": return_code, "content": content}, "the envelope")


def decode_envelope(body: str | bytes) -> Envelope:
    """An answer of either server; the content type does not matter.

    Raises:
        ProtocolError: not JSON, or neither {"return_code", "content"} nor {"detail"}.
    """
    value = _loads(body, "the answer")
    if not isinstance(value, dict):
        raise ProtocolError(f"the answer is not an object but {_kind(value)}")
    code = value.get("return_code")
    if type(code) is int and "content" in value:
        return Envelope(code, value["content"])
    detail = value.get("detail")
    if isinstance(detail, str):
        return Envelope(None, None, clean(detail))
    raise ProtocolError("the answer has neither return_code and content nor detail")


# -- A pull --------------------------------------------------------------------------------------------------


def encode_pull(header: str, body: str, files: Mapping[str, str]) -> str:
    """The content of a successful get_submission: three texts. `files` maps names to URLs."""
    return _dumps(
        {"xqueue_header": header, "xqueue_body": body, "xqueue_files": _dumps(dict(files), "the files")},
        "the pull",
    )


def encode_body(
    *,
    payload: str | None,
    response: str,
    student_id: str,
    submission_time: str,
    random_seed: int = 1,
) -> str:
    """An xqueue_body as the LMS writes it; `submission_time` is YYYYmmddHHMMSS in UTC."""
    info = {
        "anonymous_student_id": student_id,
        "submission_time": submission_time,
        "random_seed": random_seed,
    }
    return _dumps(
        {
            "grader_payload": payload,
            "student_info": _dumps(info, "student_info"),
            "student_response": response,
        },
        "the body",
    )


def decode_submission(queue: str, content: object) -> Submission:
    """The content of a successful get_submission, whatever of it is text and whatever is an object.

    A body that cannot be understood still yields a submission, with `problem` set: it must be answered.

    Raises:
        ProtocolError: there is no header with an id and a key, so it cannot even be answered.
    """
    pull = _object(content, "the content")
    header = pull.get("xqueue_header")
    names = decode_reply_header(header)
    if not isinstance(header, str):
        header = _dumps(header, "xqueue_header")
    body, files = pull.get("xqueue_body"), pull.get("xqueue_files")
    digest = _digest(body, files)
    problem = ""
    learner: Mapping[str, object] = {}
    urls: Mapping[str, str] = {}
    payload = response = ""
    try:
        urls = decode_files(files)
        learner = _object(body, "xqueue_body")
        payload = _text(learner.get("grader_payload"), "grader_payload")
        if "student_response" not in learner:
            # Not an empty answer: the producer is no LMS, and the learner must not be marked down for it.
            raise ProtocolError("xqueue_body has no student_response")
        response = _text(learner["student_response"], "student_response")
        for what, text in (("student_response", response), ("grader_payload", payload)):
            if len(text) > MAX_RESPONSE_CHARS:
                raise ProtocolError(f"{what} has {len(text)} characters, {MAX_RESPONSE_CHARS} are graded")
    except ProtocolError as error:
        problem, response = str(error), response[:MAX_RESPONSE_CHARS]
        payload = payload[:MAX_RESPONSE_CHARS]
    info = _student_info(learner.get("student_info"))
    student = info.get("anonymous_student_id")
    return Submission(
        queue=queue,
        submission_id=names.submission_id,
        submission_key=names.submission_key,
        header=header,
        payload=payload,
        response=response,
        student_key=clean(student) if isinstance(student, str) else "",
        submitted_at=_time(info.get("submission_time")),
        random_seed=_seed(info.get("random_seed")),
        files=urls,
        body_digest=digest,
        problem=problem,
    )


def decode_files(files: object) -> dict[str, str]:
    """xqueue_files, as {the uploader's own name: URL}; null, "" and "{}" are no files.

    Raises:
        ProtocolError: anything but an object of texts, or too many of them.
    """
    if files is None or files == "":
        return {}
    named = _object(files, "xqueue_files")
    if len(named) > MAX_FILES:
        raise ProtocolError(f"xqueue_files names {len(named)} files, {MAX_FILES} are fetched")
    found: dict[str, str] = {}
    for name, url in named.items():
        if not isinstance(url, str):
            raise ProtocolError("xqueue_files holds a URL that is not a string")
        found[clean(name)] = clean(url)
    return found


def _student_info(info: object) -> Mapping[str, object]:
    """student_info as an object; what is not one is nothing: it decides no mark."""
    try:
        return _object(info, "student_info")
    except ProtocolError:
        return {}


def _time(value: object) -> float | None:
    """Unix seconds of YYYYmmddHHMMSS in UTC (legacy), or of an epoch as text or number (LMS's own)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{14}", value):
            return datetime.strptime(value, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < 1e11 else None


def _seed(value: object) -> int:
    try:
        seed = int(value) if isinstance(value, str | int) else 1
    except ValueError:
        return 1
    return seed if -(2**63) <= seed < 2**63 else 1


def _digest(body: object, files: object) -> str:
    digest = hashlib.sha256()
    for part in (body, files):
        text = part if isinstance(part, str) else _dumps(part, "the body")
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(raw))
        digest.update(raw)
    return digest.hexdigest()


# -- Headers -------------------------------------------------------------------------------------------------


def encode_reply_header(submission_id: int, submission_key: str) -> str:
    """The xqueue_header that a server hands out with a submission."""
    return _dumps({"submission_id": submission_id, "submission_key": submission_key}, "xqueue_header")


def decode_reply_header(header: object) -> ReplyHeader:
    """Id and key out of an xqueue_header, text or object; further members are fine.

    Raises:
        ProtocolError: no object, no id (integer or text), or no key.
    """
    if isinstance(header, str) and clean(header) != header:
        raise ProtocolError("xqueue_header is not valid Unicode")
    value = _object(header, "xqueue_header")
    number, key = value.get("submission_id"), value.get("submission_key")
    if isinstance(number, bool) or not isinstance(number, int | str) or number == "":
        raise ProtocolError("xqueue_header has no submission_id")
    if not isinstance(key, str):
        raise ProtocolError("xqueue_header has no submission_key")
    try:
        return ReplyHeader(clean(str(number)), clean(key))
    except ValueError:  # an integer too long to be written down
        raise ProtocolError("xqueue_header has no usable submission_id") from None


def encode_submit_header(header: SubmitHeader) -> str:
    """The xqueue_header with which an LMS submits."""
    return _dumps(
        {"lms_callback_url": header.callback_url, "lms_key": header.lms_key, "queue_name": header.queue},
        "xqueue_header",
    )


def decode_submit_header(header: object) -> SubmitHeader:
    """The xqueue_header of a submit.

    Raises:
        ProtocolError: no object, or a member that is missing or not a text.
    """
    value = _object(header, "xqueue_header")
    found: list[str] = []
    for name in ("lms_callback_url", "lms_key", "queue_name"):
        text = value.get(name)
        if not isinstance(text, str):
            raise ProtocolError(f"xqueue_header has no {name}")
        found.append(clean(text))
    return SubmitHeader(*found)


# -- Replies -------------------------------------------------------------------------------------------------


def encode_reply(reply: Reply, header: str = "") -> str:
    """The xqueue_body of a reply; `header` only counts towards its size.

    Exactly 0 and 1 are written as integers: only these mean the same to every version of the LMS, which takes
    neither booleans nor (some of them) floats.

    Raises:
        ProtocolError: `correct` is no bool, `score` not finite or negative, `msg` empty or not valid Unicode,
            or all of it larger than a server takes.
    """
    if not isinstance(reply.correct, bool):
        raise ProtocolError(f"correct must be a boolean, not {_kind(reply.correct)}")
    if not isinstance(reply.msg, str) or not reply.msg:
        raise ProtocolError("msg must be a text that is not empty: the LMS calls an empty one invalid")
    if clean(reply.msg) != reply.msg:
        raise ProtocolError("msg is not valid Unicode")
    body = _dumps({"correct": reply.correct, "score": _score(reply.score), "msg": reply.msg}, "the reply")
    if (
        12 * (len(body) + len(header)) > MAX_REPLY_BYTES
    ):  # four bytes a character, each as %XX: worth counting
        size = len(quote_plus(body)) + len(quote_plus(header))
        if size > MAX_REPLY_BYTES:
            raise ProtocolError(f"the reply is {size} bytes when sent, servers take {MAX_REPLY_BYTES}")
    return body


def _score(score: object) -> int | float:
    if not isinstance(score, int | float):
        raise ProtocolError(f"score must be a number, not {_kind(score)}")
    if score in (0, 1):  # True, 0.0 and -0.0 too
        return int(score)
    if not 0 <= score <= MAX_SCORE:  # not a number either
        raise ProtocolError("score must be finite, not negative and no more than a million")
    return score


def decode_reply(body: object) -> Reply:
    """An xqueue_body as the LMS receives it; numbers as they came.

    Raises:
        ProtocolError: not an object with a boolean `correct`, a finite number `score` and a text `msg`.
    """
    value = _object(body, "xqueue_body")
    correct, score, msg = value.get("correct"), value.get("score"), value.get("msg")
    if not isinstance(correct, bool):
        raise ProtocolError("the reply has no boolean correct")
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise ProtocolError("the reply has no number score")
    if isinstance(score, float) and not math.isfinite(score):
        raise ProtocolError("the reply's score is not finite")
    if not isinstance(msg, str):
        raise ProtocolError("the reply has no text msg")
    return Reply(correct, score, msg)
