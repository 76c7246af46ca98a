"""A submission in the queue: handed out once, under a key, answered once; its files; its limits."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from tests.queue.lab import REPLY, Server, Session, a_server, an_lms, wait_until

AGAIN = {"return_code": 0, "content": ""}
WRONG_KEY = {"return_code": 1, "content": "Incorrect key for submission"}


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "",
        "not JSON at all",
        "nul \0 nul",
        "ü 😀 \u2028",
        "%41+&=;\r\n",
        '{"student_response": "x' + "\\n" * 9000 + '"}',
    ],
)
def test_a_body_is_handed_on_byte_for_byte(session: Session, body: str) -> None:
    assert session.submit(body=body) == {"return_code": 0, "content": "1"}
    pulled = session.pull()
    assert pulled is not None
    assert pulled["xqueue_body"] == body
    assert pulled["xqueue_files"] == "{}"
    assert isinstance(pulled["id"], int)
    assert len(pulled["key"]) == 32
    assert session.pull() is None
    assert session.put(pulled["xqueue_header"]) == AGAIN


def test_the_length_counts_what_can_be_pulled_now(session: Session) -> None:
    lengths = [session.submit("b")["content"] for _ in range(3)]
    assert lengths == ["1", "2", "3"]
    assert session.length("b") == 3
    first = session.pull("b")
    assert first is not None
    assert session.length("b") == 2
    ids = [first["id"]]
    while (pulled := session.pull("b")) is not None:
        ids.append(pulled["id"])
        session.put(pulled["xqueue_header"])
    session.put(first["xqueue_header"])
    assert ids == sorted(ids)
    assert len(ids) == 3
    assert session.length("b") == 0


def test_only_the_key_of_the_pull_is_right(session: Session) -> None:
    session.submit()
    never_pulled = session.submit("b")
    assert never_pulled["return_code"] == 0
    pulled = session.pull()
    assert pulled is not None
    number, key = pulled["id"], pulled["key"]
    for wrong in ("", key[:-1], key.upper() + "0", "ü", "\ud800", None, 7, ["x"], int(key, 16)):
        assert session.put(json.dumps({"submission_id": number, "submission_key": wrong})) == WRONG_KEY
    assert session.put(json.dumps({"submission_id": number + 1, "submission_key": ""})) == WRONG_KEY
    header = {"submission_id": f" {number} ", "submission_key": key, "more": [1]}
    assert session.put(json.dumps(header)) == AGAIN
    other = session.pull("b")
    assert other is not None
    session.put(other["xqueue_header"])


@pytest.mark.parametrize("as_files", [False, True])
def test_a_result_is_taken_urlencoded_and_as_multipart(session: Session, as_files: bool) -> None:
    session.submit()
    pulled = session.pull()
    assert pulled is not None
    form = {"xqueue_header": pulled["xqueue_header"], "xqueue_body": REPLY}
    parts = {name: (None, value) for name, value in form.items()}
    if as_files:
        answer = session.send("POST", "/xqueue/put_result/", files=parts)
        assert answer.request.headers["Content-Type"].startswith("multipart/form-data")
    else:
        answer = session.post("/xqueue/put_result/", form)
    assert answer.json() == AGAIN


def test_eight_pullers_at_once_never_get_the_same_submission(server: Server) -> None:
    count, got, lock = 400, [], threading.Lock()
    with server.session() as feeder:
        for _ in range(count):
            assert feeder.submit("b")["return_code"] == 0

    start = threading.Barrier(8)

    def pull_all() -> None:
        with server.session() as session:
            start.wait()
            while (pulled := session.pull("b")) is not None:
                with lock:
                    got.append(pulled["id"])
                assert session.put(pulled["xqueue_header"]) == AGAIN

    threads = [threading.Thread(target=pull_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == count
    assert len(set(got)) == count


HOSTILE = [
    "../../etc/x.py",
    "sp ace&<>'.txt",
    "%22.txt",
    "ünïcode 😀.py",
    "a\\b\\c.py",
    "/abs",
    ".",
    "x" * 300,
    "con:1",
]


def test_files_with_hostile_names_come_through_unchanged(server: Server, session: Session) -> None:
    content = {name: f"content of {number}".encode() * 3 for number, name in enumerate(HOSTILE)}
    content["big"] = bytes(range(256)) * (5 * 4096)
    assert (
        session.submit("a", files={name: (name, data) for name, data in content.items()})["return_code"] == 0
    )
    pulled = session.pull()
    assert pulled is not None
    files = json.loads(pulled["xqueue_files"])
    assert set(files) == set(content)
    for name, url in files.items():
        answer = requests.get(server.url + url, timeout=10)  # as on the legacy server, the name is the secret
        assert answer.status_code == 200
        assert answer.content == content[name]
        assert answer.headers["Content-Type"] == "application/octet-stream"
        stored = server.data / "files" / url.rpartition("/")[2]
        assert url == "/xqueue-files/" + stored.name
        assert len(bytes.fromhex(stored.name)) == 16
        assert not stored.stat().st_mode & 0o077
    session.put(pulled["xqueue_header"])


def test_a_name_sent_twice_keeps_the_last_file_and_no_name_none(session: Session) -> None:
    files = [("f", ("f", b"first")), ("", ("x", b"nameless")), ("f", ("f", b"last"))]
    assert session.submit("a", files=files)["return_code"] == 0
    pulled = session.pull()
    assert pulled is not None
    urls = json.loads(pulled["xqueue_files"])
    assert list(urls) == ["f"]
    assert session.get(urls["f"]).content == b"last"
    session.put(pulled["xqueue_header"])


def test_a_form_up_to_the_limit_is_taken_and_one_above_refused(session: Session) -> None:
    assert session.submit(body="<" * 800_000)["return_code"] == 0  # urlencoded it counts three times
    pulled = session.pull()
    assert pulled is not None
    assert len(pulled["xqueue_body"]) == 800_000
    big = {"xqueue_header": pulled["xqueue_header"], "xqueue_body": "<" * 900_000}
    answer = session.post("/xqueue/put_result/", big)
    assert answer.status_code == 413
    assert answer.json()["return_code"] == 1
    assert session.put(pulled["xqueue_header"]) == AGAIN
    parts = {"xqueue_header": (None, "{}"), "xqueue_body": (None, "x" * 2_700_000)}
    assert session.send("POST", "/xqueue/submit/", files=parts).status_code == 413


GARBAGE: list[tuple[str, bytes]] = [
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nhi\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b"\x00\xff" * 5000),
    (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="xqueue_header"\r\n\r\nhalf',
    ),
    ("multipart/form-data", b"--x--\r\n"),
    ("multipart/form-data; boundary=x; charset=unicode_escape", b"--x--\r\n"),
    ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(5000))),
    ("application/x-www-form-urlencoded", b"%%%\xff\xfe=&&==;;xqueue_header=%ud800"),
    ("application/x-www-form-urlencoded; charset=utf-16", b"xqueue_header=1"),
    ("text/html", b"<xml/>"),
    ('";;;=\xff', b"\xff"),
    ("", b"xqueue_header=1"),
]


@pytest.mark.parametrize(("kind", "body"), GARBAGE)
def test_garbage_is_no_submission_and_no_result(session: Session, kind: str, body: bytes) -> None:
    headers = {"Content-Type": kind.encode("latin-1")}
    submitted = session.send("POST", "/xqueue/submit/", data=body, headers=headers)
    assert (submitted.status_code, submitted.json()["content"]) == (200, "Queue request has invalid format")
    put = session.send("POST", "/xqueue/put_result/", data=body, headers=headers)
    assert (put.status_code, put.json()["content"]) == (200, "Incorrect reply format")


def test_a_later_submission_of_the_same_callback_url_retires_the_earlier_in_any_queue(
    session: Session,
) -> None:
    with an_lms() as lms:
        first = f"{lms.url}/courses/{'x' * 200}/first"
        second = f"{lms.url}/courses/{'x' * 200}/other"  # the same for the first 128 characters
        session.submit("a", first, body="1")
        session.submit("a", second, body="2")
        session.submit("b", first, body="3")
        got = [session.pull(queue) for queue in ("a", "a", "b", "b")]
        assert [pulled and pulled["xqueue_body"] for pulled in got] == ["2", None, "3", None]
        for pulled in got:
            if pulled:
                session.put(pulled["xqueue_header"])
        wait_until(lambda: len(lms.calls) == 2)


def test_a_result_for_a_retired_submission_that_was_in_hand_still_goes_to_the_lms(session: Session) -> None:
    with an_lms() as lms:
        session.submit("a", lms.url + "/p", key="old")
        old = session.pull()
        assert old is not None
        session.submit("a", lms.url + "/p", key="new")
        assert session.put(old["xqueue_header"]) == AGAIN
        wait_until(lambda: lms.calls)
        assert '"old"' in lms.calls[0][2]["xqueue_header"][0]
        new = session.pull()
        assert new is not None
        session.put(new["xqueue_header"])
        wait_until(lambda: len(lms.calls) == 2)


def test_what_is_not_answered_comes_again_under_a_new_key(tmp_path: Path) -> None:
    with a_server(tmp_path, "--processing-delay-s", "0.5") as server, server.session() as session:
        session.submit()
        first = session.pull()
        assert first is not None
        assert session.pull() is None
        assert session.length() == 0
        second = wait_until(session.pull)
        assert second["id"] == first["id"]
        assert second["key"] != first["key"]
        assert session.put(first["xqueue_header"]) == WRONG_KEY
        assert session.put(second["xqueue_header"]) == AGAIN
        session.submit(body="next")
        assert wait_until(session.pull)["xqueue_body"] == "next"  # the answered one never again


def test_any_queue_makes_queues_by_submitting(tmp_path: Path) -> None:
    with a_server(tmp_path, "--any-queue") as server:
        with server.session() as session:
            assert session.length("new one") == "Valid queue names are: "
            assert session.submit("new one")["content"] == "1"
            for bad in ("", "x" * 129, "bell\x07"):
                assert session.submit(bad)["content"] == "Queue request has invalid format"
        server.end()
    with a_server(tmp_path, "--any-queue") as server, server.session() as session:
        assert session.length(quote("new one")) == 1
