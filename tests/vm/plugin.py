"""A pytest plugin: does first what `warden run` does first, so that the tests run as its workers would.

And it gives the sandbox's tests more time where the processor is emulated.

Runs in: tools. WARDEN_TEST_PATIENCE is the factor for limits of time, 1 by default.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from sandbox import cgroup

PATIENCE = float(os.environ.get("WARDEN_TEST_PATIENCE", "1"))


def pytest_configure(config: pytest.Config) -> None:
    cgroup.delegate()
    if PATIENCE != 1:
        from tests.sandbox import conftest

        # Before any test module takes them from there.
        limits = conftest.LIMITS
        conftest.LIMITS = replace(limits, wall_s=limits.wall_s * PATIENCE, cpu_s=limits.cpu_s * PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if PATIENCE == 1:
        return
    modules = {item.module for item in items if isinstance(item, pytest.Function)}
    for module in modules:
        if hasattr(module, "OVER_S"):
            module.OVER_S *= PATIENCE
        if hasattr(module, "header"):
            module.header = _patient(module.header)
    for item in items:
        timeout = item.get_closest_marker("timeout")
        if timeout and timeout.args:
            item.add_marker(pytest.mark.timeout(timeout.args[0] * PATIENCE), append=False)


def _patient(header: Callable[[str], dict[str, str]]) -> Callable[[str], dict[str, str]]:
    def patient(source: str) -> dict[str, str]:
        told = header(source)
        return told | {key: str(float(told[key]) * PATIENCE) for key in ("wall", "within") if key in told}

    return patient
