"""The record of a run in docs/reliability.md, between two markers.

Runs in: tools. `render` is pure.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.lms import Callback
from tests.chaos.observer import worst
from tests.chaos.play import ROOT, Outcome
from tests.chaos.script import Kind, Wishes

PAGE = ROOT / "docs" / "reliability.md"
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "worst": 1.0}
DRILLS = (
    "Seconds from the break to its cause in the status; to a red `warden health` with thresholds of seconds,"
    " and with its usual ones; from the mending to green:"
)


def markers(server: str) -> tuple[str, str]:
    """The lines before and after the record of a run on this server."""
    return f"<!-- chaos {server}: begin -->", f"<!-- chaos {server}: end -->"


def machine() -> str:
    """What it ran on, without a name."""
    cores = len(os.sched_getaffinity(0))
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    kernel = ".".join(platform.release().split(".")[:2])  # the rest names whose build it is
    return f"Linux {kernel}, Python {platform.python_version()}, {cores} cores, as {who}"


def render(done: Outcome, wishes: Wishes, today: str, where: str) -> str:
    """The record as Markdown."""
    story, kinds = done.story, Counter(item.kind for item in done.plan.items)
    waits = _waits(done)
    again = len(done.callbacks) - len({callback.key for callback in done.callbacks})
    apart = ", ".join(f"{kinds[kind]} {kind}" for kind in Kind)
    shares = ", ".join(f"{name} {worst(waits, share):.1f} s" for name, share in SHARES.items())
    requests = ", ".join(f"{count} {verb}" for verb, count in done.tally.requests.most_common())
    lines = [
        f"Seed {done.plan.seed}, {today}, {where}, server: {wishes.server}.",
        "",
        "| what | how much |",
        "|---|---|",
        f"| submissions | {len(done.plan.items)}: {apart} |",
        f"| time | {story.seconds:.0f} s |",
        f"| promises broken | {len(done.violations)} |",
        f"| results at the LMS | {len({c.key for c in done.callbacks})}, and {again} repeated word by word |",
        f"| attempts at grading | {done.attempts} |",
        f"| requests | {requests} |",
        f"| spoilt answers | {done.tally.faults.total()}: {_counts(done.tally.faults)} |",
        f"| signals | {_counts(story.blows)} |",
        f"| submitted to result | {shares} |",
    ]
    if story.drills:
        lines += [
            "",
            DRILLS,
            "",
            "| broken | for | cause | named | red | red as usual | green again |",
            "|---|---|---|---|---|---|---|",
        ]
        for drill in story.drills:
            times = (drill.named_s, drill.red_s, drill.usual_s, drill.green_s)
            seconds = " | ".join("-" if math.isnan(s) else f"{s:.1f}" for s in times)
            lines.append(f"| {drill.trouble} | {drill.hold_s:.0f} s | {drill.cause} | {seconds} |")
    return "\n".join(lines)


def write(text: str, begin: str, end: str, page: Path = PAGE) -> None:
    """Put the record in its place on the page, between these two lines.

    Raises:
        ValueError: the page has no place for it.
    """
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counted.items(), key=lambda c: -c[1]))


def _waits(done: Outcome) -> Sequence[float]:
    """Seconds from the submission to its first result."""
    first: dict[str, Callback] = {}
    for callback in done.callbacks:
        first.setdefault(callback.key, callback)
    return [first[name].at - at for name, at in done.story.sent_at.items() if name in first]
