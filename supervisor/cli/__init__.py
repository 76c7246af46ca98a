"""The `warden` command: a table of verbs, each a module of its own, imported only when it is called.

Runs in: tools.
"""

from __future__ import annotations

import importlib
import sys

import click

from supervisor import __version__

# verb -> (module:command, one line for --help). The line stands here so that --help imports no verb.
VERBS: dict[str, tuple[str, str]] = {
    "run": ("supervisor.cli.run:run", "Run the service: supervise workers, poll the queues, grade, put back."),
    "grade": ("supervisor.cli.grade:grade", "Grade files here and now, without any queue or configuration."),
    "check": ("supervisor.cli.check:check", "Validate the configuration and every grader under the grader roots."),
    "status": ("supervisor.cli.status:status", "Show what the service is doing."),
    "health": ("supervisor.cli.health:health", "One line and an exit code (0/1/2/3) for cron and monitoring."),
    "queue": ("supervisor.cli.queue:queue", "Embedded XQueue: serve one, or feed one by hand."),
    "demo": ("supervisor.cli.demo:demo", "Show the whole path on the sample course, end to end."),
}


class Verbs(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="warden")
def warden() -> None:
    """xqueue-warden: external grader for Open edX."""


def main() -> None:
    """Entry point of the `warden` command. No traceback on bad input: verbs raise click exceptions."""
    try:
        warden(prog_name="warden")
    except BrokenPipeError:
        sys.exit(1)
