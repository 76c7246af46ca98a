"""The embedded XQueue on a socket.

Runs in: queue server.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import uvicorn

from xqueue.service.app import create_app
from xqueue.service.settings import ServiceError, Settings

SHUTDOWN_S = 5
"""How long a shutdown waits for requests in flight."""


def serve(settings: Settings, *, host: str, port: int, ready: Callable[[str, int], None]) -> None:
    """Serves until SIGTERM or SIGINT, then returns.

    `port` 0 picks a free one. `ready` is called with the URL and the port when connections are answered.

    Raises:
        ServiceError: the data folder or the address cannot be used.
    """
    app = create_app(settings)
    bound = _bind(host, port)
    actual: int = bound.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
        timeout_keep_alive=75,
    )
    server = _Server(config, lambda: ready(f"http://{shown}:{actual}", actual))
    # uvicorn raises the signal again when it has shut down; then it shall end nothing any more.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[bound])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The protocol by name: asyncio turns Nagle's algorithm off only on sockets that say they are TCP, and
        # with it on each answer takes 40 ms.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
        except BaseException:
            bound.close()
            raise
    except OSError as problem:
        raise ServiceError(f"cannot listen on {host} port {port}: {problem.strerror or problem}") from problem
    return bound
