"""What an object names is there: other objects, keys, ports, pods by their labels, files by their mounts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.check.cluster import Cluster, selects
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Doc, Object, find

NAMES = (
    ("", "** scaleTargetRef name", "Deployment"),
    ("", "** serviceAccountName", "ServiceAccount"),
    ("", "** configMapRef name", "ConfigMap"),
    ("", "** configMapKeyRef name", "ConfigMap"),
    ("", "** configMap name", "ConfigMap"),
    ("HTTPRoute", "spec parentRefs * name", "Gateway"),
    ("HTTPRoute", "spec rules * backendRefs * name", "Service"),
    ("", "metadata labels strimzi.io/cluster", "Kafka"),
)
"""Kind (any where empty), where a name stands, and of what kind it is."""
TEMPLATES = {"podTemplate": "pod", "dataVolumeClaimTemplate": "volumeClaim"} | {
    "serviceTemplate": "service"
}
_SELECTORS = ("podSelector", "labelSelector", "selector")


def check(cluster: Cluster) -> Iterator[Finding]:
    tree = cluster.tree
    for obj in tree.objects:
        for kind, pattern, named in NAMES:
            if kind in ("", obj.kind):
                known = tree.names(named)
                for path, name in obj.at(pattern):
                    if name not in known:
                        text = f"no {named} {name!r}{near(name, known)} ({listed(known)})"
                        yield obj.finding(path, text)
        for path, name, keys in _secrets(obj):
            if name not in cluster.secrets:
                known = set(cluster.secrets)
                text = f"no secret {name!r}{near(name, known)}; deploy/k8s/secrets.yaml lists them"
                yield obj.finding(path, text)
            for key in keys - cluster.secrets.get(name, keys):
                known = cluster.secrets[name]
                text = f"the secret {name} has no key {key!r}{near(key, known)} ({listed(known)})"
                yield obj.finding(path, text)
        for path, ref in obj.at("** configMapKeyRef"):
            config = tree.find("ConfigMap", str(ref.get("name")))
            if config and ref.get("key") not in config.doc["data"]:
                text = f"{ref.get('key')!r}: only {listed(config.doc['data'])} there"
                yield obj.finding((*path, "key"), text)
        yield from _selectors(cluster, obj)
        yield from _ports(cluster, obj)
        yield from _templates(obj)
        for path, holder in obj.at("**"):
            if isinstance(holder, dict) and "containers" in holder:
                yield from _mounts(cluster, obj, path, holder)


def _secrets(obj: Object) -> Iterator[tuple[Path, str, set[str]]]:
    """(path, name, keys) of every secret that is named."""
    if obj.kind == "ExternalSecret":
        return
    for path, ref in obj.at("** secretKeyRef"):
        yield path, str(ref.get("name")), {str(ref.get("key"))}
    for path, ref in obj.at("** secret"):
        if isinstance(ref, dict) and "secretName" in ref:
            yield path, str(ref["secretName"]), {str(i["key"]) for i in ref.get("items") or []}
    for path, ref in obj.at("** certificateRefs *"):
        yield path, str(ref.get("name")), {"tls.crt", "tls.key"}
    for path, users in obj.at("spec configuration users"):
        for user, value in users.items():
            if user.endswith("/k8s_secret_password"):
                name, _, key = str(value).partition("/")
                yield (*path, user), name, {key}


def _selectors(cluster: Cluster, obj: Object) -> Iterator[Finding]:
    for path, selector in obj.at("**"):
        if not path or path[-1] not in _SELECTORS or not isinstance(selector, dict) or not selector:
            continue
        holder = next(find(obj.doc, path[:-1]), ((), {}))[1]
        if "namespaceSelector" in holder:
            continue
        plain = obj.kind == "Service"
        wanted: Doc = {"matchLabels": selector} if plain else selector
        among = [labels for labels, _ in cluster.peers]
        if obj.kind == "ServiceMonitor":
            among = [service.labels for service in cluster.tree.of("Service")]
        if pod := obj.pod():
            at = " ".join(map(str, pod[0][:-1]))
            among = [obj.get(f"{at} metadata labels", {})]
        if not any(selects(wanted, labels) for labels in among):
            yield obj.finding(path, f"selects nothing: {wanted}")


def _ports(cluster: Cluster, obj: Object) -> Iterator[Finding]:
    tree = cluster.tree
    wanted: list[tuple[Path, Any, set[Any]]] = []
    if obj.kind == "Service":
        chosen = [
            p
            for labels, p in cluster.peers
            if selects({"matchLabels": obj.get("spec selector", {})}, labels)
        ]
        names = {name for ports in chosen for name in ports}
        wanted += [(path, port, names) for path, port in obj.at("spec ports * targetPort")]
    if obj.kind == "ServiceMonitor":
        for service in tree.of("Service"):
            if selects(obj.get("spec selector"), service.labels):
                names = {name for _, name in service.at("spec ports * name")}
                wanted += [(path, port, names) for path, port in obj.at("spec endpoints * port")]
    if obj.kind == "PodMonitor":
        for labels, ports in cluster.peers:
            if selects(obj.get("spec selector"), labels):
                at = obj.at("spec podMetricsEndpoints * port")
                wanted += [(path, port, set(ports)) for path, port in at]
    for path, backend in obj.at("spec rules * backendRefs *"):
        known = cluster.endpoints.get(str(backend.get("name")), set())
        wanted.append(((*path, "port"), backend.get("port"), set(known)))
    for at, container in obj.at("** containers *"):
        names = {str(p.get("name")) for p in container.get("ports") or []}
        wanted += [
            ((*at, *path), port, names) for path, port in find(container, ("*", "httpGet", "port"))
        ]
    for path, port, known in wanted:
        if port not in known:
            yield obj.finding(
                path, f"no port {port!r}{near(port, map(str, known))} ({listed(known)})"
            )


def _templates(obj: Object) -> Iterator[Finding]:
    """Of ClickHouse's operator."""
    for path, named in obj.at("spec defaults templates"):
        for key, name in named.items():
            known = {
                n for _, n in obj.at(f"spec templates {TEMPLATES.get(key, key)}Templates * name")
            }
            if name not in known:
                yield obj.finding((*path, key), f"{name!r}{near(name, known)} ({listed(known)})")


