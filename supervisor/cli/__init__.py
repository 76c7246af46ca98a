"""The `warden` command: a table of verbs, each a module of its own, imported only when it is called.

Runs in: tools. This module imports next to nothing: `warden health` is started every minute by cron and does
without click (supervisor.cli.verbs), which takes as long to import as all the rest of it together.
"""

from __future__ import annotations

import sys

# verb -> (module:command, one line for --help). The line stands here so that --help imports no verb.
VERBS: dict[str, tuple[str, str]] = {
    "run": (
        "supervisor.cli.run:run",
        "Run the service: supervise workers, poll the queues, grade, put back.",
    ),
    "grade": ("supervisor.cli.grade:grade", "Grade files here and now, without any queue or configuration."),
    "check": (
        "supervisor.cli.check:check",
        "Validate the configuration and every grader under the grader roots.",
    ),
    "doctor": (
        "supervisor.cli.doctor:doctor",
        "Find out what isolation this machine can give, and what mends what it cannot.",
    ),
    "status": ("supervisor.cli.status:status", "Show what the service is doing."),
    "alert": ("supervisor.cli.alert:alert", "Alarms: list those that stand, try the ways to people."),
    "dead": ("supervisor.cli.dead:dead", "The dead-letter box: list, show, retry, drop."),
    "replay": (
        "supervisor.cli.replay:replay",
        "Grade journalled submissions again, without delivering, and compare.",
    ),
    "health": (
        "supervisor.cli.health:health",
        "One line and an exit code (0/1/2/3) for cron and monitoring.",
    ),
    "install": (
        "supervisor.cli.install:install",
        "Set up user, folders and systemd unit on this machine.",
    ),
    "pause": ("supervisor.cli.pause:pause", "Planned maintenance: finish what is in hand, poll no more."),
    "resume": ("supervisor.cli.pause:resume", "End a pause."),
    "queue": ("supervisor.cli.queue:queue", "Embedded XQueue: serve one, or feed one by hand."),
    "demo": ("supervisor.cli.demo:demo", "Show the whole path on the sample course, end to end."),
}


def main() -> None:
    """Entry point of the `warden` command. No traceback on bad input: verbs raise click exceptions."""
    try:
        if sys.argv[1:2] == ["health"]:
            from supervisor.cli.health import main as health

            sys.exit(health(sys.argv[2:]))
        from supervisor.cli.verbs import warden

        warden(prog_name="warden")
    except BrokenPipeError:
        sys.exit(1)
