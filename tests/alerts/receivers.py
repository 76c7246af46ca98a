"""Real receivers on loopback: a webhook and a mail server."""

from __future__ import annotations

import contextlib
import email
import json
import socket
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from tests.supervisor.stage import until


class Hook:
    """A webhook: keeps what is posted to it. `answer` is its HTTP status; 0 keeps a caller waiting."""

    def __init__(self, port: int = 0) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.answer = 200
        self._free = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if hook.answer == 0:
                    hook._free.wait(20)
                    return
                if hook.answer == 200:
                    hook.got.append((self.path, body))
                self.send_response(hook.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "token-5f2c9a") -> str:
        return f"json://127.0.0.1:{self.port}/{path}"

    def letters(self) -> list[dict[str, Any]]:
        """What apprise posted, in its order: title, message, type."""
        return [json.loads(body) for _, body in self.got]

    def titles(self) -> list[str]:
        return [str(letter["title"]) for letter in self.letters()]

    def wait(self, condition: Callable[[list[str]], Any], what: str, patience_s: float = 20.0) -> Any:
        """Until the titles so far fulfil the condition."""
        return until(lambda: condition(self.titles()), f"{what}; got {self.titles()}", patience_s)

    def close(self) -> None:
        self._free.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def hook(port: int = 0) -> Iterator[Hook]:
    one = Hook(port)
    try:
        yield one
    finally:
        one.close()


class Mails:
    """What a mail server took."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], Message]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 OK"


@contextlib.contextmanager
def mail_server() -> Iterator[tuple[Mails, int]]:
    mails = Mails()
    controller = Controller(mails, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield mails, int(controller.port)
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def secret(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text)
    return path
