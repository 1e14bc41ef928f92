"""How many there are: ingest and gateway by their processor, metrics by what is not announced yet."""

from __future__ import annotations

from typing import Any

from deploy.render.sizes import PRODUCTION, Size
from yumai.observability import telemetry

Doc = dict[str, Any]

PROMETHEUS = "http://prometheus-operated.observability:9090"
"""The Service that the Prometheus operator makes."""
NAMESPACE = "yumai"
_LULL_SECONDS = 900
"""A worker that goes makes another one load what it had seen: not for a short lull."""


def base() -> list[Doc]:
    return [*(_by_processor(*one) for one in _processors(PRODUCTION)), _workers()]


def patches(size: Size) -> list[Doc]:
    """What another size changes."""
    found = [
        _object("autoscaling/v2", "HorizontalPodAutoscaler", name, _between(*counts))
        for name, counts in _processors(size)
    ]
    return [*found, _object("keda.sh/v1alpha1", "ScaledObject", "metrics", _counts(size))]


def _processors(size: Size) -> tuple[tuple[str, tuple[int, int]], ...]:
    return ("ingest", size.doors), ("gateway", size.pages)


def _between(fewest: int, most: int) -> Doc:
    return {"minReplicas": fewest, "maxReplicas": most}


def _target(name: str) -> Doc:
    return {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}}


def _by_processor(name: str, counts: tuple[int, int]) -> Doc:
    target = {"type": "Utilization", "averageUtilization": 70}
    spec = {
        **_target(name),
        **_between(*counts),
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", name, spec, labelled=True)


def _counts(size: Size) -> Doc:
    return {
        "minReplicaCount": size.workers[0],
        "maxReplicaCount": size.workers[1],
        "fallback": {
            "failureThreshold": 4,
            "replicas": size.workers_blind,
            "behavior": "currentReplicasIfHigher",
        },
    }


def _workers() -> Doc:
    """By the end of entries.v1 minus what commits.v1 has told: the group's own lag never reaches 0 while blocks are open.

    KEDA makes an HPA of its own: never another one on this Deployment.
    """
    slowly = {
        "stabilizationWindowSeconds": _LULL_SECONDS,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}],
    }
    # Every replica of the gateway tells the same: one of them, then all partitions.
    gauge = f'{telemetry.METRICS_LAG_RECORDS.name}{{namespace="{NAMESPACE}"}}'
    trigger = {
        "type": "prometheus",
        "name": "unannounced",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": PROMETHEUS,
            "query": f"sum(max by (partition) ({gauge}))",
            "threshold": "400",
            "activationThreshold": "1",
        },
    }
    spec = {
        **_target("metrics"),
        "pollingInterval": 15,
        "cooldownPeriod": 600,
        **_counts(PRODUCTION),
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": slowly}}},
        "triggers": [trigger],
    }
    return _object("keda.sh/v1alpha1", "ScaledObject", "metrics", spec, labelled=True)


def _object(version: str, kind: str, name: str, spec: Doc, labelled: bool = False) -> Doc:
    labels = {"labels": {"app.kubernetes.io/name": name}} if labelled else {}
    metadata = {"name": name, **labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
