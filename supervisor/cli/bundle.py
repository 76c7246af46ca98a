"""`warden grade --bundle`: one journalled submission, graded here as the service would.

Runs in: tools. By the bundle's own configuration, on the same bench as a worker's.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from graders.errors import CourseError
from graders.model import Judgement
from supervisor import bundle as bundles
from supervisor.cli import options
from supervisor.log import plain
from supervisor.overrides import dotted
from supervisor.replay import Replayer


def judged(folder: Path, root: Path | None) -> tuple[bundles.Bundle, Judgement]:
    """The bundle and its judgement. `root` is where the graders lie now, if not where they lay.

    Raises:
        click.ClickException: it is no bundle, or it cannot be graded from here.
        SandboxUnavailable
    """
    try:
        bundle = bundles.read(folder)
    except bundles.BundleError as error:
        raise click.ClickException(plain(error)) from error
    if bundle.missing:
        name = plain(bundle.missing[0])
        raise click.ClickException(f"{plain(folder)}: the service never got the file {name}")
    if not bundle.config.is_file():
        raise click.ClickException(f"{plain(folder)}: no handler fitted it; see its README.md")
    place = dotted("queues", bundle.queue, "handlers", 0, "grader_root")
    moved = [] if root is None else [f"{place}={json.dumps(str(root.resolve()))}"]
    config = options.loaded(bundle.config, moved)
    try:
        with Replayer(config) as replayer:
            return bundle, replayer.judge(bundle.queue, bundle.work, bundle.problem)
    except CourseError as error:
        raise click.ClickException(plain(error)) from error


def against(bundle: bundles.Bundle, judgement: Judgement) -> str:
    """How it compares with what the journal said, as a line."""
    if bundle.verdict is None:
        verdict = "it had no verdict yet"
    elif bundle.verdict == judgement.verdict:
        verdict = f"as recorded: {bundle.verdict}"
    else:
        verdict = f"recorded was {plain(bundle.verdict)}"
    if not (bundle.grader_digest and judgement.grader_digest):
        return verdict
    same = bundle.grader_digest == judgement.grader_digest
    return f"{verdict}; the grader's files are {'the same' if same else 'others'}"
