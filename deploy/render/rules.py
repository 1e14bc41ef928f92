"""deploy/rules.yaml, which promtool tests and compose mounts, as the Prometheus operator wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).resolve().parents[1] / "rules.yaml"


def prometheus_rule() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "yumai", "labels": {"app.kubernetes.io/name": "rules"}},
            "spec": {"groups": groups},
        }
    ]
