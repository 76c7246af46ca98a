"""A proxy on loopback that holds the answers to chosen requests until it is told to let them go."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PATIENCE_S = 90.0


class Gate:
    """`hold("put_result")`: the server gets such a request and acts; its answer waits here.

    `held` maps the verb to the port of the client that waits: it tells whose request it is.
    """

    def __init__(self, behind: str) -> None:
        self.held: dict[str, int] = {}
        self._holding: set[str] = set()
        self._open = threading.Event()
        self._open.set()
        gate, parts = self, urlsplit(behind)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
                try:
                    server.request(self.command, self.path, body or None, dict(self.headers))
                    answer = server.getresponse()
                    content = answer.read()
                    gate._wait(self.path, self.client_address[1])
                    self.send_response_only(answer.status)
                    for name, value in answer.getheaders():
                        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:  # the client, or the server, is gone
                    self.close_connection = True
                finally:
                    server.close()

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A client that was killed."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _wait(self, path: str, client: int) -> None:
        verb = urlsplit(path).path.rstrip("/").rpartition("/")[2]
        if verb in self._holding:
            self._holding.discard(verb)  # one of each: others pass
            self.held[verb] = client
            self._open.wait(PATIENCE_S)

    def hold(self, verb: str) -> None:
        """The next answer to this verb stays here."""
        self._open.clear()
        self._holding.add(verb)

    def release(self) -> None:
        """All answers may go."""
        self._holding.clear()
        self._open.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def gate(behind: str) -> Iterator[Gate]:
    """A gate in front of the server with this URL."""
    found = Gate(behind)
    try:
        yield found
    finally:
        found.close()
