"""Rules, dashboards and KEDA's query name metrics that exist, with labels and values that they have."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import yaml

from deploy.check import promql
from deploy.check.cluster import SERVICES, Cluster
from deploy.check.findings import Finding, Path, dotted, near
from yumai.observability import telemetry
from yumai.observability.instruments import Histogram, Metric, Numbers

RULES, OTHERS = "deploy/rules.yaml", "deploy/metrics-of-others.yaml"
ADDED = {"le", "namespace", "pod", "door"}
"""Labels that Prometheus adds to a scraped series, and our recording rules to theirs."""

VALUES = {
    "namespace": {"yumai"},
    "deployment": set(SERVICES),
    "container": set(SERVICES),
    "cronjob": {"audit", "backup"},
}
"""Labels of a cluster whose values are ours -> those that there are."""


@functools.cache
def series() -> dict[str, Metric]:
    """Every name that Prometheus knows of ours -> its metric; a histogram has three."""
    found: dict[str, Metric] = {}
    for metric in telemetry.CATALOGUE.values():
        if isinstance(metric, Histogram):
            found |= {f"{metric.name}{end}": metric for end in ("_bucket", "_sum", "_count")}
        else:
            found[metric.name] = metric
    return found


class Known:
    """What a query may name: our metrics, those of others, and what the rules record."""

    def __init__(self, root: File) -> None:
        self.others: dict[str, list[str]] = {}
        self.recorded: set[str] = set()
        if (root / OTHERS).is_file():
            for metrics in yaml.safe_load((root / OTHERS).read_text()).values():
                self.others |= metrics
        if (root / RULES).is_file():
            for group in yaml.safe_load((root / RULES).read_text()).get("groups") or []:
                rules = group.get("rules") or []
                self.recorded |= {str(rule["record"]) for rule in rules if "record" in rule}

    def problems(self, expression: str) -> Iterator[str]:
        labels: set[str] = set()
        try:
            used, grouped = list(promql.used(expression)), promql.grouped(expression)
        except (ValueError, IndexError):
            yield "brackets that don't match"
            return
        for name, matchers in used:
            for label, values in VALUES.items():
                wanted = matchers.get(label)
                if wanted is not None and not any(re.fullmatch(wanted, v) for v in values):
                    yield f"{name}: {label} is never {wanted}{near(wanted, values)}"
            if name in self.recorded:
                labels |= ADDED
            elif name in self.others:
                have = self.others[name]
                labels |= set(have)
                yield from (
                    f"{name} has no label {m}{near(m, have)}" for m in matchers if m not in have
                )
            elif name in series():
                labels |= set(series()[name].labels) | ADDED
                yield from _matchers(name, matchers)
            else:
                known = [*series(), *self.others, *self.recorded]
                yield f"no metric {name}{near(name, known)}; yumai/observability/telemetry.py lists ours, {OTHERS} the others"
        for label in sorted(grouped - labels):
            yield f"grouped by {label}, which nothing here has{near(label, labels)}"


def _matchers(name: str, matchers: dict[str, str]) -> Iterator[str]:
    have = series()[name].labels
    for label, wanted in matchers.items():
        allowed = have.get(label)
        if allowed is None and label not in ADDED:
            yield f"{name} has no label {label}{near(label, have)}"
        elif allowed is None or isinstance(allowed, Numbers):
            continue
        elif not any(re.fullmatch(wanted, value) for value in allowed):
            yield f"{name}: {label} is never {wanted}{near(wanted, allowed)}"


def check(cluster: Cluster, root: File) -> Iterator[Finding]:
    """Queries in the built manifests: KEDA's, and those of PrometheusRules, which are deploy/rules.yaml."""
    known = Known(root)
    ours = yaml.safe_load((root / RULES).read_text()) if (root / RULES).is_file() else {}
    for obj in cluster.tree.of("PrometheusRule", "ScaledObject"):
        for path, text in _texts(obj.spec, ("spec",)):
            if path[-1] in ("expr", "query"):
                yield from (obj.finding(path, problem) for problem in known.problems(text))
        if obj.kind == "PrometheusRule":
            for path in _differing(obj.spec.get("groups"), ours.get("groups"), ("spec", "groups")):
                yield obj.finding(path, f"not as in {RULES}")
    if not any(cluster.tree.of("PrometheusRule")):
        yield Finding("deploy/k8s/base/kustomization.yaml", "resources", "no PrometheusRule")


def _differing(one: Any, other: Any, path: Path) -> Iterator[Path]:
    """Where two documents part, as deep as they can be compared."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _differing(one[key], other[key], (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differing(left, right, (*path, number))
    elif str(one).split() != str(other).split():  # Kustomize folds long lines anew
        yield path


def check_files(root: File) -> Iterator[Finding]:
    """The files that Prometheus and Grafana read: rules and dashboards."""
    known = Known(root)
    if (root / RULES).is_file():
        doc = yaml.safe_load((root / RULES).read_text())
        for path, text in _texts(doc, ()):
            if path[-1] == "expr":
                yield from (Finding(RULES, dotted(path), p) for p in known.problems(text))
        yield from _alarms(root, doc)
    for file in sorted((root / "deploy/dashboards").glob("*.json")):
        name = str(file.relative_to(root))
        try:
            board = json.loads(file.read_text())
        except ValueError as error:
            yield Finding(name, "(whole)", str(error))
            continue
        for path, text in _texts(board, ()):
            if path[-2:] == ("datasource", "uid") and text != "prometheus":
                yield Finding(name, dotted(path), f"{text!r}: want 'prometheus', the one there is")
            if path[-1] == "expr":
                yield from (Finding(name, dotted(path), p) for p in known.problems(text))


def _alarms(root: File, doc: dict[str, Any]) -> Iterator[Finding]:
    """Whom an alarm wakes, and what that person reads."""
    operations = root / "docs/operations.md"
    text = operations.read_text() if operations.is_file() else ""
    for number, group in enumerate(doc.get("groups") or []):
        for at, rule in enumerate(group.get("rules") or []):
            path: Path = ("groups", number, "rules", at)
            if "alert" not in rule:
                continue
            if (rule.get("labels") or {}).get("severity") not in ("page", "ticket"):
                yield Finding(RULES, dotted((*path, "labels", "severity")), "want page or ticket")
            if f"\n### {rule['alert']}\n" not in text:
                yield Finding(
                    RULES,
                    dotted((*path, "alert")),
                    f"docs/operations.md has no runbook {rule['alert']}",
                )


def _texts(here: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(here, dict):
        for key, value in here.items():
            yield from _texts(value, (*path, key))
    elif isinstance(here, list):
        for number, value in enumerate(here):
            yield from _texts(value, (*path, number))
    elif isinstance(here, str) and path:
        yield path, here
