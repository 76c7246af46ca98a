"""The client against the LMS's own queue server, the real one: edx-submissions on PostgreSQL."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.xqueue.real.lab_process import Lab
from tests.xqueue.servers import Seen, Server, answer
from xqueue.client import Dialect, XQueueClient
from xqueue.errors import (
    FileUnavailable,
    LoginRefused,
    Misconfigured,
    NotPermitted,
    ReplyRefused,
    ReplyUncertain,
    ServerError,
    SessionNotKept,
)
from xqueue.protocol import Reply, Submission, encode_reply

Connect = Callable[..., XQueueClient]

TLS = Path(__file__).with_name("tls")
GOOD = encode_reply(Reply(True, 1, "<div>well done</div>"))
_names = itertools.count()


@pytest.fixture
def queue() -> str:
    """A queue that nobody else uses."""
    return f"queue-{next(_names)}"


def pull(client: XQueueClient, queue: str) -> Submission:
    submission = client.get_submission(queue)
    assert submission is not None
    return submission


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"


def test_logs_in_when_first_needed_and_once(lab: Lab, connect: Connect, queue: str) -> None:
    client = connect(lab.url)
    assert client.get_submission(queue) is None
    assert client.get_submission(queue) is None
    assert client.dialect is Dialect.LMS
    path = "GET /xqueue/get_submission/"
    assert lab.control("requests") == [path, "POST /xqueue/login/", path, path]


def test_pulls_a_submission_as_the_lms_queued_it(lab: Lab, connect: Connect, queue: str) -> None:
    number = lab.control("enqueue", queue=queue, answer="print('ü')\n", grader="week1/grader.py")
    submission = pull(connect(lab.url), queue)
    assert submission.submission_id == str(number)
    assert submission.submission_key == lab.control("state", submission=number)["key"]
    assert json.loads(submission.header)["submission_id"] == number
    assert json.loads(submission.payload) == {"grader": "week1/grader.py"}
    assert submission.response == "print('ü')\n"
    assert submission.student_key.startswith("student-")
    assert submission.submitted_at is not None
    assert submission.submitted_at > 1.7e9
    assert (submission.random_seed, dict(submission.files), submission.problem) == (1, {}, "")


def test_an_answer_that_is_no_text_comes_as_json(lab: Lab, connect: Connect, queue: str) -> None:
    lab.control("enqueue", queue=queue, answer={"a": [1, 2]})
    assert json.loads(pull(connect(lab.url), queue).response) == {"a": [1, 2]}


def test_puts_a_result_and_the_lms_hears_of_it(lab: Lab, connect: Connect, queue: str) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    client.put_result(pull(client, queue).header, GOOD)
    state = lab.control("state", submission=number)
    assert (state["status"], state["scores"]) == ("retired", [[1, 1]])
    assert [event["score_msg"] for event in lab.control("events")] == [GOOD]
    assert client.get_submission(queue) is None


@pytest.mark.parametrize(
    ("score", "points", "stored"),
    [(0, 1, 0), (0.0, 10, 0), (1, 1, 1), (1.0, 10, 10), (True, 10, 10), (0.5, 10, 5), (0.51, 1, 1)],
)
def test_what_becomes_of_a_score(
    lab: Lab, connect: Connect, queue: str, score: float, points: int, stored: int
) -> None:
    number = lab.control("enqueue", queue=queue, answer="1", points=points)
    client = connect(lab.url)
    client.put_result(pull(client, queue).header, encode_reply(Reply(score == 1, score, "<p>x</p>")))
    state = lab.control("state", submission=number)
    assert (state["status"], state["scores"], state["failures"]) == ("retired", [[stored, points]], 0)


def test_a_score_that_the_server_cannot_use_is_why_the_codec_refuses_it(
    lab: Lab, connect: Connect, queue: str
) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    first = pull(client, queue)
    client.put_result(first.header, '{"correct": true, "score": -1, "msg": "<p>x</p>"}')  # says OK
    assert lab.control("state", submission=number)["status"] == "retry"
    again = pull(client, queue)
    assert again.submission_id == first.submission_id
    assert again.submission_key != first.submission_key
    assert again.body_digest == first.body_digest
    with pytest.raises(ReplyRefused, match="Incorrect key"):
        client.put_result(first.header, GOOD)
    client.put_result(again.header, GOOD)
    assert lab.control("state", submission=number)["scores"] == [[1, 1]]


def test_a_message_of_a_megabyte_of_markup_arrives_whole(lab: Lab, connect: Connect, queue: str) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    body = encode_reply(Reply(False, 0, "<p>" + "&lt;" * 200_000 + "</p>"))
    client.put_result(pull(client, queue).header, body)
    assert lab.control("state", submission=number)["reply"] == body


def test_a_reply_over_the_servers_size_is_refused_for_good(lab: Lab, connect: Connect, queue: str) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    header = pull(client, queue).header
    with pytest.raises(ReplyRefused, match="larger"):
        client.put_result(header, json.dumps({"correct": True, "score": 1, "msg": "<" * 1_000_000}))
    assert lab.control("state", submission=number)["status"] == "pulled"


def test_put_twice_is_uncertain_and_changes_nothing(lab: Lab, connect: Connect, queue: str) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    header = pull(client, queue).header
    client.put_result(header, GOOD)
    with pytest.raises(ReplyUncertain, match="may have been accepted"):
        client.put_result(header, encode_reply(Reply(False, 0, "<p>other</p>")))
    assert lab.control("state", submission=number)["reply"] == GOOD


def test_a_put_that_times_out_is_uncertain_and_was_accepted(lab: Lab, connect: Connect, queue: str) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url, put_timeout_s=0.3)
    header = pull(client, queue).header
    lab.control("switch", score_sleep_s=1.5)
    with pytest.raises(ReplyUncertain, match="no complete answer in time"):
        client.put_result(header, GOOD)
    patient = connect(lab.url)
    with pytest.raises(ReplyUncertain, match="500"):  # the first is still running
        patient.put_result(header, GOOD)
    wait_until(lambda: lab.control("state", submission=number)["status"] == "retired")
    with pytest.raises(ReplyUncertain, match="500"):  # the first is through
        patient.put_result(header, GOOD)
    assert lab.control("state", submission=number)["scores"] == [[1, 1]]


def test_a_course_that_fails_rolls_the_result_back(lab: Lab, connect: Connect, queue: str) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    first = pull(client, queue)
    lab.control("switch", score_raises=True)
    with pytest.raises(ReplyUncertain, match="500"):
        client.put_result(first.header, GOOD)
    lab.control("switch")
    lab.control("age", submission=number, minutes=6)
    again = pull(client, queue)  # after five minutes it is handed out again, with the same key
    assert again.header == first.header
    client.put_result(again.header, GOOD)
    assert lab.control("state", submission=number)["status"] == "retired"


def test_a_result_that_the_lms_cannot_take_blocks_the_queue_until_it_is_set_aside(
    lab: Lab, connect: Connect, queue: str
) -> None:
    stuck = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    header = pull(client, queue).header
    lab.control("switch", score_raises=True)
    with pytest.raises(ReplyUncertain):
        client.put_result(header, GOOD)
    lab.control("age", submission=stuck, minutes=6)
    other = lab.control("enqueue", queue=queue, answer="2")
    for _ in range(3):  # at every poll, and nothing else
        assert pull(client, queue).header == header
    client.set_aside(header)
    state = lab.control("state", submission=stuck)
    assert (state["status"], state["failures"], state["scores"]) == ("retry", 1, [])
    assert lab.control("events") == []
    assert pull(client, queue).submission_id == str(other)
    again = pull(client, queue)
    assert (again.submission_id, again.header != header) == (str(stuck), True)
    for failures in range(2, 6):
        client.set_aside(again.header)
        state = lab.control("state", submission=stuck)
        assert (state["status"], state["failures"]) == ("failed" if failures == 5 else "retry", failures)
        if failures < 5:
            again = pull(client, queue)
    assert client.get_submission(queue) is None
    assert connect(lab.url).dialect is Dialect.UNKNOWN
    with pytest.raises(ServerError, match="only that sets aside"):
        connect(lab.url).set_aside(header)


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({"submission_key": "wrong"}, GOOD),
        ({"submission_id": 987654321}, GOOD),
        ({}, "not JSON"),
        ({}, ""),
    ],
    ids=["wrong key", "unknown submission", "body not JSON", "empty body"],
)
def test_what_the_server_will_never_take_is_refused(
    lab: Lab, connect: Connect, queue: str, change: dict[str, object], body: str
) -> None:
    lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    header = json.dumps({**json.loads(pull(client, queue).header), **change})
    with pytest.raises(ReplyRefused) as caught:
        client.put_result(header, body)
    assert (caught.value.cause, caught.value.retry) == ("REPLY_REFUSED", False)


def test_a_session_that_ended_is_renewed_for_a_pull(lab: Lab, connect: Connect, queue: str) -> None:
    client = connect(lab.url)
    client.get_submission(queue)
    lab.control("end_sessions")
    lab.control("requests")
    number = lab.control("enqueue", queue=queue, answer="1")
    assert pull(client, queue).submission_id == str(number)
    assert lab.control("requests").count("POST /xqueue/login/") == 1


def test_a_session_that_ended_is_renewed_for_a_put_with_the_new_token(
    lab: Lab, connect: Connect, queue: str
) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    header = pull(client, queue).header
    lab.control("end_sessions")
    client.put_result(header, GOOD)
    assert lab.control("state", submission=number)["status"] == "retired"


def test_a_key_pulled_by_one_client_is_good_for_another(lab: Lab, connect: Connect, queue: str) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    header = pull(connect(lab.url), queue).header
    connect(lab.url).put_result(header, GOOD)
    assert lab.control("state", submission=number)["status"] == "retired"


def test_a_wrong_password_is_named_and_not_tried_again_at_once(
    lab: Lab, connect: Connect, queue: str
) -> None:
    now = [0.0]
    client = connect(lab.url, clock=lambda: now[0], password="wrong-secret")
    for _ in range(5):
        with pytest.raises(
            LoginRefused, match=r"Incorrect login credentials.*servers\.lab\.username"
        ) as caught:
            client.get_submission(queue)
        assert "wrong-secret" not in str(caught.value)
    assert lab.control("requests").count("POST /xqueue/login/") == 1
    now[0] = 31.0
    with pytest.raises(LoginRefused):
        client.get_submission(queue)
    assert lab.control("requests").count("POST /xqueue/login/") == 1


def test_a_user_outside_the_group_is_told_so(lab: Lab, connect: Connect, queue: str) -> None:
    client = connect(lab.url, username="outsider", password="outsider-password")
    for _ in range(3):
        with pytest.raises(NotPermitted, match="group xqueue"):
            client.get_submission(queue)
    assert lab.control("requests").count("POST /xqueue/login/") == 1


def test_a_user_put_into_the_group_needs_no_restart(lab: Lab, connect: Connect, queue: str) -> None:
    client = connect(lab.url)
    lab.control("group", user="grader", member=False)
    with pytest.raises(NotPermitted):
        client.get_submission(queue)
    lab.control("group", user="grader", member=True)
    assert client.get_submission(queue) is None


@pytest.mark.parametrize(
    ("switch", "words"),
    [
        ({"cookie_secure": True}, "SESSION_COOKIE_SECURE.*servers.lab.url"),
        ({"cookie_domain": "lms.example.com"}, "lms.example.com.*not for 127.0.0.1"),
    ],
    ids=["secure", "domain"],
)
def test_a_session_cookie_that_does_not_come_back_is_named_without_a_login_storm(
    lab: Lab, connect: Connect, queue: str, switch: dict[str, object], words: str
) -> None:
    lab.control("switch", **switch)
    now = [0.0]
    client = connect(lab.url, clock=lambda: now[0])
    for _ in range(10):
        with pytest.raises(SessionNotKept, match=words):
            client.get_submission(queue)
    assert lab.control("requests").count("POST /xqueue/login/") == 1
    lab.control("switch")
    now[0] = 31.0
    assert client.get_submission(queue) is None


def test_https_in_front_with_secure_cookies_and_the_referer_that_django_then_wants(
    lab: Lab, connect: Connect, queue: str
) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    lab.control("switch", cookie_secure=True)

    def forward(seen: Seen) -> bytes:
        with requests.Session() as session:
            session.trust_env = False
            headers = {**seen.headers, "x-forwarded-proto": "https"}
            reply = session.request(
                seen.method,
                lab.url + seen.path,
                headers=headers,
                data=seen.body,
                allow_redirects=False,
                timeout=20,
            )
            cookies = [f"Set-Cookie: {line}" for line in reply.raw.headers.getlist("set-cookie")]
            return answer(reply.content, reply.status_code, *cookies, kind=reply.headers["Content-Type"])

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    with Server(forward, context) as proxy:
        client = connect(proxy.url, verify=str(TLS / "cert.pem"))
        client.put_result(pull(client, queue).header, GOOD)
    assert lab.control("state", submission=number)["status"] == "retired"


def test_the_length_of_a_queue_is_not_to_be_had_and_not_asked_for_twice(
    lab: Lab, connect: Connect, queue: str
) -> None:
    client = connect(lab.url)
    client.get_submission(queue)
    lab.control("requests")
    assert client.queue_length(queue) is None
    assert client.queue_length(queue) is None
    assert lab.control("requests") == ["GET /xqueue/get_queuelen/"]


def test_submitting_over_http_is_refused_with_the_reason(lab: Lab, connect: Connect, queue: str) -> None:
    with pytest.raises(Misconfigured, match="the LMS queues them itself"):
        connect(lab.url).submit(queue, "{}", callback_url="http://127.0.0.1/x", lms_key="k")


def test_ping_needs_no_login(lab: Lab, connect: Connect) -> None:
    assert connect(lab.url, password="wrong").ping() is Dialect.LMS
    assert lab.control("requests") == ["GET /xqueue/status/"]


def raw(lab: Lab) -> requests.Session:
    """A session without our client's manners, logged in."""
    session = requests.Session()
    session.trust_env = False
    login = session.post(
        f"{lab.url}/xqueue/login/", data={"username": "grader", "password": "grader-password"}, timeout=10
    )
    assert login.status_code == 200
    return session


