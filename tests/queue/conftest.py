"""One server for the tests that leave nothing behind in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.queue.lab import Server, Session, a_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("xqueue"), "--callback-host", "lms.example.org:8000") as running:
        yield running


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    with server.session() as session:
        yield session


@pytest.fixture
def stranger(server: Server) -> Iterator[Session]:
    with server.session(login=False) as session:
        yield session
