"""What the probes' answers mean: findings, each with its consequence and what mends it.

Runs in: tools. Pure: facts of sandbox.probe and sandbox.machine in, findings out. A finding is BAD if it
takes away a layer that some sandbox requires; everything else that could be better is a WARNING.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sandbox.machine import Host
from sandbox.model import Isolation
from sandbox.probe import Tried
from supervisor.doctor.findings import Finding
from supervisor.doctor.host import groups, limits, rest
from supervisor.doctor.layers import Needs, available, calls, files, landlock, namespaces, tiers_given


def examine(
    host: Host,
    tried: Mapping[str, Tried],
    tiers: Mapping[Isolation, frozenset[str]],
    wanted: Collection[Isolation],
) -> list[Finding]:
    """Everything about the machine.

    Args:
        host: what its files say.
        tried: what came of the probes, by name.
        tiers: the layers that each tier requires (sandbox.jail.REQUIRED).
        wanted: the tiers that the sandboxes require.
    """
    required = frozenset().union(*(tiers[tier] for tier in wanted))
    needs = Needs(required)
    return [
        *tiers_given(available(tried), tiers, wanted),
        *namespaces(host, tried, needs),
        *files(host, tried, needs),
        *calls(host, tried, needs),
        *landlock(host, tried, needs),
        *limits(host, tried, needs),
        *groups(host, tried, needs),
        *rest(host, tried, wanted),
    ]
