"""Request bodies read under limits: urlencoded and multipart, fields apart from files.

Runs in: queue server. A body of any other kind is a form without fields, as on the legacy server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

MAX_FIELDS: Final = 100
_UTF8: Final = frozenset({b"", b"utf-8", b"utf8", b"us-ascii", b"ascii"})


class TooLarge(Exception):
    """The body is larger than this server takes."""


@dataclass(frozen=True, slots=True)
class Form:
    """The last value of each field, and the last file of each field name ("" is dropped).

    Close it after use.
    """

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, UploadFile] = field(default_factory=dict)
    dropped: tuple[UploadFile, ...] = ()  # sent under a name that came again, or none

    async def close(self) -> None:
        """Removes the temporary files that large uploads are kept in."""
        for upload in (*self.files.values(), *self.dropped):
            await upload.close()


async def read_form(request: Request, *, max_form_bytes: int, max_upload_bytes: int, max_files: int) -> Form:
    """The form in `request`'s body; empty if there is none that can be read.

    Raises TooLarge when the fields or the whole body exceed their limit. The rest of the body is read and
    thrown away first (up to `max_upload_bytes`), because a client that is still sending would not see an
    answer.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    stream = _capped(request, max_upload_bytes)
    try:
        if kind == b"application/x-www-form-urlencoded":
            return await _read_urlencoded(stream, max_form_bytes)
        if kind == b"multipart/form-data" and options.get(b"charset", b"").lower() in _UTF8:
            return await _read_multipart(request, stream, max_form_bytes, max_files)
        async for _ in stream:
            pass
    except TooLarge:
        async for _ in stream:
            pass
        raise
    except (MultiPartException, ClientDisconnect):
        async for _ in stream:
            pass
    return Form()


async def _read_urlencoded(stream: AsyncGenerator[bytes, None], max_form_bytes: int) -> Form:
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > max_form_bytes:
            raise TooLarge
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:  # too many fields
        return Form()
    return Form(dict(pairs))


async def _read_multipart(
    request: Request, stream: AsyncGenerator[bytes, None], max_form_bytes: int, max_files: int
) -> Form:
    parser = _Parts(
        request.headers, stream, max_files=max_files, max_fields=MAX_FIELDS, max_part_size=max_form_bytes
    )
    fields: dict[str, str] = {}
    files: dict[str, UploadFile] = {}
    dropped: list[UploadFile] = []
    for name, value in (await parser.parse()).multi_items():
        if isinstance(value, str):
            fields[name] = value
            continue
        old = files.pop(name, None) if name else value
        if old is not None:
            dropped.append(old)
        if name:
            files[name] = value
    return Form(fields, files, tuple(dropped))


class _Parts(MultiPartParser):
    """Counts all fields together: the limit is on a form, not on each of its parts."""

    _field_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self._field_bytes += end - start
            if self._field_bytes > self.max_part_size:
                raise TooLarge
        super().on_part_data(data, start, end)


async def _capped(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > max_bytes:
            raise TooLarge
        yield chunk
