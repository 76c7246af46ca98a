"""A pytest plugin: does first what `warden run` does first, so that the tests run as its workers would.

And it gives the sandbox's tests more time where the processor is emulated, and attacks on memory or processes
the limit of CPU time as one more way to end.

Runs in: tools. WARDEN_TEST_PATIENCE is the factor for limits of time, 1 by default.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from sandbox import cgroup
from sandbox.model import Limits

PATIENCE = float(os.environ.get("WARDEN_TEST_PATIENCE", "1"))


def pytest_configure(config: pytest.Config) -> None:
    cgroup.delegate()
    if PATIENCE != 1:
        from tests.sandbox import conftest

        conftest.LIMITS = _longer(conftest.LIMITS, Limits(wall_s=0, cpu_s=0))  # before anybody takes them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if PATIENCE == 1:
        return
    from tests.sandbox.conftest import LIMITS

    modules = {item.module for item in items if isinstance(item, pytest.Function)}
    for module in modules:
        for name, value in list(vars(module).items()):
            if isinstance(value, Limits):
                setattr(module, name, _longer(value, LIMITS))
        if hasattr(module, "OVER_S"):
            module.OVER_S *= PATIENCE
        if hasattr(module, "header"):
            module.header = _patient(module.header)
    for item in items:
        timeout = item.get_closest_marker("timeout")
        if timeout and timeout.args:
            item.add_marker(pytest.mark.timeout(timeout.args[0] * PATIENCE), append=False)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What failed is told at once: the machine may be switched off before the end."""
    if report.failed:
        print(f"\n{report.longreprtext[-3000:]}", flush=True)


def _longer(limits: Limits, done: Limits) -> Limits:
    """`limits` with more time; what stems from `done` has it already."""
    wall_s = limits.wall_s * (1 if limits.wall_s == done.wall_s else PATIENCE)
    cpu_s = limits.cpu_s * (1 if limits.cpu_s == done.cpu_s else PATIENCE)
    return replace(limits, wall_s=wall_s, cpu_s=cpu_s)


def _patient(header: Callable[[str], dict[str, str]]) -> Callable[[str], dict[str, str]]:
    def patient(source: str) -> dict[str, str]:
        told = header(source)
        told |= {key: str(float(told[key]) * PATIENCE) for key in ("wall", "within") if key in told}
        for key in told:
            # Here page faults and forks cost so much that what fills memory or the table of processes may use
            # up its CPU time first. It is stopped all the same.
            if key.startswith("expect") and {"memory", "processes"} & {*told[key].split()}:
                told[key] += " cpu"
        return told

    return patient
