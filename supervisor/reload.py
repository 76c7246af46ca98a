"""What a new configuration changes, as a pure difference of two; and what the files that they name look like.

Runs in: supervisor. A worker keeps what it has read at its start, so what it is made of decides: a queue's
workers are replaced when anything of theirs differs (the queue, its server, its sandboxes, its languages, the
files that they name), and left alone otherwise. Paces, numbers of workers and the like are adopted as they
are. What the supervisor itself was built on (where its state is) stays until the service is restarted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final

from supervisor.secrets import Stamp, found_at, stamp
from supervisor.settings import Config, Problem, Queue, SecretRef

ADOPTED: Final = frozenset({"drain_s", "recycle_submissions", "recycle_age_s", "recycle_memory_mib"})
"""Settings of [warden] that the supervisor takes as they come."""
WORKERS: Final = frozenset(
    {"journal_keep_days", "dead_keep_days", "files_keep_days", "journal_most_mib", "translations"}
)
"""Those that workers have read: all are replaced."""
HELD: Final = frozenset({"state_dir", "status_file", "metrics_file", "log", "log_file"})
"""Those that need a restart of the service; the old ones stay in force until then."""

_ARBITERS: Final = ("workers", "cpus", "poll_floor_s", "poll_ceiling_s")
"""Settings of a queue that its workers do not read."""
_COMPARED: Final = frozenset(
    {
        "path",
        "digest",
        "warden",
        "alerts",
        "servers",
        "sandboxes",
        "queues",
        "refused",
        "warnings",
        "languages",
    }
)

Stamps = Mapping[Path, tuple[Stamp, ...]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Names of queues, and dotted paths of settings.

    `renewed` maps a queue to what of it has changed. `adopted` needs no worker to be replaced; `held` is
    ignored until the service is restarted.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renewed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    adopted: tuple[str, ...] = ()
    held: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [
            f"new: {', '.join(self.added)}" if self.added else "",
            f"gone: {', '.join(self.removed)}" if self.removed else "",
            f"workers replaced: {', '.join(self.renewed)}" if self.renewed else "",
            f"adopted: {', '.join(self.adopted)}" if self.adopted else "",
            f"only after a restart of the service: {', '.join(self.held)}" if self.held else "",
        ]
        return "; ".join(filter(None, parts)) or "nothing has changed"


def lost(old: Config, new: Config) -> tuple[Problem, ...]:
    """Problems of queues that are served now and that the new configuration would refuse.

    A new queue that is bad harms nobody and is FATAL, as at a start; one that works is not lost by a typo.
    """
    return tuple(p for name, problems in new.refused.items() if name in old.queues for p in problems)


def effective(old: Config, new: Config) -> Config:
    """The new configuration with what is held as it was."""
    held = {name: getattr(old.warden, name) for name in HELD}
    others = {name: getattr(old, name) for name in _others()}
    return replace(new, warden=replace(new.warden, **held), **others)


def difference(old: Config, new: Config, before: Stamps, after: Stamps) -> Difference:
    """What `new` changes; `before` and `after` are the files that the two name, as they were and are."""
    settings = [one.name for one in fields(old.warden) if _differ(old.warden, new.warden, one.name)]
    everybody = tuple(f"warden.{name}" for name in settings if name in WORKERS)
    adopted = [f"warden.{name}" for name in settings if name in ADOPTED]
    adopted += ["alerts"] if old.alerts != new.alerts else []
    renewed: dict[str, tuple[str, ...]] = {}
    for name, queue in new.queues.items():
        if name not in old.queues:
            continue
        was = old.queues[name]
        adopted += [f"queues.{name}.{key}" for key in _ARBITERS if _differ(was, queue, key)]
        why = (*everybody, *_changed(old, was, new, queue, before, after))
        if why:
            renewed[name] = why
    return Difference(
        added=tuple(name for name in new.queues if name not in old.queues),
        removed=tuple(name for name in old.queues if name not in new.queues),
        renewed=renewed,
        adopted=tuple(adopted),
        held=tuple(
            [f"warden.{name}" for name in settings if name in HELD]
            + [name for name in _others() if _differ(old, new, name)]
        ),
    )


def _others() -> list[str]:
    return [one.name for one in fields(Config) if one.name not in _COMPARED]


def _differ(one: object, other: object, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def _changed(
    old: Config, was: Queue, new: Config, queue: Queue, before: Stamps, after: Stamps
) -> Iterator[str]:
    """What of a queue's workers has changed."""
    if replace(was, **{key: getattr(queue, key) for key in _ARBITERS}) != queue:
        yield f"queues.{queue.name}"
    if old.servers[was.server] != new.servers[queue.server]:
        yield f"servers.{queue.server}"
    for name in new.sandboxes_of(queue):
        if old.sandboxes.get(name) != new.sandboxes[name]:
            yield f"sandboxes.{name}"
    for name in new.languages_of(queue):
        if old.languages.get(name) != new.languages[name]:
            yield f"languages.{name}"
    for path in files_of(new, queue):
        if path in before and before[path] != after.get(path):
            yield str(path)


# --- the files ------------------------------------------------------------------------------------


def files_of(config: Config, queue: Queue) -> list[Path]:
    """What a worker of the queue reads when it starts: passwords, certificates, folders of templates."""
    server = config.servers[queue.server]
    refs: list[SecretRef] = [server.password]
    if server.basic_auth is not None:
        refs.append(server.basic_auth[1])
    paths = [path for ref in refs if (path := found_at(ref)) is not None]
    if server.ca_file is not None:
        paths.append(server.ca_file)
    paths += [one.templates for one in queue.handlers if one.templates is not None]
    return list(dict.fromkeys(paths))


def stamps(config: Config) -> Stamps:
    """How the files of all queues look now: (device, inode, size, time) of each, of a folder those within.

    Nothing is read of them. What is not there has no stamps.
    """
    found = {}
    for queue in config.queues.values():
        for path in files_of(config, queue):
            looks = (stamp(each) for each in (path, *_inside(path)))
            found[path] = tuple(one for one in looks if one is not None)
    return found


def _inside(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir()) if path.is_dir() else []
    except OSError:  # gone, or not for us: its workers will say so
        return []
