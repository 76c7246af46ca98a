"""Secrets, read when they are needed and by whoever needs them, never kept in the configuration.

Runs in: worker, sender, tools; `seal` in the supervisor, which itself reads none. A secret lives in a
worker's memory and nowhere else: what a worker starts is exec'd with an environment of its own, and a
sealed process leaves no core and shows its memory and environment to root only. A variable (`password_env`)
cannot be taken back from the supervisor's environment, as new workers need it; that is why a file is
advised.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Final

import prctl

from supervisor.settings import SecretRef

MAX_BYTES: Final = 64 * 1024


class SecretError(Exception):
    """The secret cannot be had. The message names the setting, the place and the remedy, never the secret."""


def seal() -> None:
    """From now on nobody but root may read this process's memory or environment, and it leaves no core.

    Forked processes inherit it, exec'd ones do not (prctl(2), PR_SET_DUMPABLE). What stays possible for the
    process itself: /proc/self/fd and such. RLIMIT_CORE is left alone: the sandbox sets its own, and cannot
    raise it.

    Raises:
        OSError: the kernel refuses.
    """
    prctl.set_dumpable(False)


def forget(refs: Iterable[SecretRef], environ: MutableMapping[str, str] = os.environ) -> None:
    """Take the variables among `refs` out of this process's environment, once they are read."""
    for ref in refs:
        if ref.env is not None:
            environ.pop(ref.env, None)


def read_secret(ref: SecretRef, environ: Mapping[str, str] = os.environ) -> str:
    """The secret, without the one newline that an editor leaves at its end.

    A relative file name is first looked for in $CREDENTIALS_DIRECTORY (systemd's LoadCredential=), by its
    last part; then where the configuration says.

    The mode that counts is that of the file that was opened, so a link may point to it; whoever can replace
    it, by its folder, could hand us another one, so the folder counts as well.

    Raises:
        SecretError: missing, unreadable, readable or replaceable by others, empty, not text, or of several
            lines.
    """
    text, where = _read(ref, environ)
    if "\n" in text:
        raise SecretError(f"{where} has more than one line; leave the secret alone in it")
    return text


def read_secret_lines(ref: SecretRef, environ: Mapping[str, str] = os.environ) -> list[str]:
    """As `read_secret`, for a secret of several lines: they are stripped, and empty ones left out.

    Raises:
        SecretError: as `read_secret`.
    """
    text, _ = _read(ref, environ)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read(ref: SecretRef, environ: Mapping[str, str]) -> tuple[str, str]:
    """The text, and where it came from, for messages."""
    if ref.env is not None:
        if ref.env not in environ:
            raise SecretError(f"{ref.setting}: ${ref.env} is not set; set it for the service")
        where = f"{ref.setting}: ${ref.env}"
        return _checked(environ[ref.env], where), where
    assert ref.file is not None  # noqa: S101 (one of the two, by construction)
    path, ours = _find(ref.file, ref.name, environ.get("CREDENTIALS_DIRECTORY", ""))
    where = f"{ref.setting}: {path}"
    try:
        # Not to wait for somebody to write into it, should it be a pipe; it is refused below.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())  # of what was opened, not of what stands there by now
            if not stat.S_ISREG(status.st_mode):
                raise SecretError(f"{where} is not a file; name the file with the secret")
            if ours and status.st_mode & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                raise SecretError(f"{where} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
            if ours:
                _check_owners(path, status, where)
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise SecretError(f"{where} does not exist; create it with mode 0600") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SecretError(
            f"{where} cannot be read ({reason}); make it readable for the service's user"
        ) from error
    if len(raw) > MAX_BYTES:
        raise SecretError(f"{where} is larger than {MAX_BYTES} bytes; name the file with the secret")
    try:
        return _checked(raw.decode("utf-8"), where), where
    except UnicodeDecodeError:
        raise SecretError(
            f"{where} is not UTF-8 text; write the secret as text"
        ) from None  # the cause shows it


def _find(file: Path, name: str, credentials: str) -> tuple[Path, bool]:
    """The path to read, and whether its mode is the operator's business.

    The service manager makes its credentials read-only and ours alone (by ACL at times, which shows as group
    bits), so their mode says nothing.
    """
    if credentials and name and not Path(name).is_absolute():
        candidate = Path(credentials) / Path(name).name
        if candidate.is_file():
            return candidate, False
    return file, True


def _check_owners(path: Path, status: os.stat_result, where: str) -> None:
    """That only root or we could have put it there. Root may look at anybody's (`sudo warden check`)."""
    user = os.geteuid()
    if user not in (0, status.st_uid) and status.st_uid != 0:
        raise SecretError(f"{where} belongs to user {status.st_uid}; run: chown {user} {path}")
    folder = path.resolve().parent
    about = folder.stat()
    if about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX:
        raise SecretError(f"{where}: others can replace it, by its folder; run: chmod go-w {folder}")


def _checked(text: str, where: str) -> str:
    if text.endswith("\n"):
        text = text[:-1].removesuffix("\r")
    if not text:
        raise SecretError(f"{where} is empty; write the secret into it")
    if "\0" in text:
        raise SecretError(f"{where} is not text; write the secret as text")
    return text


Stamp = tuple[int, int, int, int]
"""(device, inode, size, time of the last change in ns) of a file: another one means that it was replaced."""


def found_at(ref: SecretRef, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file that `read_secret` would read; None for a variable of the environment."""
    if ref.file is None:
        return None
    return _find(ref.file, ref.name, environ.get("CREDENTIALS_DIRECTORY", ""))[0]


def stamp(path: Path) -> Stamp | None:
    """How the file looks now, without reading it; None if it is not there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
