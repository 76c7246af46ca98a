"""What stands between us and a server is told apart, step by step, and nothing is pulled to find out."""

from __future__ import annotations

import socket
import ssl
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.xqueue.certificates import Authority
from tests.xqueue.real.lab_process import Lab
from tests.xqueue.servers import COOKIES, Handler, Seen, Server, answer, legacy, no, ok
from xqueue.access import ServerAccess
from xqueue.probe import Seen as Found
from xqueue.probe import Step, examine, session_life_s

PAGE = "<html><title>Welcome to nginx!</title></html>"


def access(url: str, **options: object) -> ServerAccess:
    arguments = {"username": "grader", "password": "grader-password", "name": "lab", **options}
    return ServerAccess(url, **arguments)  # type: ignore[arg-type]


def look(url: str, *queues: str, **options: object) -> list[Found]:
    return list(examine(access(url, **options), queues))


def broken(seen: list[Found]) -> Found:
    """The one step that failed; it is the last."""
    assert [one.ok for one in seen] == [True] * (len(seen) - 1) + [False], seen
    return seen[-1]


def xqueue(lengths: dict[str, int], cookies: tuple[str, ...] = COOKIES) -> Handler:
    """A legacy XQueue with these queues; it fails the test if something is pulled."""

    def then(seen: Seen) -> bytes:
        verb = seen.path.split("/")[2]
        if verb == "put_result":
            return no("Incorrect reply format")
        assert verb == "get_queuelen", seen.path
        queue = seen.path.partition("queue_name=")[2]
        return ok(lengths[queue]) if queue in lengths else no(f"Valid queue names are: {', '.join(lengths)}")

    inner = legacy(then, cookies)

    def handler(seen: Seen) -> bytes | None:
        return ok("OK") if seen.path == "/xqueue/status/" else inner(seen)

    return handler


# -- The way to it -------------------------------------------------------------------------------------------


def test_a_url_that_is_none() -> None:
    one = broken(look("ftp://lms.example.org"))
    assert (one.step, one.cause) == (Step.URL, "CONFIG")
    assert "servers.lab.url" in one.found


def test_a_name_that_nobody_knows() -> None:
    one = broken(look("http://no-such-host.invalid"))
    assert (one.step, one.cause) == (Step.NAME, "QUEUE_UNREACHABLE")
    assert "no-such-host.invalid is not known" in one.found
    assert "resolv.conf" in one.mend


def test_a_port_on_which_nothing_listens() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        one = broken(look(f"http://127.0.0.1:{unheard.getsockname()[1]}"))
    assert one.step is Step.CONNECTION
    assert "connection refused" in one.found
    assert "nothing listens" in one.mend


def test_a_connection_that_is_dropped_on_the_way() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        where = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(where)
        one = broken(look(f"http://127.0.0.1:{where[1]}", connect_timeout_s=0.3))
        for filler in fillers:
            filler.close()
    assert one.step is Step.CONNECTION
    assert "no answer within 0.3 s" in one.found
    assert "firewall" in one.mend


def test_a_server_that_takes_the_connection_and_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        one = broken(look(f"http://127.0.0.1:{deaf.getsockname()[1]}", pull_timeout_s=0.3))
    assert (one.step, one.cause) == (Step.XQUEUE, "QUEUE_UNREACHABLE")
    assert "no complete answer in time" in one.found


# -- TLS -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def contexts(authority: Authority) -> dict[str, ssl.SSLContext]:
    soon = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 5 * 86400))
    return {
        "good": authority.leaf("good"),
        "soon": authority.leaf("soon", ends=soon),
        "expired": authority.leaf("expired", ends="20210101000000Z"),
        "early": authority.leaf("early", starts="20980101000000Z"),
        "misnamed": authority.leaf("misnamed", names="DNS:other.example.org"),
    }


def test_a_certificate_of_the_named_ca_is_good_and_its_days_are_told(
    authority: Authority, contexts: dict[str, ssl.SSLContext]
) -> None:
    for name, days in (("good", 20_000), ("soon", 4)):
        with Server(xqueue({"q": 0}), contexts[name]) as server:
            seen = look(server.url, "q", verify=str(authority.bundle))
        assert all(one.ok for one in seen), seen
        (tls,) = [one for one in seen if one.step is Step.TLS]
        assert tls.seconds is not None
        assert days <= tls.seconds / 86400 < days + 10_000


