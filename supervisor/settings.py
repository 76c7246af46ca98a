"""The words of the configuration: the frozen types, and the table of every setting.

Runs in: supervisor, worker, tools. The tables below are the schema: the loader (supervisor.config) reads by
them, and docs/configuration.md is rendered from them (`python -m supervisor.settings` prints the tables), so
what is accepted and what is documented cannot differ.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import Enum, StrEnum
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from graders.comparison import Comparison, ComparisonError
from graders.testcases import comparison_of
from graders.words import ENGLISH, LOCALE
from sandbox.model import Isolation, Limits
from sandbox.program import Language

MAX_ATTEMPTS: Final = 5
"""With three, one that takes long ran out of them when children and zygotes were killed at random."""

# --- the types ------------------------------------------------------------------------------------


class LogStyle(StrEnum):
    """How the log reads."""

    HUMAN = "human"
    JSON = "json"  # one object a line
    AUTO = "auto"  # human on a terminal, JSON otherwise


class PartialCredit(StrEnum):
    """What becomes of a score between 0 and 1 on the wire."""

    AUTO = "auto"  # as the server keeps it: KEEP on a legacy XQueue, NONE on the LMS's own
    KEEP = "keep"  # sent as the fraction that it is
    NONE = "none"  # 1 for a correct submission, else 0


class Audience(StrEnum):
    """Who hears of trouble."""

    TEAM = "team"  # runs the grading: courses, graders, results
    ADMIN = "admin"  # runs the machines: hosts, networks, accounts
    CONTACTS = "contacts"  # the `contact` of the course whose grader it is


class Severity(StrEnum):
    """How bad an alarm is."""

    WARNING = "warning"
    CRITICAL = "critical"  # grading has stopped, or will


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is, never the secret. Exactly one of `file` and `env` is set.

    `setting` is the dotted path of the setting that named it, for messages. `name` is the file as it was
    written in the configuration: a relative one is first looked for among the service manager's credentials.
    """

    setting: str
    file: Path | None = None
    env: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Warden:
    """The service itself. Paths are absolute."""

    state_dir: Path
    status_file: Path
    metrics_file: Path
    log: LogStyle = LogStyle.AUTO
    log_file: Path | None = None
    drain_s: float = 30.0
    recycle_submissions: int = 2000
    recycle_age_s: float = 86_400.0
    recycle_memory_mib: int = 1024
    journal_keep_days: int = 14
    dead_keep_days: int = 90
    files_keep_days: int = 2
    journal_most_mib: int = 1024
    translations: Path | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A way for alerts to people. Exactly one of `urls` (apprise URLs, one a line) and `command` is set."""

    name: str
    audience: tuple[Audience, ...]
    severity: Severity = Severity.WARNING
    urls: SecretRef | None = None
    command: tuple[str, ...] = ()
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Ping:
    """The dead-man ping."""

    url: SecretRef
    every_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Damping:
    """When trouble is told, told again, and told in digests."""

    hold_s: float = 20.0
    repeat_s: tuple[float, ...] = (3600.0, 14_400.0, 86_400.0)
    flaps: int = 3
    flap_window_s: float = 1800.0
    digest_s: float = 60.0
    digest_long_s: float = 3600.0
    digests: int = 5


@dataclass(frozen=True, slots=True)
class Alerts:
    """Who is told of trouble, how, and when."""

    channels: tuple[Channel, ...] = ()
    ping: Ping | None = None
    damping: Damping = Damping()


@dataclass(frozen=True, slots=True)
class Server:
    """One XQueue. `basic_auth` is (username, password) for HTTP Basic auth in front of it, or None."""

    name: str
    url: str
    username: str
    password: SecretRef
    basic_auth: tuple[str, SecretRef] | None = None
    verify_tls: bool = True
    ca_file: Path | None = None
    connect_timeout_s: float = 3.05
    pull_timeout_s: float = 10.0
    put_timeout_s: float = 40.0
    file_hosts: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[SecretRef, ...]:
        """Where its secrets are."""
        return (self.password, self.basic_auth[1]) if self.basic_auth else (self.password,)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """An interpreter and what a run in it may use. `interpreter` as in sandbox.model.Profile ("" = auto)."""

    name: str
    interpreter: str = ""
    preload: tuple[str, ...] = ()
    require: Isolation = Isolation.FULL
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class GradelibSettings:
    """A handler of kind "gradelib". `limits` are those of its sandbox with the handler's own on top."""

    sandbox: str
    limits: Limits
    grader_root: Path
    match: str = "*"
    graders: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    templates: Path | None = None
    seeds: int = 8
    contact: str = ""
    locale: str = ENGLISH


