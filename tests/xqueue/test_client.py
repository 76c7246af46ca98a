"""The client against legacy servers, and against all that can go wrong on the way to any server."""

from __future__ import annotations

import itertools
import json
import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.xqueue.servers import COOKIES, Seen, Server, answer, detail, legacy, no, ok
from xqueue.client import Dialect, XQueueClient
from xqueue.errors import (
    LoginRefused,
    Misconfigured,
    NotPermitted,
    QueueError,
    ReplyRefused,
    ReplyUncertain,
    ServerError,
    SessionNotKept,
    UnknownQueue,
    Unreachable,
)
from xqueue.protocol import (
    MAX_ANSWER_BYTES,
    Reply,
    encode_body,
    encode_pull,
    encode_reply,
    encode_reply_header,
)

Connect = Callable[..., XQueueClient]

TLS = Path(__file__).with_name("tls")
HEADER = encode_reply_header(7, "k3y")
BODY = encode_reply(Reply(True, 1, "<p>ü &amp; more</p>"))
EMPTY = no("Queue 'q' is empty")
PAGE = (
    "<!DOCTYPE html><html><head><title>Sorry, maintenance</title></head><body>grader-password</body></html>"
)


def pulled() -> bytes:
    body = encode_body(payload="hw1", response="x = 1", student_id="s", submission_time="20261121232143")
    return ok(encode_pull(HEADER, body, {"a.py": "/files/1"}))


def always(data: bytes) -> Callable[[Seen], bytes]:
    return lambda seen: data


# -- The legacy dialect --------------------------------------------------------------------------------------


def test_pull_and_put_over_one_connection_and_one_login(connect: Connect) -> None:
    def then(seen: Seen) -> bytes:
        return pulled() if "get_submission" in seen.path else ok("")

    with Server(legacy(then)) as server:
        client = connect(server.url)
        submission = client.get_submission("q")
        assert submission is not None
        client.put_result(submission.header, BODY)
        for _ in range(20):
            client.get_submission("q")
        assert (submission.submission_id, submission.payload, submission.response) == ("7", "hw1", "x = 1")
        assert client.dialect is Dialect.LEGACY
        assert server.connections == 1
        assert server.paths().count("POST /xqueue/login/") == 1
        put = next(seen for seen in server.seen if "put_result" in seen.path)
        assert put.form == {"xqueue_header": HEADER, "xqueue_body": BODY}
        assert put.headers["x-csrftoken"] == "t0ken"
        assert put.headers["referer"] == f"{server.url}/xqueue/"
        assert put.headers["accept"] == "application/json"


def test_every_path_ends_with_its_slash_and_names_are_quoted(connect: Connect) -> None:
    with Server(legacy(always(no("Queue 'a b&c=ü' is empty")))) as server:
        connect(server.url + "/xqueue/").get_submission("a b&c=ü")
        assert server.seen[-1].path == "/xqueue/get_submission/?queue_name=a+b%26c%3D%C3%BC"


def test_the_session_that_ends_between_is_renewed_for_a_put(connect: Connect) -> None:
    state = {"ended": False}

    def then(seen: Seen) -> bytes:
        if state["ended"]:
            state["ended"] = False
            return answer(
                "", 302, "Location: /xqueue/login/?next=/", 'Set-Cookie: sessionid=""; Max-Age=0; Path=/'
            )
        return ok("")

    with Server(legacy(then)) as server:
        client = connect(server.url)
        client.put_result(HEADER, BODY)
        state["ended"] = True
        client.put_result(HEADER, BODY)
        assert server.seen[-1].form == {"xqueue_header": HEADER, "xqueue_body": BODY}
        assert server.paths().count("POST /xqueue/login/") == 2


def test_the_login_is_made_with_a_clean_jar(connect: Connect) -> None:
    def handler(seen: Seen) -> bytes | None:
        if seen.method == "GET" and not seen.logged_in:
            return answer("", 302, "Location: /xqueue/login/?next=/", "Set-Cookie: sessionid=dead; Path=/")
        return legacy(always(EMPTY))(seen)

    with Server(handler) as server:
        assert connect(server.url).get_submission("q") is None
        login = server.seen[1]
        assert (login.path, login.headers.get("cookie")) == ("/xqueue/login/", None)


def test_login_required_with_200_is_understood_too(connect: Connect) -> None:
    def handler(seen: Seen) -> bytes | None:
        if "login" in seen.path or seen.logged_in:
            return legacy(always(EMPTY))(seen)
        return no("login_required")

    with Server(handler) as server:
        assert connect(server.url).get_submission("q") is None


