"""`warden queue submit` and `show`, and what `serve` refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from supervisor.cli.queue import queue
from tests.queue.lab import PASSWORD, Server, Session, a_server


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(queue, list(words), input=stdin)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "the-password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    return file


def test_submit_feeds_a_queue_as_an_lms_does(server: Server, session: Session, password: Path) -> None:
    upload = password.with_name("answer.py")
    upload.write_text("print(1)")
    words = ["--server", server.url, "--user", "warden", "--password-file", str(password), "--queue", "a"]
    words += ["--payload", '@@{"grader": "x"}', "--response", "@-", "--file", str(upload), "--seed", "7"]
    result = run("submit", *words, stdin="the answer\n")
    assert (result.exit_code, result.stdout) == (0, "1\n"), result.output
    pulled = session.pull()
    assert pulled is not None
    body = json.loads(pulled["xqueue_body"])
    assert body["grader_payload"] == '@{"grader": "x"}'
    assert body["student_response"] == "the answer\n"
    info = json.loads(body["student_info"])
    assert (info["anonymous_student_id"], info["random_seed"]) == ("by-hand", 7)
    urls = json.loads(pulled["xqueue_files"])
    assert session.get(urls["answer.py"]).text == "print(1)"
    session.put(pulled["xqueue_header"])


def test_submit_says_what_is_wrong(server: Server, password: Path) -> None:
    words = ["--server", server.url, "--user", "warden", "--password-file", str(password), "--queue"]
    refused = run("submit", *words, "nope")
    assert refused.exit_code == 1
    assert "Queue 'nope' not found" in refused.stderr
    missing = run("submit", *words, "a", "--response", "@/nowhere/at all")
    assert (missing.exit_code, missing.stderr) == (
        1,
        "Error: --response: /nowhere/at all: No such file or directory\n",
    )


def test_show_counts_and_lists(tmp_path: Path) -> None:
    with a_server(tmp_path, "--queue", "one", "--queue", "two") as server, server.session() as session:
        for number in range(3):
            session.submit("one", body=str(number))
        pulled = session.pull("one")
        assert pulled is not None
        session.put(pulled["xqueue_header"], '{"correct": "\\u001b[31m", "score": 1}')
        for _ in ("while it runs", "and after"):
            counts = run("show", "--data", str(server.data), "--json")
            assert [json.loads(line)["queue"] for line in counts.stdout.splitlines()] == ["one", "two"]
            first = json.loads(counts.stdout.splitlines()[0])
            assert (first["queued"], first["kept"], first["delivered"]) == (2, 1, 0)
            table = run("show", "one", "--data", str(server.data))
            assert "\x1b" not in table.stdout
            assert [line.split()[1] for line in table.stdout.splitlines()] == [
                "state",
                "queued",
                "queued",
                "kept",
            ]
            kept = run("show", "one", "--data", str(server.data), "--state", "kept", "--json")
            assert json.loads(kept.stdout)["submission_id"] == pulled["id"]
            server.end()


def test_show_without_a_queue_folder_says_so(tmp_path: Path) -> None:
    result = run("show", "--data", str(tmp_path))
    assert result.exit_code == 1
    assert "there is no queue in" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "at least one --user"),
        (["--user", "x"], "at least one --user"),
        (["--user", "x", "--password-file", "{password}"], "at least one --queue"),
        (["--user", "x", "--password-file", "{password}.no", "--queue", "q"], "does not exist"),
        (
            ["--user", "x", "--password-file", "{password}", "--queue", "q", "--port", "{port}"],
            "cannot listen on",
        ),
        (
            ["--user", "x", "--password-file", "{password}", "--queue", "q", "--callback-user", "y"],
            "go together",
        ),
    ],
)
def test_serve_refuses_to_start_half_told(
    words: list[str], says: str, server: Server, password: Path, tmp_path: Path
) -> None:
    filled = [word.format(password=password, port=server.ready["port"]) for word in words]
    entry = "from supervisor.cli import main; main()"
    command = [sys.executable, "-c", entry, "queue", "serve", "--data", str(tmp_path / "data"), *filled]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode != 0
    assert result.stdout == ""
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_serve_writes_its_port_and_ends_with_zero(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    port_file.write_text("of an earlier life")
    with a_server(tmp_path, "--port-file", str(port_file)) as server:
        assert server.ready["event"] == "ready"
        assert port_file.read_text() == f"{server.ready['port']}\n"
        assert server.ready["pid"] == server.process.pid
        with server.session(login=False) as session:
            assert session.get("/xqueue/status/").status_code == 200
            assert server.end() == 0  # with a connection still open
