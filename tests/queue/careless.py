"""`warden queue serve`, as careless as a legacy XQueue is: `-m tests.queue.careless HAZARDS queue serve ...`.

HAZARDS is a JSON object of Hazards' fields. What the embedded server does better than its model is undone
here (docs/hazards.md): pulls that are not atomic (5a), results that wait for the LMS (5c), an LMS that
refuses (5c'), a pull during a slow put that writes its stale row back (5g).

Runs in: tools (tests).
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import prctl

from xqueue.service import app
from xqueue.service.store import _NEXT, _TAKE, Letter, Pulled, Put, State, Store, select, update
from xqueue.service.store import _SUBMISSIONS as ROWS

MOST_REFUSALS = 4
"""So many failed deliveries, and a submission is retired without a word."""


@dataclass(frozen=True)
class Hazards:
    """`meet_s`: how long a pull that has looked waits for another one to look, too. `put_s`: how long the LMS
    takes a result. `refusals`: how often it refuses each. `resurrect`: pulls during a put write the row back.
    """

    meet_s: float = 0.0
    put_s: float = 0.0
    refusals: int = 0
    resurrect: bool = False


HAZARDS = Hazards()


class CarelessStore(Store):
    """The store with the carelessness of HAZARDS."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._looked: dict[int, threading.Event] = {}  # submission -> set when a second pull looks at it
        self._put: dict[int, threading.Event] = {}  # submission -> set when its put is through
        self._failed: dict[int, int] = {}
        self._gate = threading.Lock()

    def pull(self, queue: str) -> Pulled | None:
        if HAZARDS.resurrect and (pulled := self._pull_what_is_put(queue)) is not None:
            return pulled
        if not HAZARDS.meet_s or self.is_quiet(queue):
            return super().pull(queue)
        with self._write(self._quick) as db:
            row = db.execute(_NEXT, self._ready(queue, self._clock())).one_or_none()
        if row is None:
            return super().pull(queue)
        self._meet(row.id)
        return self._take(row)

    def _take(self, row: Any) -> Pulled:
        """Under a key of its own, whoever else took it meanwhile: the last one counts."""
        key = secrets.token_hex(16)
        with self._write(self._quick) as db:
            db.execute(_TAKE, {"of_id": row.id, "new_key": key, "at": self._clock()})
        return Pulled(row.id, key, row.body, json.loads(row.files))

    def _meet(self, row_id: int) -> None:
        with self._gate:
            event = self._looked.pop(row_id, None)
            if event is None:
                event = self._looked[row_id] = threading.Event()
            else:
                event.set()
        event.wait(HAZARDS.meet_s)
        with self._gate:
            self._looked.pop(row_id, None)

    def _pull_what_is_put(self, queue: str) -> Pulled | None:
        with self._gate:
            putting = dict(self._put)
        for row_id, through in putting.items():
            with self._write(self._quick) as db:
                row = db.execute(select(ROWS).where(ROWS.c.id == row_id)).one()
                ready = row.queue == queue and row.pulled_at <= self._clock() - self._delay_s
            if ready:
                through.wait(20)  # for the lock of the row
                with self._gate:
                    self._put.pop(row_id, None)
                stale = {"state": State.QUEUED.value, "reply": None}
                with self._write(self._quick) as db:
                    db.execute(update(ROWS).where(ROWS.c.id == row_id).values(**stale))
                return self._take(row)
        return None

    def put(self, submission_id: int, key: str | None, reply: str) -> tuple[Put, Letter | None]:
        if HAZARDS.refusals and self._right(submission_id, key):
            failed = self._failed.get(submission_id, 0)
            if failed < HAZARDS.refusals:
                self._failed[submission_id] = failed + 1
                if failed + 1 >= MOST_REFUSALS:
                    with self._write(self._quick) as db:
                        over = {"state": State.KEPT.value}
                        db.execute(update(ROWS).where(ROWS.c.id == submission_id).values(**over))
                return Put.KEPT, None  # says yes, and hands it out again
        through = threading.Event()
        if HAZARDS.put_s:
            with self._gate:
                self._put[submission_id] = through
            time.sleep(HAZARDS.put_s)
        result, letter = super().put(submission_id, key, reply)
        if result is Put.AGAIN:  # the right key is enough for the LMS to be called again
            with self._write(self._quick) as db:
                row = db.execute(select(ROWS).where(ROWS.c.id == submission_id)).one()
            letter = Letter(row.id, row.callback_url, row.header, reply, 0)
            with self._write(self._quick) as db:
                waiting = {"state": State.ANSWERED.value}
                db.execute(update(ROWS).where(ROWS.c.id == submission_id).values(**waiting))
        through.set()
        return result, letter

    def _right(self, submission_id: int, key: str | None) -> bool:
        with self._write(self._quick) as db:
            row = db.execute(select(ROWS).where(ROWS.c.id == submission_id)).one_or_none()
        return row is not None and bool(key) and row.key == key


if __name__ == "__main__":
    prctl.set_pdeathsig(15)
    HAZARDS = Hazards(**json.loads(sys.argv[1]))
    app.Store = CarelessStore  # type: ignore[misc]
    sys.argv[1:] = sys.argv[2:]
    from supervisor.cli import main

    main()
