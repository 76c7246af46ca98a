"""A real service on a machine that cannot isolate, or whose isolation does not hold: nothing is pulled."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.jail import REQUIRED
from sandbox.model import Isolation
from supervisor.lab import Lab
from tests.sandbox.test_probe import NO_USER_NAMESPACES
from tests.supervisor.stage import ROOT, until

QUEUE = "demo-functions"
PAYLOAD = json.dumps({"grader": "functions/fibonacci/grader.py"})


HOLE_IN_THE_FILTER = """
from sandbox import seccomp
seccomp.REFUSED.pop("socket")
seccomp.ALLOWED.append("socket")
"""


class Unfit(Lab):
    """A lab whose supervisor starts after `prelude`, on a machine made worse by it."""

    def __init__(self, prelude: str) -> None:
        super().__init__(ROOT / "config.toml", ["queues.demo-functions.workers=1"], [QUEUE])
        self.prelude = prelude

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        if name != "supervisor":
            super()._start(name, arguments)
            return
        code = f"{self.prelude}\nfrom supervisor.cli import main\nmain()"
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-B", "-c", code, *arguments], stdout=log, stderr=log, cwd=ROOT
            )

    def _until(self, name: str, ready: Any) -> None:
        if name != "supervisor":  # it never says that it runs
            super()._until(name, ready)


@contextlib.contextmanager
def unfit(prelude: str) -> Iterator[Unfit]:
    with Unfit(prelude) as lab:
        lab.submit(QUEUE, "anna", PAYLOAD, (ROOT / "course/functions/fibonacci/answer.py").read_text())
        lab.start_supervisor()
        yield lab


@pytest.mark.parametrize(
    ("prelude", "said"),
    [
        (NO_USER_NAMESPACES, "is not to be had"),
        (HOLE_IN_THE_FILTER, "seccomp does not hold: make-socket: a socket was made"),
    ],
    ids=["no user namespaces", "a hole in the filter"],
)
def test_a_worker_whose_isolation_fails_is_fatal_with_cause_and_pulls_nothing(
    prelude: str, said: str
) -> None:
    with unfit(prelude) as lab:

        def fatal() -> Any:
            queue = lab.status().get("queues", {}).get(QUEUE, {})
            return queue if queue.get("state") == "FATAL" else None

        queue = until(fatal, "the queue to be FATAL")
        (slot,) = queue["slots"]
        assert (slot["state"], slot["cause"]) == ("FATAL", "SANDBOX_UNAVAILABLE")
        assert said in slot["message"]
        assert (queue["received"], lab.status()["totals"]["delivered"], lab.lms.delivered) == (0, 0, {})
        code, line = lab.health()
        assert code in (1, 2) and "SANDBOX_UNAVAILABLE" in line
        assert lab.stop("supervisor") == 0


def test_the_status_names_the_layers_in_force() -> None:
    with Lab(Path(ROOT / "config.toml"), ["queues.demo-functions.workers=1"], [QUEUE]) as lab:
        lab.start_supervisor()
        layers = until(lambda: lab.status().get("isolation", {}).get("python"), "the layers")
        assert REQUIRED[Isolation.FULL] <= set(layers)


def test_a_sandbox_that_does_not_open_is_told_with_its_reason() -> None:
    preload = 'sandboxes.python.preload=["no_such_module"]'
    with Lab(Path(ROOT / "config.toml"), ["queues.demo-functions.workers=1", preload], [QUEUE]) as lab:
        lab.start_supervisor()

        def said() -> str:
            (slot,) = lab.status()["queues"][QUEUE]["slots"]
            return str(slot["message"]) if slot["crashes"] else ""

        message = until(said, "a death")
        assert "a sandbox does not open" in message and "No module named 'no_such_module'" in message
