"""The LMS's own queue server, once per session; a missing part fails the tests and says how to install it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.xqueue.real.lab_process import Lab, LabMissing
from tests.xqueue.service import Service
from xqueue.access import ServerAccess
from xqueue.client import XQueueClient


@pytest.fixture(scope="session")
def running_lab() -> Iterator[Lab]:
    try:
        with Lab() as lab:
            yield lab
    except LabMissing as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def lab(running_lab: Lab) -> Lab:
    """The server with nothing switched, its records empty, `grader` in the group and nobody logged in."""
    running_lab.control("switch")
    running_lab.control("group", user="grader", member=True)
    running_lab.control("end_sessions")
    running_lab.control("events")
    running_lab.control("requests")
    return running_lab


@pytest.fixture
def service(lab: Lab, tmp_path: Path) -> Iterator[Service]:
    """Not started yet."""
    made = Service(lab, tmp_path)
    yield made
    made.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., XQueueClient]]:
    """Makes clients as XQueueClient does from ServerAccess's arguments, and closes them at the end."""
    made: list[XQueueClient] = []

    def make(url: str, clock: Callable[[], float] | None = None, **access: object) -> XQueueClient:
        arguments = {"username": "grader", "password": "grader-password", "name": "lab", **access}
        entry = ServerAccess(url, **arguments)  # type: ignore[arg-type]
        client = XQueueClient(entry) if clock is None else XQueueClient(entry, clock, lambda: 0.0)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
