"""What an answer means: a table, and no input that breaks it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xqueue.answer import Dialect, Meaning, judge
from xqueue.transport import HttpAnswer


def said(status: int, body: object, **headers: str) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


HTML = b"<html><title>403 Forbidden</title></html>"


@pytest.mark.parametrize(
    ("http", "meaning", "dialect"),
    [
        # The five meanings of 403.
        (
            said(403, {"detail": "Authentication credentials were not provided."}),
            Meaning.NOT_LOGGED_IN,
            Dialect.LMS,
        ),
        (
            said(403, {"detail": "You do not have permission to perform this action."}),
            Meaning.NOT_PERMITTED,
            Dialect.LMS,
        ),
        (said(403, {"detail": "CSRF Failed: CSRF token missing."}), Meaning.CSRF, Dialect.LMS),
        (
            said(403, {"return_code": 1, "content": "Incorrect key for submission"}),
            Meaning.NO,
            Dialect.UNKNOWN,
        ),
        (said(403, HTML), Meaning.NONE, Dialect.UNKNOWN),
        # And the rest.
        (said(403, {"detail": "Keine Berechtigung."}), Meaning.DENIED, Dialect.LMS),
        (said(401, {"detail": "Keine Anmeldedaten."}), Meaning.NOT_LOGGED_IN, Dialect.LMS),
        (said(401, HTML, WWW_Authenticate='Basic realm="edx"'), Meaning.BASIC_AUTH, Dialect.UNKNOWN),
        (
            said(401, {"return_code": 1, "content": "Incorrect login credentials"}),
            Meaning.NO,
            Dialect.UNKNOWN,
        ),
        (said(302, b"", Location="/xqueue/login/?next=/xqueue/"), Meaning.NOT_LOGGED_IN, Dialect.LEGACY),
        (said(302, b"", Location="https://h/xqueue/login/"), Meaning.NOT_LOGGED_IN, Dialect.LEGACY),
        (said(302, b"", Location="https://h/sorry"), Meaning.MOVED, Dialect.UNKNOWN),
        (said(301, b"", Location="/xqueue/login/"), Meaning.MOVED, Dialect.UNKNOWN),
        (said(302, b""), Meaning.MOVED, Dialect.UNKNOWN),
        (said(200, {"return_code": 1, "content": "login_required"}), Meaning.NOT_LOGGED_IN, Dialect.LEGACY),
        (said(200, {"return_code": 1, "content": "Queue 'q' is empty"}), Meaning.NO, Dialect.UNKNOWN),
        (said(200, {"return_code": 0, "content": ""}), Meaning.OK, Dialect.UNKNOWN),
        (said(500, {"return_code": 0, "content": ""}), Meaning.NO, Dialect.UNKNOWN),
        (said(200, {"return_code": 0}), Meaning.NONE, Dialect.UNKNOWN),
        (said(405, {"detail": 'Method "GET" not allowed.'}), Meaning.NO_METHOD, Dialect.LMS),
        (said(404, HTML), Meaning.NOT_FOUND, Dialect.UNKNOWN),
        (said(500, HTML), Meaning.NONE, Dialect.UNKNOWN),
        (said(200, HTML), Meaning.NONE, Dialect.UNKNOWN),
        (said(200, b"return_codecontent"), Meaning.NONE, Dialect.UNKNOWN),
    ],
)
def test_the_meaning_of_an_answer(http: HttpAnswer, meaning: Meaning, dialect: Dialect) -> None:
    answer = judge(http)
    assert (answer.meaning, answer.dialect) == (meaning, dialect)


def test_a_page_is_told_by_its_title_on_one_line() -> None:
    page = b"<TITLE lang=x>\n Bad\x1b[31m\r\n gateway \xff</TITLE>"
    assert judge(said(502, page)).text == "Bad [31m gateway \ufffd"


@given(st.integers(100, 599), st.binary() | st.text().map(str.encode), st.text(), st.text())
def test_no_answer_breaks_the_judge(status: int, body: bytes, location: str, realm: str) -> None:
    answer = judge(said(status, body, Location=location, WWW_Authenticate=realm))
    assert (answer.text + answer.where).isprintable()