@dataclass(frozen=True, slots=True)
class ClassSettings:
    """A handler of kind "class": an own subclass of graders.Grader, `module:Class`, and its free options."""

    sandbox: str
    limits: Limits
    class_path: str
    grader_root: Path
    match: str = "*"
    graders: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    templates: Path | None = None
    contact: str = ""
    locale: str = ENGLISH


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """A handler of kind "program": tests in files, programs in `languages`.

    `limits` are changes to the languages' own limits of a run, by the names of `Limits`.
    """

    languages: tuple[str, ...]
    grader_root: Path
    limits: Mapping[str, int | float] = field(default_factory=dict)
    comparison: Comparison = Comparison()
    ignore_exit_status: bool = False
    match: str = "*"
    graders: Mapping[str, str] = field(default_factory=dict)
    templates: Path | None = None
    contact: str = ""
    locale: str = ENGLISH


HandlerSettings: TypeAlias = GradelibSettings | ClassSettings | ProgramSettings


@dataclass(frozen=True, slots=True)
class Workers:
    """How many seats a queue has: always `min`, in a burst up to `max`."""

    min: int = 1
    max: int = 1


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue. `cpus` and `processing_delay_s` are None for "auto"."""

    name: str
    server: str
    handlers: tuple[HandlerSettings, ...]
    workers: Workers = Workers()
    cpus: tuple[int, ...] | None = None
    poll_floor_s: float = 0.2
    poll_ceiling_s: float = 5.0
    processing_delay_s: float | None = None
    deadline_margin_s: float = 10.0
    max_attempts: int = MAX_ATTEMPTS
    partial_credit: PartialCredit = PartialCredit.AUTO
    locale: str = ENGLISH


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong at a dotted path: "what is wrong; what to do". It shows no value that may be secret."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, valid. `digest` (SHA-256 hex) is that of the file and the overrides.

    `refused` holds the queues that were left out because their part is bad, when leniently loaded; such a
    queue is not in `queues`, nor is a bad server or sandbox in its mapping. `warnings` stop nothing.
    """

    path: Path
    digest: str
    warden: Warden
    servers: Mapping[str, Server]
    sandboxes: Mapping[str, Sandbox]
    queues: Mapping[str, Queue]
    refused: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    languages: Mapping[str, Language] = field(default_factory=dict)
    alerts: Alerts = Alerts()

    def sandboxes_of(self, queue: Queue) -> list[str]:
        """Names of the sandboxes that the queue's handlers use, in their order."""
        used = [one.sandbox for one in queue.handlers if not isinstance(one, ProgramSettings)]
        return list(dict.fromkeys(used))

    def languages_of(self, queue: Queue) -> list[str]:
        """Names of the languages that learners may write in for the queue, in their order."""
        used = [name for one in queue.handlers if isinstance(one, ProgramSettings) for name in one.languages]
        return list(dict.fromkeys(used))


# --- kinds of values ------------------------------------------------------------------------------


class Wrong(Exception):
    """The value does not fit. The message is the second half of a Problem."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: its words for the manual, and the function that checks one and makes it ours.

    `parse(value, base)` gets the value as tomli gave it and the folder that relative paths start from.

    Raises (parse):
        Wrong: it does not fit.
    """

    words: str
    parse: Callable[[object, Path], object]


