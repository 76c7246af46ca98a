"""The queues that there are: books, lines, breakers and seats of each come and go together; some are paused.

Runs in: supervisor. No process is touched here: what is adopted from a plan, or forgotten, is found by the
arbiter when it makes what is so what is wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from graders.model import Cause
from supervisor.events import short
from supervisor.ledger import Ledger, QueueLedger, ServerLedger
from supervisor.pauses import Watch
from supervisor.place import Place
from supervisor.plan import Plan, QueuePlan
from supervisor.seating import Seating
from supervisor.switchboard import Switchboard
from supervisor.turns import Turns

log = logging.getLogger(__name__)


class Queues:
    """All that is held for each queue. `wall` gives unix seconds."""

    def __init__(
        self,
        ledger: Ledger,
        turns: Turns,
        switchboard: Switchboard,
        seating: Seating,
        pauses: Watch,
        wall: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._turns = turns
        self._switchboard = switchboard
        self._seating = seating
        self._pauses = pauses
        self._pauses_trouble = ""
        self._wall = wall
        self._planned: frozenset[str] = frozenset()
        self._servers: frozenset[str] = frozenset()

    def adopt(self, plan: Plan) -> list[Place]:
        """Make all that is held that of the plan; the places whose workers have to move to another CPU.

        The seats of a queue that is gone are to be empty first; then `tidy` forgets the rest of it.
        """
        self._planned = frozenset(queue.name for queue in plan.queues)
        self._servers = frozenset(plan.servers)
        for name, url in plan.servers.items():
            self._ledger.servers.setdefault(name, ServerLedger(url)).url = url
        moved = [place for queue in plan.queues for place in self._adopt(queue)]
        for name in self._ledger.queues.keys() - self._planned:
            self._seating.retire(name)
        return moved

    def _adopt(self, queue: QueuePlan) -> list[Place]:
        book = self._ledger.queues.get(queue.name)
        if book is None:
            book = QueueLedger(queue.server, backlog=queue.backlog, backlog_oldest_at=queue.backlog_oldest_at)
            self._ledger.queues[queue.name] = book
        book.server = queue.server
        book.slots_min, book.slots_max = queue.workers, max(queue.workers, queue.most or 0)
        book.refused = (Cause.CONFIG, short(queue.refused)) if queue.refused else None
        if queue.refused:
            self._ledger.alert(Cause.CONFIG, short(queue.refused), queue.name, self._wall())
            log.error("queue refused", extra={"queue": queue.name, "cause": "CONFIG", "why": queue.refused})
            return []
        self._ledger.servers.setdefault(queue.server, ServerLedger(""))
        self._turns.open(queue.name, queue.pace)
        self._switchboard.serve(queue.name)
        return self._seating.arrange(queue)

    def tidy(self) -> bool:
        """Forget the queues that are not planned any more, once their last seat is empty. Was there one?"""
        gone = [name for name in self._ledger.queues.keys() - self._planned if not self._seating.of(name)]
        for name in gone:
            book = self._ledger.queues.pop(name)
            self._turns.close(name)
            self._switchboard.forget(name)
            if book.backlog:
                text = f"{book.backlog} submissions stay in the journal, their queue {name} is not configured"
                self._ledger.alert(Cause.CONFIG, text, "", self._wall())
                fields = {"queue": name, "cause": "CONFIG", "rows": book.backlog}
                log.error("the journal holds open submissions of a queue that is gone", extra=fields)
        if gone:
            used = {book.server for book in self._ledger.queues.values()} | self._servers
            for name in self._ledger.servers.keys() - used:
                del self._ledger.servers[name]
        return bool(gone)

    def heed_pauses(self) -> bool:
        """Hold the polls of paused queues back, and only theirs. Has one been paused or resumed?

        What is in hand is finished, and what is graded is delivered all the same.
        """
        wall = self._wall()
        pauses = self._pauses.look(wall)
        if self._pauses.trouble != self._pauses_trouble:
            self._pauses_trouble = self._pauses.trouble
            if self._pauses_trouble:
                self._ledger.alert(Cause.HOST, short(self._pauses_trouble), "", wall)
                log.error("pauses", extra={"cause": "HOST", "why": self._pauses_trouble})
        changed = False
        for name, book in self._ledger.queues.items():
            pause = pauses.get(name)
            if not book.refused:
                self._turns.hold_back(name, "paused", pause is not None)
            if pause == book.pause:
                continue
            if pause is None:
                book.resumed_at = wall
                log.info("pause over", extra={"queue": name})
            else:
                fields = {"queue": name, "until": pause.until, "by": pause.by, "why": pause.message}
                log.info("queue paused", extra=fields)
            book.pause = pause
            changed = True
        return changed
