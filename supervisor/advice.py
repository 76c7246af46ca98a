"""What each cause code means for people: whose move it is, which part, what happened, what to do.

Runs in: supervisor, tools. One table; status, alarms, doctor and the operators' page all say the same.
(`python -m supervisor.advice` prints it for the page.)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from graders.model import Blame, Cause


@dataclass(frozen=True, slots=True)
class Advice:
    """`part` is what is to blame, as the end of "the trouble is in …"."""

    blame: Blame
    part: str
    meaning: str
    remedy: str


ADVICE: Final[Mapping[Cause, Advice]] = MappingProxyType(
    {
        Cause.CONFIG: Advice(
            Blame.SERVICE,
            "the configuration",
            "a setting is bad, or a payload names a grader that is not there",
            "`warden check`; correct the setting, or the problem's `grader_payload` in the course",
        ),
        Cause.AUTH: Advice(
            Blame.SERVICE,
            "the login at the XQueue server",
            "the XQueue refuses the login",
            "`warden doctor`; compare `username` and the password with the server's; is the account in its "
            "group `xqueue`; look for HTTP Basic auth in front of it",
        ),
        Cause.QUEUE_UNREACHABLE: Advice(
            Blame.SERVICE,
            "the network, or the XQueue server is down",
            "no connection, no DNS, TLS fails, timeouts",
            "`warden doctor`; network, proxy, certificate (`ca_file`), is the server up; warden goes on "
            "trying",
        ),
        Cause.QUEUE_ERROR: Advice(
            Blame.SERVICE,
            "the XQueue server",
            "the server answers nonsense or an error",
            "the server's own log; is `url` right; does the queue exist there",
        ),
        Cause.REPLY_REFUSED: Advice(
            Blame.SERVICE,
            "the XQueue server and this grader do not agree who has the submission",
            "the server refuses a result for good",
            "a dead letter: often handed out again meanwhile; compare `processing_delay_s` with the server's",
        ),
        Cause.GRADER_BUG: Advice(
            Blame.COURSE,
            "the course's grader",
            "the course's grader raises, or hands back nonsense",
            "tell the course's `contact`; `warden check`; then `warden grade` with the submission",
        ),
        Cause.REFERENCE_FAILED: Advice(
            Blame.COURSE,
            "the course's own answer",
            "the course's own answer does not run or earns less than full marks",
            "tell the course's `contact`; `warden check` grades every answer and shows what it does",
        ),
        Cause.SANDBOX_UNAVAILABLE: Advice(
            Blame.SERVICE,
            "the isolation that this host gives",
            "this machine cannot give the isolation required, or a jail's self-test found a layer that does "
            "not hold",
            "`warden doctor` names the layer and what mends it; nothing is ever graded with less",
        ),
        Cause.RESOURCE: Advice(
            Blame.SERVICE,
            "this host: something has run out",
            "disk full, no memory, no processes left",
            "free some (`df`, `free`, `dmesg`); nobody is graded 0 for it",
        ),
        Cause.HOST: Advice(
            Blame.SERVICE,
            "this host or the service itself",
            "a worker died or hung, the journal cannot be written, the supervisor is stuck, the clock jumped",
            "the log around that time; the kernel's log (`dmesg`); the disk of `state_dir`",
        ),
        Cause.LEARNER: Advice(
            Blame.LEARNER,
            "the submission itself",
            "the submission itself; a result like any other",
            "nothing",
        ),
    }
)


def reference() -> str:
    """The table for the operators' page, as Markdown."""
    lines = ["| cause | what happened | what to do |", "|---|---|---|"]
    lines += [f"| {cause} | {one.meaning} | {one.remedy} |" for cause, one in ADVICE.items()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(reference())