def _mounts(cluster: Cluster, obj: Object, path: Path, spec: Doc) -> Iterator[Finding]:
    """Every mount has its volume, and every file of a setting lies in a mount that has it."""
    volumes = {v.get("name"): v for v in spec.get("volumes") or []}
    claims = {name for _, name in obj.at("spec templates volumeClaimTemplates * name")}
    for at, container in find(spec, ("containers", "*")):
        files: set[str] = set()
        for number, mount in enumerate(container.get("volumeMounts") or []):
            volume = volumes.get(mount.get("name"))
            if volume is None and mount.get("name") not in claims:
                text = f"{mount.get('name')!r} is no volume of this pod ({listed(volumes)})"
                yield obj.finding((*path, *at, "volumeMounts", number, "name"), text)
            files |= {f"{mount.get('mountPath')}/{key}" for key in _files(cluster, volume or {})}
        told = cluster.environment(container) | obj.get("spec configuration settings", {})
        told = told if "CLICKHOUSE_DSN" in told else told | {"CLICKHOUSE_CAFILE": ""}
        for name, value in told.items():
            if value and name.upper().endswith("FILE") and value not in files:
                text = f"{name}: no file {value} is mounted ({listed(files)})"
                yield obj.finding((*path, *at, "volumeMounts"), text)


def _files(cluster: Cluster, volume: Doc) -> set[str]:
    secret = volume.get("secret") or {}
    keys = cluster.secrets.get(str(secret.get("secretName")), set())
    return {str(i.get("path")) for i in secret["items"]} if "items" in secret else keys