def test_the_other_name_of_the_csrf_cookie(connect: Connect) -> None:
    cookies = (COOKIES[0], "edx-csrftoken=other; Path=/")
    with Server(legacy(always(ok("")), cookies)) as server:
        connect(server.url).put_result(HEADER, BODY)
        assert server.seen[-1].headers["x-csrftoken"] == "other"


def test_cookies_that_change_with_every_answer_go_back(connect: Connect) -> None:
    count = iter(range(100))

    def then(seen: Seen) -> bytes:
        body = json.dumps({"return_code": 1, "content": "Queue 'q' is empty"})
        return answer(body, 200, f"Set-Cookie: balancer=node{next(count)}; Path=/")

    with Server(legacy(then)) as server:
        client = connect(server.url)
        for _ in range(3):
            client.get_submission("q")
        assert "balancer=node1" in server.seen[-1].headers["cookie"]


def test_the_length_of_a_queue(connect: Connect) -> None:
    with Server(legacy(always(ok(3)))) as server:
        assert connect(server.url).queue_length("q") == 3


@pytest.mark.parametrize(
    ("verb", "data"),
    [
        ("get_submission", no("Queue 'q' not found")),
        ("queue_length", no("Valid queue names are: a, b")),
    ],
)
def test_an_unknown_queue_is_named(connect: Connect, verb: str, data: bytes) -> None:
    with (
        Server(legacy(always(data))) as server,
        pytest.raises(UnknownQueue, match=r"no queue q .*\[queues\]"),
    ):
        getattr(connect(server.url), verb)("q")


def test_a_server_that_cannot_fetch_its_own_files_is_an_error_to_retry(connect: Connect) -> None:
    data = no("Error fetching submission for q. Please try again.")
    with (
        Server(legacy(always(data))) as server,
        pytest.raises(ServerError, match="Please try again") as caught,
    ):
        connect(server.url).get_submission("q")
    assert caught.value.retry


def test_submits_as_an_lms_does(connect: Connect) -> None:
    with Server(legacy(always(ok("4")))) as server:
        client = connect(server.url)
        assert client.submit("q", "{}", callback_url="http://lms/x", lms_key="k") == 4
        header = json.loads(server.seen[-1].form["xqueue_header"])
        assert header == {"lms_callback_url": "http://lms/x", "lms_key": "k", "queue_name": "q"}
        files = {"a b.py": b"print(1)\r\n\x00", "c.py": b""}
        client.submit("q", "{}", callback_url="http://lms/x", lms_key="k", files=files)
        sent = server.seen[-1]
        assert sent.headers["content-type"].startswith("multipart/form-data")
        assert b'name="a b.py"; filename="a b.py"\r\n\r\nprint(1)\r\n\x00\r\n--' in sent.body
        assert b'name="xqueue_body"\r\n\r\n{}\r\n' in sent.body


def test_submitting_to_an_unknown_queue(connect: Connect) -> None:
    with Server(legacy(always(no("Queue 'q' not found")))) as server, pytest.raises(UnknownQueue):
        connect(server.url).submit("q", "{}", callback_url="http://lms/x", lms_key="k")


def test_ping_of_a_legacy_server(connect: Connect) -> None:
    with Server(always(ok("OK"))) as server:
        assert connect(server.url).ping() is Dialect.LEGACY
        assert server.paths() == ["GET /xqueue/status/"]


def test_a_knock_at_a_legacy_server_puts_an_empty_result(connect: Connect) -> None:
    with Server(legacy(always(no("Incorrect reply format")))) as server:
        client = connect(server.url)
        client.knock()
        assert (server.seen[-1].method, server.seen[-1].body) == ("POST", b"")
        assert client.dialect is Dialect.LEGACY
    with Server(legacy(always(answer(PAGE)))) as server, pytest.raises(ServerError):
        connect(server.url).knock()


@pytest.mark.parametrize("content", ["nonsense", {}, 5, None, '{"xqueue_header": "{}"}'])
def test_a_pull_that_cannot_be_answered_is_an_error(connect: Connect, content: object) -> None:
    with (
        Server(legacy(always(ok(content)))) as server,
        pytest.raises(ServerError, match="cannot be answered"),
    ):
        connect(server.url).get_submission("q")


