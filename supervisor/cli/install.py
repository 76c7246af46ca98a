"""`warden install`: user, folders, unit, timer and a first configuration on a machine with systemd.

Runs in: tools. What is written stands in supervisor.installation; this module looks at the machine and acts.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import tomli

from supervisor import atomic
from supervisor.installation import FOLDERS, UNIT, USER, File, Folder, Site, files

FOLDERS_OF = ("state_dir", "status_file", "metrics_file", "log_file")
TIMER = "xqueue-warden-health.timer"
SECRETS = frozenset({"password_file", "basic_auth_password_file", "urls_file", "url_file"})


@click.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    default=Path("/etc/warden/config.toml"),
    show_default=True,
    help="The configuration that the service will run with; written as a sample if it is not there.",
)
@click.option(
    "--executable",
    type=click.Path(path_type=Path),
    help="The `warden` that the unit starts.  [default: the one of this Python]",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write below this folder instead of /, for packages; no user is made, systemd is left alone.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done, and show the files.")
@click.option("--uninstall", is_flag=True, help="Remove what was written; data, secrets and settings stay.")
def install(config: Path, executable: Path | None, root: Path | None, dry_run: bool, uninstall: bool) -> None:
    """Set up the service on this machine: user, folders, systemd unit, health timer, first configuration.

    May be run again at any time: what is as it should be is left alone, and a configuration that is there is
    never touched. Nothing is started; the last lines say what is left to do.
    """
    if not dry_run and root is None and os.geteuid() != 0:
        raise click.ClickException(
            "this writes to /etc and makes a user, which only root may: run it with sudo, try --dry-run "
            "first, or write below another folder with --root"
        )
    executable = (executable or Path(sys.executable).parent / "warden").absolute()
    act = _Actor(root, dry_run)
    site = _site(config.absolute(), executable, act)
    if uninstall:
        _uninstall(site, act)
        return
    if not executable.is_file() and root is None:
        raise click.ClickException(f"there is no {executable}; name it with --executable")
    try:
        _install(site, act)
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or 'this machine'}: {error.strerror}; mend it and run this again: it goes on "
            "where it stopped"
        ) from error


class _Actor:
    """Does things, or only says them. `root` is put before every path."""

    def __init__(self, root: Path | None, dry_run: bool) -> None:
        self.root = root
        self.dry_run = dry_run
        self.changed = False

    @property
    def live(self) -> bool:
        """Is it this machine that is set up, and not a package's folder?"""
        return self.root is None

    def at(self, path: Path) -> Path:
        return path if self.root is None else self.root / path.relative_to("/")

    def do(self, what: str, action: Callable[[], object]) -> None:
        """Say it, and do it unless this is only a try."""
        self.changed = True
        click.echo(f"would {what}" if self.dry_run else what)
        if not self.dry_run:
            action()


def _site(config: Path, executable: Path, act: _Actor) -> Site:
    """This machine, as far as it matters. A configuration that cannot be read counts as none."""
    usual = Site(executable=executable, config=config, systemd=_systemd())
    table: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        table = tomli.loads(act.at(config).read_text(encoding="utf-8"))
    if not table:
        return usual
    warden = table.get("warden", {})
    drain_s = warden.get("drain_s", usual.drain_s) if isinstance(warden, dict) else usual.drain_s
    known = {folder.path for folder in FOLDERS} | {Path("/run/warden")}
    wanted = [_folder_of(config, warden, key) for key in FOLDERS_OF]
    writable = {path for path in wanted if path is not None and path not in known}
    return Site(
        executable=executable,
        config=config,
        credentials=tuple(_credentials(config, table).items()),
        drain_s=float(drain_s) if isinstance(drain_s, int | float) else usual.drain_s,
        systemd=usual.systemd,
        writable=tuple(sorted(writable)),
    )


def _folder_of(config: Path, warden: Mapping[str, object], key: str) -> Path | None:
    """The folder that the service must be able to write for a setting, None if it is not set."""
    value = warden.get(key) if isinstance(warden, dict) else None
    if not isinstance(value, str):
        return config.parent / "var" if key == "state_dir" else None
    path = config.parent / value
    return path if key == "state_dir" else path.parent


def _credentials(config: Path, table: Mapping[str, Any]) -> dict[str, Path]:
    """The secrets that systemd is to hand over: those that are named by a relative path.

    Raises:
        click.ClickException: two files of one name, of which the service would find only one.
    """
    found: dict[str, Path] = {}
    for name in _secrets(table):
        if Path(name).is_absolute():
            continue
        path = config.parent / name
        if found.setdefault(Path(name).name, path) != path:
            raise click.ClickException(
                f"{config}: {path} and {found[Path(name).name]} would be one credential; "
                "give one another name"
            )
    return found