def toml_type(value: object) -> str:
    """What TOML calls it, for messages; values themselves are not shown, they may be secret."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a float"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, datetime | date | time):
        return "a date or time"
    return type(value).__name__


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong(f"must be a string, is {toml_type(value)}; put it in quotes")
    if not value.isprintable():
        raise Wrong("holds characters that cannot be printed; write it as plain text")
    return value


def _words(value: object) -> str:
    text = _text(value)
    if not text.strip():
        raise Wrong("is empty; give a value, or leave the key out if it has a default")
    return text


def text(*, empty: bool = False) -> Kind:
    """A string; empty only if allowed."""
    return Kind("string", lambda value, base: _text(value) if empty else _words(value))


def _flag(value: object, base: Path) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, is {toml_type(value)}; write it without quotes")
    return value


FLAG: Final = Kind("true or false", _flag)


def integer(low: int, high: int) -> Kind:
    """A whole number, both bounds included."""

    def parse(value: object, base: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(f"must be a whole number, is {toml_type(value)}; write it without quotes or fraction")
        if not low <= value <= high:
            raise Wrong(f"is out of range; give a whole number from {low} to {high}")
        return value

    return Kind(f"integer, {low} to {high}", parse)


def number(low: float, high: float) -> Kind:
    """A number, both bounds included."""

    def parse(value: object, base: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(f"must be a number, is {toml_type(value)}; write it without quotes")
        # An integer may be too large for a float: compare first, convert after.
        if (isinstance(value, float) and not math.isfinite(value)) or not low <= value <= high:
            raise Wrong(f"is out of range; give a number from {low:g} to {high:g}")
        return float(value)

    return Kind(f"number, {low:g} to {high:g}", parse)


def choice(of: type[Enum]) -> Kind:
    """One of the values of an enum of strings."""
    names = [str(member.value) for member in of]
    words = " or ".join(f'"{name}"' for name in names)

    def parse(value: object, base: Path) -> Enum:
        if not isinstance(value, str) or value not in names:
            raise Wrong(f"is not known; give {words}")
        return of(value)

    return Kind(words, parse)


def each(item: Callable[[object], str], words: str) -> Kind:
    """An array of strings, each checked by `item`."""

    def parse(value: object, base: Path) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise Wrong(f"must be an array, is {toml_type(value)}; write [{'…' if value else ''}]")
        found = []
        for index, one in enumerate(value):
            try:
                found.append(item(one))
            except Wrong as wrong:
                raise Wrong(f"item {index} {wrong}") from wrong
        return tuple(found)

    return Kind(words, parse)


def absolute(value: object, base: Path) -> Path:
    """The path, made absolute; symbolic links are left alone (an interpreter of a virtualenv is one)."""
    return base / _words(value)


def _holds(test: Callable[[Path], bool], path: Path) -> bool:
    try:
        return test(path)
    except (OSError, ValueError) as error:  # a name too long, a folder that may not be searched, …
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Wrong(f"{path} cannot be looked at: {reason}; correct the path or its permissions") from error


def _file(value: object, base: Path) -> Path:
    path = absolute(value, base)
    if not _holds(Path.is_file, path):
        raise Wrong(f"there is no file {path}; {_CORRECT}")
    return path


def _folder(value: object, base: Path) -> Path:
    path = absolute(value, base)
    if not _holds(Path.is_dir, path):
        raise Wrong(f"there is no folder {path}; create it, or {_CORRECT}")
    return path


_CORRECT: Final = "correct the path (relative ones start at the configuration's folder)"
PATH: Final = Kind("path", absolute)
FILE: Final = Kind("path of a file", _file)
FOLDER: Final = Kind("path of a folder", _folder)

_NAME: Final = re.compile(r"[^\W\d]\w*", re.ASCII)


def _module(value: object) -> str:
    name = _words(value)
    if not all(_NAME.fullmatch(part) for part in name.split(".")):
        raise Wrong("is not the name of a module; write it as in an import statement")
    return name


def _host(value: object) -> str:
    name = _words(value)
    if "/" in name or "@" in name or any(character.isspace() for character in name):
        raise Wrong("is not a host; write the name alone, without scheme or path")
    return name.lower()


def _locale(value: object, base: Path) -> str:
    name = _words(value).lower().replace("_", "-")
    if not LOCALE.fullmatch(name):
        raise Wrong('is no locale; write a language and perhaps a region, for example "pt-br"')
    return name


def _below(value: object) -> str:
    """A path that stays below whatever it is relative to."""
    path = _words(value)
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise Wrong("leaves the grader root; give a path below it")
    return path


def _class(value: object, base: Path) -> str:
    name = _words(value)
    module, colon, attribute = name.partition(":")
    if not colon or not all(_NAME.fullmatch(part) for part in [*module.split("."), attribute]):
        raise Wrong('must read "package.module:Class"; name the module, a colon, the class')
    return name


def _env(value: object, base: Path) -> str:
    name = _words(value)
    if not _NAME.fullmatch(name):
        raise Wrong("is not the name of an environment variable; use letters, digits and underscores")
    return name


def _url(value: object, base: Path) -> str:
    url = _words(value)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Wrong("is not a URL; write it like https://xqueue.example.org") from error
    if "@" in parts.netloc:
        raise Wrong("holds credentials; use basic_auth_username and basic_auth_password_file")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or " " in url:
        raise Wrong("is not an http:// or https:// URL with a host; write it like https://xqueue.example.org")
    if parts.query or parts.fragment:
        raise Wrong("holds a query or a fragment; leave out everything from the ? or #")
    return url.rstrip("/")


def _seconds(value: object, base: Path) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise Wrong(f"must be an array, is {toml_type(value)}; write for example [3600, 86400]")
    if len(value) > 20:
        raise Wrong("has more than 20 items; the last one repeats, so leave the rest out")
    found = []
    for index, one in enumerate(value):
        try:
            seconds = number(10, 2_592_000).parse(one, base)
        except Wrong as wrong:
            raise Wrong(f"item {index} {wrong}") from wrong
        assert isinstance(seconds, float)  # noqa: S101 - what `number` makes
        found.append(seconds)
    return tuple(found)


def _audience(value: object, base: Path) -> tuple[Audience, ...]:
    names = each(_words, "").parse(value, base)
    assert isinstance(names, tuple)  # noqa: S101 - what `each` makes
    known = [member.value for member in Audience]
    for name in names:
        if name not in known:
            raise Wrong(f'holds "{name}", which is not known; give some of {", ".join(known)}')
    if not names:
        raise Wrong('is empty; write for example ["team", "admin"]')
    return tuple(dict.fromkeys(Audience(name) for name in names))


def _interpreter(value: object, base: Path) -> str:
    name = _words(value)
    if name == "auto":
        return ""
    path = absolute(name, base)
    if not _holds(Path.is_file, path) or not path.stat().st_mode & 0o111:
        raise Wrong(f'there is no program {path}; give the path of a CPython 3.8 or newer, or "auto"')
    return str(path)


def _cpus(value: object, base: Path) -> tuple[int, ...] | None:
    if value == "auto":
        return None
    if not isinstance(value, list) or not value:
        raise Wrong('must be "auto" or a list of CPU numbers; write for example [0, 2]')
    for one in value:
        if isinstance(one, bool) or not isinstance(one, int) or one < 0:
            raise Wrong('must hold CPU numbers only; write for example [0, 2], or "auto"')
    if len(set(value)) != len(value):
        raise Wrong("names a CPU twice; leave one out")
    return tuple(value)


MOST_WORKERS: Final = 256
"""Of one queue."""
_SEATS: Final = integer(1, MOST_WORKERS)


def _workers(value: object, base: Path) -> Workers:
    """A number, or how few and how many."""
    if not isinstance(value, dict):
        try:
            number = _SEATS.parse(value, base)
        except Wrong as wrong:
            raise Wrong(f"{wrong}; or {{ min = 1, max = 4 }}") from wrong
        assert isinstance(number, int)  # noqa: S101 - what `integer` makes
        return Workers(number, number)
    found = {}
    for key in ("min", "max"):
        if key not in value:
            raise Wrong(f"has no {key}; write {{ min = 1, max = 4 }}, or one number")
        try:
            found[key] = _SEATS.parse(value[key], base)
        except Wrong as wrong:
            raise Wrong(f"{key} {wrong}") from wrong
    for key in value:
        if key not in found:
            raise Wrong(f'has an unknown key "{key}"; it takes min and max')
    least, most = found["min"], found["max"]
    assert isinstance(least, int) and isinstance(most, int)  # noqa: S101 - what `integer` makes
    if least > most:
        raise Wrong(f"has a min ({least}) above its max ({most}); exchange them")
    return Workers(least, most)


_DELAY: Final = number(1, 86_400)


def _delay(value: object, base: Path) -> object:
    return None if value == "auto" else _DELAY.parse(value, base)


def _graders(value: object, base: Path) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Wrong(f'must be a table, is {toml_type(value)}; write {{ "name" = "path/grader.py" }}')
    found = {}
    for name, path in value.items():
        try:
            found[name] = _below(path)
        except Wrong as wrong:
            raise Wrong(f'"{name}" {wrong}') from wrong
    return found


def _comparison(value: object, base: Path) -> Comparison:
    table = _table(value, base)
    try:
        return comparison_of(table)
    except ComparisonError as error:
        raise Wrong(f"makes no sense: {error}") from error


def _languages(value: object, base: Path) -> tuple[str, ...]:
    found = each(_words, "")
    names = found.parse(value, base)
    assert isinstance(names, tuple)  # noqa: S101 - what `each` makes
    if not names:
        raise Wrong('is empty; name the languages that learners may write in, for example ["c"]')
    return tuple(dict.fromkeys(names))


def _table(value: object, base: Path) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Wrong(f"must be a table, is {toml_type(value)}; write {{ key = value }}")
    return value


# --- the tables -----------------------------------------------------------------------------------


class _Required(Enum):
    REQUIRED = "required"


REQUIRED: Final = _Required.REQUIRED


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. `default` is written as in the file (a TOML value), None for "not set", or REQUIRED.

    `example` stands in docs only.
    """

    key: str
    kind: Kind
    default: object
    doc: str


