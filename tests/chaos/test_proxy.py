"""The fault proxy does to an exchange what it says, over real sockets, and nothing to the next one."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.chaos.faults import Fault, faults_of
from tests.chaos.proxy import Proxy
from tests.xqueue.servers import Server, ok

WELL = {"return_code": 0, "content": "Queue"}
ERRORS = (OSError, http.client.HTTPException)
HTTP_ERRORS = {
    Fault.E500: 500,
    Fault.E500_AFTER: 500,
    Fault.E502: 502,
    Fault.E503: 503,
    Fault.E504_AFTER: 504,
    Fault.REDIRECTED: 302,
    Fault.MOVED: 302,
    Fault.FORBIDDEN_HTML: 403,
    Fault.FORBIDDEN_SESSION: 403,
    Fault.FORBIDDEN_CSRF: 403,
    Fault.FORBIDDEN_RIGHTS: 403,
    Fault.FORBIDDEN_KEY: 403,
}
NEVER_ASKED = {
    Fault.RESET_BEFORE,
    Fault.CLOSED_BEFORE,
    Fault.GARBAGE,
    *(fault for fault in HTTP_ERRORS if "after" not in fault),
    Fault.WRONG_KEY,
    Fault.HTML,
    Fault.EMPTY_BODY,
}


@pytest.fixture
def behind() -> Iterator[Server]:
    with Server(lambda seen: ok("Queue")) as server:
        yield server


def ask(port: int, timeout_s: float = 1.5) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(
            "GET", "/xqueue/get_submission/?queue_name=a", headers={"Accept": "application/json"}
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_without_faults_everything_passes(behind: Server) -> None:
    with Proxy(behind.url, {"get_submission": [Fault.E500]}) as proxy:
        form = urlencode({"xqueue_header": json.dumps({"submission_id": 5}), "xqueue_body": "ü"})
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        for _ in range(3):  # one connection, several requests
            connection.request("POST", "/xqueue/put_result/", form, {"Cookie": "sessionid=x"})
            assert json.loads(connection.getresponse().read()) == WELL
        connection.close()
        assert ask(proxy.port)[0] == 200
    assert [seen.method for seen in behind.seen] == ["POST"] * 3 + ["GET"]
    assert behind.seen[0].body == form.encode() and behind.seen[0].headers["cookie"] == "sessionid=x"


EVERY = sorted({*faults_of("embedded")["put_result"], *faults_of("edx")["put_result"]})


@pytest.mark.parametrize("fault", EVERY)
def test_a_fault_spoils_one_exchange_and_not_the_next(fault: Fault, behind: Server) -> None:
    with Proxy(behind.url, {"get_submission": [fault, None]}, pause_s=0.2) as proxy:
        proxy.spoil(True)
        if fault in HTTP_ERRORS:
            assert ask(proxy.port)[0] == HTTP_ERRORS[fault]
        elif fault in (Fault.DELAYED, Fault.DRIPPING):
            before = time.monotonic()
            assert json.loads(ask(proxy.port)[1]) == WELL
            assert time.monotonic() - before > 0.1
        elif fault is Fault.TWICE:
            assert json.loads(ask(proxy.port)[1]) == WELL
        elif fault in (Fault.TRUNCATED, Fault.HTML, Fault.EMPTY_BODY):
            status, body = ask(proxy.port)
            assert status == 200
            with pytest.raises(ValueError):
                json.loads(body)
        elif fault is Fault.WRONG_KEY:
            assert b"Incorrect key" in ask(proxy.port)[1]
        else:
            with pytest.raises(ERRORS):
                ask(proxy.port, 0.5)
        times = 0 if fault in NEVER_ASKED else 2 if fault is Fault.TWICE else 1
        assert len(behind.seen) == times
        assert json.loads(ask(proxy.port)[1]) == WELL
        assert proxy.tally.faults[fault] == 1


def test_a_made_up_refusal_is_never_said_twice_of_one_submission(behind: Server) -> None:
    form = urlencode({"xqueue_header": json.dumps({"submission_id": 5}), "xqueue_body": "{}"})
    with Proxy(behind.url, {"put_result": [Fault.WRONG_KEY]}) as proxy:
        proxy.spoil(True)
        said = []
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
            connection.request("POST", "/xqueue/put_result/", form)
            said.append(json.loads(connection.getresponse().read())["return_code"])
            connection.close()
    assert said == [1, 0]


def test_a_closed_door_refuses_and_the_same_one_opens_again(behind: Server) -> None:
    with Proxy(behind.url, {}) as proxy:
        open_one = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
        assert ask(proxy.port)[0] == 200
        for _ in range(2):
            proxy.close()
            with pytest.raises(ConnectionRefusedError):
                ask(proxy.port)
            proxy.open()
            assert ask(proxy.port)[0] == 200
        with contextlib.suppress(ConnectionResetError):
            assert open_one.recv(1) == b""
        open_one.close()


def test_a_server_that_is_away_is_a_broken_connection() -> None:
    with Server(lambda seen: ok("Queue")) as server:
        url = server.url
    with Proxy(url, {}) as proxy, pytest.raises(ERRORS):
        ask(proxy.port)


def test_silence_ends_with_the_proxy(behind: Server) -> None:
    with Proxy(behind.url, {"get_submission": [Fault.LOST]}) as proxy:
        proxy.spoil(True)
        waiting = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        waiting.sendall(b"GET /xqueue/get_submission/ HTTP/1.1\r\nHost: x\r\n\r\n")
        deadline = time.monotonic() + 5
        while not proxy.tally.faults and time.monotonic() < deadline:
            pass
    assert waiting.recv(10) == b""
    waiting.close()
