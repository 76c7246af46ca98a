"""`warden doctor`: what keeps this installation from working well, what follows from it, and what mends it.

Runs in: tools. It tries every layer (sandbox.probe), opens every configured sandbox, looks at the service's
own folders, and tries every server (xqueue.probe); it changes nothing and pulls nothing. Unlike `warden
check` it needs no configuration, and runs no grader.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sandbox import cgroup, machine, probe
from sandbox.model import Isolation
from supervisor.cli.options import config_options
from supervisor.config import Config, ConfigError, Problem, load
from supervisor.doctor.findings import Finding, State, exit_status, summary
from supervisor.foreign import refusal
from supervisor.log import plain
from supervisor.secrets import SecretError
from supervisor.settings import Sandbox
from xqueue.probe import examine as probe_server

if TYPE_CHECKING:
    from sandbox.program import Language
    from supervisor.doctor.trials import Trial


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found. `tiers`: whether this machine can give each; `layers`: those it can give."""

    findings: tuple[Finding, ...]
    tiers: dict[str, bool]
    layers: tuple[str, ...]
    trials: tuple[Trial, ...]

    def as_json(self, status: int) -> str:
        """One object."""
        document = {
            "ok": status == 0,
            "status": status,
            "tiers": self.tiers,
            "layers": self.layers,
            "findings": [asdict(one) for one in self.findings],
            "trials": [asdict(one) for one in self.trials],
        }
        return json.dumps(document, ensure_ascii=False, indent=2)


@click.command()
@config_options
@click.option("--offline", is_flag=True, help="Leave the servers alone.")
@click.option("--strict", is_flag=True, help="Exit with 1 if there is any warning.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.pass_context
def doctor(
    context: click.Context,
    config: Path,
    overrides: tuple[str, ...],
    offline: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Find out what is wrong with this installation, by trying: the machine, its folders, the servers.

    Each layer of isolation is tried in a process of its own, and from each configured sandbox a child tries
    to escape. Each server is reached, logged in to and asked for its queues; no submission is pulled. Without
    a configuration the defaults are looked at. Run it as the user that the service runs as, and under systemd
    from within the unit, since rights differ. Exit code 0, 2 if something is bad, or with --strict 1 if
    something could be better.
    """
    if reason := refusal():
        raise click.ClickException(reason)
    context.with_resource(cgroup.delegated())  # as `warden run` does
    named = context.get_parameter_source("config") is not click.core.ParameterSource.DEFAULT
    report = examine(config if named or config.exists() else None, overrides, offline)
    status = exit_status(report.findings, strict)
    if as_json:
        sys.stdout.write(report.as_json(status) + "\n")
    elif sys.stdout.isatty():
        _draw(report)
    else:
        sys.stdout.write(_plain_text(report))
    raise SystemExit(status)


def examine(config: Path | None, overrides: Sequence[str] = (), offline: bool = False) -> Report:
    """Look at the machine, and at all that is configured; None is for the defaults."""
    from sandbox.jail import REQUIRED
    from supervisor.doctor.layers import available, missing
    from supervisor.doctor.machine import examine as examine_machine
    from supervisor.doctor.trials import of_trial, try_language, try_sandbox

    findings: list[Finding] = []
    loaded: Config | None = None
    if config is None:
        text = "there is none here, the defaults are used; name one with --config"
        findings.append(Finding("configuration", "file", State.OK, text))
    else:
        try:
            loaded = load(config, overrides, lenient_queues=True)
        except ConfigError as error:
            findings += [_problem(one) for one in error.problems]
        else:
            findings += _configuration(config, loaded)
    jobs = _sandboxes(loaded)
    languages = _languages(loaded)
    # Before anything is opened, since opening is explained by it.
    tried = probe.try_all()
    wanted = {sandbox.require for sandbox, needed in jobs if needed}
    wanted |= {language.require for language, needed in languages if needed}
    findings += examine_machine(machine.look(), tried, REQUIRED, wanted)
    trials = [try_sandbox(sandbox, needed) for sandbox, needed in jobs]
    trials += [try_language(language, needed) for language, needed in languages]
    for trial in trials:
        findings += of_trial(trial)
    if loaded is not None:
        findings += _service(loaded, offline)
    layers = available(tried)
    return Report(
        findings=tuple(findings),
        tiers={tier.value: not missing(REQUIRED[tier], layers) for tier in Isolation},
        layers=tuple(sorted(layers)),
        trials=tuple(trials),
    )


def _problem(problem: Problem) -> Finding:
    told = f"{plain(problem.message)}; looked at here are the defaults"
    return Finding(
        "configuration", plain(problem.path), State.BAD, told, "the service does not start", "warden check"
    )


def _configuration(path: Path, config: Config) -> Iterator[Finding]:
    """What `warden check` says of the file, as findings."""
    area = "configuration"
    refused = [one for problems in config.refused.values() for one in problems]
    if not refused:
        yield Finding(area, "file", State.OK, f"{path} can be used")
    for queue, problems in config.refused.items():
        for one in problems:
            follows = f"queue {queue} is not served (CONFIG)"
            yield Finding(area, plain(one.path), State.BAD, plain(one.message), follows, "warden check")
    for one in config.warnings:
        yield Finding(area, plain(one.path), State.WARNING, plain(one.message))


def _service(config: Config, offline: bool) -> Iterator[Finding]:
    """Its folders and limits, and its servers."""
    from supervisor.doctor.servers import of_server
    from supervisor.doctor.service import known_queues, of_service, survey
    from supervisor.worker import access_of

    place = survey(config)
    yield from of_service(place)
    for server in config.servers.values():
        queues = sorted(queue.name for queue in config.queues.values() if queue.server == server.name)
        if offline:
            yield Finding(f"server {server.name}", "all", State.UNKNOWN, "not tried: --offline")
            continue
        try:
            seen = probe_server(access_of(server), queues)
        except SecretError:  # told above; the way to the server can be tried without
            seen = probe_server(access_of(server, secretless=True), queues, login=False)
        yield from of_server(server.name, seen, bool(queues), known_queues(place, server.name))


def _sandboxes(config: Config | None) -> list[tuple[Sandbox, bool]]:
    """(sandbox, whether a queue uses it)."""
    if config is None:
        return [(Sandbox(name="default"), True)]
    used = {name for queue in config.queues.values() for name in config.sandboxes_of(queue)}
    return [(sandbox, name in used) for name, sandbox in config.sandboxes.items()]


def _languages(config: Config | None) -> list[tuple[Language, bool]]:
    """(language, whether a queue uses it): those that queues use, and those of the configuration's own."""
    if config is None:
        return []
    from graders.languages import built_in

    used = {name for queue in config.queues.values() for name in config.languages_of(queue)}
    ours = built_in()
    return [
        (language, name in used)
        for name, language in config.languages.items()
        if name in used or ours.get(name) != language
    ]


# --- showing ------------------------------------------------------------------------------------------


def _plain_text(report: Report) -> str:
    widths = [max(len(getattr(one, name)) for one in report.findings) for name in ("area", "name")]
    lines = []
    for one in report.findings:
        line = f"{one.state.value:<8} {plain(one.area):<{widths[0]}}  {plain(one.name):<{widths[1]}}  "
        lines.append(line + plain(one.finding))
        lines += [f"         {label:<4}  {plain(text)}" for label, text in _more(one)]
    return "\n".join([*lines, summary(report.findings)]) + "\n"


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
    console.print(Text(summary(report.findings), style="red" if bad else "green"))
