"""A threshold in the wrong unit is noticed: by the units of the expression, or by promtool's tests of the alarm."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.check.expressions import Known

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMTOOL = shutil.which("promtool")
GROUPS = yaml.safe_load((DEPLOY / "rules.yaml").read_text())["groups"]
TESTS = yaml.safe_load((DEPLOY / "rules_test.yaml").read_text())
RECORDS = [rule for group in GROUPS for rule in group["rules"] if "record" in rule]
ALARMS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
OTHERS = yaml.safe_load((DEPLOY / "metrics-of-others.yaml").read_text())
KNOWN = Known({name: labels for metrics in OTHERS.values() for name, labels in metrics.items()})
for record in RECORDS:
    result, _ = KNOWN.judge(record["expr"])
    own = set(record.get("labels") or {})
    KNOWN.recorded[record["record"]] = result.but(labels=result.labels | own)
THRESHOLD = re.compile(r"(?<=[><=] )\d+(?:\.\d+)?(?![\w.])")
"""The number after a comparison."""


def agrees(folder: Path, rule: dict[str, Any]) -> bool:
    """Whether promtool's tests of this alarm hold for it as it stands here."""
    groups = [{"name": "records", "rules": RECORDS}, {"name": "alarm", "rules": [rule]}]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    tests = []
    for test in TESTS["tests"]:
        mine = [one for one in test["alert_rule_test"] if one["alertname"] == rule["alert"]]
        if mine:
            kept = {key: value for key, value in test.items() if key != "promql_expr_test"}
            tests.append({**kept, "alert_rule_test": mine})
    (folder / "tests.yaml").write_text(yaml.safe_dump({**TESTS, "tests": tests}))
    assert PROMTOOL is not None
    command = [PROMTOOL, "test", "rules", "tests.yaml"]
    return not subprocess.run(command, cwd=folder, capture_output=True, timeout=120).returncode


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool")
@pytest.mark.slow
@pytest.mark.parametrize("rule", ALARMS, ids=lambda rule: rule["alert"])
def test_milliseconds_for_seconds_and_per_cent_for_a_ratio_are_noticed(
    rule: dict[str, Any], tmp_path: Path
) -> None:
    text = rule["expr"]
    assert agrees(tmp_path, rule)
    numbers = [found for found in THRESHOLD.finditer(text) if float(found[0])]
    unnoticed = []
    for found in numbers:
        for factor in (1000, 100):
            number = f"{float(found[0]) * factor:.10f}"
            wrong = f"{text[: found.start()]}{number}{text[found.end() :]}"
            _, told = KNOWN.judge(wrong)
            if not told and agrees(tmp_path, {**rule, "expr": wrong}):
                unnoticed.append(wrong)
    assert unnoticed == []
