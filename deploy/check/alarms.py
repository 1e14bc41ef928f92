"""Rules, alarms and dashboards: what they ask for is there, and what they tell follows from what they ask."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import yaml

from deploy.check.expressions import Known, Result
from deploy.check.findings import Finding, Path, dotted, listed, near, seconds

RULES, TESTS, OTHERS = (
    "deploy/rules.yaml",
    "deploy/rules_test.yaml",
    "deploy/metrics-of-others.yaml",
)
SCRAPED = "deploy/compose/prometheus.yaml"
BOARDS, RUNBOOKS = "deploy/dashboards.yaml", "docs/operations.md"
UNITS = {"s": "s", "By": "bytes", "ratio": "percentunit", "percent": "percent"}
"""Unit of a result -> Grafana's name for it."""
COUNTS = {"short", "reqps", "ops", "none"}
_LABEL, _LEGEND = re.compile(r"\{\{\s*\$labels\.(\w+)"), re.compile(r"\{\{\s*(\w+)\s*\}\}")
_DECIDES = re.compile(r"absent|[<>]=?(?!\s*bool)|[!=]=(?!\s*bool)")
"""In what may have no result: a comparison without `bool`, or absent."""


def check(root: File) -> Iterator[Finding]:
    """Rules first: dashboards ask for what they record."""
    rules, tests, others, boards = (
        yaml.safe_load((root / name).read_text()) for name in (RULES, TESTS, OTHERS, BOARDS)
    )
    known = Known({name: labels for metrics in others.values() for name, labels in metrics.items()})
    rung = {
        str(one["alertname"])
        for test in tests["tests"]
        for one in test.get("alert_rule_test") or []
        if one.get("exp_alerts")
    }
    runbooks = (root / RUNBOOKS).read_text()
    for number, group in enumerate(rules["groups"]):
        if not seconds(group.get("interval", "1m")) <= 60:
            yield Finding(RULES, dotted(("groups", number, "interval")), "want a minute at most")
        for at, rule in enumerate(group["rules"]):
            result, wrong = known.judge(str(rule.get("expr")))
            result = result.but(labels=result.labels | set(rule.get("labels") or {}))
            told: list[tuple[Path, str]] = [(("expr",), problem) for problem in wrong]
            if "record" in rule:
                known.recorded[str(rule["record"])] = result
            else:
                told += _alarm(rule, result, rung, runbooks)
            for field, problem in told:
                name = rule.get("alert") or rule.get("record")
                yield Finding(
                    RULES, dotted(("groups", number, "rules", at, *field)), f"{name}: {problem}"
                )
    for name, board in boards.items():
        for number, panel in enumerate(board["panels"]):
            for field, problem in _panel(known, panel):
                yield Finding(BOARDS, dotted((name, "panels", number, *field)), problem)


def _alarm(
    rule: dict[str, Any], result: Result, rung: set[str], runbooks: str
) -> Iterator[tuple[Path, str]]:
    """What a person reads who is woken, and whether anybody has seen it ring: then its words and labels stand in the test."""
    name, notes = str(rule["alert"]), rule.get("annotations") or {}
    if result.repeated:
        yield ("expr",), "rings once a replica: want max by (…)"
    if not _DECIDES.search(str(rule["expr"])):
        yield ("expr",), "compares nothing: it would ring always"
    for key, text in notes.items():
        for label in set(_LABEL.findall(str(text))) - result.labels:
            told = f"its result has no label {label}{near(label, result.labels)}"
            yield ("annotations", key), f"{told} ({listed(result.labels)})"
    if notes.get("runbook") != f"{RUNBOOKS}#{name.lower()}":
        yield ("annotations", "runbook"), f"want {RUNBOOKS}#{name.lower()}"
    if f"\n### {name}\n" not in runbooks:
        yield ("alert",), f"{RUNBOOKS} has no runbook {name}"
    if name not in rung:
        yield ("alert",), f"never rings in {TESTS}"


def _panel(known: Known, panel: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for number, (legend, asked) in enumerate(panel["lines"].items()):
        here: Path = ("lines", str(legend))
        result, wrong = known.judge(str(asked))
        yield from ((here, problem) for problem in wrong)
        if result.repeated:
            yield here, "a line a replica: want max by (…)"
        want, shown = UNITS.get(result.unit), panel["unit"]
        if want != shown and (want or (number == 0 and shown not in COUNTS)):
            yield ("unit",), f"{shown!r}: want {want or listed(COUNTS)}, in which the result is"
        for label in set(_LEGEND.findall(str(legend))) - result.labels:
            text = f"no label {label}{near(label, result.labels)} ({listed(result.labels)})"
            yield here, text


def tried(root: File, promtool: str) -> Iterator[Finding]:
    """By Prometheus' own tool: do they parse, and do their unit tests hold?"""
    commands = {RULES: "check rules", TESTS: "test rules", SCRAPED: "check config --syntax-only"}
    for name, command in commands.items():
        file = root / name
        asked = [promtool, *command.split(), file.name]
        done = subprocess.run(asked, cwd=file.parent, capture_output=True, text=True)
        if done.returncode:
            yield Finding(name, "(promtool)", " ".join((done.stderr + done.stdout).split())[-900:])