NO_QUEUE = "'get_submission' must provide parameter 'queue_name'"
BAD_REPLY = "Incorrect reply format"

# method, path, form, what comes back: status, and the content or detail ("" = a page, or anything)
ANSWERS: list[tuple[str, str, dict[str, object] | None, int, str]] = [
    ("GET", "", None, 200, ""),
    ("GET", "login/", None, 200, ""),
    ("GET", "login", None, 301, ""),
    ("POST", "put_result", {}, 301, ""),
    ("GET", "status/", None, 405, 'Method "GET" not allowed.'),
    ("GET", "logout/", None, 405, 'Method "GET" not allowed.'),
    ("GET", "get_queuelen/", None, 404, ""),
    ("POST", "submit/", {}, 404, ""),
    ("GET", "get_submission/", None, 400, NO_QUEUE),
    ("GET", "get_submission/?queue_name=", None, 400, NO_QUEUE),
    ("GET", "get_submission/?queue_name=zzz", None, 200, "Queue 'zzz' is empty"),
    ("POST", "get_submission/?queue_name=zzz", {}, 405, 'Method "POST" not allowed.'),
    ("POST", "put_result/", {}, 400, BAD_REPLY),
    ("POST", "put_result/", {"xqueue_header": "no json", "xqueue_body": "{}"}, 400, BAD_REPLY),
    (
        "POST",
        "put_result/",
        {"xqueue_header": '{"submission_id": null}', "xqueue_body": "{}"},
        400,
        BAD_REPLY,
    ),
    (
        "POST",
        "put_result/",
        {"xqueue_header": '{"submission_id": 987654, "submission_key": "k"}', "xqueue_body": "{}"},
        404,
        "Submission does not exist",
    ),
    (
        "POST",
        "put_result/",
        {"xqueue_header": '{"submission_id": null, "submission_key": "k"}', "xqueue_body": "{}"},
        500,
        "",
    ),
]


