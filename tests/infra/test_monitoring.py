"""What Prometheus reads, Grafana shows and alerts: names that are exported, rules that fire when they should."""

import importlib.util
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from kinebert.orchestration.jobs.training_log import MOST_WAIT
from kinebert.orchestration.watched_metrics import LABEL, WATCHED
from tests.helpers.infra_files import INFRA, checked, documents, program
from tests.helpers.requirements import missing

MONITORING = INFRA / "monitoring"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (MONITORING / "grafana" / "dashboards").iterdir()}
(ALERTS,) = documents(MONITORING / "alerts.yml")
RULES: dict[str, Any] = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
OURS = {metric.exported for metric in WATCHED}
PANELS = [(name, panel) for name, dashboard in DASHBOARDS.items() for panel in dashboard["panels"]]
UNITS = {"none", "short", "ops", "percent", "percentunit", "bytes", "Bps", "celsius", "s"}
"""Of Grafana's, those that are in use."""


def of_ray() -> set[str]:
    """Names of the numbers that Ray's nodes tell of themselves, out of the source that makes them."""
    spec = importlib.util.find_spec("ray")
    if spec is None or not spec.submodule_search_locations:
        missing("ray", "ray is not installed")
    source = Path(spec.submodule_search_locations[0], "dashboard", "modules", "reporter", "reporter_agent.py")
    return {f"ray_{name}" for name in re.findall(r'^    "(\w+)": Gauge\(', source.read_text(), re.MULTILINE)}


def expressions() -> Iterator[tuple[str, str]]:
    """Where a query stands, and the query."""
    for name, panel in PANELS:
        yield from ((f"{name}: {panel['title']}", target["expr"]) for target in panel["targets"])
    yield from ((alert, rule["expr"]) for alert, rule in RULES.items())


def names(text: str) -> set[str]:
    return {*re.findall(r"\bray_\w+", text)}


def test_what_is_asked_for_is_exported() -> None:
    ray = of_ray()
    assert len(ray) > 30
    for where, expression in expressions():
        assert names(expression) <= OURS | ray, where
        assert names(expression) or "up{" in expression, where


def test_a_dashboard_shows_every_number() -> None:
    assert set().union(*(names(expression) for _, expression in expressions())) >= OURS


def test_labels_are_those_that_are_told() -> None:
    for where, expression in expressions():
        if names(expression) & OURS:
            assert {*re.findall(r"(?:by|on) \((\w+)\)", expression)} == {LABEL}, where


def test_dashboards_are_what_grafana_takes() -> None:
    (source,) = documents(MONITORING / "grafana" / "provisioning" / "datasources" / "prometheus.yml")[0]["datasources"]
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)
    for dashboard in DASHBOARDS.values():
        panels = dashboard["panels"]
        for key in ("id", "title"):
            assert len({panel[key] for panel in panels}) == len(panels)
        for panel in panels:
            assert panel["datasource"] == {"type": "prometheus", "uid": source["uid"]}, panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_panels_lie_beside_each_other() -> None:
    for name, dashboard in DASHBOARDS.items():
        covered = [
            place
            for spot in (panel["gridPos"] for panel in dashboard["panels"])
            for place in itertools.product(
                range(spot["x"], spot["x"] + spot["w"]), range(spot["y"], spot["y"] + spot["h"])
            )
        ]
        assert len({*covered}) == len(covered), name
        assert max(x for x, _ in covered) < 24, name


def test_every_alert_says_what_to_do() -> None:
    for alert, rule in RULES.items():
        assert {"summary", "action"} == rule["annotations"].keys(), alert
        assert rule["labels"]["severity"] in ("warning", "critical"), alert


def test_waiting_is_too_much_where_a_training_says_so() -> None:
    assert RULES["TrainingWaitsForData"]["expr"].endswith(f"> {MOST_WAIT}")


def test_prometheus_understands_its_files() -> None:
    promtool = program("promtool", "promtool")
    for path in MONITORING.glob("prometheus*.yml"):
        checked(promtool, "check", "config", str(path))