# -- Getting in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cookies", "words"),
    [
        ((), "set no session cookie"),
        ((COOKIES[1],), "set no session cookie"),
        ((COOKIES[0] + "; Secure", COOKIES[1]), "SESSION_COOKIE_SECURE"),
        ((COOKIES[0] + "; Domain=.lms.example.com", COOKIES[1]), "lms.example.com"),
        (("sessionid=unknown; Path=/", COOKIES[1]), "do not share sessions"),
    ],
)
def test_a_session_that_is_not_kept_is_explained(
    connect: Connect, cookies: tuple[str, ...], words: str
) -> None:
    now = [100.0]
    with Server(legacy(always(EMPTY), cookies)) as server:
        client = connect(server.url, clock=lambda: now[0])
        for _ in range(5):
            with pytest.raises(SessionNotKept, match=words) as caught:
                client.get_submission("q")
            with pytest.raises(SessionNotKept):
                client.put_result(HEADER, BODY)
        assert server.paths().count("POST /xqueue/login/") == 1
        assert (caught.value.cause, caught.value.retry) == ("AUTH", False)


def test_the_pause_between_useless_logins_doubles_up_to_a_ceiling(connect: Connect) -> None:
    now = [0.0]
    logins: list[float] = []
    with Server(legacy(always(EMPTY))) as server:
        client = connect(server.url, clock=lambda: now[0], password="wrong")
        for second in range(0, 4000, 5):
            now[0] = float(second)
            before = len(server.seen)
            with pytest.raises(LoginRefused):
                client.get_submission("q")
            if len(server.seen) > before:
                logins.append(now[0])
    gaps = [b - a for a, b in itertools.pairwise(logins)]
    assert gaps == [30, 60, 120, 240, 480, 900, 900, 900]


def test_403_in_a_foreign_language_leads_to_one_login(connect: Connect) -> None:
    def handler(seen: Seen) -> bytes | None:
        if "login" in seen.path or seen.logged_in:
            return legacy(always(EMPTY))(seen)
        return detail("Informations d'authentification non fournies.", 403)

    with Server(handler) as server:
        assert connect(server.url).get_submission("q") is None
        assert server.paths().count("POST /xqueue/login/") == 1


def test_403_in_a_foreign_language_after_the_login_is_a_lack_of_rights(connect: Connect) -> None:
    with (
        Server(legacy(always(detail("Vous n'avez pas la permission.", 403)))) as server,
        pytest.raises(NotPermitted, match=r"pas la permission.*group xqueue"),
    ):
        connect(server.url).get_submission("q")


def test_a_csrf_token_that_is_refused_is_renewed_once(connect: Connect) -> None:
    answers = iter([EMPTY, detail("CSRF Failed: CSRF token missing.", 403), ok("")])
    last = detail("CSRF Failed: Referer checking failed", 403)
    with Server(legacy(lambda seen: next(answers, last))) as server:
        client = connect(server.url)
        client.get_submission("q")
        client.put_result(HEADER, BODY)
        assert server.paths().count("POST /xqueue/login/") == 2
        with pytest.raises(SessionNotKept, match="CSRF_TRUSTED_ORIGINS"):
            client.put_result(HEADER, BODY)
        assert server.paths().count("POST /xqueue/login/") == 3


def test_a_login_that_wants_a_token_gets_one(connect: Connect) -> None:
    def handler(seen: Seen) -> bytes | None:
        if seen.path == "/xqueue/login/" and seen.method == "GET":
            return answer('{"return_code": 0, "content": ""}', 200, "Set-Cookie: csrftoken=first; Path=/")
        if seen.path == "/xqueue/login/" and seen.headers.get("x-csrftoken") != "first":
            return detail("CSRF Failed: CSRF cookie not set.", 403)
        return legacy(always(EMPTY))(seen)

    with Server(handler) as server:
        assert connect(server.url).get_submission("q") is None


def test_basic_auth_in_front_is_passed_and_named_when_it_fails(connect: Connect) -> None:
    def handler(seen: Seen) -> bytes | None:
        if seen.headers.get("authorization") != "Basic ZWR4OsO8":  # edx:ü
            return answer("<h1>401</h1>", 401, 'WWW-Authenticate: Basic realm="x"')
        return legacy(always(EMPTY))(seen)

    with Server(handler) as server:
        assert connect(server.url, basic_auth=("edx", "ü")).get_submission("q") is None
        for wrong in (None, ("edx", "hush")):
            with pytest.raises(LoginRefused, match=r"servers\.lab\.basic_auth_username"):
                connect(server.url, basic_auth=wrong).get_submission("q")


