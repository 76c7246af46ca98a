"""What holds for the codec whatever bytes come in: one function for hypothesis and for atheris.

Runs in: tools (the tests, and `.venv-fuzz`).

The first byte of the input chooses what the rest is taken for, so that a fuzzer that follows coverage gets
everywhere; the rest of it is the input of one reader. An answer is a value or ProtocolError, never anything
else; and what was read can be answered and written down.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

from xqueue.answer import judge
from xqueue.errors import ProtocolError
from xqueue.filenames import sanitise_file_names
from xqueue.protocol import (
    Reply,
    Submission,
    decode_envelope,
    decode_files,
    decode_reply,
    decode_reply_header,
    decode_submission,
    decode_submit_header,
    encode_envelope,
    encode_pull,
    encode_reply,
    encode_reply_header,
    encode_submit_header,
)
from xqueue.transport import HttpAnswer

HEADER = json.dumps({"submission_id": 5, "submission_key": "key"})
BODY = json.dumps(
    {
        "grader_payload": json.dumps({"grader": "a/grader.py"}),
        "student_info": json.dumps(
            {"anonymous_student_id": "x", "submission_time": "20261121232143", "random_seed": 1}
        ),
        "student_response": "x = 1",
    }
)
STATUSES = (200, 200, 301, 302, 400, 401, 403, 404, 405, 409, 500, 503)


def pulled(submission: Submission) -> None:
    """Whatever was pulled has an id and a key to answer under, and can be stored."""
    if not submission.submission_id or not isinstance(submission.header, str):
        raise AssertionError(f"cannot be answered: {submission!r}")
    for text in (submission.payload, submission.response, submission.student_key, submission.problem):
        text.encode("utf-8")
    json.dumps(dict(submission.files)).encode("utf-8")
    names = sanitise_file_names(submission.files)
    if len(set(names.values())) != len(submission.files):
        raise AssertionError("two files have one name")
    if any("/" in name or name in ("", ".", "..") or "\0" in name for name in names.values()):
        raise AssertionError(f"a file's name leads elsewhere: {names!r}")
    again = decode_submission(submission.queue, {"xqueue_header": submission.header, "xqueue_body": BODY})
    if (again.submission_id, again.submission_key) != (submission.submission_id, submission.submission_key):
        raise AssertionError("its header says something else when it is read again")


def _whole(text: str) -> None:
    pulled(decode_submission("q", decode_envelope(text).content))


def _content(text: str) -> None:
    pulled(decode_submission("q", text))


def _header(text: str) -> None:
    pulled(decode_submission("q", encode_pull(text, BODY, {})))
    header = decode_reply_header(text)
    if header.submission_id.isdecimal() and len(header.submission_id) < 18:
        again = decode_reply_header(encode_reply_header(int(header.submission_id), header.submission_key))
        if int(again.submission_id) != int(header.submission_id):
            raise AssertionError("the header changed")


def _body(text: str) -> None:
    submission = decode_submission("q", encode_pull(HEADER, text, {}))
    pulled(submission)


def _files(text: str) -> None:
    files = decode_files(text)
    pulled(decode_submission("q", encode_pull(HEADER, BODY, files)))


def _submit(text: str) -> None:
    header = decode_submit_header(text)
    if decode_submit_header(encode_submit_header(header)) != header:
        raise AssertionError(f"comes back otherwise: {header!r}")


def _reply(text: str) -> None:
    reply = decode_reply(text)
    if decode_reply(encode_reply(reply)) != reply:
        raise AssertionError(f"comes back otherwise: {reply!r}")


def _message(text: str) -> None:
    sent = decode_reply(encode_reply(Reply(True, 1, text)))
    if sent.msg != text:
        raise AssertionError("the message changed")


def _envelope(text: str) -> None:
    found = decode_envelope(text)
    if found.return_code is not None:
        again = decode_envelope(encode_envelope(found.return_code, found.content))
        if again.return_code != found.return_code:
            raise AssertionError("the return code changed")


READERS: tuple[Callable[[str], None], ...] = (
    _whole,
    _content,
    _header,
    _body,
    _files,
    _submit,
    _reply,
    _message,
    _envelope,
)


def one(raw: bytes) -> None:
    """Everything that must hold for one input.

    Raises:
        Exception: it does not hold.
    """
    if not raw:
        return
    which, rest = raw[0], raw[1:]
    answer = HttpAnswer(STATUSES[which % len(STATUSES)], {"Location": rest[:200].decode("latin-1")}, rest)
    judge(answer)
    with contextlib.suppress(ProtocolError):
        decode_envelope(rest)
    # Both what is no UTF-8 and lone surrogates reach the readers, as texts.
    text = rest.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ProtocolError):
        READERS[which % len(READERS)](text)


def seeds() -> list[bytes]:
    """Inputs from which a fuzzer may start: one that is right for each reader."""
    envelope = encode_envelope(0, encode_pull(HEADER, BODY, {"a.py": "/files/1"}))
    submit = json.dumps({"lms_callback_url": "http://lms/x", "lms_key": "k", "queue_name": "q"})
    right = (
        envelope,
        encode_pull(HEADER, BODY, {"a.py": "/files/1"}),
        HEADER,
        BODY,
        json.dumps({"a.py": "/files/1", "../b": "http://files/2"}),
        submit,
        json.dumps({"correct": True, "score": 0.5, "msg": "<p>ü</p>"}),
        "<p>\U0001f600</p>",
        envelope,
    )
    return [bytes([number]) + text.encode() for number, text in enumerate(right)]
