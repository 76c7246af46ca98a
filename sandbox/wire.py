"""What worker and zygote say to each other: JSON heads, descriptors, and two fixed records. Never pickle.

Runs in: worker, launcher, zygote (so: standard library only, CPython >= 3.8).

    frame  = total:u32  JSON object         the launch, bundles, files to collect: what is rare
    FORK   = "F" and a fixed record         a child, please; its descriptors come along
    BORN   = "B" pid                        here it is; its pidfd comes along
    END    = "E" and a fixed record         it is dead, and so is all that it started

No content goes through the zygote: texts, requests, bundles and outputs travel in files in memory and pipes
that it passes on unread. Each child is a copy of the zygote's memory, freed parts included; so what the
zygote never had, no child can find there.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is too heavy for a process that shall stay small
    from typing import Any


MAX_FRAME = 1024 * 1024
MAX_FDS = 4

FORK = struct.Struct("!cBHHIQqqqqqqqQIIf")
"""op "F", flags, sizes of entry, of bundle digest, of the command's JSON and of the request; seven rlimits in
the order of child.RLIMITS; scratch bytes, scratch files; processes; CPU seconds. The three texts follow."""
BORN = struct.Struct("!cI")
END = struct.Struct("!ciddQ?B")
"""op "E", wait status, CPU seconds, wall-clock seconds, peak in KiB, scratch full, why killed (KILLED)."""
KILLED = ("", "disk", "processes")
RESIDENT = 1
COMMAND = 2
COLLECT = 4


class WireError(Exception):
    """The other side closed in the middle of a frame, or what came is no frame."""


def encode(head: dict[str, Any]) -> bytes:
    text = json.dumps(head).encode("ascii")
    if len(text) > MAX_FRAME:
        raise WireError("frame of %d bytes" % len(text))
    return struct.pack("!I", len(text)) + text


def decode(text: bytes) -> dict[str, Any]:
    try:
        head = json.loads(text.decode("ascii"))
    except ValueError as error:
        raise WireError("not a frame: %s" % error) from None
    if type(head) is not dict:
        raise WireError("not a frame: no object")
    return head


def size_of(start: bytes) -> int:
    """Of a frame that begins with these four bytes."""
    (size,) = struct.unpack("!I", start)
    if size > MAX_FRAME:
        raise WireError("frame of %d bytes" % size)
    return int(size)


def send(fd: int, head: dict[str, Any]) -> None:
    view = memoryview(encode(head))
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int) -> dict[str, Any] | None:
    """The next frame; None if the other side has closed. Blocks."""
    start = read(fd, 4)
    return decode(read(fd, size_of(start))) if start else None


def read(fd: int, size: int) -> bytes:
    """So many bytes; b"" if the other side has closed before the first of them."""
    data = os.read(fd, size)
    while 0 < len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            raise WireError("closed in the middle of a frame")
        data += more
    return data


def send_with(line: socket.socket, data: bytes, fds: tuple[int, ...] | list[int]) -> None:
    """Send all of `data`; the descriptors go with its first byte."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sent = line.sendmsg([data], ancillary)
    if sent < len(data):
        line.sendall(data[sent:])


def receive_with(line: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """At most `size` bytes, b"" at the end, and the descriptors that came with them (close-on-exec)."""
    fds = array.array("i")
    space = socket.CMSG_SPACE(MAX_FDS * fds.itemsize)
    data, ancillary, _flags, _address = line.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
    return data, list(fds)


def sealed_file(pieces: list[bytes] | tuple[bytes, ...]) -> int:
    """A file in memory with these contents that nobody can change any more, at its start: a descriptor."""
    fd = os.memfd_create("request", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        # F_ADD_SEALS: F_SEAL_SEAL, _SHRINK, _GROW, _WRITE
        import fcntl

        fcntl.fcntl(fd, 1033, 0x1 | 0x2 | 0x4 | 0x8)
    except BaseException:
        os.close(fd)
        raise
    return fd


def content(fd: int, size: int) -> bytes:
    """All of a sealed file of this size."""
    data = os.pread(fd, size, 0)
    while len(data) < size:
        piece = os.pread(fd, size - len(data), len(data))
        if not piece:
            raise WireError("a file that ends too early")
        data += piece
    return data
