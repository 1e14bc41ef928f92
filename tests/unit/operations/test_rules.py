"""Rules and dashboards: on metrics that exist, in units that fit, each alarm with a runbook; tried by promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.check import alarms
from deploy.check.expressions import Known
from deploy.render import dashboards

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
BOARDS = dashboards.boards()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_rules_and_dashboards_are_right() -> None:
    assert [str(finding) for finding in alarms.check(ROOT)] == []


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
        ("sum(yumai_metrics_lag_records)", "counts every replica"),
        ("sum(sum by (partition) (yumai_metrics_lag_records))", "counts every replica"),
        ("avg(yumai_store_parts)", "counts every replica"),
        ("yumai_canary_sent_total > 3", "is a counter"),
        ("rate(yumai_metrics_seen_bytes[5m])", "no counter"),
        ("rate(yumai_canary_sent_total[5s])", "a range of"),
        ("increase(yumai_canary_sent_total[90d])", "a range of"),
        (
            "histogram_quantile(0.9, sum by (door) (rate(yumai_canary_seconds_bucket[5m])))",
            "no label le",
        ),
        (
            "histogram_quantile(99, sum by (le) (rate(yumai_canary_seconds_bucket[5m])))",
            "between 0 and 1",
        ),
        ("max(yumai_metrics_lag_seconds) > 600000", "no ms"),
        (
            "sum(rate(yumai_canary_failures_total[5m])) / sum(rate(yumai_canary_sent_total[5m])) > 95",
            "no per cent",
        ),
        ("max(yumai_audit_last_run_timestamp_seconds) > 10800", "time() minus"),
        (
            "max by (table) (yumai_store_parts) > 9 and max(yumai_store_bytes) > 9",
            "pairs nothing",
        ),
        ("max(yumai_store_bytes) > max(yumai_metrics_lag_seconds)", "compares By with s"),
        ("max(yumai_store_bytes", "no PromQL"),
    ],
)
def test_a_wrong_expression_is_told(expression: str, wrong: str) -> None:
    _, problems = Known(OF_OTHERS).judge(expression)
    assert any(wrong in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("expression", "labels", "unit"),
    [
        ("max by (door) (yumai_canary_last_success_timestamp_seconds)", {"door"}, "time"),
        ("time() - max(yumai_audit_last_run_timestamp_seconds)", set(), "s"),
        (
            "histogram_quantile(0.5, sum by (le, step) (rate(yumai_metrics_flush_step_seconds_bucket[5m])))",
            {"step"},
            "s",
        ),
        ("max(yumai_metrics_lag_seconds) > bool 10", set(), "ratio"),
        (
            "sum(rate(yumai_ingest_round_seconds_sum[5m])) / sum(rate(yumai_ingest_round_seconds_count[5m]))",
            set(),
            "s",
        ),
        ("100 * (max(yumai_store_bytes) / max(yumai_store_bytes))", set(), "percent"),
        ("max without (pod, namespace) (yumai_store_parts)", {"table"}, "{part}"),
    ],
)
def test_a_result_has_its_labels_and_its_unit(expression: str, labels: set[str], unit: str) -> None:
    result, problems = Known(OF_OTHERS).judge(expression)
    assert (set(result.labels), result.unit, problems) == (labels, unit, [])


def test_every_recorded_series_and_metric_of_others_is_used() -> None:
    asked = [rule["expr"] for rule in ONE_BY_ONE]
    asked += [line for board in BOARDS.values() for p in board.panels for line in p.lines.values()]
    words = set(re.findall(r"[A-Za-z_:][\w:]*", " ".join(asked)))
    assert words >= {rule["record"] for rule in ONE_BY_ONE if "record" in rule}
    assert words >= set(OF_OTHERS)


@pytest.mark.parametrize("rule", ALARMS, ids=lambda rule: rule["alert"])
def test_a_runbook_says_what_it_means_where_to_look_and_what_to_do(rule: dict[str, Any]) -> None:
    section = OPERATIONS.partition(f"\n### {rule['alert']}\n")[2]
    section = section.partition("\n### ")[0].partition("\n## ")[0]
    for part in ("**Means**", "**Look**", "**Do**"):
        assert part in section


def test_no_runbook_is_left_over() -> None:
    assert set(re.findall(r"^### (Yumai\w+)$", OPERATIONS, re.M)) == {r["alert"] for r in ALARMS}


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


def test_dashboards_are_five_in_both_languages_and_nothing_lies_over_another() -> None:
    assert len(BOARDS) == 5
    for board in BOARDS.values():
        (doc,) = board.docs()
        assert len({panel["id"] for panel in doc["panels"]}) == len(doc["panels"])
        cells = [
            (place["x"] + right, place["y"] + down)
            for place in (panel["gridPos"] for panel in doc["panels"])
            for right in range(place["w"])
            for down in range(place["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < dashboards.WIDTH
        for panel in board.panels:
            assert re.search(r"[\u4e00-\u9fff]", panel.title), panel.title