def test_prometheus_understands_the_queries_of_dashboards(tmp_path: Path) -> None:
    queries = [expression.replace("$__rate_interval", "1m").replace("$output", ".*") for _, expression in expressions()]
    rules = [{"record": f"query:{i}", "expr": expression} for i, expression in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked(program("promtool", "promtool"), "check", "rules", str(file))


SET = '{output="/set"}'
NODE = '{instance="node"}'
CASES: list[tuple[str, str, dict[str, str], str, bool]] = [
    ("ExtractionStandsStill", "no video is done", {f"ray_kinebert_shards_left{SET}": "5x90"}, "40m", True),
    (
        "ExtractionStandsStill",
        "none after the tenth minute",
        {f"ray_kinebert_shards_left{SET}": "5x90", f"ray_kinebert_videos_total{SET}": "0+2x10 20x80"},
        "50m",
        True,
    ),
    (
        "ExtractionStandsStill",
        "slow, but going on",
        {f"ray_kinebert_shards_left{SET}": "5x90", f"ray_kinebert_videos_total{SET}": "0+1x90"},
        "80m",
        False,
    ),
    ("ExtractionStandsStill", "it began a moment ago", {f"ray_kinebert_shards_left{SET}": "5x90"}, "10m", False),
    (
        "TrainingStandsStill",
        "a hanging worker",
        {f"ray_kinebert_steps_left{SET}": "5x90", f"ray_kinebert_steps_total{SET}": "0+9x10 90x80"},
        "50m",
        True,
    ),
    (
        "TrainingStandsStill",
        "a validation of ten minutes",
        {f"ray_kinebert_steps_left{SET}": "5x90", f"ray_kinebert_steps_total{SET}": "0+9x10 90x10 90+9x60"},
        "35m",
        False,
    ),
    ("TrainingWaitsForData", "a quarter of the time", {f"ray_kinebert_data_wait{SET}": "0.25x90"}, "40m", True),
    ("TrainingWaitsForData", "now and then", {f"ray_kinebert_data_wait{SET}": "0.1x20 0.9x2 0.1x60"}, "40m", False),
    (
        "VideosRejected",
        "two of a hundred",
        {f"ray_kinebert_videos_total{SET}": "100x60", f"ray_kinebert_videos_rejected_total{SET}": "2x60"},
        "30m",
        True,
    ),
    (
        "VideosRejected",
        "one of the first ten",
        {f"ray_kinebert_videos_total{SET}": "10x60", f"ray_kinebert_videos_rejected_total{SET}": "1x60"},
        "30m",
        False,
    ),
    (
        "DiskNearlyFull",
        "five of a hundred",
        {f"ray_node_disk_free{NODE}": "5x60", f"ray_node_disk_usage{NODE}": "95x60"},
        "30m",
        True,
    ),
    (
        "DiskNearlyFull",
        "half",
        {f"ray_node_disk_free{NODE}": "50x60", f"ray_node_disk_usage{NODE}": "50x60"},
        "30m",
        False,
    ),
    ("TrainingRestartsAgainAndAgain", "six in an hour", {f"ray_kinebert_restarts_total{SET}": "1+0.1x90"}, "80m", True),
    ("TrainingRestartsAgainAndAgain", "one", {f"ray_kinebert_restarts_total{SET}": "0x20 1x60"}, "80m", False),
    ("NodeIsSilent", "a quarter of an hour", {'up{job="ray", instance="node"}': "1x10 0x60"}, "30m", True),
    ("NodeIsSilent", "a scrape is missed", {'up{job="ray", instance="node"}': "1x10 0x2 1x60"}, "15m", False),
]


def test_alerts_are_raised_when_they_should_be(tmp_path: Path) -> None:
    assert {alert for alert, *_, fires in CASES if fires} == RULES.keys()
    tests = []
    for alert, what, series, when, fires in CASES:
        labels = {"output": "/set", "instance": "node", "job": "ray", "severity": "warning"}
        of = {name: labels[name] for name in ["severity", *re.findall(r"(\w+)=", next(iter(series)))]}
        raised = [{"exp_labels": of}] if fires else []
        test = {"eval_time": when, "alertname": alert, "exp_alerts": raised}
        given = [{"series": name, "values": values} for name, values in series.items()]
        tests.append({"name": f"{alert}: {what}", "interval": "1m", "input_series": given, "alert_rule_test": [test]})
    bare = {"groups": [{"name": "k", "rules": [{**rule, "annotations": {}} for rule in RULES.values()]}]}
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(bare))
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": tests}))
    checked(program("promtool", "promtool"), "test", "rules", str(file))


@pytest.mark.parametrize("name", ["prometheus.yml", "alerts.yml"])
def test_the_compose_file_gives_prometheus_what_it_reads(name: str) -> None:
    (compose,) = documents(INFRA / "docker" / "compose.yaml")
    mounts = compose["services"]["prometheus"]["volumes"]
    assert f"../monitoring/{name}:/etc/prometheus/{name}:ro" in mounts