@pytest.mark.parametrize(("method", "path", "form", "status", "words"), ANSWERS)
def test_the_server_answers_as_documented(
    lab: Lab, method: str, path: str, form: dict[str, object] | None, status: int, words: str
) -> None:
    with raw(lab) as session:
        headers = {"X-CSRFToken": session.cookies["csrftoken"], "Accept": "application/json"}
        url = f"{lab.url}/xqueue/{path}"
        said = session.request(method, url, data=form, headers=headers, allow_redirects=False, timeout=10)
    assert said.status_code == status
    if words:
        assert words in (said.json().get("content"), said.json().get("detail"))
    elif status >= 300:
        assert not said.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("url", "form", "status", "words"),
    [
        ("login/", {"username": "grader", "password": "wrong"}, 401, "Incorrect login credentials"),
        ("login/", {"username": "grader"}, 400, "Insufficient login info"),
        ("logout/", {}, 403, "Authentication credentials were not provided."),
        ("put_result/", {}, 403, "Authentication credentials were not provided."),
    ],
)
def test_a_stranger_is_answered_as_documented(
    lab: Lab, url: str, form: dict[str, str], status: int, words: str
) -> None:
    said = requests.post(f"{lab.url}/xqueue/{url}", data=form, timeout=10)
    assert said.status_code == status
    assert words in (said.json().get("content"), said.json().get("detail"))


