"""Secrets, ConfigMaps and routes: what names them, or is named by them, is there, with that key or port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.check.cluster import Cluster
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Object

STORE = {"kind": "ClusterSecretStore", "name": "yumai"}
"""The vault that is assumed of the cluster."""


def check(cluster: Cluster) -> Iterator[Finding]:
    yield from _secrets(cluster)
    yield from _routes(cluster)


def _secrets(cluster: Cluster) -> Iterator[Finding]:
    for obj, path, name, keys, optional in secret_references(cluster):
        if name not in cluster.secrets:
            if not optional:
                yield obj.finding(
                    path,
                    f"no secret {name!r}{near(name, cluster.secrets)}; deploy/k8s/secrets.yaml lists them",
                )
            continue
        for where, key in keys:
            if key not in cluster.secrets[name]:
                known = cluster.secrets[name]
                yield obj.finding(
                    (*path[:-1], *where),
                    f"the secret {name} has no key {key!r}{near(key, known)} ({listed(known)})",
                )
    for obj, path, name, item in _config_references(cluster):
        if name not in cluster.config_maps:
            yield obj.finding(path, f"no ConfigMap {name!r}{near(name, cluster.config_maps)}")
        elif item is not None and item not in cluster.config_maps[name]:
            yield obj.finding(
                (*path[:-1], "key"),
                f"the ConfigMap {name} has no key {item!r}{near(item, cluster.config_maps[name])}",
            )
    outside = list(cluster.tree.of("ExternalSecret"))
    if not outside:
        return
    wanted = {s["name"]: set(s["keys"]) for s in cluster.contract if s["by"] == "outside"}
    brought = {str((o.spec.get("target") or {}).get("name", o.name)): o for o in outside}
    for name in set(wanted) - set(brought):
        file = outside[0].sources[0].file if outside[0].sources else ""
        yield Finding(file, f"ExternalSecret {name}", "nobody brings this secret")
    for name, obj in brought.items():
        store = obj.spec.get("secretStoreRef") or {}
        if store != STORE:
            yield obj.finding(("spec", "secretStoreRef"), f"{store}: want {STORE}")
        if name not in wanted:
            yield obj.finding(
                ("spec", "target", "name"),
                f"{name!r} is not in deploy/k8s/secrets.yaml{near(name, wanted)}",
            )
            continue
        have = {str(d.get("secretKey")) for d in obj.spec.get("data") or []}
        for key in sorted(wanted[name] ^ have):
            verb = (
                "is missing"
                if key in wanted[name]
                else f"is not in deploy/k8s/secrets.yaml{near(key, wanted[name])}"
            )
            yield obj.finding(("spec", "data"), f"the key {key!r} {verb}")


Keys = list[tuple[Path, str]]
Reference = tuple[Object, Path, str, Keys, bool]


def secret_references(cluster: Cluster) -> Iterator[Reference]:
    """(object, path of the name, name, keys with their paths beside the name, optional) of whatever names a secret."""
    for obj in cluster.tree.objects:
        if obj.kind == "ExternalSecret":
            continue
        for path, node in _nodes(obj.doc, ()):
            if path and path[-1] in ("secretKeyRef", "secretRef") and "name" in node:
                keys: Keys = [(("key",), str(node["key"]))] if "key" in node else []
                yield obj, (*path, "name"), str(node["name"]), keys, bool(node.get("optional"))
            elif "secretName" in node:
                items = node.get("items") or []
                keys = [(("items", n, "key"), str(i.get("key"))) for n, i in enumerate(items)]
                yield (
                    obj,
                    (*path, "secretName"),
                    str(node["secretName"]),
                    keys,
                    bool(node.get("optional")),
                )
            for number, ref in enumerate(node.get("certificateRefs") or []):
                keys = [((), "tls.crt"), ((), "tls.key")]
                yield (
                    obj,
                    (*path, "certificateRefs", number, "name"),
                    str(ref.get("name")),
                    keys,
                    False,
                )
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
                yield route.finding(
                    (*path, "name"),
                    f"no Gateway {parent.get('name')!r}{near(parent.get('name'), gateways)}",
                )
                continue
            listeners = {x.get("name"): x for x in gateway.spec.get("listeners") or []}
            section = parent.get("sectionName")
            if section not in listeners:
                yield route.finding(
                    (*path, "sectionName"),
                    f"{section!r} is no listener of {gateway.name}{near(section, listeners)} ({listed(listeners)})",
                )
            elif listeners[section].get("hostname") not in (route.spec.get("hostnames") or []):
                yield route.finding(
                    ("spec", "hostnames"),
                    f"{route.spec.get('hostnames')}: the listener {section} is for {listeners[section].get('hostname')}",
                )
        for rule_number, rule in enumerate(route.spec.get("rules") or []):
            for number, backend in enumerate(rule.get("backendRefs") or []):
                path = ("spec", "rules", rule_number, "backendRefs", number)
                service = services.get(str(backend.get("name")))
                if service is None:
                    yield route.finding(
                        (*path, "name"),
                        f"no Service {backend.get('name')!r}{near(backend.get('name'), services)}",
                    )
                    continue
                if backend.get("port") not in {
                    p.get("port") for p in service.spec.get("ports") or []
                }:
                    yield route.finding(
                        (*path, "port"),
                        f"the Service {service.name} has no port {backend.get('port')}",
                    )
                if service.name != route.name:
                    yield route.finding(
                        (*path, "name"), f"the route {route.name} leads to {service.name}"
                    )
