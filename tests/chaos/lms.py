"""The LMS's end: everything that was called back, word by word and in order.

Runs in: tools.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class Callback:
    """One result as the LMS got it; `at` in unix seconds."""

    key: str
    body: str
    at: float


class Results(Protocol):
    """What has arrived at the LMS, however it gets there."""

    @property
    def arrived(self) -> int:
        """How many keys have a result."""
        ...

    def keys(self) -> set[str]:
        """The keys that have a result."""
        ...

    def everything(self) -> Sequence[Callback]:
        """All results, in their order."""
        ...

    def wrong(self) -> Sequence[str]:
        """What arrived and is no result."""
        ...


class Lms:
    """Takes callbacks as the LMS does. Every so often it fails on purpose, as an LMS that is being deployed.

    Args:
        every: each so manyth callback is answered with 500 and not taken, the one after it taken and answered
            with silence: its caller does not know. 0: never.
    """

    def __init__(self, every: int = 0) -> None:
        self._every = every
        self._count = 0
        self._arrived = threading.Lock()
        self._callbacks: list[Callback] = []
        self._invalid: list[str] = []
        self._keys: set[str] = set()
        lms = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not lms._take(raw, self):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def url(self, key: str) -> str:
        """Where the result for `key` goes: one URL a learner and problem."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/xqueue/{key}/score_update"

    def _take(self, raw: bytes, handler: BaseHTTPRequestHandler) -> bool:
        with self._arrived:
            self._count += 1
            turn = self._count % self._every if self._every else -1
        if turn == 0:
            self._say(handler, 500)
            return True
        form = parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True)
        try:
            key = str(json.loads(form["xqueue_header"][0])["lms_key"])
            body = form["xqueue_body"][0]
        except (KeyError, ValueError, TypeError) as error:
            with self._arrived:
                self._invalid.append(repr(error))
            self._say(handler, 404)
            return True
        with self._arrived:
            self._callbacks.append(Callback(key, body, time.time()))
            self._keys.add(key)
        if turn == 1 and self._count > 1:
            return False
        self._say(handler, 200)
        return True

    @staticmethod
    def _say(handler: BaseHTTPRequestHandler, status: int) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    @property
    def arrived(self) -> int:
        """How many keys have a result."""
        with self._arrived:
            return len(self._keys)

    def keys(self) -> set[str]:
        """The keys that have a result."""
        with self._arrived:
            return set(self._keys)

    def everything(self) -> Sequence[Callback]:
        """All results, in their order."""
        with self._arrived:
            return list(self._callbacks)

    def wrong(self) -> Sequence[str]:
        """What arrived and is no result."""
        with self._arrived:
            return [f"a callback that is none: {what}" for what in self._invalid]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
