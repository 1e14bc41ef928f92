"""One overlay as a cluster would have it: also the pods, Services and secrets that operators make of our objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.check.findings import Path
from deploy.check.tree import Doc, Object, Tree
from deploy.render import networks
from deploy.render.secrets import SECRETS

Peer = tuple[dict[str, str], set[Any]]
"""Labels of a pod, and names of its ports, with their numbers where they are ours."""
OUTSIDE: dict[str, set[int]] = {
    "otel-collector.observability": {4317, 4318},
    "prometheus-operated.observability": {9090},
}
"""Services of other namespaces (docs/decisions/0011)."""


class Cluster:
    """`peers`: every pod that there will be. `endpoints`: host -> ports. `secrets`: name -> keys."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        made = {one.by: set(one.keys) for one in SECRETS}
        self.secrets = {one.name: set(one.keys) for one in SECRETS if one.by == "outside"}
        self.secrets |= {f"{name}-cluster-ca-cert": made["strimzi"] for name in tree.names("Kafka")}
        self.secrets |= dict.fromkeys(tree.names("KafkaUser"), made["strimzi-user"])
        self.peers = [*self._peers()]
        self.endpoints = OUTSIDE | dict(self._endpoints())

    def _peers(self) -> Iterator[Peer]:
        for obj in self.tree.of("Deployment", "Job", "CronJob"):
            names = {n for _, n in obj.at(f"{obj.template} spec containers * ports * *")}
            yield obj.get(f"{obj.template} metadata labels", {}), names
        for name in self.tree.names("Kafka"):
            labels = {"strimzi.io/cluster": name, "strimzi.io/kind": "Kafka"}
            yield {**labels, "strimzi.io/name": f"{name}-entity-operator"}, set()
            for role in ("broker", "controller"):
                own = {"strimzi.io/pool-name": role, f"strimzi.io/{role}-role": "true"}
                yield {**labels, **own}, {"tcp-prometheus"}
        for chi in self.tree.of("ClickHouseInstallation", "ClickHouseKeeperInstallation"):
            peer = networks.KEEPER if "Keeper" in chi.kind else networks.CLICKHOUSE
            ports = chi.at("spec templates podTemplates * spec containers * ports * name")
            yield {peer.labels[0][0]: chi.name}, {name for _, name in ports}

    def _endpoints(self) -> Iterator[tuple[str, set[int]]]:
        for service in self.tree.of("Service"):
            yield service.name, {p for _, p in service.at("spec ports * port")}
        for kafka in self.tree.of("Kafka"):
            inside = [x for _, x in kafka.at("spec kafka listeners *") if x["type"] == "internal"]
            yield f"{kafka.name}-kafka-bootstrap", {x["port"] for x in inside}
        for chi in self.tree.of("ClickHouseInstallation"):
            for _, service in chi.at("spec templates serviceTemplates *"):
                host = service["generateName"].replace("{chi}", chi.name)
                yield host, {p["port"] for p in service["spec"]["ports"]}

    def containers(self) -> Iterator[tuple[Object, Path, Doc]]:
        """(object, path, container) of every pod of ours."""
        for obj in self.tree.of("Deployment", "Job", "CronJob"):
            for key in ("initContainers", "containers"):
                yield from ((obj, path, c) for path, c in obj.at(f"{obj.template} spec {key} *"))

    def environment(self, container: Doc) -> dict[str, str]:
        """Variable -> value; `secret` or `field` where it comes from one."""
        found: dict[str, str] = {}
        for source in container.get("envFrom") or []:
            config = self.tree.find(
                "ConfigMap", str((source.get("configMapRef") or {}).get("name"))
            )
            found |= {k: str(v) for k, v in (config.doc["data"] if config else {}).items()}
        for entry in container.get("env") or []:
            origin = entry.get("valueFrom") or {}
            kept = "secret" if "secretKeyRef" in origin else "field" if origin else ""
            found[str(entry.get("name"))] = kept or str(entry.get("value", ""))
        return found


def selects(selector: Doc | None, labels: dict[str, str]) -> bool:
    """A label selector as Kubernetes reads it, of matchLabels, In and Exists; none selects nothing."""
    wanted = (selector or {}).get("matchLabels") or {}
    rules = (selector or {}).get("matchExpressions") or []
    holds = [labels.get(key) == value for key, value in wanted.items()]
    holds += [labels.get(r["key"], "") in (r.get("values") or labels.values()) for r in rules]
    return bool(holds) and all(holds)