# -- No answer, or a bad one ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (answer(PAGE), ServerError, "Sorry, maintenance"),
        (answer(PAGE, 500), ServerError, "500"),
        (answer(PAGE, 503), ServerError, "503"),
        (answer(PAGE, 403), ServerError, "403"),
        (answer(PAGE, 429), ServerError, "429"),
        (answer(PAGE, 404), Misconfigured, "404.*servers.lab.url"),
        (
            answer("", 301, "Location: https://u:secret@lms.example.org/xqueue/?t=secret"),
            Misconfigured,
            "lms.exam",
        ),
        (answer("", 302, "Location: http://[bad"), Misconfigured, "redirects"),
        (answer(""), ServerError, "not JSON"),
        (answer('{"return_code": 0, "cont'), ServerError, "not JSON"),
        (answer("[]"), ServerError, "list"),
        (answer(b"\xff\xfe\x00"), ServerError, "not JSON"),
        (answer("[" * 100_000), ServerError, "nested"),
        (no("Unable to serialize submission payload", 500), ServerError, "Unable to serialize"),
        (no("something new"), ServerError, "something new"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Unreachable, "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort", Unreachable, "middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Unreachable, "no HTTP|middle"),
        (b"", Unreachable, "without an answer"),
    ],
)
def test_what_is_no_answer_to_a_poll(
    connect: Connect, data: bytes, error: type[QueueError], words: str
) -> None:
    def handler(seen: Seen) -> None:
        seen.wire.send(data)
        seen.wire.end()

    with Server(handler) as server:
        client = connect(server.url)
        with pytest.raises(error, match=words) as caught:
            client.get_submission("q")
        assert type(caught.value) is error
        assert server.url in str(caught.value)
        assert "secret" not in str(caught.value)
        assert "grader-password" not in str(caught.value)
        assert 1 <= len(server.seen) <= 2


