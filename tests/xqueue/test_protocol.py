"""The codec: every shape that PROTOCOL lists, in both directions."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xqueue import protocol
from xqueue.errors import ProtocolError
from xqueue.protocol import (
    Envelope,
    Reply,
    ReplyHeader,
    SubmitHeader,
    decode_envelope,
    decode_files,
    decode_reply,
    decode_reply_header,
    decode_submission,
    decode_submit_header,
    encode_body,
    encode_envelope,
    encode_pull,
    encode_reply,
    encode_reply_header,
    encode_submit_header,
)

HEADER = '{"submission_id":  5, "submission_key": "abc", "more": 1}'  # spaces that json.dumps would not write
INFO = {"anonymous_student_id": "s1", "submission_time": "20261121232143", "random_seed": 42}
BODY = {"grader_payload": '{"grader": "g.py"}', "student_info": json.dumps(INFO), "student_response": "x = 1"}

texts = st.text(st.characters(codec="utf-8"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def content(body: object = None, files: object = "{}", header: object = HEADER) -> dict[str, object]:
    body = BODY if body is None else body
    return {
        "xqueue_header": header,
        "xqueue_body": json.dumps(body) if isinstance(body, dict) else body,
        "xqueue_files": files,
    }


def body(**change: object) -> dict[str, object]:
    return {**BODY, **change}


def test_a_pull_of_texts_within_texts_is_decoded() -> None:
    submission = decode_submission("q", json.dumps(content()))
    assert (submission.queue, submission.submission_id, submission.submission_key) == ("q", "5", "abc")
    assert (submission.payload, submission.response) == ('{"grader": "g.py"}', "x = 1")
    assert (submission.student_key, submission.random_seed) == ("s1", 42)
    assert submission.submitted_at == 1795303303.0
    assert (dict(submission.files), submission.problem) == ({}, "")


def test_the_same_as_objects_is_the_same() -> None:
    whole = {"xqueue_header": HEADER, "xqueue_body": body(student_info=INFO), "xqueue_files": {}}
    assert decode_submission("q", whole).response == "x = 1"
    assert decode_submission("q", whole).student_key == "s1"


def test_a_header_that_came_as_text_goes_back_unchanged() -> None:
    assert decode_submission("q", content()).header == HEADER


def test_a_header_that_came_as_object_goes_back_as_its_json() -> None:
    header = {"submission_id": "7", "submission_key": "k", "more": [1]}
    submission = decode_submission("q", content(header=header))
    assert (submission.submission_id, json.loads(submission.header)) == ("7", header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "not JSON",
        "[1]",
        "{}",
        '{"submission_id": 1}',
        '{"submission_key": "k"}',
        '{"submission_id": true, "submission_key": "k"}',
        '{"submission_id": null, "submission_key": "k"}',
        '{"submission_id": 1, "submission_key": null}',
        '{"submission_id": 1, "submission_key": 2}',
        '{"submission_id": "", "submission_key": "k"}',
        '{"submission_id": 1, "submission_key": "k", "x": "\ud800"}',
        '{"submission_id": ' + "1" * 5000 + ', "submission_key": "k"}',
    ],
)
def test_what_cannot_be_answered_is_an_error(header: object) -> None:
    with pytest.raises(ProtocolError):
        decode_submission("q", content(header=header))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("", {}),
        (None, {}),
        ("{}", {}),
        ({}, {}),
        ('{"a.py": "/media/1"}', {"a.py": "/media/1"}),
        ({"../b": "https://h/2?x=y"}, {"../b": "https://h/2?x=y"}),
    ],
)
def test_every_shape_of_files_is_read(files: object, expected: dict[str, str]) -> None:
    assert decode_files(files) == expected
    assert dict(decode_submission("q", content(files=files)).files) == expected


@pytest.mark.parametrize(
    "files", ["[]", "5", "not JSON", {"a": 1}, {"a": None}, {f"f{i}": "/" for i in range(101)}]
)
def test_files_that_cannot_be_read_leave_a_problem_to_answer(files: object) -> None:
    submission = decode_submission("q", content(files=files))
    assert "xqueue_files" in submission.problem
    assert submission.submission_id == "5"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (None, ""),
        ("", ""),
        ("  week1/hw1 \n", "  week1/hw1 \n"),
        ('{"grader": "x"}', '{"grader": "x"}'),
        ({"grader": "x"}, '{"grader": "x"}'),
        (["a"], '["a"]'),
    ],
)
def test_every_shape_of_payload_is_text(payload: object, expected: str) -> None:
    assert decode_submission("q", content(body(grader_payload=payload))).payload == expected


def test_an_absent_payload_is_empty() -> None:
    without = {name: value for name, value in BODY.items() if name != "grader_payload"}
    submission = decode_submission("q", content(without))
    assert (submission.payload, submission.problem) == ("", "")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("", ""),
        ("ü\r\n\t", "ü\r\n\t"),
        (None, ""),
        ({"a": [1, 2]}, '{"a": [1, 2]}'),
        (3, "3"),
        ("\ud83d\ude00", "😀"),
        ("lone \ud800 one", "lone \ufffd one"),
    ],
)
def test_every_response_is_text(response: object, expected: str) -> None:
    submission = decode_submission("q", content(body(student_response=response)))
    assert (submission.response, submission.problem) == (expected, "")


@pytest.mark.parametrize(
    "text",
    ["", "not JSON", "null", "[1]", "5", '"x"', "{}", '{"grader_payload": "x"}', "[" * 100_000, None, 5],
    ids=lambda text: repr(text)[:20],
)
def test_a_body_that_cannot_be_read_leaves_a_problem_to_answer(text: object) -> None:
    submission = decode_submission("q", {"xqueue_header": HEADER, "xqueue_body": text})
    assert submission.problem
    assert (submission.header, submission.response) == (HEADER, "")


def test_a_response_that_is_too_long_leaves_a_problem_to_answer() -> None:
    limit = protocol.MAX_RESPONSE_CHARS
    assert decode_submission("q", content(body(student_response="x" * limit))).problem == ""
    submission = decode_submission("q", content(body(student_response="x" * (limit + 1))))
    assert "student_response" in submission.problem
    assert len(submission.response) == limit


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("20261121232143", 1795303303.0),
        ("1795302751", 1795302751.0),
        ("1795302751.5", 1795302751.5),
        (1795302751, 1795302751.0),
        ("20261399999999", None),
        ("", None),
        ("yesterday", None),
        ("nan", None),
        ("-5", None),
        (None, None),
        (True, None),
        ([], None),
        (10**400, None),
    ],
)
def test_both_kinds_of_submission_time(time: object, expected: float | None) -> None:
    info = {**INFO, "submission_time": time}
    assert decode_submission("q", content(body(student_info=info))).submitted_at == expected


@pytest.mark.parametrize(
    ("seed", "expected"), [(42, 42), ("42", 42), (None, 1), ("x", 1), ([], 1), (1.5, 1), (2**70, 1), (-3, -3)]
)
def test_a_seed_is_a_number_or_one(seed: object, expected: int) -> None:
    info = {**INFO, "random_seed": seed}
    assert decode_submission("q", content(body(student_info=info))).random_seed == expected


@pytest.mark.parametrize("info", [None, "", "not JSON", "[]", [], 5, "{}", {}])
def test_a_student_info_that_cannot_be_read_is_no_problem(info: object) -> None:
    submission = decode_submission("q", content(body(student_info=info)))
    assert (submission.student_key, submission.submitted_at, submission.random_seed) == ("", None, 1)
    assert (submission.problem, submission.response) == ("", "x = 1")


def test_the_digest_is_of_body_and_files_and_not_of_the_key() -> None:
    other_key = decode_submission("q", content(header='{"submission_id": 5, "submission_key": "new"}'))
    first = decode_submission("q", content())
    assert first.body_digest == other_key.body_digest
    assert first.body_digest != decode_submission("q", content(body(student_response="x = 2"))).body_digest
    assert first.body_digest != decode_submission("q", content(files='{"a": "/a"}')).body_digest


@given(st.text())
@example("\ud800")
def test_no_content_of_text_raises_anything_else(text: str) -> None:
    for decode in (
        lambda t: decode_submission("q", t),
        decode_reply_header,
        decode_submit_header,
        decode_reply,
    ):
        with contextlib.suppress(ProtocolError):
            decode(text)


@given(st.binary())
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode_envelope(raw)


@given(json_values, json_values, json_values, json_values)
def test_a_pull_of_any_values_can_be_answered(body: Any, files: Any, payload: Any, info: Any) -> None:
    for xqueue_body in (
        body,
        json.dumps(body),
        {"grader_payload": payload, "student_info": info, "student_response": body},
    ):
        whole = {"xqueue_header": HEADER, "xqueue_body": xqueue_body, "xqueue_files": files}
        submission = decode_submission("q", whole)
        assert submission.header == HEADER
        # Whatever it is, it can be written down: to a database, to a file.
        (submission.payload + submission.response + submission.student_key + submission.problem).encode()
        json.dumps(dict(submission.files)).encode()


@given(texts, texts, texts, st.integers(-(2**63), 2**63 - 1), st.dictionaries(texts, texts, max_size=5))
def test_what_the_server_encodes_the_client_decodes(
    payload: str, response: str, student: str, seed: int, files: dict[str, str]
) -> None:
    header = encode_reply_header(17, "key")
    text = encode_body(
        payload=payload,
        response=response,
        student_id=student,
        submission_time="20261121232143",
        random_seed=seed,
    )
    answer = encode_envelope(0, encode_pull(header, text, files))
    assert answer.isascii()
    submission = decode_submission("q", decode_envelope(answer.encode()).content)
    assert (submission.header, submission.payload, submission.response) == (header, payload, response)
    assert (submission.student_key, submission.random_seed, submission.files) == (student, seed, files)
    assert (submission.submission_id, submission.submission_key) == ("17", "key")
    assert submission.problem == ""


@given(texts, texts, texts)
def test_a_submit_header_comes_back(url: str, key: str, queue: str) -> None:
    header = SubmitHeader(url, key, queue)
    assert decode_submit_header(encode_submit_header(header)) == header


@given(st.integers(0, 10**30), texts)
def test_a_reply_header_comes_back(number: int, key: str) -> None:
    assert decode_reply_header(encode_reply_header(number, key)) == ReplyHeader(str(number), key)


@given(st.booleans(), st.floats(0, 1e6) | st.integers(0, 100), texts.filter(bool))
def test_a_reply_comes_back(correct: bool, score: float, msg: str) -> None:
    text = encode_reply(Reply(correct, score, msg))
    assert text.isascii()
    assert decode_reply(text) == Reply(correct, score, msg)


def test_texts_are_written_as_a_legacy_server_writes_them() -> None:
    assert encode_envelope(0, "ü") == '{"return_code": 0, "content": "\\u00fc"}'
    assert encode_reply(Reply(False, 0.5, "ü")) == '{"correct": false, "score": 0.5, "msg": "\\u00fc"}'


@pytest.mark.parametrize(
    ("score", "text"), [(0, "0"), (1, "1"), (0.0, "0"), (-0.0, "0"), (1.0, "1"), (True, "1"), (0.25, "0.25")]
)
def test_nought_and_one_are_sent_as_integers(score: float, text: str) -> None:
    assert f'"score": {text},' in encode_reply(Reply(True, score, "<p/>"))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(1, 1, "<p/>"),  # type: ignore[arg-type]
        Reply("false", 1, "<p/>"),  # type: ignore[arg-type]
        Reply(True, math.nan, "<p/>"),
        Reply(True, math.inf, "<p/>"),
        Reply(True, -1, "<p/>"),
        Reply(True, "1", "<p/>"),  # type: ignore[arg-type]
        Reply(True, None, "<p/>"),  # type: ignore[arg-type]
        Reply(True, 1, ""),
        Reply(True, 1, "\ud800"),
        Reply(True, 1, None),  # type: ignore[arg-type]
        Reply(True, 10**5000, "<p/>"),
        Reply(True, 1, "<" * (protocol.MAX_REPLY_BYTES // 3)),
    ],
)
def test_a_reply_that_a_server_would_not_take_is_not_sent(reply: Reply) -> None:
    with pytest.raises(ProtocolError):
        encode_reply(reply)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"correct": "yes", "score": 1, "msg": ""}',
        '{"correct": true, "score": true, "msg": ""}',
        '{"correct": true, "score": NaN, "msg": ""}',
        '{"correct": true, "score": 1}',
    ],
)
def test_a_reply_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ProtocolError):
        decode_reply(text)


def test_both_kinds_of_answer_are_envelopes() -> None:
    assert decode_envelope('{"return_code": 1, "content": "no"}') == Envelope(1, "no")
    assert decode_envelope('{"return_code":0,"content":3}') == Envelope(0, 3)
    assert decode_envelope('{"detail": "denied"}').text == "denied"


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>", b"[]", b"{}", b'{"return_code": true, "content": 1}', b'{"return_code": 0', b"\xff"],
)
def test_what_is_no_envelope_is_an_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_envelope(raw)
