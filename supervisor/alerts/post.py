"""One delivery, in a process of its own: to a URL by apprise, to a command, or a dead-man ping.

Runs in: post (`python -I -m supervisor.alerts.post PARENT`, exec'd by supervisor.alerts.courier). The job
comes by standard input, with the secret URL in it; the outcome goes to standard output. Whatever a delivery
does (hangs in DNS, leaks, crashes) ends with this process, and it dies with the one that started it.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec
import prctl

from supervisor.alerts.model import Change, Letter
from supervisor.plain import plain
from supervisor.secrets import seal
from supervisor.settings import Severity

MISSING: Final = "apprise is not installed; run: pip install 'xqueue-warden[alerts]'"
MAX_MESSAGE: Final = 300
_SAFE_WORDS: Final = frozenset({"json", "jsons", "mailto", "mailtos", "http", "https", "smtp", "localhost"})


class ToUrl(msgspec.Struct, frozen=True, tag="url"):
    """Send the letter to an apprise URL; `{contact}` in it becomes the letter's contact."""

    url: str
    letter: Letter


class ToCommand(msgspec.Struct, frozen=True, tag="command"):
    """Start the program with the letter as JSON on its standard input."""

    command: tuple[str, ...]
    letter: Letter
    timeout_s: float


class Knock(msgspec.Struct, frozen=True, tag="ping"):
    """POST `body` to the URL, or to its /fail."""

    url: str
    body: str
    timeout_s: float
    fail: bool = False


Job = ToUrl | ToCommand | Knock


class Outcome(msgspec.Struct, frozen=True):
    """What came of it. `message` says why not, without any part of the URL that may be secret."""

    ok: bool
    message: str = ""


def main() -> None:
    """The process: one job in, one outcome out."""
    prctl.set_pdeathsig(signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
    seal()
    job: Job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        outcome = deliver(job)
    except Exception as error:  # the edge: a plugin of apprise may raise anything
        secret = job.url if not isinstance(job, ToCommand) else ""
        outcome = Outcome(False, scrubbed(f"{type(error).__name__}: {error}", secret))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    sys.stdout.buffer.flush()


def deliver(job: Job) -> Outcome:
    """Do it, here and now."""
    match job:
        case ToUrl(url, letter):
            return _to_url(url, letter)
        case ToCommand(command, letter, timeout_s):
            return _to_command(command, letter, timeout_s)
        case Knock():
            return _knock(job)


# --- apprise -----------------------------------------------------------------------------------------------


class _Last(logging.Handler):
    """Keeps what apprise last complained of: `notify` itself says only yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.message = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.message = record.getMessage()


def _to_url(url: str, letter: Letter) -> Outcome:
    try:
        import apprise
    except ImportError:
        return Outcome(False, MISSING)
    if letter.contact:
        url = url.replace("{contact}", quote(letter.contact, safe="@"))
    last = _Last()
    logger = logging.getLogger("apprise")
    logger.addHandler(last)
    logger.propagate = False
    asset = apprise.AppriseAsset(app_id="warden", app_desc="xqueue-warden", async_mode=False)
    channel = apprise.Apprise(asset=asset)
    if not channel.add(url):
        return Outcome(False, "it is not a URL that apprise knows; see its list of services")
    kind = {
        Change.RECOVERED: apprise.NotifyType.SUCCESS,
        Change.PLANNED: apprise.NotifyType.INFO,
        Change.TEST: apprise.NotifyType.INFO,
    }.get(letter.change or Change.OPENED)
    if kind is None:
        critical = letter.severity is Severity.CRITICAL
        kind = apprise.NotifyType.FAILURE if critical else apprise.NotifyType.WARNING
    ok = channel.notify(
        body=letter.text, title=letter.title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
    )
    return Outcome(True) if ok else Outcome(False, scrubbed(last.message or "it was refused", url))


def known(url: str) -> str:
    """Why apprise cannot use the URL; "" if it can. Nothing is sent."""
    try:
        import apprise
    except ImportError:
        return MISSING
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    logging.getLogger("apprise").propagate = False
    return "" if apprise.Apprise().add(url) else "is not a URL that apprise knows; see its list of services"


def scrubbed(text: str, url: str) -> str:
    """`text` as one short line, without the URL and without any part of it that may be secret."""
    parts = urlsplit(url)
    pieces = {url, parts.netloc, parts.username or "", parts.password or "", parts.query, parts.fragment}
    for piece in (*parts.path.split("/"), *parts.query.replace("&", "=").split("=")):
        pieces.add(piece)
    pieces |= {unquote(piece) for piece in pieces}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= 4 and piece.lower() not in _SAFE_WORDS:
            text = text.replace(piece, "***")
    line = plain(" ".join(text.split()))
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"


# --- a command ---------------------------------------------------------------------------------------------


def _to_command(command: tuple[str, ...], letter: Letter, timeout_s: float) -> Outcome:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            # A thread-free process, so what runs between fork and exec is safe.
            preexec_fn=lambda: prctl.set_pdeathsig(signal.SIGKILL),
        )
    except OSError as error:
        return Outcome(False, f"{command[0]} cannot be started: {error.strerror}")
    try:
        _, said = process.communicate(msgspec.json.encode(letter) + b"\n", timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return Outcome(False, f"{command[0]} did not end within {timeout_s:g} s")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode == 0:
        return Outcome(True)
    lines = said.decode("utf-8", "replace").strip().splitlines()
    tail = f": {plain(lines[-1])[:200]}" if lines else ""
    return Outcome(False, f"{command[0]} ended with status {process.returncode}{tail}")


# --- the ping ----------------------------------------------------------------------------------------------


def _knock(job: Knock) -> Outcome:
    parts = urlsplit(job.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return Outcome(False, "it is not an http:// or https:// URL")
    path = parts.path.rstrip("/") + "/fail" if job.fail else parts.path
    url = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    request = urllib.request.Request(url, data=job.body.encode(), method="POST")  # noqa: S310 (checked)
    request.add_header("Content-Type", "text/plain; charset=utf-8")
    request.add_header("User-Agent", "xqueue-warden")
    try:
        with urllib.request.urlopen(request, timeout=job.timeout_s) as answer:  # noqa: S310
            return Outcome(True) if 200 <= answer.status < 300 else Outcome(False, f"HTTP {answer.status}")
    except urllib.error.HTTPError as error:
        error.close()
        return Outcome(False, f"HTTP {error.code}")
    except (OSError, ValueError) as error:
        return Outcome(False, scrubbed(str(getattr(error, "reason", error)), job.url))


if __name__ == "__main__":
    main()
