"""Our client before our embedded server: long lists of files, hostile names, root-relative URLs."""

from __future__ import annotations

import json

import pytest

from tests.queue.lab import PASSWORD, USER, Server
from tests.queue.test_submissions import HOSTILE
from xqueue.access import ServerAccess
from xqueue.client import Dialect, XQueueClient
from xqueue.errors import UnknownQueue
from xqueue.filenames import sanitise_file_names
from xqueue.protocol import encode_body


def test_forty_files_with_hostile_names_arrive_whole_under_harmless_ones(server: Server) -> None:
    contents = {f"{name}{number}": f"{number}\r\n\0".encode() for number in range(4) for name in HOSTILE}
    contents |= dict.fromkeys(("../../etc/passwd", "..%2f..%2fx", "a" * 300 + ".py", "-rf"), b"")
    body = encode_body(payload="{}", response="", student_id="s", submission_time="20261121232143")
    client = XQueueClient(ServerAccess(server.url, USER, PASSWORD))
    try:
        client.submit("a", body, callback_url="", lms_key="k", files=contents)
        pulled = client.get_submission("a")
        assert pulled is not None
        assert len(json.dumps(dict(pulled.files))) > 1024  # a legacy XQueue then fetches its own list
        assert all(url.startswith("/") for url in pulled.files.values())
        assert {name: client.fetch_file(url) for name, url in pulled.files.items()} == contents
        safe = list(sanitise_file_names(pulled.files).values())
        assert len(set(safe)) == len(contents)
        assert not any("/" in name or "\\" in name or name.startswith((".", "-")) for name in safe)
        client.put_result(pulled.header, "{}")
        assert client.dialect is Dialect.LEGACY
        assert client.queue_length("a") == 0
        with pytest.raises(UnknownQueue, match="Valid queue names are: a, b"):
            client.queue_length("zzz")
        client.knock()
    finally:
        client.close()
