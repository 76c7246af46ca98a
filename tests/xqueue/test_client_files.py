"""Fetching submitted files: from where, with what, and how much."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from tests.xqueue.servers import Seen, Server, answer, legacy
from xqueue.client import XQueueClient
from xqueue.errors import FileRefused, FileUnavailable, ServerError, Unreachable

Connect = Callable[..., XQueueClient]


def text(seen: Seen) -> bytes:
    return answer(f"contents of {seen.path}", kind="application/octet-stream")


def elsewhere(server: Server, path: str = "/file") -> str:
    """The same server under another name: another origin."""
    return f"http://localhost:{server.port}{path}"


def test_root_relative_urls_are_the_servers_own(connect: Connect) -> None:
    with Server(text) as server:
        assert connect(server.url).fetch_file("/files/ab12?x=%20y") == b"contents of /files/ab12?x=%20y"


def test_bytes_come_as_they_are(connect: Connect) -> None:
    data = bytes(range(256)) * 1000
    with Server(lambda seen: answer(data)) as server:
        assert connect(server.url).fetch_file(f"{server.url}/a") == data


def test_the_own_origin_gets_credentials_and_another_gets_none(connect: Connect) -> None:
    with Server(legacy(text)) as server, Server(text) as other:
        client = connect(server.url, basic_auth=("edx", "hush"), file_hosts=(f"localhost:{other.port}",))
        client.fetch_file("/mine")  # behind the login: 302, login, again
        client.fetch_file(elsewhere(other))
        client.fetch_file(elsewhere(other))
        assert server.seen[-1].logged_in
        assert "authorization" in server.seen[-1].headers
        for seen in other.seen:
            assert not {"authorization", "cookie", "referer", "x-csrftoken"} & set(seen.headers)


def test_cookies_of_another_host_are_neither_kept_nor_sent(connect: Connect) -> None:
    def planting(seen: Seen) -> bytes:
        return answer("x", 200, "Set-Cookie: sessionid=planted; Path=/")

    with Server(text) as server, Server(planting) as other:
        client = connect(server.url, file_hosts=(f"localhost:{other.port}",))
        client.fetch_file(elsewhere(other))
        client.fetch_file(elsewhere(other))
        client.fetch_file("/mine")
        assert not any("cookie" in seen.headers for seen in other.seen + server.seen)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("//evil.example.org/x", "evil.example.org"),
        ("http://bucket.example.org:8080/x", "bucket.example.org:8080"),
        ("https://BUCKET.example.org/x?Signature=hush", "bucket.example.org"),
    ],
)
def test_other_hosts_are_refused_and_the_setting_is_named(connect: Connect, url: str, wanted: str) -> None:
    with pytest.raises(FileRefused) as caught:
        connect("http://127.0.0.1:1").fetch_file(url)
    assert f'add "{wanted}" to servers.lab.file_hosts' in str(caught.value)
    assert "hush" not in str(caught.value)
    assert (caught.value.cause, caught.value.retry) == ("CONFIG", False)


def test_another_port_of_the_own_host_is_another_place(connect: Connect) -> None:
    with Server(text) as server, Server(text) as other:
        with pytest.raises(FileRefused, match=f"127.0.0.1:{other.port}"):
            connect(server.url).fetch_file(f"{other.url}/x")
        assert other.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "data:text/plain,x",
        "javascript:1",
        "http://user:pw@127.0.0.1:1/x",
        "http://[bad/x",
        "http://127.0.0.1:bad/x",
    ],
)
def test_what_is_no_plain_http_url_is_refused(connect: Connect, url: str) -> None:
    with pytest.raises(FileRefused) as caught:
        connect("http://127.0.0.1:1").fetch_file(url)
    assert "pw" not in str(caught.value)


def test_a_redirect_is_followed_where_the_file_could_have_come_from(connect: Connect) -> None:
    def moved(seen: Seen) -> bytes:
        return answer("", 302, f"Location: {elsewhere(other, '/s3')}")

    with Server(text) as other, Server(moved) as server:
        client = connect(server.url, file_hosts=(f"localhost:{other.port}",), basic_auth=("edx", "hush"))
        assert client.fetch_file("/media/1") == b"contents of /s3"
        assert "authorization" not in other.seen[-1].headers
        with pytest.raises(FileRefused):
            connect(server.url).fetch_file("/media/1")


def test_redirects_do_not_go_round_for_ever(connect: Connect) -> None:
    with Server(lambda seen: answer("", 301, "Location: /again")) as server:
        with pytest.raises(FileUnavailable):
            connect(server.url).fetch_file("/x")
        assert len(server.seen) == 4


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, FileUnavailable), (403, FileUnavailable), (410, FileUnavailable), (503, ServerError)],
)
def test_a_file_that_is_not_given(connect: Connect, status: int, error: type[Exception]) -> None:
    with Server(lambda seen: answer("<Error/>", status)) as server, pytest.raises(error, match=str(status)):
        connect(server.url).fetch_file("/x?Signature=hush")


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_over_the_limit_is_cut_off_while_it_comes(connect: Connect, announced: bool) -> None:
    sent = [0]

    def handler(seen: Seen) -> None:
        size = b"Content-Length: 1000000000" if announced else b"Connection: close"
        seen.wire.send(b"HTTP/1.1 200 OK\r\n" + size + b"\r\n\r\n")
        seen.wire.end()
        while sent[0] < 1_000_000_000:
            seen.wire.send(b"x" * 65536)
            sent[0] += 65536

    with Server(handler) as server, pytest.raises(FileUnavailable, match="over 100000 bytes"):
        connect(server.url).fetch_file("/x", limit_bytes=100_000)
    assert sent[0] < 100_000_000


def test_a_compressed_file_is_measured_unpacked(connect: Connect) -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(bytes(50_000_000)) + packer.flush()

    with Server(lambda seen: answer(bomb, 200, "Content-Encoding: gzip")) as server:
        client = connect(server.url)
        with pytest.raises(FileUnavailable, match="over 1000000 bytes"):
            client.fetch_file("/x", limit_bytes=1_000_000)
        assert server.seen[0].headers["accept-encoding"] == "identity"


def test_a_file_that_stops_in_its_middle_is_an_error(connect: Connect) -> None:
    def handler(seen: Seen) -> None:
        seen.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        seen.wire.end()

    with Server(handler) as server, pytest.raises(Unreachable, match="middle"):
        connect(server.url).fetch_file("/x")
