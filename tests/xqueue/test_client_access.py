"""Where the server is: what is made of the URL in the configuration."""

from __future__ import annotations

import pytest

from xqueue.access import ServerAccess, file_url, printable, show
from xqueue.errors import FileRefused, Misconfigured


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:18040", "http://127.0.0.1:18040/xqueue/"),
        ("https://lms.example.org/", "https://lms.example.org/xqueue/"),
        ("https://lms.example.org/xqueue", "https://lms.example.org/xqueue/"),
        ("https://lms.example.org/xqueue/", "https://lms.example.org/xqueue/"),
        ("https://example.org/edx/", "https://example.org/edx/xqueue/"),
        ("http://[::1]:8000", "http://[::1]:8000/xqueue/"),
    ],
)
def test_the_base_url(url: str, base: str) -> None:
    assert ServerAccess(url, "u", "p").base_url() == base


@pytest.mark.parametrize(
    "url",
    [
        "",
        "lms.example.org",
        "ftp://x",
        "http://",
        "http://u:hush@x",
        "http://x:y",
        "http://x/?a",
        "http://x/#a",
    ],
)
def test_what_is_no_base_url(url: str) -> None:
    with pytest.raises(Misconfigured, match=r"servers\.main\.url") as caught:
        ServerAccess(url, "u", "p", name="main").base_url()
    assert "hush" not in str(caught.value)


def test_secrets_are_not_in_the_repr() -> None:
    text = repr(ServerAccess("http://x", "u", "hush", basic_auth=("edx", "psst")))
    assert "hush" not in text
    assert "psst" not in text


@pytest.mark.parametrize(
    ("url", "hosts", "own"),
    [
        ("/a", (), True),
        ("https://lms.example.org/a", (), True),
        ("https://lms.example.org:443/a", (), True),
        ("http://lms.example.org/a", (), False),
        ("https://s3.example.org/a", ("S3.example.org",), False),
        ("http://s3.example.org:9000/a", ("s3.example.org:9000",), False),
    ],
)
def test_files_that_may_be_fetched(url: str, hosts: tuple[str, ...], own: bool) -> None:
    assert file_url(url, "https://lms.example.org/xqueue/", hosts, "main")[1] is own


def test_a_host_that_only_ends_like_an_allowed_one_is_another() -> None:
    for url in (
        "https://evil-s3.example.org/a",
        "https://s3.example.org.evil.org/a",
        "https://s3.example.org:9/a",
    ):
        with pytest.raises(FileRefused):
            file_url(url, "https://lms.example.org/xqueue/", ("s3.example.org",), "main")


def test_what_is_shown_of_a_url() -> None:
    assert show("https://u:hush@h.example.org:8/a/b?Signature=hush#x") == "https://h.example.org:8/a/b"
    assert show("http://[bad") == "an unreadable URL"


def test_foreign_text_stays_on_its_line() -> None:
    assert printable("a\x1b[31m\nb\u2028c  d") == "a [31m b c d"
    assert len(printable("x" * 5000)) == 200
