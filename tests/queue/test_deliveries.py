"""Results on their way to the LMS: delivered once, tried until acknowledged, through restarts, too."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.queue.lab import REPLY, Server, Session, a_server, an_lms, wait_until
from xqueue.service.store import History, Row


def rows(server: Server, queue: str = "a") -> list[Row]:
    with History(server.data) as history:
        return history.rows(queue)


def answered(session: Session, url: str, key: str = "k") -> dict[str, object]:
    """Submits, pulls and answers one submission; what was pulled."""
    session.submit("a", url, key=key)
    pulled = session.pull()
    assert pulled is not None
    began = time.monotonic()
    assert session.put(pulled["xqueue_header"]) == {"return_code": 0, "content": ""}
    assert time.monotonic() - began < 3  # a put never waits for the LMS (its timeout is 5 s)
    return pulled


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_lms_gets_its_own_header_and_the_reply_unchanged(server: Server, session: Session) -> None:
    with an_lms() as lms:
        url = f"{lms.url}/courses/course-v1:X+Y+Z/xqueue/5/block@1/score_update?x=%2F"
        header = json.dumps({"queue_name": "a", "lms_key": "ä", "lms_callback_url": url, "more": 1}, indent=1)
        form = {"xqueue_header": header, "xqueue_body": "{}"}
        assert session.post("/xqueue/submit/", form).json()["return_code"] == 0
        pulled = session.pull()
        assert pulled is not None
        reply = "any\r\n text & + % ü \x01 " + REPLY
        session.put(pulled["xqueue_header"], reply)
        wait_until(lambda: lms.calls)
        path, headers, got = lms.calls[0]
        assert lms.url + path == url
        assert headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert "Authorization" not in headers
        assert "Cookie" not in headers
        assert got == {"xqueue_header": [header], "xqueue_body": [reply]}
        wait_until(lambda: rows(server)[0].state == "delivered")


def test_a_second_put_with_the_right_key_calls_nobody(server: Server, session: Session) -> None:
    with an_lms() as lms:
        pulled = answered(session, lms.url + "/once")
        for _ in range(3):
            assert session.put(str(pulled["xqueue_header"]), "other text")["return_code"] == 0
        wait_until(lambda: rows(server)[0].state == "delivered")
        answered(session, lms.url + "/after")
        wait_until(lambda: "/after" in lms.paths())
        assert lms.paths() == ["/once", "/after"]
        assert rows(server)[1].reply == REPLY


def test_an_lms_that_refuses_twice_is_asked_again(server: Server, session: Session) -> None:
    with an_lms(lambda path, number: 500 if number < 3 else 200) as lms:
        answered(session, lms.url + "/later")
        wait_until(lambda: rows(server)[0].state == "delivered")
        assert lms.paths() == ["/later"] * 3
        assert rows(server)[0].failures == 2
        assert session.pull() is None  # a graded submission is never handed out again


def test_redirects_are_no_acknowledgement(server: Server, session: Session) -> None:
    with an_lms(lambda path, number: 302 if number == 1 else 200) as lms:
        answered(session, lms.url + "/moved")
        wait_until(lambda: rows(server)[0].state == "delivered")
        assert len(lms.calls) == 2


def test_one_refused_result_does_not_hold_up_the_others(server: Server, session: Session) -> None:
    with an_lms(lambda path, number: 404 if path == "/bad" else 200) as lms:
        answered(session, lms.url + "/bad")
        wait_until(lambda: lms.calls)
        for number in range(5):
            answered(session, f"{lms.url}/good{number}")
        wait_until(lambda: {f"/good{number}" for number in range(5)} <= set(lms.paths()), 5)
        bad = rows(server)[5]
        assert (bad.state, bad.last_error) == ("answered", "HTTP 404")
        assert bad.next_try_at is not None


def test_a_silent_lms_blocks_neither_puts_nor_other_lmses(server: Server, session: Session) -> None:
    with an_lms(lambda path, number: 0) as silent, an_lms() as lms:
        for number in range(6):
            answered(session, f"{silent.url}/{number}")
        wait_until(lambda: silent.calls)
        answered(session, lms.url + "/quick")
        wait_until(lambda: lms.calls, 4)  # less than the silent one's timeout


def test_an_lms_that_was_down_gets_everything_when_it_comes_back(server: Server, session: Session) -> None:
    port = free_port()
    for number in range(10):
        answered(session, f"http://127.0.0.1:{port}/{number}")
    assert {row.state for row in rows(server)[:10]} == {"answered"}
    wait_until(lambda: any(row.last_error for row in rows(server)[:10]))
    with an_lms(port=port) as lms:
        wait_until(lambda: {row.state for row in rows(server)[:10]} == {"delivered"}, 40)
        assert set(lms.paths()) == {f"/{number}" for number in range(10)}
    assert {row.failures for row in rows(server)[:10]} == {0}


def test_what_was_put_is_delivered_after_a_kill(tmp_path: Path) -> None:
    port = free_port()
    with a_server(tmp_path) as server, server.session() as session:
        for number in range(5):
            answered(session, f"http://127.0.0.1:{port}/{number}")
        session.submit("a", "", body="waiting")
        session.submit("b", "", body="in hand", files={"f": ("f", b"kept")})
        in_hand = session.pull("b")
        assert in_hand is not None
        cookie = session.http.cookies["sessionid"]
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
    with an_lms(port=port) as lms, a_server(tmp_path) as server, server.session(login=False) as session:
        wait_until(lambda: len(lms.calls) >= 5)
        assert sorted(lms.paths()) == [f"/{number}" for number in range(5)]
        assert all(form["xqueue_body"] == [REPLY] for _, _, form in lms.calls)
        session.http.cookies.set("sessionid", cookie)  # sessions live on
        pulled = session.pull()
        assert pulled is not None
        assert pulled["xqueue_body"] == "waiting"
        assert session.get(json.loads(in_hand["xqueue_files"])["f"]).content == b"kept"
        assert session.put(in_hand["xqueue_header"])["return_code"] == 0  # its key is still right


def test_a_result_refused_too_often_is_kept_and_can_be_tried_again(tmp_path: Path) -> None:
    with an_lms(lambda path, number: 500 if number < 3 else 200) as lms:
        with a_server(tmp_path, "--max-failed-deliveries", "2") as server, server.session() as session:
            answered(session, lms.url + "/x")
            wait_until(lambda: rows(server)[0].state == "undeliverable")
            assert rows(server)[0].reply == REPLY
            assert server.end() == 0
        with a_server(tmp_path, "--retry-undeliverable") as server:
            wait_until(lambda: rows(server)[0].state == "delivered")
        assert len(lms.calls) == 3


def test_a_result_without_a_callback_url_is_kept(server: Server, session: Session) -> None:
    answered(session, "")
    assert (rows(server)[0].state, rows(server)[0].reply) == ("kept", REPLY)


def test_basic_auth_is_sent_to_the_lms(tmp_path: Path) -> None:
    secret = tmp_path / "lms-password"
    secret.write_text("pass")
    secret.chmod(0o600)
    options = ("--callback-user", "edx", "--callback-password-file", str(secret))
    with an_lms() as lms, a_server(tmp_path, *options) as server, server.session() as session:
        answered(session, lms.url + "/x")
        wait_until(lambda: lms.calls)
        assert lms.calls[0][1]["Authorization"] == "Basic ZWR4OnBhc3M="


def test_a_new_password_ends_the_sessions(tmp_path: Path) -> None:
    with a_server(tmp_path) as server, server.session() as session:
        cookie = session.http.cookies["sessionid"]
    (tmp_path / "password").write_text("another")
    with a_server(tmp_path) as server, server.session(login=False) as session:
        session.http.cookies.set("sessionid", cookie)
        assert session.get("/xqueue/get_queuelen/?queue_name=a").status_code == 302
        login = session.post("/xqueue/login/", {"username": "warden", "password": "another"})
        assert login.json()["content"] == "Logged in"


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with a_server(tmp_path), pytest.raises(AssertionError, match="another queue server uses"):
        Server(tmp_path)
