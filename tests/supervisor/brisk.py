"""The service with breakers of seconds instead of minutes: `-m tests.supervisor.brisk CONFIG [--set …]`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from supervisor import journal, lock, log, worker
from supervisor.arbiter import Arbiter
from supervisor.backoff import Backoff
from supervisor.breaker import Policy
from supervisor.cli.run import plan_of
from supervisor.config import load
from supervisor.retention import retention_of
from supervisor.switchboard import Policies

BRISK = Policies(problem=Policy(failures=2, pause=Backoff(3.0, 10.0), trial_s=5.0))


def main(path: str, overrides: list[str]) -> int:
    config = load(Path(path), overrides)
    log.set_up(config.warden.log)
    state_dir = config.warden.state_dir
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock.hold(state_dir):
        found = journal.prepare(state_dir / journal.FILE_NAME, retention_of(config.warden), time.time())
        plan = replace(plan_of(config, found), breakers=BRISK)
        arbiter = Arbiter(
            plan, worker.main_of(config), on_ready=lambda: print("READY", file=sys.stderr, flush=True)
        )
        return arbiter.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[3::2]))
