"""A submission in a folder of its own, to be looked at, passed on, and graded again elsewhere.

Runs in: tools. The folder holds

    README.md         what this is, and the line that grades it
    submission.json   payload, learner's key, seed, names of the files
    response          the text that was handed in; files/ the files
    facts.json        ids, times, cause, reason, grader and its digest, layers, versions, outcome
    reply.json        the reply that was stored, if there is one
    config.toml       the one handler with its sandbox and languages; no server, no secret, no contact

It holds what a learner wrote: the folder is made anew with mode 0700, its files with 0600, no link is
followed. Options of a handler of kind "class" may be secret and are left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from graders.model import Work
from supervisor.archive import Content, Entry
from supervisor.judging import chosen
from supervisor.settings import CLASS, FOLDER, GRADELIB, PROGRAM, Config, ProgramSettings

SERVER: Final = "none"
"""The server of a bundle's configuration: nobody ever calls it."""
MOST_BYTES: Final = 64 * 1024 * 1024
_HANDLERS: Final = (*GRADELIB, *CLASS, *PROGRAM)
_FOLDERS: Final = {setting.key for setting in _HANDLERS if setting.kind is FOLDER}
_LEFT_OUT: Final = ("contact", "options")
_QUEUE_KEYS: Final = ("processing_delay_s", "partial_credit", "locale")


class BundleError(Exception):
    """It cannot be written or read; the message says which file, why, and what to do."""


class _Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    queue: str
    payload: str
    student_key: str
    random_seed: int
    problem: str
    files: dict[str, str]  # name -> path in the bundle
    missing: list[str]


class _Facts(msgspec.Struct, frozen=True):
    """What is needed of facts.json to compare."""

    id: int
    verdict: str | None = None
    grader_digest: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read."""

    folder: Path
    queue: str
    work: Work
    problem: str
    missing: tuple[str, ...]
    verdict: str | None
    grader_digest: str

    @property
    def config(self) -> Path:
        """Where its configuration is, if a handler fitted."""
        return self.folder / "config.toml"


# --- writing ----------------------------------------------------------------------------------------------


def write(folder: Path, entry: Entry, content: Content, config: str | None) -> None:
    """Make `folder`, which must not exist, and fill it. `config` as `portable` makes it.

    Raises:
        BundleError
    """
    name = str(folder)
    try:
        os.mkdir(folder, 0o700)  # noqa: PTH102 - refuses what is there, a link too
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            paths = {file: f"files/{number}" for number, file in enumerate(sorted(content.files))}
            submission = _Submission(
                entry.queue,
                content.payload,
                content.student_key,
                content.random_seed,
                content.problem,
                paths,
                content.missing,
            )
            _put(top, "submission.json", _pretty(msgspec.to_builtins(submission)))
            _put(top, "facts.json", _pretty(asdict(entry)))
            _put(top, "response", content.response.encode("utf-8", "surrogatepass"))
            if content.body:
                _put(top, "reply.json", content.body.encode())
            if config is not None:
                _put(top, "config.toml", config.encode())
            if paths:
                os.mkdir("files", 0o700, dir_fd=top)
                for file, path in paths.items():
                    _put(top, path, content.files[file])
            _put(top, "README.md", _readme(entry, config is not None).encode())
        finally:
            os.close(top)
    except FileExistsError:
        raise BundleError(f"{name}: is there already; name a folder that is not") from None
    except OSError as error:
        raise BundleError(f"{name}: cannot be written: {error.strerror}") from error


def _put(top: int, path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600, dir_fd=top), "wb") as file:
        file.write(data)


def _pretty(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _readme(entry: Entry, handler: bool) -> str:
    lines = [
        f"# Submission {entry.id}",
        "",
        f"- queue {entry.queue}",
        f"- grader {entry.grader or 'unknown'}, digest {entry.grader_digest or 'unknown'}",
        f"- verdict {entry.verdict or 'none'}, cause {entry.dead_cause or entry.cause or 'none'}",
        "- all else: facts.json",
        "",
        "It holds what a learner wrote. Keep it as private as the journal.",
        "",
    ]
    if handler:
        lines += [
            "Grade it, in this folder (or with the path of it; `--root` where the graders lie elsewhere):",
            "",
            "    warden grade --bundle . --details",
        ]
    else:
        lines += ["No handler of its queue fits it (see handlers.match), so it cannot be graded from here."]
    return "\n".join(lines) + "\n"


def portable(
    config: Config, tree: Mapping[str, Any], base: Path, queue_name: str, payload: str
) -> str | None:
    """The configuration of the handler that a submission goes to, as TOML; None if there is none.

    `tree` is the configuration's file as it was read, `base` the folder that its paths start from.
    """
    queue = config.queues.get(queue_name)
    index = None if queue is None else chosen(queue.handlers, payload)
    if queue is None or index is None:
        return None
    settings = queue.handlers[index]
    table: Mapping[str, Any] = tree["queues"][queue_name]
    handler = {key: value for key, value in table["handlers"][index].items() if key not in _LEFT_OUT}
    handler["grader_root"] = str(settings.grader_root)
    for key in _FOLDERS & handler.keys():
        handler[key] = str(base / handler[key])
    found: dict[str, Any] = {
        "servers": {SERVER: {"url": "http://localhost", "username": SERVER, "password_env": "NONE"}},
        "queues": {
            queue_name: {
                "server": SERVER,
                **{key: table[key] for key in _QUEUE_KEYS if key in table},
                "handlers": [handler],
            }
        },
    }
    if config.warden.translations is not None:
        found["warden"] = {"translations": str(config.warden.translations)}
    if isinstance(settings, ProgramSettings):
        found["languages"] = dict(tree.get("languages", {}))  # validators may be in any of them
    else:
        sandbox = dict(tree["sandboxes"][settings.sandbox])
        if sandbox.get("interpreter", "auto") != "auto":
            sandbox["interpreter"] = str(base / sandbox["interpreter"])
        found["sandboxes"] = {settings.sandbox: sandbox}
    return _toml(found)


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for section, table in sections.items():
        lines += [f"[{section}]", *(f"{_inline(key)} = {_inline(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def _inline(value: Any) -> str:
    """A TOML value on one line. Strings of JSON are strings of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_inline(key)} = {_inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


# --- reading ----------------------------------------------------------------------------------------------


def read(folder: Path) -> Bundle:
    """The bundle in `folder`.

    Raises:
        BundleError
    """
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{folder}: is no bundle: {error.strerror}") from error
    try:
        submission = msgspec.json.decode(_get(top, "submission.json"), type=_Submission)
        facts = msgspec.json.decode(_get(top, "facts.json"), type=_Facts)
        files = {name: _get(top, path) for name, path in submission.files.items() if _is_own(path)}
        response = _get(top, "response").decode("utf-8", "surrogatepass")
    except OSError as error:
        raise BundleError(f"{folder}: is no whole bundle: {error.filename}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder}: is no bundle of this warden: {error}") from error
    finally:
        os.close(top)
    work = Work(submission.payload, response, files, submission.student_key, submission.random_seed)
    return Bundle(
        folder,
        submission.queue,
        work,
        submission.problem,
        tuple(submission.missing),
        facts.verdict,
        facts.grader_digest,
    )


def _is_own(path: str) -> bool:
    parts: Sequence[str] = path.split("/")
    return len(parts) == 2 and parts[0] == "files" and parts[1].isdecimal()


def _get(top: int, path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=top)
    with os.fdopen(fd, "rb") as file:
        return file.read(MOST_BYTES)
