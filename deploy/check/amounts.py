"""Values that schemas leave open: quantities that fit each other, words of a fixed list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deploy.check.cluster import Cluster, selects
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Object
from deploy.render import workloads

_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGT", 1)
}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|[kMGT]|[KMGT]i)?")
METRIC_TYPES = {"AverageValue", "Value"}
OPERATED = ("Kafka", "KafkaNodePool", "ClickHouseInstallation", "ClickHouseKeeperInstallation")
IMAGES = {
    *("docker.io/clickhouse/clickhouse-server", "docker.io/clickhouse/clickhouse-keeper"),
    *("docker.io/apache/kafka", "docker.io/otel/opentelemetry-collector-contrib"),
    *("docker.io/prom/prometheus", "docker.io/grafana/grafana", "yumai"),
}
"""Of other programs, without their versions; and ours."""
ZONE = "topology.kubernetes.io/zone"


def amount(text: object) -> float | None:
    """`500m`, `3Gi`; None: no quantity."""
    found = _QUANTITY.fullmatch(str(text))
    return float(found[1]) * _UNITS[found[2] or ""] if found else None


def check(cluster: Cluster) -> Iterator[Finding]:
    yield from _version(cluster)
    yield from _scalers(cluster)
    for obj in cluster.tree.of(*OPERATED):
        yield from _quantities(obj, obj.spec, ("spec",))
    for kafka in cluster.tree.of("Kafka"):
        yield from _kafka(cluster, kafka)
    for chi in cluster.tree.of("ClickHouseInstallation"):
        at: Path = ("spec", "configuration", "clusters", 0, "pdbMaxUnavailable")
        if int(chi.get(at, 1)) < 1:
            yield chi.finding(at, f"{chi.get(at)}: no node could ever be drained")
    for route in cluster.tree.of("HTTPRoute"):
        for number, rule in enumerate(route.spec.get("rules") or []):
            for n, match in enumerate(rule.get("matches") or []):
                value = (match.get("path") or {}).get("value")
                if value != "/" and not str(value).startswith("/v1/"):
                    yield route.finding(
                        ("spec", "rules", number, "matches", n, "path", "value"),
                        f"{value!r}: nothing answers there: want / or /v1/…",
                    )


def _quantities(obj: Object, here: Any, path: Path) -> Iterator[Finding]:
    """Sizes, requests and limits in what operators make pods and volumes of: their schemas take any text."""
    if isinstance(here, list):
        for number, value in enumerate(here):
            yield from _quantities(obj, value, (*path, number))
    for key, value in here.items() if isinstance(here, dict) else ():
        inside = path[-1] in ("requests", "limits") or key == "size"
        if inside and not isinstance(value, dict) and amount(value) is None:
            yield obj.finding((*path, key), f"{value!r} is no quantity: want 500m, 2, 512Mi, 3Gi")
        if key == "image" and str(value).rpartition(":")[0] not in IMAGES:
            known = near(str(value).rpartition(":")[0], IMAGES)
            yield obj.finding((*path, key), f"{value!r}: no image known here{known}")
        yield from _quantities(obj, value, (*path, key))


def _version(cluster: Cluster) -> Iterator[Finding]:
    """The image has a fixed version, and the migration Job's name bears it."""
    config = "deploy/k8s/base/kustomization.yaml"
    images = {str(c.get("image")) for pod in cluster.pods for _, c in pod.containers()}
    for image in images:
        tag = image.rpartition(":")[2]
        if "/" in tag or tag.replace(".", "-") != workloads.VERSION:
            want = workloads.VERSION.replace("-", ".")
            yield Finding(
                config,
                "images[0].newTag",
                f"{image!r}: want a fixed version, {want} (deploy/render/workloads.py)",
            )


def _scalers(cluster: Cluster) -> Iterator[Finding]:
    for hpa in cluster.tree.of("HorizontalPodAutoscaler"):
        for number, metric in enumerate(hpa.spec.get("metrics") or []):
            target = (metric.get("resource") or {}).get("target") or {}
            share = target.get("averageUtilization")
            if not isinstance(share, int) or share < 1:
                yield hpa.finding(
                    ("spec", "metrics", number, "resource", "target", "averageUtilization"),
                    f"{share!r}: want a share of the request, in %",
                )
    for scaled in cluster.tree.of("ScaledObject"):
        for number, trigger in enumerate(scaled.spec.get("triggers") or []):
            kind = trigger.get("metricType", "AverageValue")
            if kind not in METRIC_TYPES:
                yield scaled.finding(
                    ("spec", "triggers", number, "metricType"),
                    f"{kind!r}: want one of {listed(METRIC_TYPES)}{near(kind, METRIC_TYPES)}",
                )


def _kafka(cluster: Cluster, kafka: Object) -> Iterator[Finding]:
    key = kafka.get(("spec", "kafka", "rack", "topologyKey"))
    if key != ZONE:
        yield kafka.finding(("spec", "kafka", "rack", "topologyKey"), f"{key!r}: want {ZONE!r}")
    at: Path = ("spec", "kafka", "template", "podDisruptionBudget", "maxUnavailable")
    if kafka.get(at, 1) != 1:
        yield kafka.finding(at, f"{kafka.get(at)}: want 1, as min.insync.replicas allows")
    peers = [p for p in cluster.peers if p.namespace is None]
    for number, listener in enumerate(kafka.get(("spec", "kafka", "listeners"), [])):
        for n, peer in enumerate(listener.get("networkPolicyPeers") or []):
            chosen = peer.get("podSelector")
            if chosen is not None and not any(selects(chosen, p.labels) for p in peers):
                path: Path = ("spec", "kafka", "listeners", number, "networkPolicyPeers", n)
                yield kafka.finding((*path, "podSelector"), "selects nothing")
    for pool in cluster.tree.of("KafkaNodePool"):
        most = amount(pool.get(("spec", "resources", "limits", "memory"), "0")) or 0
        heap = str(pool.get(("spec", "jvmOptions", "-Xmx"), "0")).lower()
        number_ = float(heap.rstrip("gmk") or 0) * {
            "g": 1024.0**3,
            "m": 1024.0**2,
            "k": 1024.0,
        }.get(heap[-1:], 1.0)
        if most and number_ > most:
            yield pool.finding(
                ("spec", "jvmOptions", "-Xmx"), f"{heap}: more than the memory limit of the pod"
            )