def test_a_page_is_not_to_be_had_so_we_ask_for_json(lab: Lab) -> None:
    where = f"{lab.url}/xqueue/get_submission/"
    assert requests.get(where, headers={"Accept": "text/html"}, timeout=10).status_code in (403, 406)
    with raw(lab) as session:
        assert session.get(where, headers={"Accept": "text/html"}, timeout=10).status_code == 406


@pytest.mark.parametrize("body", ["[1]", "5", "null", '"x"'])
def test_json_that_is_no_object_is_500_and_still_pulled(
    lab: Lab, connect: Connect, queue: str, body: str
) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    header = pull(client, queue).header
    with pytest.raises(ReplyUncertain, match="500"):
        client.put_result(header, body)
    assert lab.control("state", submission=number)["status"] == "pulled"
    client.put_result(header, GOOD)
    assert lab.control("state", submission=number)["status"] == "retired"


@pytest.mark.parametrize(
    "body",
    [
        f'{{"correct": true, "score": {score}, "msg": "x"}}'
        for score in ("null", '""', "[]", "{}", '"abc"', "NaN", "-1")
    ]
    + ['{"correct": true, "msg": "x"}'],
)
def test_a_score_that_is_of_no_use_says_yes_and_comes_again(
    lab: Lab, connect: Connect, queue: str, body: str
) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    client.put_result(pull(client, queue).header, body)
    state = lab.control("state", submission=number)
    assert (state["status"], state["failures"], state["scores"]) == ("retry", 1, [])


