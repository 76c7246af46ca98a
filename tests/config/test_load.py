"""The configuration: what is accepted, and how each mistake is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import tomli

from sandbox.model import Isolation, Limits
from supervisor.config import ClassSettings, Config, ConfigError, GradelibSettings, load
from supervisor.settings import (
    LIMITS,
    QUEUE,
    SANDBOX,
    SERVER,
    WARDEN,
    Queue,
    Sandbox,
    Server,
    Warden,
    Workers,
)

from .conftest import GOOD

Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def problems(path: Path, *overrides: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, cpus={0, 1})
    return {problem.path: problem.message for problem in caught.value.problems}


def loaded(path: Path, *overrides: str) -> Config:
    return load(path, overrides, cpus={0, 1})


def test_a_minimal_configuration_is_filled_with_defaults(write: Write, tmp_path: Path) -> None:
    config = loaded(write())
    assert config.warden.state_dir == tmp_path / "var"
    assert config.warden.status_file == tmp_path / "var" / "status.json"
    assert config.sandboxes["python"] == Sandbox("python")
    assert config.queues["one"].cpus is None
    assert config.warnings == ()
    assert config.refused == {}
    handler = config.queues["one"].handlers[0]
    assert isinstance(handler, GradelibSettings)
    assert handler == GradelibSettings("python", Limits(), tmp_path / "course")
    other = config.queues["two"].handlers[0]
    assert isinstance(other, ClassSettings)
    assert (other.class_path, other.options) == ("my.graders:Essay", {"depth": 3})


def test_the_types_and_the_tables_have_the_same_defaults(write: Write, tmp_path: Path) -> None:
    config = loaded(write())
    assert config.warden == Warden(
        tmp_path / "var", tmp_path / "var" / "status.json", tmp_path / "var" / "metrics.prom"
    )
    server, queue = config.servers["main"], config.queues["one"]
    assert server == Server("main", server.url, server.username, server.password)
    assert queue == Queue("one", "main", queue.handlers)
    assert {setting.key: setting.default for setting in LIMITS} == asdict(Limits())


def test_the_repositorys_own_configuration_is_valid() -> None:
    config = load(ROOT / "config.toml")
    assert set(config.queues) == {"demo-functions", "demo-programs"}
    assert config.warnings == ()


def test_the_repositorys_own_configuration_names_every_setting_of_its_sections() -> None:
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    for settings in (WARDEN, SERVER, SANDBOX, QUEUE):
        for setting in settings:
            if not setting.key.endswith("_env"):
                assert f"{setting.key} =" in text, setting.key


def test_handler_limits_lie_on_top_of_the_sandboxs(write: Write) -> None:
    path = write(GOOD.replace("[queues.two]", "limits = { cpu_s = 5 }\n[queues.two]"))
    config = loaded(path, "sandboxes.python.limits.wall_s=9", "sandboxes.python.limits.cpu_s=3")
    assert config.queues["one"].handlers[0].limits == Limits(wall_s=9, cpu_s=5)
    assert config.queues["two"].handlers[0].limits == Limits(wall_s=9, cpu_s=3)


def test_workers_are_a_number_or_a_range(write: Write) -> None:
    config = loaded(write(), "queues.one.workers=3", "queues.two.workers={ min = 1, max = 4 }")
    assert config.queues["one"].workers == Workers(3, 3)
    assert config.queues["two"].workers == Workers(1, 4)


def test_all_problems_are_told_at_once(write: Write) -> None:
    text = GOOD.replace("username", "usrname").replace('server = "main"', 'server = "mian"')
    found = problems(write(text + "\n[sandbox.x]\n"), "queues.one.workers='many'", "queues.two.cpus=[0, 7]")
    assert found == {
        "sandbox": 'unknown section; did you mean "sandboxes"?',
        "servers.main.usrname": 'unknown key; did you mean "username"?',
        "servers.main.username": "is missing; give a value (string)",
        "queues.one.server": 'there is no [servers.mian]; did you mean "main"?',
        "queues.one.workers": "must be a whole number, is a string; write it without quotes or fraction; or"
        " { min = 1, max = 4 }",
        "queues.two.server": 'there is no [servers.mian]; did you mean "main"?',
        "queues.two.cpus": 'there is no CPU 7 for this service; it may use 0-1, or write "auto"',
    }


@pytest.mark.parametrize(
    ("override", "path", "words"),
    [
        ("warden.drain_s=-1", "warden.drain_s", "out of range"),
        ("warden.drain_s=nan", "warden.drain_s", "out of range"),
        ("warden.drain_s=true", "warden.drain_s", "must be a number, is a boolean"),
        ("warden.journal_keep_days=1.5", "warden.journal_keep_days", "whole number"),
        ("warden.log='loud'", "warden.log", '"human" or "json" or "auto"'),
        ("warden.state_dir=''", "warden.state_dir", "is empty"),
        ("warden.state_dir=1979-05-27", "warden.state_dir", "is a date"),
        ("warden=3", "warden", "must be a table"),
        ("queues={}", "queues", "there is none"),
        ("servers=[]", "servers", "must be a table of tables"),
        ("servers.main=3", "servers.main", "must be a table"),
        ("servers.main.url='xqueue.example.org'", "servers.main.url", "http:// or https://"),
        ("servers.main.url='http://a:b@host'", "servers.main.url", "credentials"),
        ("servers.main.url='http://host:99999'", "servers.main.url", "not a URL"),
        ("servers.main.url='http://host/?a=b'", "servers.main.url", "query"),
        ("servers.main.password='hunter2'", "servers.main.password", "never stands here"),
        ("servers.main.password_env='PW'", "servers.main.password_file", "exactly one"),
        ("servers.main.basic_auth_username='edx'", "servers.main.basic_auth_username", "has no password"),
        (
            "servers.main.basic_auth_password_env='PW'",
            "servers.main.basic_auth_username",
            "needs its username",
        ),
        ("servers.main.ca_file='nowhere.pem'", "servers.main.ca_file", "there is no file"),
        ("servers.main.file_hosts=['http://x/']", "servers.main.file_hosts", "item 0 is not a host"),
        ("servers.main.verify_tls='no'", "servers.main.verify_tls", "true or false"),
        ("sandboxes.python.interpreter='/nowhere/python'", "sandboxes.python.interpreter", "no program"),
        ("sandboxes.python.preload='numpy'", "sandboxes.python.preload", "must be an array"),
        (
            "sandboxes.python.preload=['a b']",
            "sandboxes.python.preload",
            "item 0 is not the name of a module",
        ),
        ("sandboxes.python.require='none'", "sandboxes.python.require", '"full"'),
        ("sandboxes.python.limits.wall_s=0", "sandboxes.python.limits.wall_s", "out of range"),
        ("sandboxes.python.limits.memory=1", "sandboxes.python.limits.memory", 'did you mean "memory_mib"'),
        ("queues.one.workers=0", "queues.one.workers", "out of range"),
        ("queues.one.workers={min = 0, max = 2}", "queues.one.workers", "min is out of range"),
        ("queues.one.workers={min = 1, max = 1.5}", "queues.one.workers", "max must be a whole number"),
        ("queues.one.workers={min = 1}", "queues.one.workers", "has no max"),
        ("queues.one.workers={min = 3, max = 2}", "queues.one.workers", "min (3) above its max (2)"),
        ("queues.one.workers={min = 1, max = 2, mox = 3}", "queues.one.workers", 'unknown key "mox"'),
        ("queues.one.cpus=[]", "queues.one.cpus", "list of CPU numbers"),
        ("queues.one.cpus=[1, 1]", "queues.one.cpus", "twice"),
        ("queues.one.cpus=[true]", "queues.one.cpus", "CPU numbers only"),
        ("queues.one.poll_ceiling_s=0.1", "queues.one.poll_ceiling_s", "below poll_floor_s"),
        ("queues.one.handlers=[]", "queues.one.handlers", "there is none"),
        ("queues.one.handlers[0]=3", "queues.one.handlers[0]", "must be a table"),
        ("queues.one.handlers[0].kind='gradlib'", "queues.one.handlers[0].kind", 'did you mean "gradelib"'),
        (
            "queues.one.handlers[0].grader_root='x'",
            "queues.one.handlers[0].grader_root",
            "there is no folder",
        ),
        (
            "queues.one.handlers[0].sandbox='pithon'",
            "queues.one.handlers[0].sandbox",
            'did you mean "python"',
        ),
        ("queues.one.handlers[0].limits.cpu=1", "queues.one.handlers[0].limits.cpu", 'did you mean "cpu_s"'),
        (
            "queues.one.handlers[0].graders={a='../b.py'}",
            "queues.one.handlers[0].graders",
            "leaves the grader root",
        ),
        ("queues.one.handlers[0].graders={a='b.py'}", "queues.one.handlers[0].graders.a", "there is no file"),
        ("queues.one.handlers[0].modules=['lib']", "queues.one.handlers[0].modules[0]", "there is no folder"),
        ("queues.one.handlers[0].templates='t'", "queues.one.handlers[0].templates", "there is no folder"),
        ("queues.two.handlers[0].class='essay'", "queues.two.handlers[0].class", "package.module:Class"),
        ("queues.two.handlers[0].seeds=3", "queues.two.handlers[0].seeds", "unknown key"),
        ('queues."a b".workers=1', 'queues."a b".server', "is missing"),
        ('warden.state_dir="a\\u0000b"', "warden.state_dir", "cannot be printed"),
    ],
)
def test_each_mistake_is_told_at_its_path(write: Write, override: str, path: str, words: str) -> None:
    found = problems(write(), override)
    assert words in found[path]


def test_a_secret_in_the_wrong_place_is_not_shown(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(), ["servers.main.password=hunter2"])
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load(write(), ["servers.main.password='hunter2'", "servers.main.passwort='hunter2'"])
    assert "hunter2" not in str(caught.value)


def test_a_password_is_required(write: Write) -> None:
    found = problems(write(GOOD.replace('password_file = "secret"', "")))
    assert found == {
        "servers.main.password": "is missing; name a file with password_file, or a variable with password_env"
    }


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("servers.main.url 'x'", "has no value"),
        ("servers.main.url=x", "not TOML"),
        ("servers.main.url=1\nqueues=2", "more than one value"),
        ("=1", "is not an override"),
        ("queues.one.handlers[3].kind='x'", "there is no item 3"),
        ("warden[0]=1", "leads through"),
        ("servers.main.url.scheme='x'", "leads through something that is not a table"),
    ],
)
def test_an_override_that_does_not_fit_is_told(write: Write, override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(), [override])
    (problem,) = caught.value.problems
    assert problem.path.startswith("--set")
    assert words in problem.message or words == "leads through"


def test_overrides_change_the_values_and_the_digest(write: Write) -> None:
    path = write()
    plain, changed = (
        loaded(path),
        loaded(path, 'servers.main.url="http://127.0.0.1:9999"', "warden.drain_s = 5"),
    )
    assert changed.servers["main"].url == "http://127.0.0.1:9999"
    assert changed.warden.drain_s == 5.0
    assert plain.digest != changed.digest


def test_the_last_of_two_overrides_wins(write: Write) -> None:
    assert loaded(write(), "warden.drain_s=5", "warden.drain_s=6").warden.drain_s == 6.0


@pytest.mark.parametrize(
    ("override", "path", "words"),
    [
        ("servers.main.verify_tls=false", "servers.main.verify_tls", "prefer ca_file"),
        ("servers.main.url='http://xqueue.example.org'", "servers.main.url", "in the clear"),
        ("queues.one.processing_delay_s=30", "queues.one.handlers[0].limits.wall_s", "may take 32 s"),
    ],
)
def test_what_is_unwise_is_a_warning(write: Write, override: str, path: str, words: str) -> None:
    (warning,) = loaded(write(), override).warnings
    assert warning.path == path
    assert words in warning.message


def test_a_handler_behind_one_that_takes_all_is_a_warning(write: Write) -> None:
    extra = '[[queues.two.handlers]]\nkind = "class"\nclass = "a:B"\nsandbox = "python"\n'
    (warning,) = loaded(write(GOOD + extra)).warnings
    assert warning.path == "queues.two.handlers[1].match"


def test_paths_start_at_the_configurations_folder_whatever_the_working_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    monkeypatch.chdir("/")
    config = loaded(Path(os.path.relpath(tmp_path / "config.toml")))
    assert config.warden.state_dir == tmp_path / "var"


def test_a_virtualenvs_interpreter_stays_the_link_that_it_is(write: Write, tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to("/usr/bin/env")
    assert loaded(write(), f"sandboxes.python.interpreter='{link}'").sandboxes["python"].interpreter == str(
        link
    )


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"[warden\n", "is not TOML"),
        (b"a = 1\na = 2\n", "is not TOML"),
        (b"\xff", "is not UTF-8"),
        (b"a=" + b"[" * 20000, "is not TOML"),
    ],
)
def test_a_file_that_is_not_toml_is_told(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(raw)
    (message,) = problems(path).values()
    assert words in message


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    assert "no such file" in problems(tmp_path / "nowhere.toml")[str(tmp_path / "nowhere.toml")]
    assert "cannot be read" in problems(tmp_path)[str(tmp_path)]


# --- leniently ---------------------------------------------------------------------------------------


def test_a_bad_queue_is_refused_alone(write: Write) -> None:
    config = load(write(), ["queues.one.workers=0", "queues.one.wrokers=2"], lenient_queues=True)
    assert set(config.queues) == {"two"}
    assert [problem.path for problem in config.refused["one"]] == ["queues.one.wrokers", "queues.one.workers"]


def test_a_bad_server_refuses_its_queues_only(write: Write) -> None:
    other = GOOD.split("[sandboxes.python]")[0].replace("main", "other")
    path = write(GOOD + other)
    config = load(path, ["queues.two.server='other'", "servers.other.url='x'"], lenient_queues=True)
    assert set(config.queues) == {"one"}
    assert set(config.servers) == {"main"}
    assert [problem.path for problem in config.refused["two"]] == ["servers.other.url"]


def test_a_bad_sandbox_refuses_its_queues_only(write: Write) -> None:
    path = write(GOOD + "\n[sandboxes.other]\npreload = 3\n")
    config = load(path, ["queues.two.handlers[0].sandbox='other'"], lenient_queues=True)
    assert set(config.queues) == {"one"}
    assert [problem.path for problem in config.refused["two"]] == ["sandboxes.other.preload"]


def test_a_queue_that_is_no_table_is_refused_alone(write: Write) -> None:
    config = load(write(), ["queues.one=3"], lenient_queues=True)
    assert set(config.queues) == {"two"}
    assert set(config.refused) == {"one"}


@pytest.mark.parametrize("override", ["warden.drain_s='x'", "extra=1", "warden.extra=1"])
def test_what_is_bad_for_all_is_fatal_even_leniently(write: Write, override: str) -> None:
    with pytest.raises(ConfigError):
        load(write(), [override], lenient_queues=True)


def test_no_queue_left_is_fatal_even_leniently(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(), ["servers.main.url='x'"], lenient_queues=True)
    assert [problem.path for problem in caught.value.problems] == ["servers.main.url"]


def test_isolation_is_full_unless_said(write: Write) -> None:
    assert loaded(write()).sandboxes["python"].require is Isolation.FULL


def test_good_is_what_tomli_reads() -> None:
    assert set(tomli.loads(GOOD)) == {"servers", "sandboxes", "queues"}


def test_a_locale_is_the_queues_unless_the_handler_has_its_own(write: Write) -> None:
    path = write(GOOD.replace("[queues.two]", 'locale = "PT_br"\n[queues.two]\nlocale = "ar"', 1))
    config = loaded(path)
    assert (config.queues["one"].locale, config.queues["one"].handlers[0].locale) == ("en", "pt-br")
    assert (config.queues["two"].locale, config.queues["two"].handlers[0].locale) == ("ar", "ar")


def test_a_locale_without_words_is_a_problem_and_own_words_are_checked(write: Write, tmp_path: Path) -> None:
    path = write()
    assert "queues.one.locale" in problems(path, "queues.one.locale='nl'")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "nl.toml").write_text('title = "Uitslag"\n')
    here = f"warden.translations='{folder}'"
    assert loaded(path, here, "queues.one.locale='nl'").queues["one"].handlers[0].locale == "nl"
    (folder / "nl.toml").write_text('titel = "Uitslag"\n')
    assert "titel is unknown" in problems(path, here)["warden.translations"]
