"""Scalers and monitors select something, and what they ask for is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from deploy.check.cluster import SERVICES, Cluster, fewest, most, selects
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
    for part in (_scaling, _monitors):
        yield from part(cluster)


def _namespace(cluster: Cluster) -> Iterator[Finding]:
    for space in cluster.tree.of("Namespace"):
        if space.labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield space.finding(
                ("metadata", "labels", "pod-security.kubernetes.io/enforce"), "want restricted"
            )


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
