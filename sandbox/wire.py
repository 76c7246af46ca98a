"""The frames between worker and zygote: length-capped JSON with binary parts. Never pickle.

Runs in: worker, launcher, zygote (so: standard library only, CPython >= 3.8).

    frame  = total:u32  head:u32  JSON object of `head` bytes  part*
    "parts" in the JSON object lists the parts' sizes; total counts all after its own four bytes.
"""

from __future__ import annotations

import json
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any


MAX_FRAME = 64 * 1024 * 1024


class WireError(Exception):
    """The other side closed in the middle of a frame, or what came is no frame."""


def encode(head: dict[str, Any], parts: tuple[bytes, ...] | list[bytes] = ()) -> bytes:
    head = dict(head, parts=[len(part) for part in parts])
    text = json.dumps(head).encode("ascii")
    body = b"".join(parts)
    total = 4 + len(text) + len(body)
    if total > MAX_FRAME:
        raise WireError("frame of %d bytes" % total)
    return struct.pack("!II", total, len(text)) + text + body


def decode(frame: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Head and parts of a frame without its first four bytes."""
    try:
        (size,) = struct.unpack_from("!I", frame)
        head = json.loads(frame[4 : 4 + size].decode("ascii"))
        sizes = head.pop("parts")
        offset = 4 + size
        parts = []
        for length in sizes:
            if type(length) is not int or length < 0:
                raise WireError("a part of no size")
            parts.append(frame[offset : offset + length])
            offset += length
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WireError("not a frame: %s" % error) from None
    if offset != len(frame):
        raise WireError("a frame of another size than it says")
    return head, parts


def send(fd: int, head: dict[str, Any], parts: tuple[bytes, ...] | list[bytes] = ()) -> None:
    view = memoryview(encode(head, parts))
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int) -> tuple[dict[str, Any], list[bytes]] | None:
    """The next frame; None if the other side has closed. Blocks."""
    start = _read(fd, 4)
    if start is None:
        return None
    (total,) = struct.unpack("!I", start)
    if total > MAX_FRAME:
        raise WireError("frame of %d bytes" % total)
    rest = _read(fd, total)
    if rest is None:
        raise WireError("closed in the middle of a frame")
    return decode(rest)


def _read(fd: int, size: int) -> bytes | None:
    data = os.read(fd, size)
    if not data:
        return None
    if len(data) == size:  # nearly always
        return data
    pieces = [data]
    missing = size - len(data)
    while missing:
        data = os.read(fd, missing)
        if not data:
            raise WireError("closed in the middle of a frame")
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)
