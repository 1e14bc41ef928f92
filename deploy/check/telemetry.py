"""Rules, dashboards and queries name metrics that exist, with labels that they have (yumai/telemetry.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import yaml

from deploy.check.cluster import Cluster
from deploy.check.findings import Finding, near
from yumai import telemetry
from yumai.instruments import Histogram, Metric

_NAME = re.compile(r"\byumai_[a-z0-9_]+|\byumai:[a-z0-9_:]+")
_RECORDED = re.compile(r"^\s*-?\s*record:\s*['\"]?([A-Za-z0-9_:]+)", re.MULTILINE)


def series() -> dict[str, Metric]:
    """Every name that Prometheus knows -> its metric; a histogram has three."""
    found: dict[str, Metric] = {}
    for metric in vars(telemetry).values():
        if isinstance(metric, Metric):
            found[metric.name] = metric
            if isinstance(metric, Histogram):
                found |= {f"{metric.name}{end}": metric for end in ("_bucket", "_sum", "_count")}
    return found


def check(cluster: Cluster) -> Iterator[Finding]:
    """Queries in the built manifests: KEDA's, and those of PrometheusRules."""
    known = set(series())
    rules = list(cluster.tree.of("PrometheusRule"))
    for rule in rules:
        known |= {
            str(r.get("record"))
            for g in rule.spec.get("groups") or []
            for r in g.get("rules") or []
            if "record" in r
        }
    for obj in (*rules, *cluster.tree.of("ScaledObject")):
        for path, text in _texts(obj.spec, ("spec",)):
            if path[-1] in ("expr", "query"):
                for name in _NAME.findall(text):
                    if name not in known:
                        yield obj.finding(
                            path,
                            f"no metric {name}{near(name, known)}; yumai/telemetry.py lists them",
                        )
    for rule in rules:
        for number, group in enumerate(rule.spec.get("groups") or []):
            for at, one in enumerate(group.get("rules") or []):
                path = ("spec", "groups", number, "rules", at)
                if "alert" in one and not (one.get("labels") or {}).get("severity"):
                    yield rule.finding(
                        (*path, "labels", "severity"),
                        f"is missing: nobody knows whom {one['alert']} wakes",
                    )


def check_files(root: File) -> Iterator[Finding]:
    """The files that Prometheus and Grafana read: rules and dashboards."""
    known = set(series())
    folder = root / "deploy"
    files = [
        f for f in sorted(folder.rglob("*.yaml")) if "k8s" not in f.parts and "rules" in f.stem
    ]
    for file in files:
        known |= set(_RECORDED.findall(file.read_text()))
    for file in files:
        name = str(file.relative_to(root))
        try:
            docs = list(yaml.load_all(file.read_text(), yaml.CSafeLoader))
        except yaml.YAMLError as error:
            yield Finding(name, "(whole)", str(error))
            continue
        for doc in docs:
            for path, text in _texts(doc, ()):
                if path[-1] == "expr":
                    yield from _unknown(name, path, text, known)
    for file in sorted((folder / "dashboards").glob("*.json")):
        name = str(file.relative_to(root))
        try:
            board = json.loads(file.read_text())
        except ValueError as error:
            yield Finding(name, "(whole)", str(error))
            continue
        for path, text in _texts(board, ()):
            if path[-1] in ("expr", "query", "definition"):
                yield from _unknown(name, path, text, known)


def _unknown(
    file: str, path: tuple[str | int, ...], text: str, known: set[str]
) -> Iterator[Finding]:
    from deploy.check.findings import dotted

    for name in _NAME.findall(text):
        if name not in known:
            yield Finding(
                file,
                dotted(path),
                f"no metric {name}{near(name, known)}; yumai/telemetry.py lists them",
            )


def _texts(here: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(here, dict):
        for key, value in here.items():
            yield from _texts(value, (*path, key))
    elif isinstance(here, list):
        for number, value in enumerate(here):
            yield from _texts(value, (*path, number))
    elif isinstance(here, str) and path:
        yield path, here
