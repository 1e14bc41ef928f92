"""What names something else: it is there, it has that port or key, and a selector selects something."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from deploy.check.cluster import SERVICES, Cluster, Pod, selects
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Object

CLUSTER_WIDE = {"Namespace"}


def check(cluster: Cluster) -> Iterator[Finding]:
    seen = Counter((o.doc.get("apiVersion"), o.kind, o.name) for o in cluster.tree.objects)
    for obj in cluster.tree.objects:
        if seen[obj.doc.get("apiVersion"), obj.kind, obj.name] > 1:
            yield obj.finding(("metadata", "name"), "stands twice")
        if obj.kind not in CLUSTER_WIDE and obj.doc["metadata"].get("namespace") != "yumai":
            yield obj.finding(("metadata", "namespace"), f"{obj.doc['metadata'].get('namespace')!r}: want 'yumai'")
    yield from _namespace(cluster)
    for part in (_services, _budgets, _scaling, _secrets, _routes, _monitors, _schedules):
        yield from part(cluster)


def _namespace(cluster: Cluster) -> Iterator[Finding]:
    for space in cluster.tree.of("Namespace"):
        if space.labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield space.finding(("metadata", "labels", "pod-security.kubernetes.io/enforce"), "want restricted")


def _selected(cluster: Cluster, selector: dict[str, Any] | None) -> list[Pod]:
    return [pod for pod in cluster.pods if selects(selector, pod.labels)]


def _nothing(cluster: Cluster) -> str:
    return f"selects nothing; pods are named {listed({p.name for p in cluster.pods})}"


def _services(cluster: Cluster) -> Iterator[Finding]:
    names = cluster.tree.names("Service")
    for name in set(SERVICES) - names:
        yield Finding(f"deploy/k8s/base/{name}.yaml", "Service", f"there is none named {name!r}{near(name, names)}")
    for service in cluster.tree.of("Service"):
        pods = _selected(cluster, {"matchLabels": service.spec.get("selector") or {"": ""}})
        if not pods:
            yield service.finding(("spec", "selector"), _nothing(cluster))
        elif {p.name for p in pods} != {service.name}:
            yield service.finding(("spec", "selector"), f"selects {listed({p.name for p in pods})}: want {service.name}")
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
                yield service.finding(("spec", "ports", number, "port"), f"{port.get('port')}: want {want}")


def _replicas(cluster: Cluster, pod: Pod) -> int:
    """The fewest that there may be."""
    for scaler in cluster.tree.of("HorizontalPodAutoscaler", "ScaledObject"):
        if (scaler.spec.get("scaleTargetRef") or {}).get("name") == pod.owner.name:
            return int(scaler.spec.get("minReplicas", scaler.spec.get("minReplicaCount", 1)))
    return int(pod.owner.spec.get("replicas", 1))


def _budgets(cluster: Cluster) -> Iterator[Finding]:
    covered = set()
    for budget in cluster.tree.of("PodDisruptionBudget"):
        pods = _selected(cluster, budget.spec.get("selector"))
        if not pods:
            yield budget.finding(("spec", "selector"), _nothing(cluster))
        elif budget.name in SERVICES and {p.name for p in pods} != {budget.name}:
            yield budget.finding(("spec", "selector"), f"selects {listed({p.name for p in pods})}: want {budget.name}")
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
                    yield budget.finding(("spec", key), f"{value} of {fewest}: no node could ever be drained")
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
            yield scaler.finding(("spec", "scaleTargetRef", "apiVersion"), f"{ref.get('apiVersion')}: want apps/v1")
        if (kind, name) in scalers:
            other = scalers[kind, name]
            yield scaler.finding(path, f"{other.kind} {other.name} scales {name} too: they would fight")
        scalers[kind, name] = scaler
        want = "ScaledObject" if name == "metrics" else "HorizontalPodAutoscaler"
        if scaler.kind != want:
            yield scaler.finding(path, f"{name} is scaled by {want}")
        if "replicas" in target.spec:
            yield target.finding(("spec", "replicas"), f"{scaler.kind} {scaler.name} decides it: every apply would undo that")
        low = scaler.spec.get("minReplicas", scaler.spec.get("minReplicaCount", 1))
        high = scaler.spec.get("maxReplicas", scaler.spec.get("maxReplicaCount", 100))
        key = "maxReplicas" if scaler.kind == "HorizontalPodAutoscaler" else "maxReplicaCount"
        if low > high:
            yield scaler.finding(("spec", key), f"{high}: less than the fewest, {low}")
        if low < 1:
            yield scaler.finding(("spec", "minReplicas" if key == "maxReplicas" else "minReplicaCount"), f"{low}: want 1 or more")
        if scaler.kind == "HorizontalPodAutoscaler":
            yield from _utilization(cluster, scaler, name)
    for name in ("ingest", "gateway", "metrics"):
        if ("Deployment", name) not in scalers:
            yield Finding("deploy/k8s/base/scaling.yaml", "spec.scaleTargetRef", f"nothing scales {name}")


def _utilization(cluster: Cluster, scaler: Object, name: str) -> Iterator[Finding]:
    """A share of the request needs a request."""
    pod = cluster.pod_of(name)
    for number, metric in enumerate(scaler.spec.get("metrics") or []):
        resource = (metric.get("resource") or {}).get("name")
        if resource not in ("cpu", "memory"):
            yield scaler.finding(("spec", "metrics", number, "resource", "name"), f"{resource!r}: want cpu or memory")
            continue
        for container in (pod.spec.get("containers") or []) if pod else []:
            if resource not in (container.get("resources", {}).get("requests") or {}):
                yield scaler.finding(("spec", "metrics", number), f"{name} requests no {resource}: no share can be known")


def _secrets(cluster: Cluster) -> Iterator[Finding]:
    for obj, path, name, keys, optional in secret_references(cluster):
        if name not in cluster.secrets:
            if not optional:
                yield obj.finding(path, f"no secret {name!r}{near(name, cluster.secrets)}; deploy/k8s/secrets.yaml lists them")
            continue
        for where, key in keys:
            if key not in cluster.secrets[name]:
                known = cluster.secrets[name]
                yield obj.finding((*path[:-1], *where), f"the secret {name} has no key {key!r}{near(key, known)} ({listed(known)})")
    for obj, path, name, key in _config_references(cluster):
        if name not in cluster.config_maps:
            yield obj.finding(path, f"no ConfigMap {name!r}{near(name, cluster.config_maps)}")
        elif key is not None and key not in cluster.config_maps[name]:
            yield obj.finding((*path[:-1], "key"), f"the ConfigMap {name} has no key {key!r}{near(key, cluster.config_maps[name])}")
    outside = list(cluster.tree.of("ExternalSecret"))
    if not outside:
        return
    wanted = {s["name"]: set(s["keys"]) for s in cluster.contract if s["by"] == "outside"}
    brought = {str((o.spec.get("target") or {}).get("name", o.name)): o for o in outside}
    for name in set(wanted) - set(brought):
        file = outside[0].sources[0].file if outside[0].sources else ""
        yield Finding(file, f"ExternalSecret {name}", "nobody brings this secret")
    for name, obj in brought.items():
        if name not in wanted:
            yield obj.finding(("spec", "target", "name"), f"{name!r} is not in deploy/k8s/secrets.yaml{near(name, wanted)}")
            continue
        keys = {str(d.get("secretKey")) for d in obj.spec.get("data") or []}
        for key in wanted[name] ^ keys:
            verb = "is missing" if key in wanted[name] else f"is not in deploy/k8s/secrets.yaml{near(key, wanted[name])}"
            yield obj.finding(("spec", "data"), f"the key {key!r} {verb}")


Reference = tuple[Object, Path, str, list[tuple[Path, str]], bool]


def secret_references(cluster: Cluster) -> Iterator[Reference]:
    """(object, path of the name, name, keys with their paths beside the name, optional) of whatever names a secret."""
    for obj in cluster.tree.objects:
        if obj.kind == "ExternalSecret":
            continue
        for path, node in _nodes(obj.doc, ()):
            if path and path[-1] in ("secretKeyRef", "secretRef") and "name" in node:
                keys = [(("key",), str(node["key"]))] if "key" in node else []
                yield obj, (*path, "name"), str(node["name"]), keys, bool(node.get("optional"))
            elif "secretName" in node:
                items = node.get("items") or []
                keys = [(("items", n, "key"), str(i.get("key"))) for n, i in enumerate(items)]
                yield obj, (*path, "secretName"), str(node["secretName"]), keys, bool(node.get("optional"))
            for number, ref in enumerate(node.get("certificateRefs") or []):
                keys = [((), "tls.crt"), ((), "tls.key")]
                yield obj, (*path, "certificateRefs", number, "name"), str(ref.get("name")), keys, False
            for key, value in node.items():
                if isinstance(key, str) and key.endswith("/k8s_secret_password"):
                    name, _, item = str(value).rpartition("/")
                    yield obj, (*path, key), name.split("/")[-1], [((key,), item)], False


def _config_references(cluster: Cluster) -> Iterator[tuple[Object, Path, str, str | None]]:
    for obj in cluster.tree.objects:
        for path, node in _nodes(obj.doc, ()):
            if path and path[-1] == "configMapKeyRef":
                yield obj, (*path, "name"), str(node.get("name")), str(node.get("key"))
            elif path and path[-1] == "configMap" and "name" in node:
                yield obj, (*path, "name"), str(node.get("name")), None


def _nodes(here: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(here, dict):
        yield path, here
        for key, value in here.items():
            yield from _nodes(value, (*path, key))
    elif isinstance(here, list):
        for number, value in enumerate(here):
            yield from _nodes(value, (*path, number))


def _routes(cluster: Cluster) -> Iterator[Finding]:
    services = {o.name: o for o in cluster.tree.of("Service")}
    gateways = {o.name: o for o in cluster.tree.of("Gateway")}
    for route in cluster.tree.of("HTTPRoute"):
        for number, parent in enumerate(route.spec.get("parentRefs") or []):
            path: Path = ("spec", "parentRefs", number)
            gateway = gateways.get(parent.get("name"))
            if gateway is None:
                yield route.finding((*path, "name"), f"no Gateway {parent.get('name')!r}{near(parent.get('name'), gateways)}")
                continue
            listeners = {x.get("name"): x for x in gateway.spec.get("listeners") or []}
            section = parent.get("sectionName")
            if section not in listeners:
                yield route.finding((*path, "sectionName"), f"{section!r} is no listener of {gateway.name}{near(section, listeners)} ({listed(listeners)})")
            elif listeners[section].get("hostname") not in (route.spec.get("hostnames") or []):
                yield route.finding(("spec", "hostnames"), f"{route.spec.get('hostnames')}: the listener {section} is for {listeners[section].get('hostname')}")
        for rule_number, rule in enumerate(route.spec.get("rules") or []):
            for number, backend in enumerate(rule.get("backendRefs") or []):
                path = ("spec", "rules", rule_number, "backendRefs", number)
                service = services.get(str(backend.get("name")))
                if service is None:
                    yield route.finding((*path, "name"), f"no Service {backend.get('name')!r}{near(backend.get('name'), services)}")
                    continue
                if backend.get("port") not in {p.get("port") for p in service.spec.get("ports") or []}:
                    yield route.finding((*path, "port"), f"the Service {service.name} has no port {backend.get('port')}")
                if service.name != route.name:
                    yield route.finding((*path, "name"), f"the route {route.name} leads to {service.name}")


def _monitors(cluster: Cluster) -> Iterator[Finding]:
    services = list(cluster.tree.of("Service"))
    covered = set()
    for monitor in cluster.tree.of("ServiceMonitor"):
        chosen = [s for s in services if selects(monitor.spec.get("selector"), s.labels)]
        covered |= {s.name for s in chosen}
        if not chosen:
            yield monitor.finding(("spec", "selector"), f"selects no Service ({listed(s.name for s in services)})")
        for number, endpoint in enumerate(monitor.spec.get("endpoints") or []):
            for service in chosen:
                names = {p.get("name") for p in service.spec.get("ports") or []}
                if endpoint.get("port") not in names:
                    yield monitor.finding(("spec", "endpoints", number, "port"), f"{endpoint.get('port')!r} is no port of the Service {service.name}{near(endpoint.get('port'), names)} ({listed(names)})")
            if endpoint.get("path", "/metrics") != "/metrics":
                yield monitor.finding(("spec", "endpoints", number, "path"), f"{endpoint['path']!r}: want '/metrics'")
    for name in sorted(set(SERVICES) - covered):
        yield Finding("deploy/k8s/base/monitors.yaml", "ServiceMonitor spec.selector", f"no ServiceMonitor selects the Service {name}")


_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_ITEM = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")


def _schedules(cluster: Cluster) -> Iterator[Finding]:
    for name in ("audit", "backup"):
        if cluster.tree.find("CronJob", name) is None:
            yield Finding(f"deploy/k8s/base/{name}.yaml", "CronJob", f"there is none named {name!r}")
    for job in cluster.tree.of("CronJob"):
        text = str(job.spec.get("schedule"))
        if not valid_schedule(text):
            yield job.finding(("spec", "schedule"), f"{text!r}: want five fields of cron")
        if job.spec.get("concurrencyPolicy") != "Forbid":
            yield job.finding(("spec", "concurrencyPolicy"), "want Forbid: two at once would work against each other")
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
