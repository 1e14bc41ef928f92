"""Services, budgets, scalers and monitors select something, and their ports are there; jobs have a schedule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from deploy.check.cluster import SERVICES, Cluster, Pod, fewest, most, selects
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Object

CLUSTER_WIDE = {"Namespace"}


def check(cluster: Cluster) -> Iterator[Finding]:
    seen = Counter((o.doc.get("apiVersion"), o.kind, o.name) for o in cluster.tree.objects)
    for obj in cluster.tree.objects:
        if seen[obj.doc.get("apiVersion"), obj.kind, obj.name] > 1:
            yield obj.finding(("metadata", "name"), "stands twice")
        if obj.kind not in CLUSTER_WIDE and obj.doc["metadata"].get("namespace") != "yumai":
            yield obj.finding(
                ("metadata", "namespace"), f"{obj.doc['metadata'].get('namespace')!r}: want 'yumai'"
            )
    yield from _namespace(cluster)
    for part in (_services, _budgets, _scaling, _monitors, _schedules):
        yield from part(cluster)


def _namespace(cluster: Cluster) -> Iterator[Finding]:
    for space in cluster.tree.of("Namespace"):
        if space.labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield space.finding(
                ("metadata", "labels", "pod-security.kubernetes.io/enforce"), "want restricted"
            )


def _selected(cluster: Cluster, selector: dict[str, Any] | None) -> list[Pod]:
    return [pod for pod in cluster.pods if selects(selector, pod.labels)]


def _nothing(cluster: Cluster) -> str:
    return f"selects nothing; pods are named {listed({p.name for p in cluster.pods})}"


def _services(cluster: Cluster) -> Iterator[Finding]:
    names = cluster.tree.names("Service")
    for name in set(SERVICES) - names:
        yield Finding(
            f"deploy/k8s/base/{name}.yaml",
            "Service",
            f"there is none named {name!r}{near(name, names)}",
        )
    for service in cluster.tree.of("Service"):
        pods = _selected(cluster, {"matchLabels": service.spec.get("selector") or {"": ""}})
        if not pods:
            yield service.finding(("spec", "selector"), _nothing(cluster))
        elif {p.name for p in pods} != {service.name}:
            yield service.finding(
                ("spec", "selector"),
                f"selects {listed({p.name for p in pods})}: want {service.name}",
            )
        for number, port in enumerate(service.spec.get("ports") or []):
            target = port.get("targetPort", port.get("port"))
            for pod in pods:
                ports = pod.ports()
                if target not in ports and target not in ports.values():
                    yield service.finding(
                        ("spec", "ports", number, "targetPort"),
                        f"{target!r} is no port of {pod.name}{near(target, ports)} ({listed(ports)})",
                    )
            want = SERVICES.get(service.name)
            if want and port.get("port") != want:
                yield service.finding(
                    ("spec", "ports", number, "port"), f"{port.get('port')}: want {want}"
                )


def _replicas(cluster: Cluster, pod: Pod) -> int:
    """The fewest that there may be."""
    for scaler in cluster.tree.of("HorizontalPodAutoscaler", "ScaledObject"):
        if (scaler.spec.get("scaleTargetRef") or {}).get("name") == pod.owner.name:
            return fewest(scaler)
    return int(pod.owner.spec.get("replicas", 1))


def _budgets(cluster: Cluster) -> Iterator[Finding]:
    covered = set()
    for budget in cluster.tree.of("PodDisruptionBudget"):
        pods = _selected(cluster, budget.spec.get("selector"))
        if not pods:
            yield budget.finding(("spec", "selector"), _nothing(cluster))
        elif budget.name in SERVICES and {p.name for p in pods} != {budget.name}:
            yield budget.finding(
                ("spec", "selector"),
                f"selects {listed({p.name for p in pods})}: want {budget.name}",
            )
        covered |= {p.name for p in pods}
        for key in ("minAvailable", "maxUnavailable"):
            value = budget.spec.get(key)
            if value is None:
                continue
            for pod in pods:
                fewest = _replicas(cluster, pod)
                part = isinstance(value, str) and value.endswith("%")
                count = -(-int(value[:-1]) * fewest // 100) if part else int(value)
                left = fewest - count if key == "minAvailable" else count
                if left < 1:
                    yield budget.finding(
                        ("spec", key), f"{value} of {fewest}: no node could ever be drained"
                    )
    for pod in cluster.pods:
        if pod.serves and pod.name not in covered:
            yield pod.owner.finding(("metadata", "name"), "no PodDisruptionBudget selects its pods")


def _scaling(cluster: Cluster) -> Iterator[Finding]:
    scalers: dict[tuple[str, str], Object] = {}
    for scaler in cluster.tree.of("ScaledObject", "HorizontalPodAutoscaler"):
        ref = scaler.spec.get("scaleTargetRef") or {}
        kind, name = str(ref.get("kind", "Deployment")), str(ref.get("name"))
        target = cluster.tree.find(kind, name)
        path: Path = ("spec", "scaleTargetRef", "name")
        if target is None:
            known = cluster.tree.names("Deployment")
            yield scaler.finding(path, f"no {kind} {name!r}{near(name, known)} ({listed(known)})")
            continue
        if ref.get("apiVersion", "apps/v1") != target.doc.get("apiVersion"):
            yield scaler.finding(
                ("spec", "scaleTargetRef", "apiVersion"), f"{ref.get('apiVersion')}: want apps/v1"
            )
        if (kind, name) in scalers:
            other = scalers[kind, name]
            yield scaler.finding(
                path, f"{other.kind} {other.name} scales {name} too: they would fight"
            )
        scalers[kind, name] = scaler
        want = "ScaledObject" if name == "metrics" else "HorizontalPodAutoscaler"
        if scaler.kind != want:
            yield scaler.finding(path, f"{name} is scaled by {want}")
        if "replicas" in target.spec:
            yield target.finding(
                ("spec", "replicas"),
                f"{scaler.kind} {scaler.name} decides it: every apply would undo that",
            )
        low, high = fewest(scaler), most(scaler)
        key = "maxReplicas" if scaler.kind == "HorizontalPodAutoscaler" else "maxReplicaCount"
        if low > high:
            yield scaler.finding(("spec", key), f"{high}: less than the fewest, {low}")
        if low < 1:
            yield scaler.finding(
                ("spec", "minReplicas" if key == "maxReplicas" else "minReplicaCount"),
                f"{low}: want 1 or more",
            )
        if scaler.kind == "HorizontalPodAutoscaler":
            yield from _utilization(cluster, scaler, name)
    for name in ("ingest", "gateway", "metrics"):
        if ("Deployment", name) not in scalers:
            yield Finding(
                "deploy/k8s/base/scaling.yaml", "spec.scaleTargetRef", f"nothing scales {name}"
            )


def _utilization(cluster: Cluster, scaler: Object, name: str) -> Iterator[Finding]:
    """A share of the request needs a request."""
    pod = cluster.pod_of(name)
    for number, metric in enumerate(scaler.spec.get("metrics") or []):
        resource = (metric.get("resource") or {}).get("name")
        if resource not in ("cpu", "memory"):
            yield scaler.finding(
                ("spec", "metrics", number, "resource", "name"), f"{resource!r}: want cpu or memory"
            )
            continue
        for container in (pod.spec.get("containers") or []) if pod else []:
            if resource not in (container.get("resources", {}).get("requests") or {}):
                yield scaler.finding(
                    ("spec", "metrics", number),
                    f"{name} requests no {resource}: no share can be known",
                )


def _monitors(cluster: Cluster) -> Iterator[Finding]:
    services = list(cluster.tree.of("Service"))
    covered = set()
    for monitor in cluster.tree.of("ServiceMonitor"):
        chosen = [s for s in services if selects(monitor.spec.get("selector"), s.labels)]
        covered |= {s.name for s in chosen}
        if not chosen:
            yield monitor.finding(
                ("spec", "selector"), f"selects no Service ({listed(s.name for s in services)})"
            )
        for number, endpoint in enumerate(monitor.spec.get("endpoints") or []):
            for service in chosen:
                names = {p.get("name") for p in service.spec.get("ports") or []}
                if endpoint.get("port") not in names:
                    yield monitor.finding(
                        ("spec", "endpoints", number, "port"),
                        f"{endpoint.get('port')!r} is no port of the Service {service.name}{near(endpoint.get('port'), names)} ({listed(names)})",
                    )
            if endpoint.get("path", "/metrics") != "/metrics":
                yield monitor.finding(
                    ("spec", "endpoints", number, "path"), f"{endpoint['path']!r}: want '/metrics'"
                )
    for name in sorted(set(SERVICES) - covered):
        yield Finding(
            "deploy/k8s/base/monitors.yaml",
            "ServiceMonitor spec.selector",
            f"no ServiceMonitor selects the Service {name}",
        )


_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_ITEM = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")


def _schedules(cluster: Cluster) -> Iterator[Finding]:
    for name in ("audit", "backup"):
        if cluster.tree.find("CronJob", name) is None:
            yield Finding(
                f"deploy/k8s/base/{name}.yaml", "CronJob", f"there is none named {name!r}"
            )
    for job in cluster.tree.of("CronJob"):
        text = str(job.spec.get("schedule"))
        if not valid_schedule(text):
            yield job.finding(("spec", "schedule"), f"{text!r}: want five fields of cron")
        if job.spec.get("concurrencyPolicy") != "Forbid":
            yield job.finding(
                ("spec", "concurrencyPolicy"),
                "want Forbid: two at once would work against each other",
            )
        if job.spec.get("suspend"):
            yield job.finding(("spec", "suspend"), "it would never run")


def valid_schedule(text: str) -> bool:
    fields = text.split()
    if len(fields) != 5:
        return False
    for item, (low, high) in zip(fields, _RANGES, strict=True):
        for part in item.split(","):
            found = _ITEM.fullmatch(part)
            if not found or any(not low <= int(n) <= high for n in found.group(1, 2) if n):
                return False
    return True