def _secrets(table: Mapping[str, Any]) -> Iterator[str]:
    """The files of secrets that are named anywhere in the table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _secrets(value)
        elif key in SECRETS and isinstance(value, str):
            yield value


def _systemd() -> int:
    """Its version; 0 if there is none."""
    try:
        done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=20)
        return int(done.stdout.split()[1].partition(".")[0].partition("~")[0])
    except (OSError, IndexError, ValueError, subprocess.TimeoutExpired):
        return 0


# --- installing --------------------------------------------------------------------------------------------


def _install(site: Site, act: _Actor) -> None:
    all_files = files(site)
    for file in all_files[:1]:  # the user first: folders are to be his
        _write(file, act)
    if act.live:
        _make_user(act)
    for folder in FOLDERS:
        _make_folder(folder, act)
    for file in all_files[1:]:
        _write(file, act)
    if act.live and Path("/run/systemd/system").is_dir() and act.changed:
        act.do("run: systemctl daemon-reload", lambda: _run("systemctl", "daemon-reload"))
    if not act.changed:
        click.echo("everything is as it should be")
    for line in _next_steps(site, act):
        click.echo(line, err=True)


def _make_user(act: _Actor) -> None:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--home-dir", "/var/lib/warden"]
        command += ["--no-create-home", "--shell", shutil.which("nologin") or "/usr/sbin/nologin", USER]
        act.do(f"make user {USER}: {' '.join(command)}", lambda: _run(*command))


def _make_folder(folder: Folder, act: _Actor) -> None:
    path = act.at(folder.path)
    about = path.stat() if path.is_dir() else None
    owner = pwd.getpwnam(USER) if folder.user and act.live and _there_is_a_user() else None
    ours = about is not None and (owner is None or about.st_uid == owner.pw_uid)
    if about is not None and ours and about.st_mode & 0o7777 == folder.mode:
        return
    whose = f", {USER}'s" if folder.user else ""

    def make() -> None:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(folder.mode)
        if owner is not None:
            os.chown(path, owner.pw_uid, owner.pw_gid)

    act.do(f"make folder {path} ({folder.mode:04o}{whose})", make)


def _there_is_a_user() -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(USER))
    return False


def _write(file: File, act: _Actor) -> None:
    path = act.at(file.path)
    there = path.read_text(encoding="utf-8") if path.is_file() else None
    if there is not None and (file.keep or there == file.text):
        return

    def write() -> None:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        atomic.replace(path, file.text.encode(), file.mode)

    act.do(f"{'write' if there is None else 'replace'} {path} ({file.mode:04o})", write)
    if act.dry_run:
        click.echo("".join(f"    {line}\n" for line in file.text.splitlines()), nl=False)


def _run(*command: str) -> None:
    # Debian's plain `su` leaves root the path of whoever called it, which has no useradd.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PATH": path}
    )
    if done.returncode:
        why = done.stderr.strip() or f"exit status {done.returncode}"
        raise click.ClickException(f"{' '.join(command)}: {why}")


def _next_steps(site: Site, act: _Actor) -> list[str]:
    """What is left for a person."""
    missing = [path for _, path in site.credentials if not act.at(path).is_file()]
    return [
        "",
        "Next:",
        *(f"  install -m 600 /dev/stdin {path}    # type the password, then Ctrl-D" for path in missing),
        f"  {site.executable} check --config {site.config}    # as root; edit it first",
        f"  systemctl enable --now {UNIT} {TIMER}",
        f"  {site.executable} status --config {site.config}",
    ]


# --- and back ----------------------------------------------------------------------------------------------


def _uninstall(site: Site, act: _Actor) -> None:
    if (
        act.live
        and Path("/run/systemd/system").is_dir()
        and act.at(Path("/etc/systemd/system") / UNIT).exists()
    ):
        command = ("systemctl", "disable", "--now", UNIT, TIMER)
        act.do(f"run: {' '.join(command)}", lambda: _run(*command))
    for file in files(site):
        path = act.at(file.path)
        if not file.keep and path.exists():
            act.do(f"remove {path}", path.unlink)
    if act.live and Path("/run/systemd/system").is_dir() and act.changed:
        act.do("run: systemctl daemon-reload", lambda: _run("systemctl", "daemon-reload"))
    if not act.changed:
        click.echo("there is nothing to remove")
    kept = [folder.path for folder in FOLDERS if act.at(folder.path).exists()]
    if kept:
        text = ", ".join(str(act.at(path)) for path in kept)
        click.echo(f"kept: {text} and user {USER}; remove them yourself if you mean it", err=True)
