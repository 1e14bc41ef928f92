"""One overlay as a cluster would have it: also the pods, Services and secrets that operators make of our objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.check.findings import Path
from deploy.check.tree import Doc, Object, Tree
from deploy.render import networks
from deploy.render.secrets import SECRETS

Ports = dict[str, int]
OUTSIDE: dict[str, set[int]] = {
    "otel-collector.observability": {4317, 4318},
    "prometheus-operated.observability": {9090},
}
"""Services of other namespaces (docs/decisions/0011)."""


class Cluster:
    """`peers`: (labels, ports by name) of every pod that there will be. `endpoints`: host -> ports."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.secrets = {one.name: set(one.keys) for one in SECRETS if one.by == "outside"}
        made = {one.by: set(one.keys) for one in SECRETS}
        self.secrets |= {f"{name}-cluster-ca-cert": made["strimzi"] for name in tree.names("Kafka")}
        self.secrets |= dict.fromkeys(tree.names("KafkaUser"), made["strimzi-user"])
        self.peers = [*self._peers()]
        self.endpoints = OUTSIDE | dict(self._endpoints())

    def _peers(self) -> Iterator[tuple[dict[str, str], Ports]]:
        for obj in self.tree.objects:
            for _, spec in [pod] if (pod := obj.pod()) else ():
                ports = [p for c in spec.get("containers") or [] for p in c.get("ports") or []]
                path = " ".join(map(str, pod[0][:-1])) if pod else ""
                labels = obj.get(f"{path} metadata labels", {})
                yield labels, {str(p.get("name")): p.get("containerPort", 0) for p in ports}
        exporter = {"tcp-prometheus": networks.BROKER_METRICS_PORT}
        for name in self.tree.names("Kafka"):
            labels = {"strimzi.io/cluster": name, "strimzi.io/kind": "Kafka"}
            yield {**labels, "strimzi.io/name": f"{name}-entity-operator"}, {}
            for role in ("broker", "controller"):
                own = {"strimzi.io/pool-name": role, f"strimzi.io/{role}-role": "true"}
                yield {**labels, **own}, exporter
        for chi in self.tree.of("ClickHouseInstallation", "ClickHouseKeeperInstallation"):
            peer = networks.CLICKHOUSE if "Keeper" not in chi.kind else networks.KEEPER
            ports = chi.at("spec templates podTemplates * spec containers * ports *")
            found = {str(p.get("name")): p.get("containerPort", 0) for _, p in ports}
            yield {peer.labels[0][0]: chi.name}, found

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
        for keeper in self.tree.of("ClickHouseKeeperInstallation"):
            port = keeper.get("spec configuration settings keeper_server/tcp_port", 2181)
            yield f"keeper-{keeper.name}", {int(port)}

    def containers(self) -> Iterator[tuple[Object, Path, Doc, Doc]]:
        """(object, path, container, spec of its pod) of every pod of ours."""
        for obj in self.tree.objects:
            for at, spec in [pod] if (pod := obj.pod()) else ():
                for path, container in [
                    ((*at, key, number), container)
                    for key in ("initContainers", "containers")
                    for number, container in enumerate(spec.get(key) or [])
                ]:
                    yield obj, path, container, spec

    def environment(self, container: Doc) -> dict[str, str]:
        """Variable -> value; a secret's is `secret`, a field's `field`."""
        found: dict[str, str] = {}
        for source in container.get("envFrom") or []:
            config = self.tree.find(
                "ConfigMap", str((source.get("configMapRef") or {}).get("name"))
            )
            found |= {k: str(v) for k, v in (config.doc["data"] if config else {}).items()}
        for entry in container.get("env") or []:
            origin: Any = entry.get("valueFrom") or {}
            kept = "secret" if "secretKeyRef" in origin else "field" if origin else ""
            found[str(entry.get("name"))] = kept or str(entry.get("value", ""))
        return found


def selects(selector: Doc | None, labels: dict[str, str]) -> bool:
    """A label selector as Kubernetes reads it; an empty one selects everything, none nothing."""
    if selector is None:
        return False
    holds = [labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or []:
        have, values = labels.get(str(rule.get("key"))), rule.get("values") or []
        within = have is not None if "Exist" in rule.get("operator", "") else have in values
        holds.append(within != rule.get("operator", "").startswith(("Not", "DoesNot")))
    return all(holds)