WARDEN: Final = (
    Setting("state_dir", PATH, "var", "Journal, status file, metrics, lock. Made at start with mode 0700."),
    Setting(
        "status_file",
        PATH,
        None,
        "Where the status document goes; `status.json` in `state_dir` if not set. Set it when another user's "
        "monitoring reads it. Its folder must exist.",
    ),
    Setting(
        "metrics_file",
        PATH,
        None,
        "Where the metrics go, for Prometheus (the textfile collector of node_exporter reads all `*.prom` of "
        "a folder); `metrics.prom` in `state_dir` if not set. Its folder must exist.",
    ),
    Setting(
        "log", choice(LogStyle), "auto", "How the log reads; auto is human on a terminal, JSON otherwise."
    ),
    Setting(
        "log_file",
        PATH,
        None,
        "Append the log to this file instead of standard error. Its folder must exist. It may be renamed at "
        "any time (logrotate): a new one is made.",
    ),
    Setting(
        "drain_s", number(0, 3600), 30, "SIGTERM: finish what is in hand for so many seconds, then kill."
    ),
    Setting(
        "recycle_submissions",
        integer(0, 1_000_000_000),
        2000,
        "A worker is replaced after so many submissions, between two of them; 0: never.",
    ),
    Setting(
        "recycle_age_s",
        number(0, 31_536_000),
        86_400,
        "A worker is replaced when it has lived for so many seconds; 0: never.",
    ),
    Setting(
        "recycle_memory_mib",
        integer(0, 1_048_576),
        1024,
        "A worker is replaced when it and its zygotes use so much resident memory (MiB); 0: never.",
    ),
    Setting(
        "journal_keep_days", integer(1, 3650), 14, "Delivered submissions are forgotten after so many days."
    ),
    Setting(
        "dead_keep_days",
        integer(1, 3650),
        90,
        "Those in the dead-letter box after so many, counted from when they came into it.",
    ),
    Setting(
        "files_keep_days",
        integer(0, 3650),
        2,
        "Submitted files of delivered submissions are forgotten after so many days; `warden replay` needs "
        "them.",
    ),
    Setting(
        "journal_most_mib",
        integer(16, 1_048_576),
        1024,
        "MiB that the journal may hold; above that the oldest delivered submissions are forgotten sooner. "
        "What is not delivered is never forgotten.",
    ),
    Setting(
        "translations",
        FOLDER,
        None,
        "A folder of own words to learners: files `LOCALE.toml`, each over ours; see course-authors.md.",
    ),
)

