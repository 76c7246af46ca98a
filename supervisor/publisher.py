"""What the service does, told: the status document, and whoever else looks at it as it goes out.

Runs in: supervisor. The document is written when something changed, and now and then for its age. After each
writing the observers see the same document; metrics and alarms are such observers. An observer must not wait
for anything: it runs in the loop.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from supervisor import __version__, status
from supervisor.ledger import Ledger
from supervisor.place import Place
from supervisor.plan import Plan
from supervisor.status import Reload, ServiceState, SlotStatus, Status
from supervisor.switchboard import Switchboard

log = logging.getLogger(__name__)

PUBLISH_S: Final = 2.0
"""The status document is written this often while things happen."""
AGE_S: Final = 8.0
"""And this often when nothing does but polls of empty queues; health judges by its age."""


class Observer(Protocol):
    """Sees every status document as it is written, with the ledger that it was filled from."""

    def published(self, document: Status, ledger: Ledger) -> None:
        """Take what is needed, at once.

        Raises:
            OSError: it could not be told on; logged, and the service goes on.
        """


class Publisher:
    """Writes the status document. `wall` gives unix seconds; all other times are monotonic.

    `plan` and `reload` (the last one) are what the document says of them; set them when they change.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        switchboard: Switchboard,
        wall: Callable[[], float],
        observers: Sequence[Observer] = (),
    ) -> None:
        self.plan = plan
        self.reload: Reload | None = None
        self._ledger = ledger
        self._switchboard = switchboard
        self._wall = wall
        self._observers = tuple(observers)
        self._started_at = wall()
        self._changed = True
        self._at_once = False
        self._written = float("-inf")

    def changed(self) -> None:
        """Something happened that the document should show soon."""
        self._changed = True

    def at_once(self) -> None:
        """The document is to be written with the next turn of the loop."""
        self._at_once = True

    @property
    def due_at(self) -> float:
        """When it is to be written next."""
        return self._written + (PUBLISH_S if self._changed else AGE_S)

    def publish(
        self, state: ServiceState, places: Iterable[Place], now: float, *, must: bool = False
    ) -> None:
        """Write the document if it is due, or if it `must` be.

        Raises:
            OSError: it must be written, the service starts, and it cannot be written.
        """
        if not (must or self._at_once or now >= self.due_at):
            return
        self._written, self._changed, self._at_once = now, False, False
        document = self.document(state, places, now)
        try:
            status.write(self.plan.status_path, document)
        except OSError as error:
            if must and state is ServiceState.STARTING:
                raise
            # Grading goes on; health sees the file's age.
            why = error.strerror or str(error)
            log.error("cannot write the status file", extra={"cause": "HOST", "why": why})
        for observer in self._observers:
            try:
                observer.published(document, self._ledger)
            except OSError as error:
                fields = {"cause": "HOST", "observer": type(observer).__name__}
                log.error("cannot tell on", extra={**fields, "why": error.strerror or str(error)})

    def document(self, state: ServiceState, places: Iterable[Place], now: float) -> Status:
        """The status document as of `now`."""
        wall = self._wall()
        by_queue: dict[str, list[SlotStatus]] = {name: [] for name in self._ledger.queues}
        wanted: Counter[str] = Counter()
        for place in places:
            by_queue[place.queue].append(place.status(now, wall))
            wanted[place.queue] += place.wanted
        for name, book in self._ledger.queues.items():
            book.slots_wanted = wanted[name]
            book.broken, book.given_up = self._switchboard.why(name), self._switchboard.given_up(name)
        queues = {
            name: self._ledger.queues[name].status(tuple(slots), wall) for name, slots in by_queue.items()
        }
        return Status(
            written_at=wall,
            state=state,
            pid=os.getpid(),
            started_at=self._started_at,
            warden_version=__version__,
            host=socket.gethostname(),
            config_path=self.plan.config_path,
            config_digest=self.plan.config_digest,
            isolation=dict(self._ledger.isolation),
            servers={name: server.status() for name, server in self._ledger.servers.items()},
            queues=queues,
            totals=status.total(queues),
            alerts=self._ledger.alerts(),
            breakers=tuple(self._switchboard.status(now, wall)),
            reload=self.reload,
            alarms=self._ledger.alarms,
            channels=dict(self._ledger.channels),
        )
