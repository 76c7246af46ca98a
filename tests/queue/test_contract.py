"""The legacy XQueue's documented answers, row by row, from a real server over real HTTP."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from typing import Any

import pytest

from tests.queue.lab import PASSWORD, USER, Server, Session


def ok(content: object) -> dict[str, object]:
    return {"return_code": 0, "content": content}


def no(content: str) -> dict[str, object]:
    return {"return_code": 1, "content": content}


BAD_SUBMIT = no("Queue request has invalid format")
BAD_REPLY = no("Incorrect reply format")
NO_SUBMISSION = no("Submission does not exist")
LOGIN_INFO = no("Insufficient login info")
URL = "http://127.0.0.1/x"


def header(**members: object) -> dict[str, str]:
    return {"xqueue_header": json.dumps(members), "xqueue_body": "{}"}


def submit_header(**changes: object) -> dict[str, str]:
    members = {"lms_callback_url": URL, "lms_key": "k", "queue_name": "nope"} | changes
    return header(**{name: value for name, value in members.items() if value is not ...})


# what is asked: method, path, form -> what is answered: an envelope, or the status of a page
WITHOUT_A_SESSION: list[tuple[str, str, Any, dict[str, object] | int]] = [
    ("GET", "/xqueue/status/", None, ok("OK")),
    ("POST", "/xqueue/status/", {}, 403),
    ("GET", "/xqueue/login/", None, no("login_required")),
    ("POST", "/xqueue/login/", {"username": USER, "password": "wrong"}, no("Incorrect login credentials")),
    ("POST", "/xqueue/login/", {"username": "nobody", "password": "x"}, no("Incorrect login credentials")),
    ("POST", "/xqueue/login/", {}, LOGIN_INFO),
    ("POST", "/xqueue/login/", {"username": USER}, LOGIN_INFO),
    ("POST", "/xqueue/login/", {"password": PASSWORD}, LOGIN_INFO),
    ("POST", "/xqueue/login/", json.dumps({"username": USER, "password": PASSWORD}), LOGIN_INFO),
    ("GET", "/xqueue/logout/", None, ok("Goodbye")),
    ("POST", "/xqueue/logout/", {}, ok("Goodbye")),
    ("POST", "/xqueue/get_submission/?queue_name=a", {}, 403),
    ("GET", "/xqueue/nothing/", None, 404),
    ("GET", "/xqueue/", None, 404),
    ("GET", "/", None, 404),
    ("GET", "/xqueue-files/0123456789abcdef0123456789abcdef", None, 404),
    ("GET", "/xqueue-files/..%2Fxqueue.sqlite3", None, 404),
    ("GET", "/xqueue-files/../xqueue.sqlite3", None, 404),
]

WITH_A_SESSION: list[tuple[str, str, Any, dict[str, object] | int]] = [
    ("GET", "/xqueue/login/", None, no("login_required")),
    ("GET", "/xqueue/get_queuelen/?queue_name=a", None, ok(0)),
    ("GET", "/xqueue/get_queuelen/", None, no("'get_queuelen' must provide parameter 'queue_name'")),
    ("GET", "/xqueue/get_queuelen/?queue_name=zzz", None, no("Valid queue names are: a, b")),
    ("POST", "/xqueue/get_queuelen/?queue_name=a", {}, 403),
    ("GET", "/xqueue/get_submission/?queue_name=a", None, no("Queue 'a' is empty")),
    ("GET", "/xqueue/get_submission/?queue_name=zzz", None, no("Queue 'zzz' not found")),
    ("GET", "/xqueue/get_submission/?queue_name=", None, no("Queue '' not found")),
    (
        "GET",
        "/xqueue/get_submission/?queue_name=%27%3Cb%3E%ff%00",
        None,
        no("Queue ''<b>\ufffd\0' not found"),
    ),
    ("GET", "/xqueue/get_submission/", None, no("'get_submission' must provide parameter 'queue_name'")),
    ("POST", "/xqueue/get_submission/?queue_name=a", {}, 403),
    ("HEAD", "/xqueue/get_submission/?queue_name=a", None, 405),
    ("GET", "/xqueue/put_result/", None, no("'put_result' must use HTTP POST")),
    ("POST", "/xqueue/put_result/", {}, BAD_REPLY),
    ("POST", "/xqueue/put_result/", {"xqueue_body": "{}"}, BAD_REPLY),
    (
        "POST",
        "/xqueue/put_result/",
        {"xqueue_header": '{"submission_id": 1, "submission_key": ""}'},
        BAD_REPLY,
    ),
    ("POST", "/xqueue/put_result/", json.dumps(header(submission_id=1, submission_key="x")), BAD_REPLY),
    ("POST", "/xqueue/put_result/", {"xqueue_header": "no json", "xqueue_body": "{}"}, BAD_REPLY),
    ("POST", "/xqueue/put_result/", {"xqueue_header": "[1]", "xqueue_body": "{}"}, BAD_REPLY),
    ("POST", "/xqueue/put_result/", {"xqueue_header": "[" * 9000, "xqueue_body": "{}"}, BAD_REPLY),
    ("POST", "/xqueue/put_result/", {"xqueue_header": "9" * 9000, "xqueue_body": "{}"}, BAD_REPLY),
    ("POST", "/xqueue/put_result/", header(submission_id=1), BAD_REPLY),
    ("POST", "/xqueue/put_result/", header(submission_key="x"), BAD_REPLY),
    ("POST", "/xqueue/put_result/", header(submission_id="seven", submission_key="x"), BAD_REPLY),
    ("POST", "/xqueue/put_result/", header(submission_id="", submission_key="x"), BAD_REPLY),
    ("POST", "/xqueue/put_result/", header(submission_id=None, submission_key="x"), BAD_REPLY),
    ("POST", "/xqueue/put_result/", header(submission_id=[1], submission_key="x"), BAD_REPLY),
    ("POST", "/xqueue/put_result/", header(submission_id=True, submission_key="x"), BAD_REPLY),
    ("POST", "/xqueue/put_result/", header(submission_id=999999, submission_key="x"), NO_SUBMISSION),
    ("POST", "/xqueue/put_result/", header(submission_id="999999", submission_key="x"), NO_SUBMISSION),
    ("POST", "/xqueue/put_result/", header(submission_id=-1, submission_key="x"), NO_SUBMISSION),
    ("POST", "/xqueue/put_result/", header(submission_id=0, submission_key="x"), NO_SUBMISSION),
    ("POST", "/xqueue/put_result/", header(submission_id=10**400, submission_key="x"), NO_SUBMISSION),
    ("POST", "/xqueue/put_result/", header(submission_id="9" * 900, submission_key="x"), NO_SUBMISSION),
    ("GET", "/xqueue/submit/", None, no("Queue requests should use HTTP POST")),
    ("POST", "/xqueue/submit/", {}, BAD_SUBMIT),
    ("POST", "/xqueue/submit/", {"xqueue_header": submit_header()["xqueue_header"]}, BAD_SUBMIT),
    ("POST", "/xqueue/submit/", {"xqueue_body": "{}"}, BAD_SUBMIT),
    ("POST", "/xqueue/submit/", {"xqueue_header": "{", "xqueue_body": "{}"}, BAD_SUBMIT),
    ("POST", "/xqueue/submit/", {"xqueue_header": "null", "xqueue_body": "{}"}, BAD_SUBMIT),
    ("POST", "/xqueue/submit/", json.dumps(submit_header(queue_name="a")), BAD_SUBMIT),
    ("POST", "/xqueue/submit/", submit_header(lms_callback_url=...), BAD_SUBMIT),
    ("POST", "/xqueue/submit/", submit_header(lms_callback_url=None), BAD_SUBMIT),
    ("POST", "/xqueue/submit/", submit_header(lms_key=...), BAD_SUBMIT),
    ("POST", "/xqueue/submit/", submit_header(queue_name=...), BAD_SUBMIT),
    ("POST", "/xqueue/submit/", submit_header(lms_key="x" * 20_000), BAD_SUBMIT),
    ("POST", "/xqueue/submit/", submit_header(), no("Queue 'nope' not found")),
    (
        "POST",
        "/xqueue/submit/",
        submit_header(queue_name="a", lms_callback_url="http://intranet/x"),
        no("Callbacks to host 'intranet' are not allowed"),
    ),
    (
        "POST",
        "/xqueue/submit/",
        submit_header(queue_name="a", lms_callback_url="http://lms.example.org/x"),
        no("Callbacks to host 'lms.example.org' are not allowed"),
    ),
    (
        "POST",
        "/xqueue/submit/",
        submit_header(queue_name="a", lms_callback_url="file:///etc/passwd"),
        no("The callback URL is neither http:// nor https://"),
    ),
    (
        "POST",
        "/xqueue/submit/",
        submit_header(queue_name="a", lms_callback_url="http://127.0.0.1/\r\nx: y"),
        no("The callback URL has characters that no URL has"),
    ),
    (
        "POST",
        "/xqueue/submit/",
        submit_header(queue_name="a", lms_callback_url="http://[::1/x"),
        no("The callback URL cannot be read"),
    ),
]


def check(client: Session, method: str, path: str, form: Any, expected: dict[str, object] | int) -> None:
    answer = client.send(method, path, data=form)
    if isinstance(expected, int):
        assert answer.status_code == expected
        return
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.json() == expected


@pytest.mark.parametrize(("method", "path", "form", "expected"), WITHOUT_A_SESSION)
def test_a_stranger_is_answered_as_documented(
    stranger: Session, method: str, path: str, form: Any, expected: dict[str, object] | int
) -> None:
    check(stranger, method, path, form, expected)


@pytest.mark.parametrize(("method", "path", "form", "expected"), WITH_A_SESSION)
def test_a_user_is_answered_as_documented(
    session: Session, method: str, path: str, form: Any, expected: dict[str, object] | int
) -> None:
    check(session, method, path, form, expected)


@pytest.mark.parametrize(
    ("method", "path", "location"),
    [
        ("GET", "/xqueue/get_submission/?queue_name=a", "/xqueue/get_submission/%3Fqueue_name%3Da"),
        ("GET", "/xqueue/get_queuelen/", "/xqueue/get_queuelen/"),
        ("POST", "/xqueue/put_result/", "/xqueue/put_result/"),
        ("GET", "/xqueue/put_result/", "/xqueue/put_result/"),
        ("POST", "/xqueue/submit/", "/xqueue/submit/"),
    ],
)
@pytest.mark.parametrize("cookie", ["", "sessionid=" + "0" * 48, 'sessionid="\\377";;=,'])
def test_without_a_living_session_one_is_sent_to_log_in(
    stranger: Session, method: str, path: str, location: str, cookie: str
) -> None:
    headers = {"Cookie": cookie, "Authorization": "Basic d2FyZGVuOm9wZW4gc2VzYW1l"}
    answer = stranger.send(method, path, headers={name: value for name, value in headers.items() if value})
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/xqueue/login/?next=" + location
    assert answer.content == b""
    if cookie:
        deleted = SimpleCookie(answer.headers["Set-Cookie"])["sessionid"]
        assert deleted["max-age"] == "0"
    else:
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "verb", ["login", "logout", "status", "submit", "get_queuelen", "get_submission", "put_result"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_missing_slash_is_redirected(stranger: Session, verb: str, method: str) -> None:
    answer = stranger.send(method, f"/xqueue/{verb}?a=b&c")
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"/xqueue/{verb}/?a=b&c"


def test_a_login_sets_both_cookies_and_a_logout_ends_the_session(server: Server) -> None:
    with server.session(login=False) as one, server.session() as other:
        answer = one.post("/xqueue/login/", {"username": USER, "password": PASSWORD})
        assert answer.json() == ok("Logged in")
        cookies = SimpleCookie()
        for line in answer.raw.headers.getlist("Set-Cookie"):
            cookies.load(line)
        assert set(cookies) == {"csrftoken", "sessionid"}
        assert cookies["sessionid"]["httponly"]
        assert cookies["sessionid"]["samesite"].lower() == "lax"
        assert cookies["sessionid"]["max-age"] == str(14 * 86400)
        assert not cookies["csrftoken"]["httponly"]
        assert one.length() == 0
        token = one.http.cookies["sessionid"]
        assert one.get("/xqueue/logout/").json() == ok("Goodbye")
        assert "sessionid" not in one.http.cookies
        one.http.cookies.set("sessionid", token)
        assert one.get("/xqueue/get_queuelen/?queue_name=a").status_code == 302
        assert other.length() == 0  # the other session of the same user lives on


def test_basic_auth_beside_a_session_is_ignored(session: Session) -> None:
    headers = {"Authorization": "Basic d3Jvbmc6d3Jvbmc="}
    answer = session.send("GET", "/xqueue/get_queuelen/?queue_name=a", headers=headers)
    assert answer.json() == ok(0)


def test_a_key_pulled_in_one_session_may_be_used_in_another(server: Server, session: Session) -> None:
    assert session.submit("a") == ok("1")
    pulled = session.pull("a")
    assert pulled is not None
    with server.session() as other:
        assert other.put(pulled["xqueue_header"]) == ok("")


@pytest.mark.parametrize("body", ["", "not JSON", "[]", '{"score": 1}', "raw \0 nul", '{"correct": "maybe"}'])
def test_a_reply_is_not_looked_at(session: Session, body: str) -> None:
    session.submit("b")
    pulled = session.pull("b")
    assert pulled is not None
    assert session.put(pulled["xqueue_header"], body) == ok("")


def test_a_pull_has_texts_within_texts(session: Session) -> None:
    session.submit("b", body='{"grader_payload": "x"}')
    envelope = session.get("/xqueue/get_submission/?queue_name=b").json()
    assert envelope["return_code"] == 0
    pulled = json.loads(envelope["content"])
    assert set(pulled) == {"xqueue_header", "xqueue_body", "xqueue_files"}
    assert all(isinstance(value, str) for value in pulled.values())
    header = json.loads(pulled["xqueue_header"])
    assert (type(header["submission_id"]), type(header["submission_key"])) == (int, str)
    assert pulled["xqueue_files"] == "{}"
    for number in (header["submission_id"], str(header["submission_id"])):  # 5 or "5", and more is fine
        again = json.dumps({**header, "submission_id": number, "more": 1})
        assert session.put(again) == ok("")


def test_an_lms_that_follows_the_redirect_reads_login_required(stranger: Session) -> None:
    answer = stranger.http.post(stranger.url + "/xqueue/submit/", data={"xqueue_header": "{}"}, timeout=10)
    assert answer.json() == no("login_required")


def test_only_the_hashes_of_passwords_and_tokens_are_on_disk(server: Server, session: Session) -> None:
    token = session.http.cookies["sessionid"]
    stored = b"".join(path.read_bytes() for path in server.data.glob("xqueue.sqlite3*"))
    assert b"scrypt$" in stored
    assert PASSWORD.encode() not in stored
    assert token.encode() not in stored
    for path in (server.data, *server.data.iterdir()):
        assert not path.stat().st_mode & 0o077
