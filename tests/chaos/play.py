"""Sets the stage for a run, plays it, and judges it: what the command and the tests call.

Runs in: tools.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from graders import manifest
from tests.chaos.checks import Evidence, Line, violations
from tests.chaos.lms import Callback
from tests.chaos.proxy import Proxy, Tally
from tests.chaos.runner import Failed, Run, Story
from tests.chaos.script import Plan, Wishes, plan
from tests.chaos.servers import server_of
from tests.chaos.service import Broken, Service
from tests.lms.client import LmsJudge

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run and its verdict: `violations` is empty when every promise was kept."""

    plan: Plan
    story: Story
    tally: Tally
    callbacks: Sequence[Callback]
    attempts: int  # made in all
    violations: Sequence[str]
    folder: Path  # where logs and journal are, if they were kept


@contextlib.contextmanager
def problems(data: Path | None = DATA) -> Iterator[tuple[Path, Sequence[manifest.Problem]]]:
    """(grader root, problems): of the data folder if it is there, else of the sample course."""
    if data is None or not data.is_dir():
        course = ROOT / "course"
        yield course, manifest.load(course)
        return
    with tempfile.TemporaryDirectory(prefix="warden-chaos-root-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        yield root, manifest.load_data(data, root)


def play(
    seed: int,
    wishes: Wishes,
    limit_s: float,
    tell: Callable[[str], None],
    *,
    data: Path | None = DATA,
    small_disk: bool = False,
) -> Outcome:
    """One run, from nothing to the verdict. What was found wrong is in the outcome."""
    with problems(data) as (root, found):
        planned = plan(seed, found, wishes)
        with Service(root, small_disk) as service:
            tell(f"seed {seed}, {len(planned.items)} submissions, in {service.folder}")
            with contextlib.ExitStack() as stack:
                server = stack.enter_context(
                    contextlib.closing(server_of(wishes.server, service.folder, service.spawn))
                )
                proxy = stack.enter_context(Proxy(server.url, planned.faults))
                service.configure(proxy.url, server.user, server.password)
                run = Run(planned, service, server, proxy, tell)
                wrong = []
                try:
                    run.go(limit_s)
                except (Failed, Broken) as error:
                    wrong.append(str(error))
                callbacks = server.results.everything()
                lines = _journal(service)
                evidence = Evidence(planned.items, run.story.current, callbacks, lines, run.story.hits)
                wrong += run.story.violations
                wrong += [f"drill {d.trouble}: {what}" for d in run.story.drills for what in d.wrong]
                wrong += server.results.wrong()
                tell("judging")
                with LmsJudge() as judge:
                    wrong += violations(evidence, lambda text: _against(judge, text))
                if wrong:
                    service.keep()
                return Outcome(
                    planned,
                    run.story,
                    proxy.tally,
                    callbacks,
                    sum(line.attempts for line in lines),
                    wrong,
                    service.folder,
                )


def _against(judge: LmsJudge, text: str) -> str:
    found = judge.judge(text)
    if found.error or not found.valid or found.queued:
        return f"valid {found.valid}, still queued {found.queued}, {found.error}"
    return ""


def _journal(service: Service) -> list[Line]:
    rows = service.rows(
        "student_key, state, attempts + interruptions AS tries, pulled_at, graded_at, dead_at, verdict,"
        " reason"
    )
    return [
        Line(
            row["student_key"],
            row["state"],
            row["tries"],
            row["pulled_at"],
            row["graded_at"],
            row["dead_at"] is not None,
            row["verdict"] or "none",
            row["reason"],
        )
        for row in rows
    ]
