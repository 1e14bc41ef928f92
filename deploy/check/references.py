"""What an object names is there: other objects, keys, ports, files by their mounts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.check.cluster import Cluster, selects
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Doc, Object, find

NAMES = (
    ("** scaleTargetRef name", "Deployment"),
    ("** serviceAccountName", "ServiceAccount"),
    ("** configMapRef name", "ConfigMap"),
    ("** configMapKeyRef name", "ConfigMap"),
    ("spec parentRefs * name", "Gateway"),
    ("spec rules * backendRefs * name", "Service"),
    ("metadata labels strimzi.io/cluster", "Kafka"),
)
"""Where a name stands, and of what kind it is."""


def check(cluster: Cluster) -> Iterator[Finding]:
    tree = cluster.tree
    for obj in tree.objects:
        for pattern, kind in NAMES:
            known = tree.names(kind)
            for path, name in obj.at(pattern):
                if name not in known:
                    text = f"no {kind} {name!r}{near(name, known)} ({listed(known)})"
                    yield obj.finding(path, text)
        for path, name, key in _keys(obj):
            keys = cluster.secrets.get(name)
            config = tree.find("ConfigMap", name) if path[-1] == "configMapKeyRef" else None
            keys = set(config.doc["data"]) if config else keys
            if keys is None:
                names = set(cluster.secrets)
                yield obj.finding(
                    path, f"no secret {name!r}{near(name, names)}, deploy/k8s/secrets.yaml"
                )
            elif key is not None and key not in keys:
                yield obj.finding(
                    path, f"{name} has no key {key!r}{near(key, keys)} ({listed(keys)})"
                )
        for path, port, known_ports in _ports(cluster, obj):
            if port not in known_ports:
                ports = [*map(str, known_ports)]
                yield obj.finding(path, f"no port {port!r}{near(port, ports)} ({listed(ports)})")
        for path, pod in obj.at("**"):
            if isinstance(pod, dict) and "containers" in pod:
                yield from _mounts(cluster, obj, path, pod)


def _keys(obj: Object) -> Iterator[tuple[Path, str, str | None]]:
    """(path, secret or ConfigMap, key) of whatever names one; no key: all of it."""
    for kind in ("secretKeyRef", "configMapKeyRef"):
        for path, ref in obj.at(f"** {kind}"):
            yield path, str(ref.get("name")), str(ref.get("key"))
    for path, name in obj.at("** secret secretName"):
        items = [key for _, key in obj.at(" ".join([*map(str, path[:-1]), "items * key"]))]
        yield from ((path, str(name), key) for key in items or [None])
    for path, ref in obj.at("** certificateRefs *"):
        yield from ((path, str(ref.get("name")), key) for key in ("tls.crt", "tls.key"))
    for path, value in obj.at("spec configuration users *"):
        if str(path[-1]).endswith("/k8s_secret_password"):
            name, _, key = str(value).partition("/")
            yield path, name, key


def _ports(cluster: Cluster, obj: Object) -> Iterator[tuple[Path, Any, set[Any]]]:
    """(path, port, those that there are) of whatever names one."""
    spec, services = obj.spec, cluster.tree.of("Service")
    if obj.kind == "Service":
        chosen = [p for x, p in cluster.peers if selects({"matchLabels": spec.get("selector")}, x)]
        names = set().union(*chosen)
        yield from ((path, port, names) for path, port in obj.at("spec ports * targetPort"))
    sides: list[tuple[dict[str, str], set[Any]]] = []
    if obj.kind == "ServiceMonitor":
        sides = [(s.labels, {name for _, name in s.at("spec ports * name")}) for s in services]
    if obj.kind == "PodMonitor":
        sides = [*cluster.peers]
    for path, port in obj.at("spec endpoints * port") + obj.at("spec podMetricsEndpoints * port"):
        chosen = [names for labels, names in sides if selects(spec.get("selector"), labels)]
        yield from ((path, port, names) for names in chosen or [set()])
    for path, backend in obj.at("spec rules * backendRefs *"):
        yield path, backend.get("port"), set(cluster.endpoints.get(str(backend.get("name")), ()))
    for path, port in obj.at("spec ingress * ports * port"):
        chosen = [names for labels, names in cluster.peers if selects(spec["podSelector"], labels)]
        known = set().union(*chosen)
        if isinstance(port, str) or any(isinstance(one, int) for one in known):
            yield path, port, known
    for at, container in obj.at("** containers *"):
        names = {p.get("name") for p in container.get("ports") or []}
        for path, port in find(container, ("*", "httpGet", "port")):
            yield (*at, *path), port, names


def _mounts(cluster: Cluster, obj: Object, path: Path, pod: Doc) -> Iterator[Finding]:
    """Every mount has its volume, and every file of a setting lies in a mount that has it."""
    volumes = {v.get("name"): v for v in pod.get("volumes") or []}
    claims = {name for _, name in obj.at("spec templates volumeClaimTemplates * name")}
    for at, container in find(pod, ("containers", "*")):
        files: set[str] = set()
        for mount in container.get("volumeMounts") or []:
            if mount.get("name") not in {*volumes, *claims}:
                text = f"{mount.get('name')!r} is no volume of this pod ({listed(volumes)})"
                yield obj.finding((*path, *at, "volumeMounts"), text)
            secret = (volumes.get(mount.get("name")) or {}).get("secret") or {}
            keys = {i.get("path") for i in secret.get("items") or []}
            keys = keys or cluster.secrets.get(str(secret.get("secretName")), set())
            files |= {f"{mount.get('mountPath')}/{key}" for key in keys}
        told = cluster.environment(container) | obj.get("spec configuration settings", {})
        told = told if "CLICKHOUSE_DSN" in told else told | {"CLICKHOUSE_CAFILE": ""}
        for name, value in told.items():
            if value and name.upper().endswith("FILE") and value not in files:
                text = f"{name}: no file {value} is mounted ({listed(files)})"
                yield obj.finding((*path, *at, "volumeMounts"), text)