@pytest.mark.parametrize(
    ("data", "error", "final"),
    [
        (no("Incorrect key for submission"), ReplyRefused, True),
        (no("Incorrect key for submission", 403), ReplyRefused, True),
        (no("Submission does not exist", 404), ReplyRefused, True),
        (no("Incorrect reply format", 400), ReplyRefused, True),
        (answer(PAGE, 400), ReplyRefused, True),
        (answer(PAGE, 413), ReplyRefused, True),
        (detail("Unsupported media type", 415), ReplyRefused, True),
        (no("Submission is currently being processed", 409), ReplyUncertain, False),
        (answer(PAGE, 500), ReplyUncertain, False),
        (answer(PAGE, 502), ReplyUncertain, False),
        (answer(PAGE), ReplyUncertain, False),
        (answer('{"return_code": 0, "con'), ReplyUncertain, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort", ReplyUncertain, False),
        (b"", ReplyUncertain, False),
        (answer(PAGE, 429), ServerError, False),
        (answer(PAGE, 403), ServerError, False),
        (answer(PAGE, 404), Misconfigured, False),
        (answer("", 301, "Location: https://lms.example.org/"), Misconfigured, False),
        (detail("You do not have permission to perform this action.", 403), NotPermitted, False),
    ],
)
def test_what_an_answer_means_to_a_put(
    connect: Connect, data: bytes, error: type[QueueError], final: bool
) -> None:
    def then(seen: Seen) -> None:
        seen.wire.send(data)
        seen.wire.end()

    with Server(legacy(then)) as server:
        with pytest.raises(error) as caught:
            connect(server.url).put_result(HEADER, BODY)
        assert isinstance(caught.value, ReplyRefused) is final
        # A reply is sent once behind the door, whatever comes back: delivering again is for the journal.
        assert sum(seen.logged_in for seen in server.seen) == 1


def test_a_reset_connection_is_tried_again_for_a_poll_and_not_for_a_put(connect: Connect) -> None:
    resets = [1, 1]

    def then(seen: Seen) -> bytes | None:
        if resets:
            resets.pop()
            seen.wire.reset()
            return None
        return EMPTY

    with Server(legacy(then)) as server:
        client = connect(server.url)
        resets.pop()
        assert client.get_submission("q") is None
        resets.append(1)
        with pytest.raises(ReplyUncertain):
            client.put_result(HEADER, BODY)
        resets += [1, 1]
        with pytest.raises(Unreachable):
            client.get_submission("q")
        assert client.get_submission("q") is None


def test_an_idle_connection_that_the_server_closed_is_no_error_for_a_put(connect: Connect) -> None:
    def then(seen: Seen) -> bytes | None:
        seen.wire.end()
        return ok("")

    with Server(legacy(then)) as server:
        client = connect(server.url)
        for number in range(1, 4):
            client.put_result(HEADER, BODY)
            server.wait_closed(number)
        assert server.connections == 3


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_drips_ends_at_the_deadline(connect: Connect, part: str) -> None:
    def handler(seen: Seen) -> None:
        whole = answer("x" * 100_000)
        split = 0 if part == "head" else whole.index(b"\r\n\r\n") + 4
        seen.wire.send(whole[:split])
        seen.wire.drip(whole[split:], 0.05)

    with Server(handler) as server:
        start = time.monotonic()
        with pytest.raises(Unreachable, match="in time"):
            connect(server.url, pull_timeout_s=0.5).get_submission("q")
        assert 0.4 < time.monotonic() - start < 3
        assert len(server.seen) == 1


def test_a_silent_server_ends_at_the_deadline_of_the_verb(connect: Connect) -> None:
    def then(seen: Seen) -> None:
        seen.wire.stopping.wait(20)
        seen.wire.end()

    with Server(legacy(then)) as server:
        client = connect(server.url, pull_timeout_s=0.3, put_timeout_s=0.8)
        start = time.monotonic()
        with pytest.raises(Unreachable, match="in time"):
            client.get_submission("q")
        middle = time.monotonic()
        with pytest.raises(ReplyUncertain, match="in time"):
            client.put_result(HEADER, BODY)
        assert 0.25 < middle - start < 2
        assert 0.75 < time.monotonic() - middle < 3


def test_an_endless_answer_is_cut_at_its_limit(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xqueue.protocol.MAX_ANSWER_BYTES", 200_000)

    def handler(seen: Seen) -> None:
        seen.wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100_000):
            seen.wire.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")

    with Server(handler) as server, pytest.raises(ServerError, match="longer than 200000"):
        connect(server.url).get_submission("q")


@pytest.mark.parametrize("announced", [True, False])
def test_of_a_hundred_megabytes_no_more_than_the_limit_is_read(connect: Connect, announced: bool) -> None:
    block, sent = b"x" * 0x10000, [0]

    def handler(seen: Seen) -> None:
        length = b"Content-Length: 104857600" if announced else b"Connection: close"
        seen.wire.send(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
        for _ in range(1600):
            seen.wire.send(block)
            sent[0] += len(block)
        seen.wire.end()

    with Server(handler) as server, pytest.raises(ServerError, match=f"longer than {MAX_ANSWER_BYTES}"):
        connect(server.url).get_submission("q")
    most = 0 if announced else MAX_ANSWER_BYTES
    assert sent[0] < most + 16 * 1024 * 1024  # what sockets hold


def test_no_redirect_is_followed_by_any_verb(connect: Connect) -> None:
    with Server(always(ok(""))) as trap:

        def then(seen: Seen) -> bytes:
            return answer("", 302, f"Location: {trap.url}/xqueue/put_result/")

        with Server(legacy(then)) as server:
            client = connect(server.url)
            calls: list[Callable[[], object]] = [
                lambda: client.get_submission("q"),
                lambda: client.queue_length("q"),
                lambda: client.put_result(HEADER, BODY),
                client.knock,
            ]
            for call in calls:
                with pytest.raises(Misconfigured, match="redirects to"):
                    call()
        assert trap.seen == []


def test_the_body_of_a_redirect_is_bounded_too(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xqueue.protocol.MAX_ANSWER_BYTES", 200_000)

    def handler(seen: Seen) -> None:
        seen.wire.send(b"HTTP/1.1 302 X\r\nLocation: /a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100_000):
            seen.wire.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")

    with Server(handler) as server:
        with pytest.raises(ServerError, match="longer than 200000"):
            connect(server.url).get_submission("q")
        assert len(server.seen) == 1


def test_nobody_there_is_unreachable_for_every_verb(connect: Connect) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, so that nobody else gets it, and not listening
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        client = connect(url)
        for call in (
            client.ping,
            lambda: client.get_submission("q"),
            lambda: client.queue_length("q"),
            lambda: client.put_result(HEADER, BODY),
            lambda: client.submit("q", "{}", callback_url="http://lms/x", lms_key="k"),
            lambda: client.fetch_file("/a"),
        ):
            with pytest.raises(Unreachable, match="connection refused") as caught:
                call()
            assert (caught.value.cause, caught.value.retry) == ("QUEUE_UNREACHABLE", True)
            assert url in str(caught.value)


def test_a_connection_that_is_not_accepted_ends_at_the_connect_timeout(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        where = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(where)
        start = time.monotonic()
        with pytest.raises(Unreachable, match="in time"):
            connect(f"http://127.0.0.1:{where[1]}", connect_timeout_s=0.3).get_submission("q")
        assert time.monotonic() - start < 3
        for filler in fillers:
            filler.close()


def test_an_unknown_name_is_named(connect: Connect) -> None:
    with pytest.raises(Unreachable, match="name is not known"):
        connect("http://no-such-host.invalid").get_submission("q")


# -- TLS, and what the environment may not do ----------------------------------------------------------------


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    return context


def test_an_own_ca_is_honoured_and_secure_cookies_hold(connect: Connect, tls: ssl.SSLContext) -> None:
    cookies = tuple(f"{cookie}; Secure" for cookie in COOKIES)
    with Server(legacy(always(EMPTY), cookies), tls) as server:
        client = connect(server.url, verify=str(TLS / "cert.pem"))
        for _ in range(5):
            assert client.get_submission("q") is None
        assert server.connections == 1
        assert server.seen[1].headers["referer"].startswith("https://127.0.0.1:")


def test_a_certificate_that_does_not_verify_is_named(
    connect: Connect, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(TLS / "cert.pem"))  # has no say
    monkeypatch.setenv("CURL_CA_BUNDLE", str(TLS / "cert.pem"))
    with Server(legacy(always(EMPTY)), tls) as server:
        with pytest.raises(Unreachable, match=r"certificate.*servers\.lab\.ca_file"):
            connect(server.url).get_submission("q")
        with pytest.raises(Unreachable, match="certificate"):
            connect(server.url).put_result(HEADER, BODY)
        assert server.seen == []


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_verification_can_be_switched_off_for_a_laboratory(connect: Connect, tls: ssl.SSLContext) -> None:
    with Server(legacy(always(EMPTY)), tls) as server:
        assert connect(server.url, verify=False).get_submission("q") is None


def test_https_to_a_port_that_speaks_http_is_named(connect: Connect) -> None:
    with Server(always(EMPTY)) as server, pytest.raises(Unreachable, match="TLS"):
        connect(server.url.replace("http:", "https:")).get_submission("q")


def test_a_ca_file_that_is_not_there_is_a_matter_of_configuration(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"servers\.lab\.ca_file"):
        connect("https://127.0.0.1", verify=str(tmp_path / "none.pem"))


def test_a_ca_file_that_holds_no_certificate_is_a_matter_of_configuration(
    connect: Connect, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with Server(always(EMPTY), tls) as server, pytest.raises(QueueError, match=r"servers\.lab\.ca_file"):
        connect(server.url, verify=str(tmp_path / "ca.pem")).get_submission("q")


def test_proxies_and_netrc_of_the_environment_have_no_say(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password evil\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Server(legacy(always(EMPTY))) as server:
        client = connect(server.url)
        assert client.get_submission("q") is None
        client.fetch_file("/a")
        assert not any("authorization" in seen.headers for seen in server.seen)


# -- Secrets -------------------------------------------------------------------------------------------------


def test_no_secret_stands_in_a_message_a_repr_or_a_traceback(connect: Connect) -> None:
    secrets = ("grader-password", "basic-secret", "s3ss10n", "t0ken", "k3y")

    def then(seen: Seen) -> bytes:
        return answer(PAGE.replace("Sorry", "Sorry grader-password"), 500)

    with Server(legacy(then)) as server:
        client = connect(server.url, basic_auth=("edx", "basic-secret"))
        calls: list[Callable[[], object]] = [
            lambda: client.get_submission("q"),
            lambda: client.put_result(HEADER, BODY),
            lambda: client.fetch_file("http://127.0.0.1:1/x?Signature=k3y"),
            lambda: client.fetch_file("http://eve:k3y@127.0.0.1/x"),
        ]
        for call in calls:
            with pytest.raises(QueueError) as caught:
                call()
            assert caught.value.__suppress_context__ or caught.value.__context__ is None
            text = repr(caught.value) + str(client) + repr(client) + repr(client._access)
            assert not re.search("|".join(secrets), text)