@pytest.mark.parametrize(
    ("name", "words", "mend"),
    [
        ("expired", "has expired", "renew it"),
        ("early", "not valid yet", "clock of this machine"),
        ("misnamed", "for another name", "servers.lab.url"),
    ],
)
def test_why_a_certificate_is_not_accepted(
    authority: Authority, contexts: dict[str, ssl.SSLContext], name: str, words: str, mend: str
) -> None:
    with Server(xqueue({}), contexts[name]) as server:
        one = broken(look(server.url, verify=str(authority.bundle)))
        assert server.seen == []
    assert (one.step, one.cause) == (Step.TLS, "QUEUE_UNREACHABLE")
    assert words in one.found
    assert mend in one.mend


def test_an_issuer_that_nobody_trusts_and_the_same_unverified(contexts: dict[str, ssl.SSLContext]) -> None:
    with Server(xqueue({}), contexts["good"]) as server:
        one = broken(look(server.url))
        assert one.step is Step.TLS
        assert "nobody that we trust" in one.found
        assert "servers.lab.ca_file" in one.mend
        seen = look(server.url, verify=False)
    (tls,) = [one for one in seen if one.step is Step.TLS]
    assert tls.ok
    assert "not verified" in tls.found
    assert "verify_tls = true" in tls.mend


def test_a_ca_file_without_a_certificate(tmp_path: Path, contexts: dict[str, ssl.SSLContext]) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with Server(xqueue({}), contexts["good"]) as server:
        one = broken(look(server.url, verify=str(tmp_path / "ca.pem")))
    assert one.step is Step.TLS
    assert "holds no certificate" in one.found


def test_https_to_a_port_that_speaks_http_and_http_to_one_that_speaks_https(
    contexts: dict[str, ssl.SSLContext],
) -> None:
    with Server(xqueue({})) as server:
        one = broken(look(server.url.replace("http:", "https:")))
    assert one.step is Step.TLS
    assert "speak https" in one.mend
    with Server(xqueue({}), contexts["good"]) as server:
        one = broken(look(server.url.replace("https:", "http:")))
    assert (one.step, one.cause) == (Step.XQUEUE, "QUEUE_UNREACHABLE")


# -- Is it an XQueue at all ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words", "mend"),
    [
        (answer(PAGE), "Welcome to nginx!", ""),
        (answer(PAGE, 404), "no XQueue at this path", "check servers.lab.url"),
        (answer("", 301, "Location: https://lms.example.org/xqueue/status/"), "redirects to https", "final"),
        (answer("", 302, "Location: /login?next=/xqueue/"), "redirects to /login", "final address"),
        (
            answer("", 401, 'WWW-Authenticate: Basic realm="x"'),
            "wants HTTP Basic auth (401), and none is set",
            "set servers.lab.basic_auth_username",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no HTTP", "is the server up"),
    ],
)
def test_what_is_no_xqueue(data: bytes, words: str, mend: str) -> None:
    def handler(seen: Seen) -> None:
        seen.wire.send(data)
        seen.wire.end()

    with Server(handler) as server:
        one = broken(look(server.url))
    assert one.step is Step.XQUEUE
    assert words in one.found
    assert mend in one.mend


def test_basic_auth_in_front_that_refuses_us_and_that_lets_us_in() -> None:
    inner = xqueue({})

    def handler(seen: Seen) -> bytes | None:
        if seen.headers.get("authorization") != "Basic ZWR4OnBhc3M=":  # edx:pass
            return answer("", 401, 'WWW-Authenticate: Basic realm="x"')
        return inner(seen)

    with Server(handler) as server:
        one = broken(look(server.url, basic_auth=("edx", "wrong")))
        assert "refuses us (401)" in one.found
        assert "servers.lab.basic_auth_username" in one.mend
        assert all(one.ok for one in look(server.url, basic_auth=("edx", "pass")))


