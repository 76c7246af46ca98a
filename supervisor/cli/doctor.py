"""`warden doctor`: what can this machine give, what follows from what it cannot, and what mends it.

Runs in: tools. It tries every layer (sandbox.probe) and opens every configured sandbox, and changes nothing.
Unlike `warden check` it needs no configuration, and looks at no grader.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sandbox import machine, probe, selftest
from sandbox.model import Isolation, Limits, OutcomeKind, SandboxError, Task
from supervisor import doctor as findings_of
from supervisor.cli.options import config_options
from supervisor.config import ConfigError, Problem, load
from supervisor.doctor import Finding, State, Trial
from supervisor.foreign import refusal
from supervisor.log import plain
from supervisor.settings import Sandbox

if TYPE_CHECKING:
    from sandbox.jail import Jail

WARM: Final = Task("builtins:bytes", b"warm", Limits(wall_s=10.0))
WARM_RUNS: Final = 7


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found. `tiers`: whether this machine can give it; `layers`: those it can give."""

    findings: tuple[Finding, ...]
    tiers: dict[str, bool]
    layers: tuple[str, ...]
    sandboxes: tuple[Trial, ...]

    def as_json(self, status: int) -> str:
        """One object."""
        document = {
            "ok": status == 0,
            "status": status,
            "tiers": self.tiers,
            "layers": self.layers,
            "findings": [asdict(one) for one in self.findings],
            "sandboxes": [asdict(one) for one in self.sandboxes],
        }
        return json.dumps(document, ensure_ascii=False, indent=2)


@click.command()
@config_options
@click.option("--strict", is_flag=True, help="Exit with 1 if there is any warning.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.pass_context
def doctor(
    context: click.Context, config: Path, overrides: tuple[str, ...], strict: bool, as_json: bool
) -> None:
    """Find out what isolation this machine can give, by trying.

    Each layer is tried in a process of its own, and from each configured sandbox a child tries to escape.
    Without a configuration the defaults are looked at. Run it as the user that the service runs as, and under
    systemd from within the unit, since rights differ. Exit code 0, 2 if a sandbox cannot have the isolation
    that it requires, or with --strict 1 if something could be better.
    """
    if reason := refusal():
        raise click.ClickException(reason)
    named = context.get_parameter_source("config") is not click.core.ParameterSource.DEFAULT
    report = examine(config if named or config.exists() else None, overrides)
    status = findings_of.exit_status(report.findings, strict)
    if as_json:
        sys.stdout.write(report.as_json(status) + "\n")
    elif sys.stdout.isatty():
        _draw(report)
    else:
        sys.stdout.write(_plain_text(report))
    raise SystemExit(status)


def examine(config: Path | None, overrides: Sequence[str] = ()) -> Report:
    """Look at the machine and at every sandbox of the configuration; None is for the defaults."""
    from sandbox.jail import REQUIRED

    findings: list[Finding] = []
    sandboxes, problems = _sandboxes(config, overrides)
    for problem in problems:
        text = plain(problem)
        findings.append(
            Finding(
                "configuration", problem.path, State.BAD, text, "the defaults are used here", "warden check"
            )
        )
    if config is None:
        text = "there is none here, the defaults are used; name one with --config"
        findings.append(Finding("configuration", "file", State.OK, text))
    wanted = {sandbox.require for sandbox in sandboxes}
    tried = probe.try_all()
    findings += findings_of.examine(machine.look(), tried, REQUIRED, wanted)
    trials = tuple(try_sandbox(sandbox) for sandbox in sandboxes)
    for trial in trials:
        findings += findings_of.of_sandbox(trial)
    layers = findings_of.available(tried)
    return Report(
        findings=tuple(findings),
        tiers={tier.value: not findings_of.missing(REQUIRED[tier], layers) for tier in Isolation},
        layers=tuple(sorted(layers)),
        sandboxes=trials,
    )


def _sandboxes(config: Path | None, overrides: Sequence[str]) -> tuple[list[Sandbox], tuple[Problem, ...]]:
    default = [Sandbox(name="default")]
    if config is None:
        return default, ()
    try:
        loaded = load(config, overrides, lenient_queues=True)
    except ConfigError as error:
        return default, error.problems
    return list(loaded.sandboxes.values()) or default, ()


def try_sandbox(sandbox: Sandbox) -> Trial:
    """Open a sandbox, let its canary try to escape, and time a run. What fails stands in the trial."""
    from graders.python import profile
    from sandbox.jail import Jail

    shown = sandbox.interpreter or "auto"
    # The service's slots count from 0 upwards; ours must not share a user or a control group with them.
    jail = Jail(
        profile(sandbox.interpreter, sandbox.preload, sandbox.require), slot=40_000 + os.getpid() % 9_000
    )
    attempts: tuple[selftest.Attempt, ...] = ()
    warm_s, error = None, ""
    try:
        with jail:
            try:
                attempts = tuple(selftest.trial(jail.run, jail.pid))
                warm_s = _warm_s(jail)
            except (SandboxError, OSError) as problem:
                error = plain(problem)
            return Trial(
                sandbox.name, sandbox.require, shown, jail.version, jail.layers, attempts, warm_s, error
            )
    except (SandboxError, OSError) as problem:
        return Trial(sandbox.name, sandbox.require, shown, error=plain(problem))


def _warm_s(jail: Jail) -> float:
    """Seconds that a run of nothing takes, the median of a few."""
    times = []
    for _ in range(WARM_RUNS):
        began = time.perf_counter()
        outcome = jail.run(WARM)
        times.append(time.perf_counter() - began)
        if outcome.kind is not OutcomeKind.OK:
            raise SandboxError(f"a run of nothing ended with {outcome.kind.value}: {outcome.detail}")
    return statistics.median(times)


# --- showing ------------------------------------------------------------------------------------------


def _plain_text(report: Report) -> str:
    widths = [max(len(getattr(one, name)) for one in report.findings) for name in ("area", "name")]
    lines = []
    for one in report.findings:
        line = f"{one.state.value:<8} {plain(one.area):<{widths[0]}}  {plain(one.name):<{widths[1]}}  "
        lines.append(line + plain(one.finding))
        lines += [f"         {label:<4}  {plain(text)}" for label, text in _more(one)]
    return "\n".join([*lines, findings_of.summary(report.findings)]) + "\n"


def _more(one: Finding) -> list[tuple[str, str]]:
    return [(label, text) for label, text in (("so", one.consequence), ("mend", one.mend)) if text]


_STYLES: Final = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.BAD: "bold red",
    State.UNKNOWN: "magenta",
}


def _draw(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for heading, wrap in (("", True), ("area", True), ("layer", True), ("finding", False)):
        table.add_column(heading, no_wrap=wrap, overflow="fold")
    area = ""
    for one in report.findings:
        cell: Any = Text(plain(one.finding))
        for label, text in _more(one):
            cell.append(f"\n{label}: ", style="bold")
            cell.append(plain(text))
        first = "" if one.area == area else plain(one.area)
        area = one.area
        table.add_row(Text(one.state.value, style=_STYLES[one.state]), first, plain(one.name), cell)
    console.print(table)
    bad = any(one.state is State.BAD for one in report.findings)
    console.print(Text(findings_of.summary(report.findings), style="red" if bad else "green"))
