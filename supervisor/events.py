"""What supervisor and worker tell each other, and the wire between them.

Runs in: supervisor, worker. One SOCK_SEQPACKET socketpair per worker, one JSON message per packet. The worker
speaks in `Word`s: what it does now, by when it speaks again, and what has happened since the last one. The
supervisor answers with `Order`s. No learner text and no secret crosses this wire: what a worker says ends in
the status file.
"""

from __future__ import annotations

import re
import socket
from enum import StrEnum
from typing import Final

import msgspec

from graders.model import Blame, Cause, Verdict
from supervisor.pacer import Poll

MAX_PACKET: Final = 64 * 1024
MAX_TEXT: Final = 500
"""Longer texts are cut: a message is for one line of a table."""


class Phase(StrEnum):
    """What a worker does, as it says itself."""

    START = "start"
    IDLE = "idle"
    POLL = "poll"
    GRADE = "grade"
    DELIVER = "deliver"


class Polled(msgspec.Struct, frozen=True, tag="polled"):
    """The granted poll has ended. `dialect` of the server, as far as it is known.

    `queue_length`: what waits on the server after it; None: it was not asked, or does not tell.
    """

    how: Poll
    cause: Cause | None = None
    message: str = ""
    dialect: str = ""
    queue_length: int | None = None


class Received(msgspec.Struct, frozen=True, tag="received"):
    """A submission is in the journal. `again`: it was there before; the server handed it out once more."""

    again: bool = False


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """An attempt begins. Until its end is told, the death of the worker is the death at this.

    `learner`: equal for all that one learner sends in, and tells nothing else of him.
    """

    grader: str
    learner: str


class Balked(msgspec.Struct, frozen=True, tag="balked"):
    """The attempt failed by the fault of the service; it is made again."""

    cause: Cause
    message: str


class Graded(msgspec.Struct, frozen=True, tag="graded"):
    """A result is in the journal. `message` is for operators, empty when the learner is to blame.

    `waited_s`: from when it was submitted until its grading began; None: the submission does not say when.
    """

    verdict: Verdict
    blame: Blame
    cause: Cause
    wall_s: float
    cpu_s: float
    grader: str = ""
    message: str = ""
    waited_s: float | None = None


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """The server has taken a reply.

    `delivery_s`: from when it was graded until the server said so; `total_s`: since it was submitted, None:
    the submission does not say when.
    """

    delivery_s: float = 0.0
    total_s: float | None = None


class Dead(msgspec.Struct, frozen=True, tag="dead"):
    """A submission went to the dead letters."""

    cause: Cause
    message: str


class Trouble(msgspec.Struct, frozen=True, tag="trouble"):
    """Something does not work, and the worker goes on trying. `server`: it is the server, not this queue."""

    cause: Cause
    message: str
    server: bool = False


class Well(msgspec.Struct, frozen=True, tag="well"):
    """The last Trouble is over."""


class Backlog(msgspec.Struct, frozen=True, tag="backlog"):
    """Rows of this queue in the journal that are not yet delivered, whoever owns them.

    `held`: so many of them are left alone at present.
    """

    count: int
    oldest_at: float | None
    held: int = 0


class Layers(msgspec.Struct, frozen=True, tag="layers"):
    """The isolation in force in a sandbox."""

    sandbox: str
    layers: tuple[str, ...]


Happened = Polled | Received | Begun | Balked | Graded | Delivered | Dead | Trouble | Well | Backlog | Layers


class Word(msgspec.Struct, frozen=True, tag="word"):
    """Worker to supervisor. `until` is a promise (monotonic seconds): I speak again by then."""

    phase: Phase
    until: float
    wants_turn: bool = False  # it waits for a grant
    happened: tuple[Happened, ...] = ()


class Grant(msgspec.Struct, frozen=True, tag="poll"):
    """Poll once. `length`: if that brings something, ask how much more there is, where the server tells."""

    length: bool = False


class GoHome(msgspec.Struct, frozen=True, tag="drain"):
    """Finish what is in hand and end."""


class Inherit(msgspec.Struct, frozen=True, tag="inherit"):
    """The worker that wrote as `owner` is dead: its journal rows are anybody's.

    `spared`: what it was grading has no part in its death.
    """

    owner: str
    spared: bool = False


class Stir(msgspec.Struct, frozen=True, tag="stir"):
    """Somebody has changed rows of the journal: look into it."""


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """From now on begin no attempt with these graders, or none at all; the submissions stay in the journal.

    Each such order takes the place of the one before. What a granted poll brings may be begun all the same,
    unless its grader is named.
    """

    graders: tuple[str, ...] = ()
    everything: bool = False


Order = Grant | GoHome | Inherit | Hold | Stir

_WORDS: Final = msgspec.json.Decoder(Word)
_ORDERS: Final = msgspec.json.Decoder(Order)
_ENCODER: Final = msgspec.json.Encoder()


class ChannelClosed(Exception):
    """The other side is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """(the supervisor's end, non-blocking; the worker's end, blocking)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def short(text: str) -> str:
    """One line of at most MAX_TEXT characters; what cannot be UTF-8 is replaced."""
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


_RAISED: Final = re.compile(
    r"[^\n]* failed\nTraceback \(most recent call last\):\n"
    r"(?P<frames>(?: [^\n]*\n)*)(?P<kind>[A-Za-z_][\w.]{0,80})"
)
_FRAME: Final = re.compile(r'^  File "([^"\n]{1,200})", line (\d+)', re.MULTILINE)


def brief(detail: str) -> str:
    """A detail as one line for log and status, where no learner's text may stand.

    The first line is ours. What follows is what course code said, and a message of its exceptions may quote
    what the learner wrote; of a traceback only the exception's kind and place are told. The whole detail is
    in the journal, for `warden dead show`.
    """
    detail = detail.strip()
    first, _, _ = detail.partition("\n")
    raised = _RAISED.match(detail)
    if raised is None:
        return short(first)
    frames = _FRAME.findall(raised["frames"])
    where = f" at {frames[-1][0]}:{frames[-1][1]}" if frames else ""
    return short(f"{first}: {raised['kind']}{where}")


def send(sock: socket.socket, message: Word | Order) -> bool:
    """Send one message. False: the other side does not read and its buffer is full (non-blocking end only).

    Raises:
        ChannelClosed: the other side is gone.
    """
    try:
        sock.send(_ENCODER.encode(message), socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return False
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ChannelClosed from error
    return True


def _packet(sock: socket.socket, flags: int) -> bytes | None:
    try:
        packet = sock.recv(MAX_PACKET, flags)
    except BlockingIOError:
        return None
    except ConnectionResetError as error:
        raise ChannelClosed from error
    if not packet:
        raise ChannelClosed
    return packet


def next_word(sock: socket.socket) -> Word | None:
    """The next message of the worker, None if there is none now.

    Raises:
        ChannelClosed: the worker is gone.
        msgspec.DecodeError: the worker talks nonsense.
    """
    packet = _packet(sock, socket.MSG_DONTWAIT)
    try:
        return None if packet is None else _WORDS.decode(packet)
    except UnicodeDecodeError as error:  # msgspec's own word for some of what is no UTF-8
        raise msgspec.DecodeError(str(error)) from error


def next_order(sock: socket.socket) -> Order | None:
    """The next message of the supervisor, None if there is none now.

    Raises:
        ChannelClosed: the supervisor is gone.
    """
    packet = _packet(sock, socket.MSG_DONTWAIT)
    return None if packet is None else _ORDERS.decode(packet)