# -- Inside --------------------------------------------------------------------------------------------------


def test_a_legacy_server_tells_which_queues_it_has_and_nothing_is_pulled() -> None:
    with Server(xqueue({"a": 0, "b": 7})) as server:
        seen = look(server.url, "a", "b", "zzz")
        assert server.paths().count("POST /xqueue/login/") == 1
    queues = {one.queue: one for one in seen if one.step is Step.QUEUE}
    assert (queues["a"].ok, queues["a"].length, queues["b"].length) == (True, 0, 7)
    assert not queues["zzz"].ok
    assert "Valid queue names are: a, b" in queues["zzz"].found
    assert [one.step for one in seen if not one.ok] == [Step.QUEUE]


def test_the_way_alone_is_tried_without_a_login() -> None:
    with Server(xqueue({})) as server:
        seen = list(examine(access(server.url, password=""), ["q"], login=False))
        assert server.paths() == ["GET /xqueue/status/"]
    assert [one.step for one in seen] == [Step.NAME, Step.CONNECTION, Step.XQUEUE]


def test_a_wrong_password_a_lost_session_and_a_lack_of_rights_are_three_things(lab: Lab) -> None:
    one = broken(look(lab.url, password="wrong"))
    assert (one.step, one.cause) == (Step.LOGIN, "AUTH")
    assert "Incorrect login credentials" in one.found
    assert "servers.lab.username and its password" in one.mend

    one = broken(look(lab.url, username="outsider", password="outsider-password"))
    assert (one.step, one.cause) == (Step.RIGHTS, "AUTH")
    assert "group xqueue" in one.mend

    lab.control("switch", cookie_secure=True)
    one = broken(look(lab.url))
    assert (one.step, one.cause) == (Step.SESSION, "AUTH")
    assert "SESSION_COOKIE_SECURE" in one.found
    assert "https" in one.mend

    lab.control("switch", cookie_domain="lms.example.com")
    one = broken(look(lab.url))
    assert one.step is Step.SESSION
    assert "lms.example.com (SESSION_COOKIE_DOMAIN), not for 127.0.0.1" in one.found


def test_the_lms_cannot_tell_an_unknown_queue_from_an_empty_one(lab: Lab) -> None:
    number = lab.control("enqueue", queue="probed", answer="1")
    lab.control("requests")
    seen = look(lab.url, "probed", "no-such-queue")
    assert all(one.ok for one in seen), seen
    assert ["cannot be known" in one.found for one in seen if one.step is Step.QUEUE] == [True, True]
    assert lab.control("state", submission=number)["status"] == "pending"
    requests = lab.control("requests")
    assert not any("get_submission" in one for one in requests)
    assert requests.count("POST /xqueue/login/") == 1
    (life,) = [one.seconds for one in seen if one.step is Step.LIFE]
    assert life == 14 * 86400  # Django's own


@pytest.mark.parametrize(
    ("ahead", "told"), [(3600, "60 minutes ahead of"), (-10_800, "3 hours behind"), (0, "same")]
)
def test_the_difference_of_the_clocks(ahead: float, told: str) -> None:
    inner = xqueue({})

    def handler(seen: Seen) -> bytes | None:
        data = inner(seen)
        assert data is not None
        return data.replace(
            b"\r\n", f"\r\nDate: {formatdate(time.time() + ahead, usegmt=True)}\r\n".encode(), 1
        )

    with Server(handler) as server:
        (clock,) = [one for one in look(server.url) if one.step is Step.CLOCK]
    assert clock.seconds is not None
    assert abs(clock.seconds - ahead) < 2
    assert told in clock.found


def test_the_life_of_a_session_by_its_cookie() -> None:
    now = 1_700_000_000.0
    assert session_life_s(("csrftoken=x; Max-Age=5", "sessionid=y; Max-Age=1209600; Path=/"), now) == 1209600
    assert session_life_s((f"sessionid=y; expires={formatdate(now + 60, usegmt=True)}",), now) == 60
    assert session_life_s(("sessionid=y; Path=/",), now) is None
    assert session_life_s(("sessionid=y; Max-Age=soon",), now) is None
    assert session_life_s((), now) is None