ALERTS: Final = (
    Setting("hold_s", number(0, 3600), 20, "Trouble has to last for so long before it is told, or be gone."),
    Setting(
        "repeat_s",
        Kind("array of numbers, 10 to 2592000", _seconds),
        [3600, 14400, 86400],
        "What goes on is told again after so many seconds; the last one repeats. [] for never.",
    ),
    Setting(
        "flaps",
        integer(2, 1000),
        3,
        "Trouble that opens so often within `flap_window_s` comes and goes: it is told once and is over when "
        "it stays away for a third of the window.",
    ),
    Setting("flap_window_s", number(1, 86_400), 1800, "See `flaps`."),
    Setting(
        "digest_s",
        number(0, 3600),
        60,
        "Dead letters after the first are told in one digest in so many seconds.",
    ),
    Setting(
        "digest_long_s",
        number(1, 86_400),
        3600,
        "And after five digests in one in so many seconds, until it is quiet for so long.",
    ),
)

CHANNEL: Final = (
    Setting(
        "audience",
        Kind('array of "team", "admin" and "contacts"', _audience),
        REQUIRED,
        "Whom it reaches: who runs the grading, who runs the machines, the courses' `contact`s.",
    ),
    Setting("severity", choice(Severity), "warning", "The least severe alarm that it is used for."),
    Setting(
        "urls_file",
        PATH,
        None,
        "A file with apprise URLs, one a line (they hold secrets), readable by its owner only. For contacts "
        "`{contact}` in it is replaced by the contact.",
    ),
    Setting(
        "urls_env",
        Kind("name of a variable", _env),
        None,
        "An environment variable with the same. Give exactly one of `urls_file`, `urls_env` and `command`.",
    ),
    Setting(
        "command",
        Kind("array of strings", lambda value, base: each(_words, "").parse(value, base)),
        None,
        "A program and its arguments, started for each alert without a shell; the alert is JSON on its "
        "standard input.",
    ),
    Setting("timeout_s", number(0.1, 600), 30, "A delivery that takes longer is ended and tried again."),
)

