"""Rules and dashboards: parsed and tried by promtool, on metrics that exist, each alarm with a runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.check import promql
from yumai.observability import telemetry
from yumai.observability.instruments import Histogram, Metric, Numbers

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
RULES = yaml.safe_load((DEPLOY / "rules.yaml").read_text())
OF_OTHERS: dict[str, list[str]] = {
    name: labels
    for metrics in yaml.safe_load((DEPLOY / "metrics-of-others.yaml").read_text()).values()
    for name, labels in metrics.items()
}
ONE_BY_ONE = [rule for group in RULES["groups"] for rule in group["rules"]]
ALARMS = [rule for rule in ONE_BY_ONE if "alert" in rule]
RECORDED = {rule["record"] for rule in ONE_BY_ONE if "record" in rule}
BOARDS = sorted((DEPLOY / "dashboards").glob("*.json"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
# What Prometheus itself adds to a scraped series, and what our recording rules add.
ADDED = {"le", "namespace", "pod", "door"}


def series() -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for metric in telemetry.CATALOGUE.values():
        if isinstance(metric, Histogram):
            found |= {metric.name + end: metric for end in ("_bucket", "_sum", "_count")}
        else:
            found[metric.name] = metric
    return found


SERIES = series()


def problems(expression: str) -> Iterator[str]:
    labels: set[str] = set()
    for name, matchers in promql.used(expression):
        if name in RECORDED:
            labels |= ADDED
            continue
        if name in OF_OTHERS:
            labels |= set(OF_OTHERS[name])
            yield from (f"{name} has no label {m}" for m in matchers if m not in OF_OTHERS[name])
            continue
        metric = SERIES.get(name)
        if metric is None:
            yield f"no metric {name}"
            continue
        labels |= set(metric.labels) | ADDED
        for label, wanted in matchers.items():
            allowed = metric.labels.get(label)
            if allowed is None:
                yield f"{name} has no label {label}"
            elif not isinstance(allowed, Numbers) and not any(
                re.fullmatch(wanted, value) for value in allowed
            ):
                yield f"{name}: {label} is never {wanted}"
    yield from (
        f"grouped by {label}, which nothing here has"
        for label in promql.grouped(expression) - labels
    )


def dashboard_queries() -> list[tuple[str, str, str, str]]:
    found = []
    for path in BOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                found.append((path.name, panel["title"], target["expr"], target["legendFormat"]))
    return found


@pytest.mark.parametrize("rule", ONE_BY_ONE, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_stands_on_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert list(problems(rule["expr"])) == []


@pytest.mark.parametrize("query", dashboard_queries(), ids=lambda query: f"{query[0]}: {query[1]}")
def test_a_panel_stands_on_metrics_that_exist(query: tuple[str, str, str, str]) -> None:
    _, _, expression, legend = query
    assert list(problems(expression)) == []
    assert set(re.findall(r"{{(\w+)}}", legend)) <= promql.grouped(expression) | {
        label for name, _ in promql.used(expression) for label in OF_OTHERS.get(name, ["door"])
    }


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("sum(yumai_metrics_lag)", "no metric yumai_metrics_lag"),
        ("max by (pod, part) (yumai_metrics_lag_seconds)", "grouped by part"),
        ('yumai_canary_sent_total{gate="http"}', "no label gate"),
        ('rate(yumai_canary_failures_total{fault=~"lost|gone"}[5m])', "never lost|gone"),
        ("histogram_quantile(0.9, yumai_canary_seconds)", "no metric yumai_canary_seconds"),
        ("up == 0", "no metric up"),
        ("avg_over_time(yumai:freshness:bool[1h])", "no metric yumai:freshness:bool"),
        ('kube_job_status_failed{pod="x"}', "no label pod"),
    ],
)
def test_a_planted_error_is_found(expression: str, wrong: str) -> None:
    assert any(wrong in problem for problem in problems(expression))


def test_every_recorded_series_and_metric_of_others_is_used() -> None:
    asked = [rule["expr"] for rule in ONE_BY_ONE] + [query[2] for query in dashboard_queries()]
    names = {name for expression in asked for name, _ in promql.used(expression)}
    assert names >= RECORDED
    assert names >= set(OF_OTHERS)


@pytest.mark.parametrize("rule", ALARMS, ids=lambda rule: rule["alert"])
def test_an_alarm_says_whom_it_wakes_and_has_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    notes = rule["annotations"]
    assert notes["summary"]
    assert re.search(r"[\u4e00-\u9fff]", notes["summary_zh"])
    assert notes["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    _, found, section = OPERATIONS.partition(f"\n### {rule['alert']}\n")
    assert found, f"docs/operations.md has no section {rule['alert']}"
    section = section.partition("\n### ")[0].partition("\n## ")[0]
    for part in ("**Means**", "**Look**", "**Do**"):
        assert part in section


def test_no_runbook_is_left_over() -> None:
    assert set(re.findall(r"^### (Yumai\w+)$", OPERATIONS, re.M)) == {r["alert"] for r in ALARMS}


def test_the_cluster_s_rules_are_the_same() -> None:
    made = yaml.safe_load((DEPLOY / "k8s" / "base" / "rules.yaml").read_text())
    assert made["kind"] == "PrometheusRule"
    assert made["spec"] == RULES, "after a change of deploy/rules.yaml, change both"


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is missing (Debian: apt install prometheus)"
)
@pytest.mark.parametrize(
    "arguments", [["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]]
)
def test_promtool_agrees(arguments: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=DEPLOY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_have_uids_and_both_languages() -> None:
    uids = [json.loads(path.read_text())["uid"] for path in BOARDS]
    assert len(set(uids)) == len(uids) == 5
    for _, title, _, _ in dashboard_queries():
        assert re.search(r"[\u4e00-\u9fff]", title), title
