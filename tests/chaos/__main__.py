"""`python -m tests.chaos`: submissions through a fault proxy while everything is killed, and the reckoning.

Runs in: tools. See docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.chaos import record
from tests.chaos.play import play, problems
from tests.chaos.script import Trouble, Wishes, plan
from tests.chaos.service import leave_mounts_alone

DRILLS = (
    (Trouble.REFUSED, 75.0),
    (Trouble.QUEUE_KILLED, 8.0),
    (Trouble.QUEUE_HANGS, 20.0),
    (Trouble.PASSWORD, 12.0),
    (Trouble.DISK_FULL, 12.0),
)


def main() -> int:
    """0: every promise was kept."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the clock")
    parser.add_argument("--server", choices=("embedded", "edx"), default="embedded")
    parser.add_argument("--submissions", type=int, default=3000)
    parser.add_argument("--fault-rate", type=float, default=0.04, help="share of the answers that are spoilt")
    parser.add_argument("--blow-s", type=float, default=2.0, help="between two signals, on average")
    parser.add_argument("--no-drills", action="store_true")
    parser.add_argument("--duration-limit", type=float, default=1500.0, metavar="SECONDS")
    parser.add_argument("--replay", action="store_true", help="print the plan of the seed and end")
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    wanted = parser.parse_args()
    wishes = Wishes(
        submissions=wanted.submissions,
        server=wanted.server,
        fault_rate=wanted.fault_rate,
        blow_s=wanted.blow_s,
        drills=() if wanted.no_drills else DRILLS,
        poison=max(1, wanted.submissions // 1000),
        strange=max(1, wanted.submissions // 600),
    )
    if wanted.replay:
        with problems() as (_, found):
            print("\n".join(plan(wanted.seed, found, wishes).lines()))
        return 0
    if os.geteuid() == 0:
        leave_mounts_alone()
    done = play(
        wanted.seed,
        wishes,
        wanted.duration_limit,
        lambda text: print(text, file=sys.stderr, flush=True),
        small_disk=True,
    )
    text = record.render(done, wishes, record.today(), record.machine())
    print(text)
    for what in done.violations[:40]:
        print(f"WRONG {what}")
    if done.violations:
        print(
            f"{len(done.violations)} promises broken; logs and journal in {done.folder}; seed {wanted.seed}"
        )
    elif wanted.record:
        record.write(text, *record.markers(wishes.server))
    return int(bool(done.violations))


if __name__ == "__main__":
    sys.exit(main())
