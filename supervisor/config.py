"""The configuration, read once: config.toml and `--set` in, frozen values or every problem at once out.

Runs in: supervisor, tools. What may stand in the file is in supervisor.settings; this module walks the file
by those tables, collects problems instead of stopping at the first, and checks what spans several settings.

A problem belongs to a unit: the whole (a syntax error, [warden], an unknown section), a server, a sandbox, or
a queue. Loaded leniently, a bad unit takes down only the queues that need it; they are in `Config.refused`.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import tomli

from graders.languages import KEYS, STEP_KEYS, LanguageError, built_in, change_limits, language
from graders.words import locales, problems_of
from sandbox.model import Limits
from sandbox.program import Language
from supervisor.deadline import LEGACY_DELAY_S
from supervisor.overrides import dotted, override
from supervisor.settings import (
    ALERTS,
    CHANNEL,
    CLASS,
    GRADELIB,
    LANGUAGE,
    LIMITS,
    PING,
    PROGRAM,
    QUEUE,
    REQUIRED,
    SANDBOX,
    SERVER,
    STEP,
    WARDEN,
    Alerts,
    Channel,
    ClassSettings,
    Config,
    Damping,
    GradelibSettings,
    HandlerSettings,
    LogStyle,
    Ping,
    Problem,
    ProgramSettings,
    Queue,
    Sandbox,
    SecretRef,
    Server,
    Setting,
    Warden,
    Workers,
    Wrong,
    toml_type,
)

__all__ = [
    "ClassSettings",
    "Config",
    "ConfigError",
    "GradelibSettings",
    "HandlerSettings",
    "LogStyle",
    "Problem",
    "ProgramSettings",
    "Queue",
    "Sandbox",
    "SecretRef",
    "Server",
    "Warden",
    "Workers",
    "load",
]

Table = Mapping[str, Any]

PASSES: Final = 4
"""A gradelib grading runs so many children, one after another, each with the handler's limits."""

MOST_CHANNELS: Final = 32

MAX_BYTES: Final = 4 * 1024 * 1024
"""A larger file is not a configuration."""


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says why, all of them at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def load(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    lenient_queues: bool = False,
    cpus: Collection[int] | None = None,
) -> Config:
    """Read and check the configuration.

    Args:
        path: of the TOML file. Relative paths in it start at its folder.
        overrides: each "dotted.key=TOML value", as given to --set; arrays as in queues.x.handlers[0].match.
        lenient_queues: leave out the queues whose part is bad (`Config.refused`), while one is left.
        cpus: the CPUs that exist, by default those that this process may use.

    Raises:
        ConfigError: with every problem found; nothing else.
    """
    path = Path(path)
    raw = _read(path)
    tree = _tree(raw, path, overrides)
    digest = hashlib.sha256(raw)
    for one in overrides:
        digest.update(b"\0" + one.encode("utf-8", "surrogateescape"))
    reader = _Reader(base=Path(os.path.abspath(path.parent)))  # noqa: PTH100 (resolve() would follow links)
    return reader.config(
        tree,
        path=path,
        digest=digest.hexdigest(),
        lenient=lenient_queues,
        cpus=os.sched_getaffinity(0) if cpus is None else cpus,
    )