@pytest.mark.parametrize(("score", "points", "stored"), [(2, 1, 2), (5, 10, 50), (0.49, 10, 5), (7.5, 1, 8)])
def test_nothing_is_clamped_to_the_points_of_the_problem(
    lab: Lab, connect: Connect, queue: str, score: float, points: int, stored: int
) -> None:
    number = lab.control("enqueue", queue=queue, answer="1", points=points)
    client = connect(lab.url)
    client.put_result(pull(client, queue).header, encode_reply(Reply(True, score, "<p>x</p>")))
    assert lab.control("state", submission=number)["scores"] == [[stored, points]]


@pytest.mark.parametrize("more", [{"grader": "g" * 129, "answer": "1"}, {"answer": "x" * 110_000}])
def test_what_is_too_long_fails_in_the_lms_and_never_comes(
    lab: Lab, connect: Connect, queue: str, more: dict[str, str]
) -> None:
    with pytest.raises(requests.HTTPError):
        lab.control("enqueue", queue=queue, **more)
    assert connect(lab.url).get_submission(queue) is None


def test_403_has_meanings_that_only_the_body_tells_apart_and_each_its_next_step(
    lab: Lab, connect: Connect, queue: str
) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    header = pull(client, queue).header
    put, form = f"{lab.url}/xqueue/put_result/", {"xqueue_header": header, "xqueue_body": GOOD}
    said: list[str] = []
    with raw(lab) as session:
        token = session.cookies["csrftoken"]
        tokens: tuple[dict[str, str], ...] = ({}, {"X-CSRFToken": "x" * 64})
        for headers in tokens:
            refused = session.post(put, data=form, headers=headers, timeout=10)
            said.append(f"{refused.status_code} {refused.json()['detail']}")
        wrong = {**form, "xqueue_header": json.dumps({**json.loads(header), "submission_key": "wrong"})}
        refused = session.post(put, data=wrong, headers={"X-CSRFToken": token}, timeout=10)
        said.append(f"{refused.status_code} {refused.json()['content']}")
    anonymous = requests.get(f"{lab.url}/xqueue/get_submission/", params={"queue_name": queue}, timeout=10)
    said.append(f"{anonymous.status_code} {anonymous.json()['detail']}")
    assert [one.split(":")[0] for one in said] == [
        "403 CSRF Failed",
        "403 CSRF Failed",
        "403 Incorrect key for submission",
        "403 Authentication credentials were not provided.",
    ]
    # CSRF: one login with a clean jar, and again.
    client._session.own.cookies.clear("127.0.0.1", "/", "csrftoken")
    client._session._forget_prepared()
    lab.control("requests")
    client.put_result(header, GOOD)
    assert lab.control("requests").count("POST /xqueue/login/") == 1
    assert lab.control("state", submission=number)["status"] == "retired"
    # A wrong key is final, and no reason to log in.
    lab.control("requests")
    with pytest.raises(ReplyRefused, match="Incorrect key"):
        client.put_result(wrong["xqueue_header"], GOOD)
    assert lab.control("requests") == ["POST /xqueue/put_result/"]


