"""Rules, alarms and dashboards: what they ask for is there, and what they tell follows from what they ask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import promql_parser as promql
import yaml

from deploy.check.expressions import Known, Result
from deploy.check.findings import Finding, Path, dotted, listed, near

RULES, TESTS, OTHERS = (
    "deploy/rules.yaml",
    "deploy/rules_test.yaml",
    "deploy/metrics-of-others.yaml",
)
BOARDS, RUNBOOKS = "deploy/dashboards", "docs/operations.md"
_LABEL = re.compile(r"\{\{\s*\$labels\.(\w+)")
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
UNITS = {"s": "s", "By": "bytes", "ratio": "percentunit", "percent": "percent"}
"""Unit of a result -> Grafana's name for it."""
COUNTS = {"short", "reqps", "ops", "none"}
_WIDTH = 24


def check(root: File) -> Iterator[Finding]:
    """Rules first: dashboards ask for what they record."""
    others: dict[str, Any] = {}
    for metrics in yaml.safe_load((root / OTHERS).read_text()).values():
        others |= metrics
    known = Known(others)
    rules = yaml.safe_load((root / RULES).read_text())["groups"]
    yield from _rules(root, known, rules)
    yield from _used(known, rules)
    uids: set[str] = set()
    for file in sorted((root / BOARDS).glob("*.json")):
        name = str(file.relative_to(root))
        try:
            board = json.loads(file.read_text())
        except ValueError as error:
            yield Finding(name, "(whole)", str(error))
            continue
        if board.get("uid") in uids:
            yield Finding(name, "uid", f"{board.get('uid')!r}: another board has it")
        uids.add(board.get("uid"))
        yield from _board(known, name, board)


def _rules(root: File, known: Known, groups: list[Any]) -> Iterator[Finding]:
    tested = {
        str(one["alertname"])
        for test in yaml.safe_load((root / TESTS).read_text())["tests"]
        for one in test.get("alert_rule_test") or []
        if one.get("exp_alerts")
    }
    runbooks = (root / RUNBOOKS).read_text()
    for number, group in enumerate(groups):
        for at, rule in enumerate(group["rules"]):
            path: Path = ("groups", number, "rules", at)
            result, wrong = known.judge(str(rule.get("expr")))
            labels = result.labels | set(rule.get("labels") or {})
            for problem in wrong:
                yield Finding(RULES, dotted((*path, "expr")), problem)
            if "record" in rule:
                known.recorded[str(rule["record"])] = result.but(labels=labels)
                continue
            for field, problem in _alarm(rule, result, labels, tested, runbooks):
                yield Finding(RULES, dotted((*path, *field)), f"{rule['alert']}: {problem}")


def _alarm(
    rule: dict[str, Any], result: Result, labels: frozenset[str], tested: set[str], runbooks: str
) -> Iterator[tuple[Path, str]]:
    """Whom it wakes, what that person reads, and whether anybody has seen it ring."""
    name, notes = str(rule["alert"]), rule.get("annotations") or {}
    if (rule.get("labels") or {}).get("severity") not in ("page", "ticket"):
        yield ("labels", "severity"), "want page or ticket"
    if result.repeated:
        yield ("expr",), "rings once a replica: want max by (…)"
    if not _decides(str(rule["expr"])):
        yield ("expr",), "compares nothing: it would ring always"
    for key, text in notes.items():
        for label in set(_LABEL.findall(str(text))) - labels:
            told = f"its result has no label {label}{near(label, labels)} ({listed(labels)})"
            yield ("annotations", key), told
    if not notes.get("summary") or not re.search(r"[\u4e00-\u9fff]", str(notes.get("summary_zh"))):
        yield ("annotations",), "want summary and summary_zh"
    if notes.get("runbook") != f"{RUNBOOKS}#{name.lower()}":
        yield ("annotations", "runbook"), f"want {RUNBOOKS}#{name.lower()}"
    if f"\n### {name}\n" not in runbooks:
        yield ("alert",), f"{RUNBOOKS} has no runbook {name}"
    if name not in tested:
        yield ("alert",), f"never rings in {TESTS}"


def _decides(text: str) -> bool:
    """True where it may have no result: a comparison without `bool`, or absent."""
    try:
        expr = promql.parse(text)
    except ValueError:  # told with the expression
        return True
    return bool(re.search(r"absent|[<>]=?(?!\s*bool)|[!=]=(?!\s*bool)", str(expr)))


def _used(known: Known, groups: list[Any]) -> Iterator[Finding]:
    text = " ".join(str(rule.get("expr")) for group in groups for rule in group["rules"])
    for name in known.recorded:
        if name not in text:
            yield Finding(RULES, name, "is recorded, and no rule asks for it")


def _board(known: Known, name: str, board: dict[str, Any]) -> Iterator[Finding]:
    taken: dict[tuple[int, int], int] = {}
    ids: set[int] = set()
    for number, panel in enumerate(board.get("panels") or []):
        path: Path = ("panels", number)
        if (panel.get("datasource") or {}).get("uid") != "prometheus":
            uid = (panel.get("datasource") or {}).get("uid")
            text = f"{uid!r}: want 'prometheus', the one there is"
            yield Finding(name, dotted((*path, "datasource", "uid")), text)
        place = panel.get("gridPos") or {}
        cells = {
            (place.get("x", 0) + right, place.get("y", 0) + down)
            for right in range(place.get("w", 0))
            for down in range(place.get("h", 0))
        }
        if not cells or place.get("x", 0) + place.get("w", 0) > _WIDTH or cells & set(taken):
            text = f"{place}: outside of the board, or over another panel"
            yield Finding(name, dotted((*path, "gridPos")), text)
        taken |= dict.fromkeys(cells, number)
        if panel.get("id") in ids:
            yield Finding(name, dotted((*path, "id")), f"{panel.get('id')}: another panel has it")
        ids.add(panel.get("id"))
        yield from _panel(known, name, path, panel)


def _panel(known: Known, name: str, path: Path, panel: dict[str, Any]) -> Iterator[Finding]:
    shown = panel["fieldConfig"]["defaults"].get("unit")
    letters: set[str] = set()
    for at, target in enumerate(panel.get("targets") or []):
        here: Path = (*path, "targets", at)
        result, wrong = known.judge(str(target.get("expr")))
        for problem in wrong:
            yield Finding(name, dotted((*here, "expr")), problem)
        if result.repeated:
            yield Finding(name, dotted((*here, "expr")), "a line a replica: want max by (…)")
        want = UNITS.get(result.unit)
        if want != shown and (want or (at == 0 and shown not in COUNTS)):
            text = f"{shown!r}: the result is in {want or 'no unit'} ({want or listed(COUNTS)})"
            yield Finding(name, dotted((*path, "fieldConfig", "defaults", "unit")), text)
        for label in set(_LEGEND.findall(str(target.get("legendFormat")))) - result.labels:
            text = f"no label {label}{near(label, result.labels)} ({listed(result.labels)})"
            yield Finding(name, dotted((*here, "legendFormat")), text)
        if target.get("refId") in letters:
            text = f"{target.get('refId')!r}: another query of the panel has it"
            yield Finding(name, dotted((*here, "refId")), text)
        letters.add(target.get("refId"))