PING: Final = (
    Setting(
        "url_file",
        PATH,
        None,
        "A file with the URL of a dead man's switch (healthchecks.io or one like it): it is called while the "
        "service makes progress, and raises the alarm when the calls stay away.",
    ),
    Setting("url_env", Kind("name of a variable", _env), None, "An environment variable with the same."),
    Setting("every_s", number(1, 86_400), 60, "Seconds between calls."),
)

SERVER: Final = (
    Setting(
        "url",
        Kind("http or https URL", _url),
        REQUIRED,
        "Scheme, host and port; `/xqueue/` is appended unless the path ends with it.",
    ),
    Setting("username", text(), REQUIRED, "The account that the XQueue knows."),
    Setting("password_file", PATH, None, "A file with the password, readable by its owner only."),
    Setting(
        "password_env",
        Kind("name of a variable", _env),
        None,
        "An environment variable with the password. Give exactly one of `password_file` and `password_env`.",
    ),
    Setting("basic_auth_username", text(), None, "HTTP Basic auth in front of the server, if any."),
    Setting("basic_auth_password_file", PATH, None, "As `password_file`, for HTTP Basic auth."),
    Setting(
        "basic_auth_password_env",
        Kind("name of a variable", _env),
        None,
        "As `password_env`, for HTTP Basic auth.",
    ),
    Setting("verify_tls", FLAG, True, "False only for a laboratory; `ca_file` is the better way."),
    Setting("ca_file", FILE, None, "Certificates (PEM) to trust instead of the system's."),
    Setting("connect_timeout_s", number(0.1, 120), 3.05, "Seconds to wait for a connection."),
    Setting("pull_timeout_s", number(0.1, 600), 10, "Seconds to wait for an answer to a poll."),
    Setting(
        "put_timeout_s",
        number(0.1, 600),
        40,
        "Seconds to wait for an answer to a reply. A legacy XQueue may need 25: it calls the LMS up to five "
        "times before it answers.",
    ),
    Setting(
        "file_hosts",
        each(_host, "array of hosts"),
        [],
        "Hosts, besides the server itself, that submitted files may be fetched from.",
    ),
)

SANDBOX: Final = (
    Setting(
        "interpreter",
        Kind('path of a program, or "auto"', _interpreter),
        "auto",
        "CPython 3.8 or newer, also of a virtualenv; auto is warden's own Python, without its packages.",
    ),
    Setting(
        "preload",
        each(_module, "array of module names"),
        [],
        'Modules imported once in the zygote, for example ["numpy"].',
    ),
    Setting(
        "require",
        choice(Isolation),
        "full",
        "The isolation that must be in force; nothing ever runs with less.",
    ),
)

LIMITS: Final = (
    Setting("wall_s", number(0.1, 3600), 8, "Seconds of wall-clock time."),
    Setting("cpu_s", number(0.05, 3600), 2, "Seconds of CPU time."),
    Setting("memory_mib", integer(16, 1_048_576), 256, "MiB of memory."),
    Setting("output_kib", integer(1, 65_536), 256, "KiB of standard output and error together."),
    Setting("report_kib", integer(16, 65_536), 1024, "KiB of the report that the harness returns."),
    Setting("scratch_mib", integer(1, 65_536), 16, "MiB in its scratch folder."),
    Setting("scratch_files", integer(8, 1_000_000), 256, "Files in its scratch folder."),
    Setting("processes", integer(1, 4096), 16, "Processes and threads, the first included."),
    Setting("open_files", integer(16, 65_536), 64, "Open files of each process."),
    Setting("stack_mib", integer(1, 65_536), 8, "MiB of stack of a program's first thread."),
)

LANGUAGE_TAG: Final = Kind("locale", _locale)

