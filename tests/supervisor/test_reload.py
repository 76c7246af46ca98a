"""What differs between two configurations, and what becomes of it."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from supervisor import reload
from supervisor.config import load
from supervisor.reload import ADOPTED, HELD, WORKERS, Difference
from supervisor.settings import Config, Warden

BASE = """
[warden]
state_dir = "{root}/state"

[servers.one]
url = "http://127.0.0.1:1"
username = "warden"
password_file = "{root}/password"

[servers.two]
url = "http://127.0.0.1:2"
username = "warden"
password_env = "NOWHERE"

[sandboxes.python]
[sandboxes.heavy]

[queues.a]
server = "one"
[[queues.a.handlers]]
kind = "gradelib"
sandbox = "python"
grader_root = "{root}"
templates = "{root}/templates"

[queues.b]
server = "two"
[[queues.b.handlers]]
kind = "gradelib"
sandbox = "heavy"
grader_root = "{root}"

[queues.c]
server = "two"
[[queues.c.handlers]]
kind = "program"
languages = ["c"]
grader_root = "{root}"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "page.html").write_text("x")
    (tmp_path / "password").write_text("secret")
    (tmp_path / "config.toml").write_text(BASE.replace("{root}", str(tmp_path)))
    return tmp_path


def config(root: Path, *overrides: str) -> Config:
    return load(root / "config.toml", overrides, lenient_queues=True, cpus=range(4))


def change(root: Path, *overrides: str) -> Difference:
    old, new = config(root), config(root, *overrides)
    stamps = reload.stamps(old)
    return reload.difference(old, new, stamps, reload.stamps(new))


def test_the_same_configuration_changes_nothing(root: Path) -> None:
    assert change(root) == Difference()
    assert str(change(root)) == "nothing has changed"


@pytest.mark.parametrize(
    ("override", "renewed"),
    [
        ("queues.a.processing_delay_s=70", {"a": ("queues.a",)}),
        ("queues.a.handlers[0].seeds=3", {"a": ("queues.a",)}),
        ("queues.a.server='two'", {"a": ("queues.a", "servers.two")}),
        ("servers.two.pull_timeout_s=3", {"b": ("servers.two",), "c": ("servers.two",)}),
        ("sandboxes.heavy.preload=['json']", {"b": ("sandboxes.heavy",)}),
        ("languages.c.run.limits.wall_s=3", {"c": ("languages.c",)}),
        ("languages.python.run.limits.wall_s=3", {}),
        ("warden.journal_keep_days=3", dict.fromkeys("abc", ("warden.journal_keep_days",))),
    ],
)
def test_workers_are_replaced_where_something_of_theirs_changed(
    root: Path, override: str, renewed: dict[str, tuple[str, ...]]
) -> None:
    found = change(root, override)
    assert found.renewed == renewed
    assert (found.added, found.removed, found.held) == ((), (), ())


@pytest.mark.parametrize(
    "override",
    ["queues.a.workers=3", "queues.a.cpus=[1]", "queues.b.poll_ceiling_s=9", "warden.drain_s=9"],
)
def test_what_only_the_supervisor_reads_is_adopted_without_replacing_anybody(
    root: Path, override: str
) -> None:
    assert change(root, override) == Difference(adopted=(override.partition("=")[0],))


def test_what_the_supervisor_stands_on_is_held_until_a_restart(root: Path) -> None:
    old, new = config(root), config(root, "warden.state_dir='/elsewhere'", "warden.drain_s=9")
    found = reload.difference(old, new, {}, {})
    assert "warden.state_dir" in found.held and found.adopted == ("warden.drain_s",)
    assert "restart" in str(found)
    effective = reload.effective(old, new)
    assert effective.warden.state_dir == old.warden.state_dir
    assert (effective.warden.drain_s, effective.digest) == (9.0, new.digest)


def test_queues_come_and_go(root: Path) -> None:
    old = config(root)
    text = (root / "config.toml").read_text()
    (root / "config.toml").write_text(text.replace("queues.c", "queues.d"))
    found = reload.difference(old, config(root), {}, {})
    assert (found.added, found.removed, found.renewed) == (("d",), ("c",), {})
    assert "new: d" in str(found) and "gone: c" in str(found)


@pytest.mark.parametrize("name", ["password", "templates/page.html"])
def test_a_file_that_was_replaced_renews_the_workers_that_read_it(root: Path, name: str) -> None:
    old = config(root)
    before = reload.stamps(old)
    fresh = root / "fresh"
    fresh.write_text("another")
    os.replace(fresh, root / name)
    found = reload.difference(old, config(root), before, reload.stamps(old))
    assert list(found.renewed) == ["a"]


def test_what_cannot_be_looked_at_stops_nobody(root: Path) -> None:
    found = config(root)
    (root / "templates" / "page.html").unlink()
    (root / "templates").rmdir()
    (root / "password").unlink()
    assert reload.stamps(found)[root / "password"] == ()
    assert reload.stamps(found)[root / "templates"] == ()


def test_a_typo_in_a_queue_that_works_is_a_bad_configuration_and_in_a_new_one_is_not(root: Path) -> None:
    old = config(root)
    worse = config(root, "queues.a.workers=0")
    assert [problem.path for problem in reload.lost(old, worse)] == ["queues.a.workers"]
    assert reload.lost(worse, worse) == ()


def test_every_setting_of_the_service_is_adopted_held_or_renews_the_workers() -> None:
    names = {one.name for one in fields(Warden)}
    assert names == ADOPTED | WORKERS | HELD
    assert len(ADOPTED) + len(WORKERS) + len(HELD) == len(names)