def tree_of(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The file as it was written, with the overrides; not checked.

    Raises:
        ConfigError: it cannot be read.
    """
    return _tree(_read(path), path, overrides)


def _tree(raw: bytes, path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    tree = _parse(raw, path)
    if problems := override(tree, overrides):
        raise ConfigError(problems)
    return tree


def _read(path: Path) -> bytes:
    try:
        # A pipe in the file's place must not make us wait.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError([Problem(str(path), "there is no such file; name one with --config")]) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            [Problem(str(path), f"cannot be read: {reason}; correct it or name another")]
        ) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(
            [Problem(str(path), f"is larger than {MAX_BYTES} bytes; name a configuration file")]
        )
    return raw


def _parse(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomli.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(
            [Problem(str(path), f"is not UTF-8 (byte {error.start}); save it as UTF-8")]
        ) from error
    except (tomli.TOMLDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(
            [Problem(str(path), f"is not TOML: {_one_line(error)}; correct that line")]
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- walking by the tables ---------------------------------------------------------------------------


def hint(word: str, known: Iterable[str]) -> str:
    """`did you mean "x"?`, or the list of what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return "there is " + ", ".join(f'"{one}"' for one in sorted(known)) if known else "there is none"


_SECRETS: Final = frozenset({"password", "basic_auth_password", "urls", "url"})


class _Reader:
    """One reading of one file: the problems so far, each with the unit that it takes down."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.locales = locales()

    def bad(self, message: str, *steps: str | int) -> None:
        self.problems.append(Problem(dotted(*steps), message))

    def warn(self, message: str, *steps: str | int) -> None:
        self.warnings.append(Problem(dotted(*steps), message))

    def values(
        self, table: object, settings: Sequence[Setting], *steps: str | int, besides: Collection[str] = ()
    ) -> dict[str, Any]:
        """What the table says, by key, defaults filled in; a bad value is a problem and left out."""
        if not isinstance(table, dict):
            self.bad(f"must be a table, is {toml_type(table)}; write [{dotted(*steps)}]", *steps)
            return {}
        known = {setting.key for setting in settings} | set(besides)
        for key in table:
            if key in known:
                continue
            if key in _SECRETS and f"{key}_file" in known:
                self.bad(
                    f"a secret never stands here; name a file with it by {key}_file, or use {key}_env",
                    *steps,
                    key,
                )
            else:
                self.bad(f"unknown key; {hint(key, known)}", *steps, key)
        found: dict[str, Any] = {}
        for setting in settings:
            value = table.get(setting.key, setting.default)
            if value is REQUIRED:
                self.bad(f"is missing; give a value ({setting.kind.words})", *steps, setting.key)
            elif value is None:
                found[setting.key] = None
            else:
                try:
                    found[setting.key] = setting.kind.parse(value, self.base)
                except Wrong as wrong:
                    self.bad(str(wrong), *steps, setting.key)
        return found

    # --- the sections, in the order of the file ---

    def config(
        self, tree: dict[str, Any], *, path: Path, digest: str, lenient: bool, cpus: Collection[int]
    ) -> Config:
        for key in tree:
            if key not in _TOP:
                self.bad(f"unknown section; {hint(key, _TOP)}", key)
        warden = self.warden(tree.get("warden", {}))
        alerts = self.alerts(tree.get("alerts", {}))
        server_tables = self.named(tree, "servers")
        sandbox_tables = self.named(tree, "sandboxes", needed=_needs_sandboxes(tree))
        queue_tables = self.named(tree, "queues")
        whole = len(self.problems)  # so many concern everything

        servers, bad_servers = {}, {}
        for name, table in server_tables.items():
            server, problems = self.apart(lambda: self.server(name, table))  # noqa: B023 (called at once)
            if server and not problems:
                servers[name] = server
            else:
                bad_servers[name] = problems
        sandboxes, bad_sandboxes = {}, {}
        for name, table in sandbox_tables.items():
            sandbox, problems = self.apart(lambda: self.sandbox(name, table))  # noqa: B023
            if sandbox and not problems:
                sandboxes[name] = sandbox
            else:
                bad_sandboxes[name] = problems
        languages, bad_languages = dict(built_in()), {}
        for name, table in self.named(tree, "languages", needed=False).items():
            found, problems = self.apart(lambda: self.language(name, table))  # noqa: B023
            if found and not problems:
                languages[name] = found
            else:
                bad_languages[name] = problems
        queues, refused = {}, {}
        names = (server_tables, sandbox_tables, {*languages, *bad_languages})
        for name, table in queue_tables.items():
            queue, problems = self.apart(lambda: self.queue(name, table, names, sandboxes, cpus))  # noqa: B023
            for needed in _needs(table, "server"):
                problems += bad_servers.get(needed, ())
            for needed in _needs(table, "sandbox"):
                problems += bad_sandboxes.get(needed, ())
            for needed in _needs(table, "languages"):
                problems += bad_languages.get(needed, ())
            if queue and not problems:
                queues[name] = queue
            else:
                refused[name] = tuple(dict.fromkeys(problems))
        if warden is None or alerts is None or whole or (self.problems and not (lenient and queues)):
            raise ConfigError(tuple(dict.fromkeys(self.problems)))
        return Config(
            path=path,
            digest=digest,
            warden=warden,
            servers=servers,
            sandboxes=sandboxes,
            queues=queues,
            refused=refused,
            warnings=tuple(self.warnings),
            languages=languages,
            alerts=alerts,
        )

    def apart(self, read: Any) -> tuple[Any, list[Problem]]:
        """What `read()` gives, and the problems that it found."""
        before = len(self.problems)
        value = read()
        return value, self.problems[before:]

    def named(self, tree: Table, section: str, needed: bool = True) -> dict[str, object]:
        """The tables of a section, by their names; at least one if it is needed."""
        tables = tree.get(section, {})
        if not isinstance(tables, dict):
            self.bad(f"must be a table of tables, is {toml_type(tables)}; write [{section}.NAME]", section)
            return {}
        if not tables and needed:
            self.bad(f"there is none; add a [{section}.NAME]", section)
        for name in tables:
            if not name.strip() or not name.isprintable():
                self.bad("is not a name; use letters that can be printed", section, name)
        return dict(tables)

    def warden(self, table: object) -> Warden | None:
        before = len(self.problems)
        found = self.values(table, WARDEN, "warden")
        if len(self.problems) > before:
            return None
        if (folder := found["translations"]) is not None:
            for problem in problems_of(folder):
                self.bad(problem, "warden", "translations")
            if len(self.problems) > before:
                return None
        self.locales = locales(folder)
        if found["status_file"] is None:
            found["status_file"] = found["state_dir"] / "status.json"
        if found["metrics_file"] is None:
            found["metrics_file"] = found["state_dir"] / "metrics.prom"
        return Warden(**found)

    def alerts(self, table: object) -> Alerts | None:
        here = ("alerts",)
        before = len(self.problems)
        found = self.values(table, ALERTS, *here, besides=("channels", "ping"))
        if not isinstance(table, dict):
            return None
        tables = table.get("channels", {})
        channels = []
        if not isinstance(tables, dict):
            self.bad(f"must be a table of tables, is {toml_type(tables)}", *here, "channels")
        else:
            if len(tables) > MOST_CHANNELS:
                self.bad(f"has more than {MOST_CHANNELS} channels; a file of URLs may hold many", *here)
            channels = [self.channel(name, one) for name, one in tables.items()]
        ping = self.ping(table["ping"]) if "ping" in table else None
        if len(self.problems) > before:
            return None
        return Alerts(channels=tuple(one for one in channels if one), ping=ping, damping=Damping(**found))

    def channel(self, name: str, table: object) -> Channel | None:
        here = ("alerts", "channels", name)
        before = len(self.problems)
        found = self.values(table, CHANNEL, *here)
        if not isinstance(table, dict):
            return None
        if not re.fullmatch(r"[\w.-]{1,40}", name, re.ASCII):
            self.bad("is not a name; use at most 40 letters, digits, dots, hyphens and underscores", *here)
        if sum(key in table for key in ("urls_file", "urls_env", "command")) != 1:
            self.bad("needs exactly one of urls_file, urls_env and command", *here)
        command = found.pop("command", None) or ()
        if "command" in table and not command:
            self.bad("is empty; name a program and its arguments", *here, "command")
        if command and not Path(command[0]).is_absolute():
            self.bad("must begin with an absolute path; there is no search", *here, "command")
        urls = self.secret(table, found, "urls", *here)
        if len(self.problems) > before:
            return None
        del found["urls_file"], found["urls_env"]
        return Channel(name=name, urls=urls, command=command, **found)

    def ping(self, table: object) -> Ping | None:
        here = ("alerts", "ping")
        before = len(self.problems)
        found = self.values(table, PING, *here)
        if not isinstance(table, dict):
            return None
        url = self.secret(table, found, "url", *here)
        if url is None and len(self.problems) == before:
            self.bad("is missing; name a file with the URL by url_file, or use url_env", *here, "url")
        if len(self.problems) > before or url is None:
            return None
        return Ping(url=url, every_s=found["every_s"])

    def server(self, name: str, table: object) -> Server | None:
        here = ("servers", name)
        before = len(self.problems)
        found = self.values(table, SERVER, *here)
        if not isinstance(table, dict):
            return None
        password = self.secret(table, found, "password", *here)
        if password is None and not any(f"password{tail}" in table for tail in ("", "_file", "_env")):
            self.bad(
                "is missing; name a file with password_file, or a variable with password_env",
                *here,
                "password",
            )
        basic = self.secret(table, found, "basic_auth_password", *here)
        has_user = "basic_auth_username" in table
        has_basic = any(f"basic_auth_password{tail}" in table for tail in ("_file", "_env"))
        if has_user and not has_basic:
            self.bad("has no password; add basic_auth_password_file", *here, "basic_auth_username")
        if has_basic and not has_user:
            self.bad("is missing; a Basic auth password needs its username", *here, "basic_auth_username")
        if found.get("verify_tls") is False:
            if "ca_file" in table:
                self.bad("has no use while verify_tls is false; remove one of the two", *here, "ca_file")
            self.warn("is off: anybody in between can read and forge; prefer ca_file", *here, "verify_tls")
        if len(self.problems) > before:
            return None
        url = urlsplit(found["url"])
        if url.scheme == "http" and not _is_loopback(url.hostname or ""):
            self.warn("the password goes over the network in the clear; use https", *here, "url")
        for key in ("password_file", "password_env", "basic_auth_password_file", "basic_auth_password_env"):
            del found[key]
        user = found.pop("basic_auth_username")
        assert password is not None  # noqa: S101 (a problem otherwise)
        return Server(name=name, password=password, basic_auth=(user, basic) if basic else None, **found)

    def secret(self, table: Table, found: Table, key: str, *here: str | int) -> SecretRef | None:
        by_file, by_env = f"{key}_file", f"{key}_env"
        if by_file in table and by_env in table:
            self.bad(f"stands beside {by_env}; give exactly one of the two", *here, by_file)
            return None
        if (file := found.get(by_file)) is not None:
            return SecretRef(dotted(*here, by_file), file=file, name=table[by_file])
        if (env := found.get(by_env)) is not None:
            self.warn(f"what a variable holds is easily seen elsewhere; prefer {by_file}", *here, by_env)
            return SecretRef(dotted(*here, by_env), env=env)
        return None

    def sandbox(self, name: str, table: object) -> Sandbox | None:
        here = ("sandboxes", name)
        before = len(self.problems)
        found = self.values(table, SANDBOX, *here, besides=("limits",))
        if not isinstance(table, dict):
            return None
        limits = self.limits(table.get("limits", {}), Limits(), *here, "limits")
        if len(self.problems) > before or limits is None:
            return None
        return Sandbox(name=name, limits=limits, **found)

    def language(self, name: str, table: object) -> Language | None:
        """A language: every key looked at by itself, then all together."""
        here = ("languages", name)
        before = len(self.problems)
        self.values(table, LANGUAGE, *here, besides=("compile", "run"))
        if not isinstance(table, dict):
            return None
        for step in ("compile", "run"):
            if step not in table:
                continue
            self.values(table[step], STEP, *here, step)
            limits = table[step].get("limits") if isinstance(table[step], dict) else None
            if isinstance(limits, dict):
                self.limits(limits, Limits(), *here, step, "limits")
        if len(self.problems) > before:
            return None
        try:
            return language(name, table)
        except LanguageError as error:
            self.bad(error.message, "languages", *error.path.split("."))
            return None

    def limits(self, table: object, beneath: Limits, *here: str | int) -> Limits | None:
        """`beneath` with the table's own numbers on top."""
        before = len(self.problems)
        found = self.values(table, LIMITS, *here)
        if len(self.problems) > before or not isinstance(table, dict):
            return None
        return replace(beneath, **{key: value for key, value in found.items() if key in table})

    def queue(
        self,
        name: str,
        table: object,
        names: tuple[Collection[str], Collection[str], Collection[str]],
        sandboxes: Mapping[str, Sandbox],
        cpus: Collection[int],
    ) -> Queue | None:
        here = ("queues", name)
        before = len(self.problems)
        found = self.values(table, QUEUE, *here, besides=("handlers",))
        if not isinstance(table, dict):
            return None
        server = found.get("server")
        if server is not None and server not in names[0]:
            self.bad(f"there is no [{dotted('servers', server)}]; {hint(server, names[0])}", *here, "server")
        for cpu in found.get("cpus") or ():
            if cpu not in cpus:
                self.bad(
                    f'there is no CPU {cpu} for this service; it may use {_ranges(cpus)}, or write "auto"',
                    *here,
                    "cpus",
                )
        floor, ceiling = found.get("poll_floor_s"), found.get("poll_ceiling_s")
        if floor is not None and ceiling is not None and ceiling < floor:
            self.bad(
                f"is below poll_floor_s ({floor:g}); raise it or lower the floor", *here, "poll_ceiling_s"
            )
        self.locale(found, *here)
        delay = found.get("processing_delay_s") or LEGACY_DELAY_S
        handlers = self.handlers(table.get("handlers", []), names[1:], sandboxes, delay, *here)
        if len(self.problems) > before or any(handler is None for handler in handlers):
            return None
        queue = Queue(
            name=name,
            handlers=tuple(replace(one, locale=one.locale or found["locale"]) for one in handlers if one),
            **found,
        )
        jails: set[str] = set()
        for one in queue.handlers:
            jails |= set(one.languages) if isinstance(one, ProgramSettings) else {one.sandbox}
        if len(jails) >= MOST_JAILS:
            self.bad(
                f"its handlers use {len(jails)} sandboxes and languages; {MOST_JAILS - 1} are possible, "
                "so spread them over several queues",
                *here,
                "handlers",
            )
            return None
        return queue

    def locale(self, found: Table, *here: str | int) -> None:
        """Whether there are words in it. A handler without one gets its queue's, in `queue`."""
        if found.get("locale") and found["locale"] not in self.locales:
            self.bad(f"there are no words in it; {hint(found['locale'], self.locales)}", *here, "locale")

    def handlers(
        self,
        tables: object,
        names: tuple[Collection[str], Collection[str]],
        sandboxes: Mapping[str, Sandbox],
        delay: float | None,
        *queue: str | int,
    ) -> list[HandlerSettings | None]:
        here = (*queue, "handlers")
        if not isinstance(tables, list) or not tables:
            self.bad(f"there is none; add a [[{dotted(*here)}]]", *here)
            return []
        found = []
        unreachable_after: int | None = None
        for index, table in enumerate(tables):
            handler = self.handler(table, names, sandboxes, *here, index)
            found.append(handler)
            if handler is None:
                continue
            if unreachable_after is not None:
                self.warn(
                    f"is never asked: handler {unreachable_after} takes all; put it first",
                    *here,
                    index,
                    "match",
                )
            elif handler.match == "*":
                unreachable_after = index
            if not isinstance(handler, GradelibSettings):
                continue
            worst_s = handler.limits.wall_s * PASSES
            if delay is not None and worst_s >= delay:
                self.warn(
                    f"one grading may take {worst_s:g} s ({PASSES} runs), but after {delay:g} s the server "
                    "hands it to somebody else; lower wall_s, or raise processing_delay_s here and there",
                    *here,
                    index,
                    "limits",
                    "wall_s",
                )
        return found

    def handler(
        self,
        table: object,
        names: tuple[Collection[str], Collection[str]],
        sandboxes: Mapping[str, Sandbox],
        *here: str | int,
    ) -> HandlerSettings | None:
        before = len(self.problems)
        if not isinstance(table, dict):
            self.bad(f"must be a table, is {toml_type(table)}; write [[{dotted(*here[:-1])}]]", *here)
            return None
        kind = table.get("kind")
        if kind is not None and kind not in _KINDS:
            known = f"; {hint(kind, _KINDS)}" if isinstance(kind, str) else ""
            self.bad(f'must be "gradelib", "class" or "program"{known}', *here, "kind")
            return None
        if kind == "program":
            return self.program(table, names[1], *here)
        sandbox_names = names[0]
        found = self.values(table, CLASS if kind == "class" else GRADELIB, *here)
        self.locale(found, *here)
        sandbox = found.get("sandbox")
        if sandbox is not None and sandbox not in sandbox_names:
            self.bad(
                f"there is no [{dotted('sandboxes', sandbox)}]; {hint(sandbox, sandbox_names)}",
                *here,
                "sandbox",
            )
        beneath = sandboxes[sandbox].limits if sandbox and sandbox in sandboxes else Limits()
        limits = self.limits(table.get("limits", {}), beneath, *here, "limits")
        for name, path in (found.get("graders") or {}).items():
            root = found.get("grader_root")
            # What a class makes of a path is its own affair.
            if kind != "class" and root is not None and not exists(root / path, Path.is_file):
                self.bad(f"there is no file {root / path}; correct the path", *here, "graders", name)
        for index, path in enumerate(found.get("modules") or ()):
            root = found.get("grader_root")
            if root is not None and not exists(root / path, Path.is_dir):
                self.bad(f"there is no folder {root / path}; correct the path", *here, "modules", index)
        if len(self.problems) > before or limits is None:
            return None
        found["limits"] = limits
        del found["kind"]
        if kind == "class":
            found["class_path"] = found.pop("class")
            return ClassSettings(**found)
        return GradelibSettings(**found)

    def program(self, table: Table, names: Collection[str], *here: str | int) -> ProgramSettings | None:
        """A handler of kind "program"."""
        before = len(self.problems)
        found = self.values(table, PROGRAM, *here)
        self.locale(found, *here)
        for index, name in enumerate(found.get("languages") or ()):
            if name not in names:
                self.bad(f"there is no language {name}; {hint(name, names)}", *here, "languages", index)
        self.limits(table.get("limits", {}), Limits(), *here, "limits")
        root = found.get("grader_root")
        for name, path in (found.get("graders") or {}).items():
            if root is not None and not exists(root / path, Path.is_dir):
                self.bad(f"there is no folder {root / path}; correct the path", *here, "graders", name)
        if len(self.problems) > before:
            return None
        try:
            change_limits(Limits(), found["limits"])
        except ValueError as error:
            self.bad(f"makes no sense: {error}", *here, "limits")
            return None
        del found["kind"]
        return ProgramSettings(**found)


_TOP: Final = ("warden", "alerts", "servers", "sandboxes", "languages", "queues")
_KINDS: Final = ("gradelib", "class", "program")
MOST_JAILS: Final = 16
"""Numbers (user ids, control groups) that a slot has for jails; one is for the validators of programs."""


def _needs_sandboxes(tree: Table) -> bool:
    """Whether the file is to have a [sandboxes]: all but queues of program handlers only need one."""
    queues = tree.get("queues")
    tables = list(queues.values()) if isinstance(queues, dict) else []
    kinds = [
        handler.get("kind") if isinstance(handler, dict) else None
        for table in tables
        if isinstance(table, dict) and isinstance(table.get("handlers"), list)
        for handler in table["handlers"]
    ]
    return not kinds or any(kind != "program" for kind in kinds)


def _needs(table: object, key: str) -> set[str]:
    """Names of servers, sandboxes or languages that a queue's table speaks of, however bad the rest is."""
    if not isinstance(table, dict):
        return set()
    handlers = table.get("handlers")
    places = [table] if key == "server" else (handlers if isinstance(handlers, list) else [])
    names: list[object] = []
    for place in places:
        if isinstance(place, dict):
            value = place.get(key)
            names += value if isinstance(value, list) else [value]
    return {name for name in names if isinstance(name, str)}


def exists(path: Path, test: Callable[[Path], bool]) -> bool:
    """`test(path)`, and false for what cannot be looked at."""
    try:
        return test(path)
    except (OSError, ValueError):
        return False


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _ranges(numbers: Iterable[int]) -> str:
    """{0, 1, 2, 5} as "0-2, 5"."""
    parts: list[list[int]] = []
    for one in sorted(numbers):
        if parts and one == parts[-1][1] + 1:
            parts[-1][1] = one
        else:
            parts.append([one, one])
    return ", ".join(f"{low}-{high}" if low < high else str(low) for low, high in parts)


assert {f.name for f in fields(Limits)} == {setting.key for setting in LIMITS}  # noqa: S101
assert {*KEYS, *STEP_KEYS} == {one.key for one in (*LANGUAGE, *STEP)} | {"compile", "run"}  # noqa: S101
