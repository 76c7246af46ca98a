"""`warden run`: the service, in the foreground.

Runs in: supervisor. Everything a worker needs is imported here, before the first fork, so that all workers
share the pages; nothing of it is used in this process.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

import click

from graders.model import Cause
from sandbox import cgroup, jail
from supervisor import journal, lock, log, notify, reload, secrets, signals, worker
from supervisor.alerts.audiences import contacts_of
from supervisor.alerts.desk import Desk
from supervisor.arbiter import Arbiter
from supervisor.cli import options
from supervisor.config import ConfigError, load
from supervisor.foreign import refusal
from supervisor.journal import Backlog, JournalError
from supervisor.metrics import MetricsFile
from supervisor.pacer import Pace
from supervisor.pauses import Watch
from supervisor.plan import Change, NotReloaded, Plan, QueuePlan
from supervisor.recycling import Bounds
from supervisor.retention import retention_of
from supervisor.salvage import salvage
from supervisor.settings import Config
from xqueue.access import show

logger = logging.getLogger(__name__)

MEND_AGAIN_S: Final = 600.0
"""A journal that is damaged again so soon after it was mended lies on a disk that a person must look at."""
EXIT_STATE: Final = 74  # EX_IOERR
EXIT_RUNNING: Final = 75  # EX_TEMPFAIL
EXIT_CONFIG: Final = 78  # EX_CONFIG


@click.command(
    epilog="Signals: TERM or INT drains (finish what is in hand, at most drain_s), a second one ends at "
    "once, as QUIT does; HUP reads the configuration again and replaces the workers that it concerns; USR1 "
    "makes a log file that was renamed anew; USR2 writes the status now. "
    "Exit codes: 0 drained, 1 drained but workers had to be killed, 2 usage, 74 the state folder or the "
    "journal cannot be used, 75 runs already, 78 configuration.",
)
@options.config_options
def run(config: Path, overrides: tuple[str, ...]) -> None:
    """Run the service: supervise workers, poll the queues, grade, put back."""
    signals.hold_off()
    if why := refusal():
        _refuse(why, EXIT_CONFIG)
    try:
        settings = load(config, overrides, lenient_queues=True)
    except ConfigError as error:
        _refuse(options.refusal(config, error), EXIT_CONFIG)
    try:
        log.set_up(settings.warden.log, file=settings.warden.log_file)
    except OSError as error:
        path = settings.warden.log_file
        _refuse(f"warden.log_file: {path} cannot be written: {error.strerror}", EXIT_STATE)
    for warning in settings.warnings:
        logger.warning("configuration", extra={"why": str(warning)})
    sys.exit(_serve(settings, lambda: load(config, overrides, lenient_queues=True)))


def _serve(config: Config, load_again: Callable[[], Config]) -> int:
    state_dir = config.warden.state_dir
    try:
        secrets.seal()  # the workers inherit it
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock.hold(state_dir):
            cgroup.delegate()
            first = _readied(config)
            desk = Desk(
                config.alerts,
                contacts_of(config),
                state_dir,
                dice=random.random,
                log_style=config.warden.log,
                log_file=config.warden.log_file,
                config_path=str(config.path),
            )
            ended = False
            try:
                code = _supervise(Reloading(config, load_again, desk), desk, first)
                ended = True
            finally:
                desk.close(in_order=ended)
            jail.sweep()  # of workers that were killed and had no successor
            return code
    except lock.AlreadyRunning as error:
        _refuse(str(error), EXIT_RUNNING)
    except (OSError, JournalError) as error:
        _refuse(f"the state folder {state_dir} cannot be used: {error}", EXIT_STATE)


def _supervise(reloading: Reloading, desk: Desk, first: Plan) -> int:
    """Until it is drained, with a new arbiter each time that the journal had to be mended."""
    plan, mend_from = first, float("-inf")
    while True:
        config = reloading.config
        arbiter = Arbiter(
            plan,
            worker.main_of(config),
            notifier=notify.from_environment(),
            on_ready=lambda config=config: _say_ready(config),  # type: ignore[misc]
            observers=[MetricsFile(config.warden.metrics_file), desk],
            reloader=reloading,
            pauses=Watch(config.warden.state_dir),
            mend_from=mend_from,
        )
        code = arbiter.run()
        if not arbiter.damage:
            return code
        plan = _readied(reloading.config, arbiter.damage)
        mend_from = time.monotonic() + MEND_AGAIN_S


def _readied(config: Config, damage: str = "") -> Plan:
    """The journal looked through, mended where it must be, and ready; and what is to be run on it.

    `damage` is what a worker found wrong with it.

    Raises:
        JournalError: it cannot be used.
    """
    file = config.warden.state_dir / journal.FILE_NAME
    notes: list[tuple[Cause, str]] = []
    saved = salvage(file, time.time(), suspect=bool(damage))
    if saved is not None:
        logger.error("journal damaged", extra={"cause": "HOST", "why": str(saved)})
        notes.append((Cause.HOST, str(saved)))
    elif damage:
        notes.append((Cause.HOST, f"all workers were started anew: {damage}"))
    found = journal.prepare(file, retention_of(config.warden), time.time())
    _tell_orphans(config, found)
    return plan_of(config, found, tuple(notes))


class Reloading:
    """Reads the configuration again when it is called, and compares it with the one in force (`config`)."""

    def __init__(self, config: Config, load_again: Callable[[], Config], desk: Desk) -> None:
        self.config = config
        self._load = load_again
        self._desk = desk
        self._stamps = reload.stamps(config)

    def __call__(self) -> Change:
        """The change to the configuration as it stands there now.

        Raises:
            NotReloaded: it is bad.
        """
        try:
            loaded = self._load()
        except ConfigError as error:
            raise NotReloaded([str(problem) for problem in error.problems]) from error
        if problems := reload.lost(self.config, loaded):
            raise NotReloaded([str(problem) for problem in problems])
        for warning in loaded.warnings:
            logger.warning("configuration", extra={"why": str(warning)})
        config, stamps = reload.effective(self.config, loaded), reload.stamps(loaded)
        found = reload.difference(self.config, loaded, self._stamps, stamps)
        self.config, self._stamps = config, stamps
        self._desk.adopt(config.alerts, contacts_of(config))
        return Change(plan_of(config, {}), worker.main_of(config), found.renewed, str(found))


def plan_of(
    config: Config,
    found: Mapping[tuple[str, str], Backlog],
    notes: tuple[tuple[Cause, str], ...] = (),
) -> Plan:
    """What the arbiter shall run; `found` is what the journal holds open, by (server, queue)."""
    nothing = Backlog(0, None)
    queues = []
    for queue in config.queues.values():
        backlog = found.get((queue.server, queue.name), nothing)
        queues.append(
            QueuePlan(
                name=queue.name,
                server=queue.server,
                workers=queue.workers.min,
                most=queue.workers.max,
                cpus=queue.cpus,
                pace=Pace(
                    floor_s=queue.poll_floor_s, ceiling_s=max(queue.poll_floor_s, queue.poll_ceiling_s)
                ),
                backlog=backlog.count,
                backlog_oldest_at=backlog.oldest_at,
            )
        )
    for name, problems in config.refused.items():
        queues.append(QueuePlan(name=name, server="", refused="; ".join(map(str, problems))))
    return Plan(
        queues=tuple(queues),
        servers={name: show(server.url) for name, server in config.servers.items()},
        status_path=config.warden.status_file,
        drain_s=config.warden.drain_s,
        recycling=Bounds(
            config.warden.recycle_submissions,
            config.warden.recycle_age_s,
            config.warden.recycle_memory_mib << 20,
        ),
        config_path=str(config.path),
        config_digest=config.digest,
        notes=notes,
    )


def _tell_orphans(config: Config, found: Mapping[tuple[str, str], Backlog]) -> None:
    """Results for a queue that is no longer configured would wait in silence."""
    for (server, name), backlog in found.items():
        queue = config.queues.get(name)
        if queue is None or queue.server != server:
            fields = {"server": server, "queue": name, "cause": "CONFIG", "rows": backlog.count}
            logger.error("the journal holds open submissions of a queue that is not configured", extra=fields)


def _say_ready(config: Config) -> None:
    workers = sum(queue.workers.min for queue in config.queues.values())
    refused = f", {len(config.refused)} refused" if config.refused else ""
    click.echo(
        f"READY: warden run, pid {os.getpid()}: {workers} workers for {len(config.queues)} queues{refused};"
        f" status in {config.warden.status_file}",
        err=True,
    )


def _refuse(message: str, code: int) -> NoReturn:
    click.echo(f"warden run: {message}", err=True)
    sys.exit(code)