QUEUE: Final = (
    Setting("server", text(), REQUIRED, "The name of a server of `[servers]`."),
    Setting(
        "workers",
        Kind(f"integer, 1 to {MOST_WORKERS}, or {{ min, max }} of them", _workers),
        1,
        "How many submissions are graded at the same time. With `{ min = 1, max = 4 }` there is always one "
        "worker; in a burst the queue borrows idle cores for up to three more, and gives them back.",
    ),
    Setting(
        "cpus",
        Kind('"auto" or array of CPU numbers', _cpus),
        "auto",
        "The CPUs that the workers are pinned to, in turn; auto takes all that the service may use.",
    ),
    Setting("poll_floor_s", number(0.05, 300), 0.2, "An empty queue is never polled faster (seconds)."),
    Setting(
        "poll_ceiling_s",
        number(0.05, 3600),
        5,
        "An empty queue is polled ever slower, down to this (seconds).",
    ),
    Setting(
        "processing_delay_s",
        Kind('number, 1 to 86400, or "auto"', _delay),
        "auto",
        "After so many seconds the server hands a submission to somebody else; must match the server's. "
        "auto: 60 on a legacy XQueue, 300 on the LMS's own server.",
    ),
    Setting(
        "deadline_margin_s",
        number(0.5, 3600),
        10,
        "So many seconds before that a submission is answered on the LMS's own server, graded or not: it "
        "would block its queue. On a legacy XQueue a late result goes under the newer key.",
    ),
    Setting(
        "max_attempts",
        integer(1, 20),
        MAX_ATTEMPTS,
        "So many attempts at grading a submission may fail through no fault of its own, or end their worker; "
        "then the learner gets a neutral answer, and it goes to the dead letters.",
    ),
    Setting(
        "partial_credit",
        choice(PartialCredit),
        "auto",
        "A score between 0 and 1 is sent as it is (keep) or as 0 (none). auto: keep on a legacy XQueue, none"
        " on the LMS's own server, which rounds: on a problem of one point 0.6 would become full marks.",
    ),
    Setting(
        "locale",
        LANGUAGE_TAG,
        ENGLISH,
        "The language in which warden speaks to learners: ar, de, en, es, fr, pt-br, zh-cn, or one of your "
        "own `translations`.",
    ),
)

_HANDLER_KIND: Final = (
    Setting(
        "kind",
        Kind('"gradelib", "class" or "program"', lambda value, base: _words(value)),
        REQUIRED,
        "What judges.",
    ),
    Setting(
        "match",
        text(),
        "*",
        "A shell-style pattern on the grader's path; the first handler of the queue that fits judges.",
    ),
)
_HANDLER_HEAD: Final = (
    *_HANDLER_KIND,
    Setting("sandbox", text(), REQUIRED, "The name of a sandbox of `[sandboxes]`."),
    Setting("limits", Kind("table", _table), {}, "Overrides of the sandbox's limits; the keys are the same."),
)
_HANDLER_TAIL: Final = (
    Setting("templates", FOLDER, None, "A folder with own feedback templates."),
    Setting("contact", text(empty=True), "", "Who is told when a grader of this course fails."),
    Setting(
        "locale",
        LANGUAGE_TAG,
        None,
        "The language in which warden speaks to learners; the queue's if not set.",
    ),
)

GRADERS: Final = Setting(
    "graders",
    Kind("table of paths", _graders),
    {},
    'Names that a plain-string payload may use, for example { hw1 = "week1/hw1/grader.py" }.',
)

GRADELIB: Final = (
    *_HANDLER_HEAD,
    Setting("grader_root", FOLDER, REQUIRED, "The folder below which the graders are found."),
    GRADERS,
    Setting(
        "modules",
        each(_below, "array of folders below the grader root"),
        [],
        "Folders of modules that every grader may import, besides those in its own folder.",
    ),
    Setting(
        "seeds",
        integer(1, 10_000),
        8,
        "How many different random seeds the learners of a problem share; each costs one run of the answer.",
    ),
    *_HANDLER_TAIL,
)

CLASS: Final = (
    *_HANDLER_HEAD,
    Setting(
        "class", Kind('"package.module:Class"', _class), REQUIRED, "A subclass of `graders.Grader` to import."
    ),
    Setting("options", Kind("table", _table), {}, "Handed to the class as they are."),
    Setting("grader_root", FOLDER, ".", "The folder that the grader's path of a payload is relative to."),
    GRADERS,
    *_HANDLER_TAIL,
)

