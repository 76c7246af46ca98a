"""Whose a cause is: the table of audiences.

Runs in: supervisor, tools. Who can mend it hears of it. What is critical, as it stops grading, all hear of.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from graders.model import Cause
from supervisor.settings import Audience, Config, Severity

_TEAM, _ADMIN, _CONTACTS = Audience.TEAM, Audience.ADMIN, Audience.CONTACTS

AUDIENCES: Final[Mapping[Cause, tuple[Audience, ...]]] = {
    Cause.CONFIG: (_TEAM, _ADMIN, _CONTACTS),  # config.toml, or a problem's payload
    Cause.AUTH: (_ADMIN,),
    Cause.QUEUE_UNREACHABLE: (_ADMIN,),
    Cause.QUEUE_ERROR: (_ADMIN,),
    Cause.REPLY_REFUSED: (_TEAM, _ADMIN),
    Cause.GRADER_BUG: (_TEAM, _CONTACTS),
    Cause.REFERENCE_FAILED: (_TEAM, _CONTACTS),
    Cause.SANDBOX_UNAVAILABLE: (_ADMIN,),
    Cause.RESOURCE: (_ADMIN,),
    Cause.HOST: (_ADMIN,),
    Cause.LEARNER: (),
}

Contacts = Mapping[str, tuple[tuple[str, str], ...]]
"""Queue -> (pattern of graders, contact) of its handlers, in their order."""


def audiences(
    cause: Cause, severity: Severity, *, dead: bool = False, course: bool = False
) -> tuple[Audience, ...]:
    """Who hears of it.

    Args:
        dead: submissions went to the dead letters, which the team looks after.
        course: it is one grader's alone, whatever the cause: its course wants to know.
    """
    everybody = AUDIENCES[cause]
    if severity is Severity.CRITICAL:
        everybody = (*everybody, _TEAM, _ADMIN)
    if dead or course:
        everybody = (*everybody, _TEAM)
    if course:
        everybody = (*everybody, _CONTACTS)
    return tuple(dict.fromkeys(everybody))


def contacts_of(config: Config) -> Contacts:
    """The handlers' contacts."""
    return {
        name: tuple((handler.match, handler.contact) for handler in queue.handlers)
        for name, queue in config.queues.items()
    }


def contacts_for(contacts: Contacts, queue: str, graders: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Contacts of the handlers that judge `graders` in `queue`; without graders, of all its handlers."""
    handlers = contacts.get(queue, ())
    if not graders:
        found = [contact for _, contact in handlers]
    else:
        found = [
            next((contact for match, contact in handlers if fnmatchcase(grader, match)), "")
            for grader in graders
        ]
    return tuple(dict.fromkeys(one for one in found if one))