def test_a_login_beside_a_live_session_is_refused_so_the_jar_is_cleared_first(
    lab: Lab, connect: Connect, queue: str
) -> None:
    with raw(lab) as session:
        form = {"username": "grader", "password": "grader-password"}
        again = session.post(f"{lab.url}/xqueue/login/", data=form, timeout=10)
        assert (again.status_code, again.json()["detail"]) == (403, "CSRF Failed: CSRF token missing.")
    client = connect(lab.url)
    client.knock()
    client._session.login()
    assert client.get_submission(queue) is None


def test_a_knock_tells_whether_a_poll_would_get_in_and_pulls_nothing(
    lab: Lab, connect: Connect, queue: str
) -> None:
    number = lab.control("enqueue", queue=queue, answer="1")
    client = connect(lab.url)
    client.knock()
    assert client.dialect is Dialect.LMS
    assert any(line.startswith("sessionid=") for line in client.login_cookies)
    assert lab.control("state", submission=number)["status"] == "pending"
    assert "GET /xqueue/get_submission/" not in lab.control("requests")
    with pytest.raises(NotPermitted, match="group xqueue") as caught:
        connect(lab.url, username="outsider", password="outsider-password").knock()
    assert caught.value.mend == "on the LMS the user must be in the group xqueue"
    lab.control("end_sessions")
    client.knock()


def test_files_come_with_their_own_names_and_contents(lab: Lab, connect: Connect, queue: str) -> None:
    files = {"../../etc/x.py": "import this\n", "sp ace&<>'.txt": "ü" * 1000}
    lab.control("enqueue", queue=queue, answer="1", files=files)
    client = connect(lab.url)
    found = pull(client, queue).files
    assert {name: client.fetch_file(url).decode() for name, url in found.items()} == files


def test_a_file_that_is_gone_or_too_large_is_unavailable(lab: Lab, connect: Connect, queue: str) -> None:
    lab.control("enqueue", queue=queue, answer="1", files={"a": "x" * 1001})
    client = connect(lab.url)
    url = pull(client, queue).files["a"]
    assert len(client.fetch_file(url, limit_bytes=1001)) == 1001
    with pytest.raises(FileUnavailable, match="over 1000 bytes"):
        client.fetch_file(url, limit_bytes=1000)
    with pytest.raises(FileUnavailable, match="404"):
        client.fetch_file("/media/no/such")
    assert client.get_submission(queue) is None  # and the client is as good as before


def test_four_clients_at_once_share_a_queue_out_without_doubles(
    lab: Lab, connect: Connect, queue: str
) -> None:
    numbers = {str(lab.control("enqueue", queue=queue, answer=str(i))) for i in range(12)}
    found: list[str] = []

    def drain(client: XQueueClient) -> None:
        while (submission := client.get_submission(queue)) is not None:
            found.append(submission.submission_id)
            client.put_result(submission.header, GOOD)

    threads = [threading.Thread(target=drain, args=[connect(lab.url)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(found) == sorted(numbers)
