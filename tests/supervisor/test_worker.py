"""A worker's word about its troubles."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from graders.feedback import Feedback
from graders.model import Blame, Cause, Verdict
from supervisor.config import load
from supervisor.events import GoHome, Trouble, Well, next_word, pair, send
from supervisor.heartbeat import Voice
from supervisor.journal import FILE_NAME, Journal, Mark
from supervisor.judging import Bench
from supervisor.spawn import Seat
from supervisor.worker import Worker
from tests.supervisor.stage import ROOT, until
from tests.supervisor.test_journal import NOW, PULLED
from tests.xqueue.servers import Server, legacy, no
from xqueue.access import ServerAccess
from xqueue.client import XQueueClient

SEAT = Seat("demo-functions.0", "demo-functions", 0, None, "demo-functions.0#1")


def test_a_trouble_is_over_when_another_worker_has_delivered_what_this_one_could_not(tmp_path: Path) -> None:
    overrides = [f"warden.state_dir={json.dumps(str(tmp_path))}"]
    config = load(ROOT / "config.toml", overrides, lenient_queues=True)
    journal = Journal(tmp_path / FILE_NAME, "demo", SEAT.queue, SEAT.owner)
    _, row = journal.receive(PULLED, NOW)
    journal.record(row.id, "{}", Mark(Verdict.CORRECT, Blame.LEARNER, Cause.LEARNER), NOW)
    ear, mouth = pair()
    voice = Voice(mouth, time.monotonic)
    heard: list[object] = []

    def hears(kind: type) -> bool:
        while (word := next_word(ear)) is not None:
            heard.extend(word.happened)
        return any(isinstance(event, kind) for event in heard)

    with Server(legacy(lambda seen: no("Server Error", 500))) as server:
        client = XQueueClient(ServerAccess(server.url, "grader", "grader-password"))
        bench = Bench(config, config.queues[SEAT.queue], 0, voice, Feedback())

        def work() -> None:
            # A connection to the journal belongs to the thread that made it.
            book = Journal(tmp_path / FILE_NAME, "demo", SEAT.queue, SEAT.owner)
            Worker(config, SEAT, voice, client, bench, book).run()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            until(lambda: hears(Trouble), "it to say that the reply cannot be delivered")
            journal.delivered(row.id, row.header, NOW, NOW)
            until(lambda: hears(Well), "it to say that the trouble is over")
        finally:
            send(ear, GoHome())
            thread.join(20)
            bench.close()
            client.close()
            journal.close()
            ear.close()
            mouth.close()
    assert not thread.is_alive()
