"""Program handlers and languages in the configuration: what they become, how mistakes are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graders.comparison import Comparison, Mode
from graders.languages import built_in
from supervisor.config import Config, ConfigError, ProgramSettings, load

Write = Callable[..., Path]

HEAD = """
[servers.main]
url = "https://xqueue.example.org"
username = "warden"
password_env = "PASSWORD"

[queues.one]
server = "main"
"""
HANDLER = """
[[queues.one.handlers]]
kind = "program"
grader_root = "course"
languages = ["c"]
"""
GOOD = HEAD + HANDLER


def loaded(path: Path, *overrides: str) -> Config:
    return load(path, overrides, cpus={0, 1})


def problems(path: Path, *overrides: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        loaded(path, *overrides)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_program_handler_needs_no_sandbox(write: Write, tmp_path: Path) -> None:
    config = loaded(write(GOOD))
    queue = config.queues["one"]
    assert queue.handlers == (ProgramSettings(("c",), tmp_path / "course"),)
    assert (config.sandboxes_of(queue), config.languages_of(queue)) == ([], ["c"])
    assert config.languages == built_in()
    assert [warning.path for warning in config.warnings] == ["servers.main.password_env"]


def test_all_that_a_program_handler_may_say(write: Write) -> None:
    more = """
match = "c/*"
limits = { cpu_s = 1, memory_mib = 64 }
comparison = { float_absolute_tolerance = 0.1, line_change_sensitive = true }
ignore_exit_status = true
contact = "staff@example.org"
"""
    (handler,) = loaded(write(GOOD + more)).queues["one"].handlers
    assert isinstance(handler, ProgramSettings)
    assert handler.limits == {"cpu_s": 1, "memory_mib": 64}
    assert handler.comparison == Comparison(
        Mode.FLOATS, line_change_sensitive=True, float_absolute_tolerance=0.1
    )
    assert (handler.match, handler.ignore_exit_status) == ("c/*", True)


def test_a_block_changes_a_language_or_adds_one(write: Write) -> None:
    blocks = """
[languages.c.run.limits]
cpu_s = 7

[languages.lua]
source = "main.lua"
suffixes = [".lua"]
run = { command = ["/usr/bin/lua", "{source}"], show = ["/usr/bin/lua"], environment = { A = "b" } }
"""
    config = loaded(write(GOOD + blocks), 'queues.one.handlers[0].languages=["lua", "c", "lua"]')
    assert config.languages["c"].run.limits.cpu_s == 7
    assert config.languages["c"].compile == built_in()["c"].compile
    assert config.languages["lua"].run.environment == {"A": "b"}
    assert config.languages_of(config.queues["one"]) == ["lua", "c"]


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("queues.one.handlers[0].kind='programs'", "queues.one.handlers[0].kind", 'did you mean "program"?'),
        ("queues.one.handlers[0].languages=[]", "queues.one.handlers[0].languages", "is empty"),
        ("queues.one.handlers[0].languages='c'", "queues.one.handlers[0].languages", "must be an array"),
        ("queues.one.handlers[0].languages=['jave']", "queues.one.handlers[0].languages[0]", '"java"?'),
        ("queues.one.handlers[0].sandbox='python'", "queues.one.handlers[0].sandbox", "unknown key"),
        ("queues.one.handlers[0].limits.cpu=1", "queues.one.handlers[0].limits.cpu", 'did you mean "cpu_s"'),
        ("queues.one.handlers[0].limits.cpu_s=0", "queues.one.handlers[0].limits.cpu_s", "out of range"),
        (
            "queues.one.handlers[0].comparison={mode='near'}",
            "queues.one.handlers[0].comparison",
            "makes no sense",
        ),
        (
            "queues.one.handlers[0].comparison={mode='exact', case_sensitive=false}",
            "queues.one.handlers[0].comparison",
            "cannot pass over case",
        ),
        (
            "queues.one.handlers[0].graders.a='nowhere'",
            "queues.one.handlers[0].graders.a",
            "there is no folder",
        ),
        ("languages.c.comand='x'", "languages.c.comand", "unknown key"),
        ("languages.c.compile.comand=['x']", "languages.c.compile.comand", 'did you mean "command"?'),
        ("languages.c.compile.limits.cpu=1", "languages.c.compile.limits.cpu", 'did you mean "cpu_s"?'),
        ("languages.c.compile.command=['gcc']", "languages.c.compile.command", "absolute path"),
        ("languages.c.run='x'", "languages.c.run", "must be a table"),
        ("languages.c.run.show=['/']", "languages.c.run.show", "neither /"),
        ("languages.zig.source='main.zig'", "languages.zig.run", "is missing"),
        ("languages='c'", "languages", "must be a table of tables"),
    ],
)
def test_mistakes_are_named_by_their_path(write: Write, override: str, path: str, message: str) -> None:
    found = problems(write(GOOD), override)
    assert path in found, found
    assert message in found[path]


def test_a_bad_language_takes_down_only_the_queues_that_need_it(write: Write) -> None:
    other = HEAD.split("\n\n", 1)[1].replace("queues.one", "queues.two") + HANDLER.replace(
        "queues.one", "queues.two"
    ).replace('"c"', '"bash"')
    path = write(GOOD + other)
    config = load(path, ["languages.c.compile.command=['gcc']"], lenient_queues=True, cpus={0})
    assert set(config.queues) == {"two"}
    assert [problem.path for problem in config.refused["one"]] == ["languages.c.compile.command"]


def test_a_slot_has_numbers_for_so_many_jails(write: Write) -> None:
    names = [f"l{number}" for number in range(16)]
    blocks = "".join(f'[languages.{n}]\nsource = "x"\nrun = {{ command = ["/x"] }}\n' for n in names)
    found = problems(write(GOOD + blocks), f"queues.one.handlers[0].languages={names}")
    assert "16 sandboxes and languages; 15 are possible" in found["queues.one.handlers"]