PROGRAM: Final = (
    *_HANDLER_KIND,
    Setting("grader_root", FOLDER, REQUIRED, "The folder below which the problems' folders are found."),
    Setting(
        "languages",
        Kind("array of names", _languages),
        REQUIRED,
        "What learners may write in: built-in languages, or those of `[languages]`.",
    ),
    Setting(
        "limits",
        Kind("table", _table),
        {},
        "Overrides of the languages' limits for a run; the keys are the same. A problem's own lie over them.",
    ),
    Setting(
        "comparison",
        Kind("table", _comparison),
        {},
        "How outputs are compared where a problem does not say: `mode` (exact, tokens or floats), "
        "`case_sensitive`, `line_change_sensitive`, `space_change_sensitive`, `float_absolute_tolerance`, "
        "`float_relative_tolerance`.",
    ),
    Setting(
        "ignore_exit_status",
        FLAG,
        False,
        "Whether a program may end with any exit status; otherwise one that is not 0 is a run-time error.",
    ),
    GRADERS,
    *_HANDLER_TAIL,
)

_STRINGS: Final = each(_text, "array of strings")


def _string_table(value: object, base: Path) -> dict[str, str]:
    return {name: _text(one) for name, one in _table(value, base).items()}


LANGUAGE: Final = (
    Setting("source", text(), None, "What the main source file is called, for example `main.c`."),
    Setting("suffixes", _STRINGS, None, 'How names of source files end, for example `[".c"]`.'),
    Setting(
        "artefacts",
        _STRINGS,
        None,
        "Patterns of what the compile step leaves in its scratch folder and the run step gets.",
    ),
    Setting(
        "named_by",
        text(empty=True),
        None,
        "A regular expression whose first group finds, in a text without a name, what to call its file.",
    ),
    Setting(
        "memory_signs", _STRINGS, None, "What a program says on standard error when it could not get memory."
    ),
    Setting("require", choice(Isolation), None, "The isolation that must be in force."),
)

STEP: Final = (
    Setting(
        "command",
        _STRINGS,
        None,
        "The program and its arguments; `{source}`, `{sources}`, `{bundle}`, `{scratch}`, `{main}` and "
        "`{memory_mib}` are filled in.",
    ),
    Setting(
        "show", _STRINGS, None, "Paths (or patterns) of the host that the jail shows; each must be there."
    ),
    Setting("show_if_there", _STRINGS, None, "The same for those that not every host has."),
    Setting("environment", Kind("table of strings", _string_table), None, "What the program sees besides."),
    Setting(
        "limits", Kind("table", _table), None, "As `[sandboxes.NAME.limits]`, with this step's defaults."
    ),
    Setting(
        "address_space",
        FLAG,
        None,
        "False for a runtime that reserves far more memory than it uses (Java, Node).",
    ),
)

SECTIONS: Final[tuple[tuple[str, str, tuple[Setting, ...]], ...]] = (
    ("[warden]", "The service itself.", WARDEN),
    ("[alerts]", "When people are told of trouble; see alerts.md.", ALERTS),
    ("[alerts.channels.NAME]", "A way to people. NAME is yours.", CHANNEL),
    ("[alerts.ping]", "The dead man's switch.", PING),
    ("[servers.NAME]", "Where submissions come from. NAME is yours.", SERVER),
    ("[sandboxes.NAME]", "An interpreter, kept warm. NAME is yours.", SANDBOX),
    ("[sandboxes.NAME.limits]", "What one run may use. There is no value for unlimited.", LIMITS),
    ("[queues.NAME]", "NAME is the queue's name on the server.", QUEUE),
    ('[[queues.NAME.handlers]] with kind = "gradelib"', "Graders written with gradelib.", GRADELIB),
    ('[[queues.NAME.handlers]] with kind = "class"', "Graders that are a Python class of yours.", CLASS),
    (
        '[[queues.NAME.handlers]] with kind = "program"',
        "Problems with tests in files, for programs in any language.",
        PROGRAM,
    ),
    (
        "[languages.NAME]",
        "What is not set is as in the built-in block of that name; see languages.md.",
        LANGUAGE,
    ),
    (
        "[languages.NAME.compile] and [languages.NAME.run]",
        "One step, in a jail of its own. A language without `compile` is run from its source.",
        STEP,
    ),
)
"""(heading, one line, settings): what the manual shows, in its order."""


def toml(value: object) -> str:
    """A default as it would be written in the file."""
    if value is REQUIRED:
        return "required"
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, dict):
        return "`{}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`"


def reference() -> str:
    """Every setting with its kind and default, as Markdown tables."""
    lines = []
    for heading, line, settings in SECTIONS:
        lines += [
            f"### `{heading}`",
            "",
            line,
            "",
            "| key | value | default | meaning |",
            "|---|---|---|---|",
        ]
        lines += [f"| `{s.key}` | {s.kind.words} | {toml(s.default)} | {s.doc} |" for s in settings]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(reference())
