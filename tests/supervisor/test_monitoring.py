"""The alert rules and the dashboard speak of metrics, labels and pages that exist."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from graders.model import Cause
from supervisor import metrics
from supervisor.histogram import Tally
from supervisor.status import ChannelStatus, ServerStatus
from tests.cli.statuses import NOW, a_queue, a_status

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/warden.rules.yml"
DASHBOARD = ROOT / "deploy/grafana/warden.json"

SCRAPED = {"instance", "job"}
"""Labels that Prometheus itself puts on."""


def known() -> dict[str, dict[str, set[str]]]:
    """Name of a series -> label -> its values, of a document in which nothing is missing."""
    tally = Tally()
    tally.add(0.1)
    full = a_queue(
        queue_length=3,
        last_dead_at=NOW,
        times={name: tally.histogram() for name in ("wait", "grading", "delivery", "total")},
    )
    status = a_status(
        queues={"demo": full},
        servers={"main": ServerStatus(url="", last_ok_at=NOW)},
        isolation={"python": ("seccomp",)},
        channels={"mail": ChannelStatus()},
    )
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(metrics.encode(status).decode()):
        assert family.samples, f"{family.name}: the document lacks it"
        for one in family.samples:
            labels = found.setdefault(one.name, {})
            for key, value in one.labels.items():
                labels.setdefault(key, set()).add(value)
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """(where, expression) of all that is asked."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    board = json.loads(DASHBOARD.read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"][1:]:
        yield variable["name"], variable["query"]["query"]
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


@pytest.mark.parametrize(("where", "expression"), list(queries()))
def test_every_query_asks_for_what_there_is(where: str, expression: str) -> None:
    series = known()
    named = re.findall(r"(warden_\w+)(?:\{([^}]*)\})?", expression)
    assert named, where
    for name, matchers in named:
        assert name in series, f"{where}: {name}"
        for label, operator, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', matchers):
            if label in SCRAPED:
                continue
            assert label in series[name], f"{where}: {name} has no label {label}"
            assert operator == "=~" or value in series[name][label], f"{where}: {label} is never {value}"
    grouped = {
        label for part in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in part.split(", ")
    }
    there = {label for name, _ in named for label in series[name]}
    assert grouped <= there | SCRAPED, where


def test_the_dashboard_shows_every_metric_that_is_not_only_for_machines() -> None:
    asked = " ".join(expression for _, expression in queries())
    rest = {one.full_name for one in metrics.METRICS if not re.search(rf"{one.full_name}(_bucket)?\b", asked)}
    assert rest <= {
        "warden_alerts",
        "warden_last_dead_letter_timestamp_seconds",
        "warden_server_last_ok_timestamp_seconds",
    }


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_whose_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["labels"]["audience"] in ("admin", "team")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert anchor in anchors
    told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    series = known()
    there = {label for name in re.findall(r"warden_\w+", rule["expr"]) for label in series[name]}
    assert told <= there | SCRAPED


def test_panels_do_not_lie_on_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_promtool_takes_the_rules(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", str(RULES)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


FIRES = {
    "WardenSilent": ({"warden_written_timestamp_seconds": "0x20"}, {}),
    "WardenStopped": ({'warden_service_state{state="STOPPED"}': "1x20"}, {"state": "STOPPED"}),
    "WardenQueueFatal": (
        {'warden_queue_state{queue="q",state="FATAL"}': "1x20", 'warden_paused{queue="q"}': "0x20"},
        {"queue": "q", "state": "FATAL"},
    ),
    "WardenQueueTrouble": (
        {'warden_queue_trouble{queue="q",cause="AUTH"}': "1x20"},
        {"queue": "q", "cause": Cause.AUTH.value},
    ),
    "WardenNotPolling": (
        {
            'warden_last_poll_ok_timestamp_seconds{queue="q"}': "0x20",
            'warden_backlog{queue="q"}': "0x20",
        },
        {"queue": "q"},
    ),
    "WardenNotDelivering": ({'warden_backlog_oldest_age_seconds{queue="q"}': "310x20"}, {"queue": "q"}),
    "WardenDeadLetters": (
        {'warden_dead_letters_total{queue="q",cause="GRADER_BUG"}': "0 0 0 1x20"},
        {"queue": "q", "cause": "GRADER_BUG"},
    ),
    "WardenGraderBroken": (
        {
            'warden_submissions_graded_total{queue="q",verdict="ungraded"}': "0+1x20",
            'warden_submissions_graded_total{queue="q",verdict="correct"}': "0+1x20",
        },
        {"queue": "q"},
    ),
    "WardenWorkersDie": (
        {'warden_worker_deaths_total{queue="q",cause="HOST"}': "0+1x20"},
        {"queue": "q"},
    ),
}
QUIET = {
    "WardenQueueFatal": {
        'warden_queue_state{queue="q",state="FATAL"}': "1x20",
        'warden_paused{queue="q"}': "1x20",
    },
    "WardenNotPolling": {
        'warden_last_poll_ok_timestamp_seconds{queue="q"}': "0x20",
        'warden_backlog{queue="q"}': "3x20",
    },
    "WardenNotDelivering": {
        'warden_backlog_oldest_age_seconds{queue="q"}': "310x20",
        'warden_last_delivered_timestamp_seconds{queue="q"}': "0+60x20",
    },
}


def test_rules_fire_when_they_should_and_only_then(promtool: str, tmp_path: Path) -> None:
    """Each after fifteen minutes, with a sample a minute."""
    tests = []
    for alert, (series, labels) in FIRES.items():
        rule = next(one for one in rules() if one["alert"] == alert)
        tests.append(_case(alert, series, [{"exp_labels": labels | rule["labels"]}]))
    tests += [_case(alert, series, []) for alert, series in QUIET.items()]
    (tmp_path / "rules.yml").write_text(_without_annotations())
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests})
    )
    done = subprocess.run(
        [promtool, "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _case(alert: str, series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": "15m", "alertname": alert, "exp_alerts": expected}],
    }


def _without_annotations() -> str:
    """The rules as they are, without texts that hold the measured value."""
    document = yaml.safe_load(RULES.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    return str(yaml.safe_dump(document))
