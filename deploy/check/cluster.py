"""One overlay as a cluster would have it: its pods (also those that operators make), secrets and settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import yaml

from deploy.check.findings import Path
from deploy.check.tree import MANIFESTS, Doc, Object, Tree
from yumai.broker.principals import PLATFORM_PREFIX
from yumai.canary import PLATFORM

SERVICES = {"gateway": 8700, "ingest": 8701, "metrics": 8711, "alerts": 8741, "canary": 8751}
"""Service -> its port in the cluster."""
KAFKA_USER = {
    **{service: f"yumai-{service}" for service in ("ingest", "metrics", "alerts", "gateway")},
    **dict.fromkeys(("migrate", "audit", "backup"), "yumai-operator"),
    "canary": f"{PLATFORM_PREFIX}{PLATFORM}",
}
_POD = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True)
class Pod:
    """A pod template of ours. `at`: where its spec is."""

    owner: Object
    at: Path

    @property
    def name(self) -> str:
        """The service or job, whatever version its object's name bears."""
        return str(self.labels.get("app.kubernetes.io/name", self.owner.name))

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.owner.get((*self.at[:-1], "metadata", "labels"), {})
        return found

    @property
    def spec(self) -> Doc:
        found: Doc = self.owner.get(self.at, {})
        return found

    @property
    def serves(self) -> bool:
        return self.owner.kind in ("Deployment", "StatefulSet", "DaemonSet")

    def containers(self) -> Iterator[tuple[Path, Doc]]:
        for key in ("initContainers", "containers"):
            for number, container in enumerate(self.spec.get(key) or []):
                yield (*self.at, key, number), container

    def ports(self) -> dict[str, int]:
        return {
            str(port.get("name")): port.get("containerPort", 0)
            for container in self.spec.get("containers") or []
            for port in container.get("ports") or []
        }


@dataclass(frozen=True)
class Peer:
    """Pods that a policy may name: ours, an operator's, or of another namespace."""

    name: str
    labels: dict[str, str]
    namespace: dict[str, str] | None = None
    """Labels of another namespace; None: ours."""
    ports: tuple[int, ...] = ()


OUTSIDE = (
    Peer("DNS", {"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"}, (53,)),
    Peer(
        "the OpenTelemetry collector",
        {"app.kubernetes.io/name": "opentelemetry-collector"},
        {"kubernetes.io/metadata.name": "observability"},
        (4317, 4318),
    ),
    Peer(
        "Prometheus",
        {"app.kubernetes.io/name": "prometheus"},
        {"kubernetes.io/metadata.name": "observability"},
    ),
    Peer("the entrance", {}, {"yumai/entrance": "true"}),
    Peer("Strimzi's operator", {"strimzi.io/kind": "cluster-operator"}, {}),
    Peer("ClickHouse's operator", {"app": "clickhouse-operator"}, {}),
)
"""What is known of other namespaces (docs/decisions/0010)."""


class Cluster:
    def __init__(self, tree: Tree, root: File) -> None:
        self.tree = tree
        self.pods = [
            Pod(obj, (*_POD[obj.kind], "spec")) for obj in tree.objects if obj.kind in _POD
        ]
        contract = yaml.safe_load((root / MANIFESTS / "secrets.yaml").read_text())
        self.contract: list[Doc] = contract["secrets"]
        self.secrets = self._secrets()
        self.config_maps: dict[str, dict[str, str]] = {
            o.name: o.doc.get("data") or {} for o in tree.of("ConfigMap")
        }
        self.peers = [*self._own(), *OUTSIDE]

    def _secrets(self) -> dict[str, set[str]]:
        """Every secret that will be there, with its keys."""
        found = {s["name"]: set(s["keys"]) for s in self.contract if s["by"] == "outside"}
        by = {s["by"]: set(s["keys"]) for s in self.contract}
        for kafka in self.tree.names("Kafka"):
            found[f"{kafka}-cluster-ca-cert"] = by.get("strimzi", set())
        for user in self.tree.names("KafkaUser"):
            found[user] = by.get("strimzi-user", set())
        return found

    def _own(self) -> Iterator[Peer]:
        for pod in self.pods:
            yield Peer(pod.name, pod.labels, None, tuple(pod.ports().values()))
        for kafka in self.tree.of("Kafka"):
            ports = [x.get("port", 0) for x in kafka.get(("spec", "kafka", "listeners"), [])]
            labels = {"strimzi.io/cluster": kafka.name, "strimzi.io/kind": "Kafka"}
            pooled = {**labels, "strimzi.io/pool-name": ""}
            broker = {**pooled, "strimzi.io/broker-role": "true"}
            yield Peer("Kafka", broker, None, tuple(ports))
            yield Peer("Kafka's controllers", {**pooled, "strimzi.io/controller-role": "true"})
            yield Peer(
                "Kafka's operators", {**labels, "strimzi.io/name": f"{kafka.name}-entity-operator"}
            )
        for chi in self.tree.of("ClickHouseInstallation"):
            labels = {
                "clickhouse.altinity.com/chi": chi.name,
                "clickhouse.altinity.com/app": "chop",
            }
            yield Peer("ClickHouse", labels, None, (https_port(chi), 9000, 9009))
        for chk in self.tree.of("ClickHouseKeeperInstallation"):
            labels = {
                "clickhouse-keeper.altinity.com/chk": chk.name,
                "clickhouse-keeper.altinity.com/app": "chop",
            }
            yield Peer("Keeper", labels, None, (2181, 9444))

    def pod_of(self, name: str) -> Pod | None:
        return next((pod for pod in self.pods if pod.name == name), None)

    def environment(self, pod: Pod, container: Doc) -> dict[str, tuple[str, Path | None]]:
        """Variable -> (value, where in the pod's object; None: from a ConfigMap). A secret's value is `secret`."""
        found: dict[str, tuple[str, Path | None]] = {}
        for source in container.get("envFrom") or []:
            name = str((source.get("configMapRef") or {}).get("name"))
            for key, text in self.config_maps.get(name, {}).items():
                found[key] = (str(text), None)
        at = next(path for path, c in pod.containers() if c is container)
        for number, entry in enumerate(container.get("env") or []):
            path = (*at, "env", number)
            value: Any = entry.get("value", "")
            origin = entry.get("valueFrom") or {}
            if "secretKeyRef" in origin:
                value = "secret"
            elif "configMapKeyRef" in origin:
                ref = origin["configMapKeyRef"]
                value = self.config_maps.get(ref.get("name"), {}).get(ref.get("key"), "")
            elif origin:
                value = "field"
            found[str(entry.get("name"))] = (str(value), path)
        return found


def https_port(chi: Object) -> int:
    text = str(chi.get(("spec", "configuration", "settings", "https_port"), "0"))
    return int(text) if text.isdigit() else 0


def selects(selector: Doc | None, labels: dict[str, str]) -> bool:
    """A label selector as Kubernetes reads it; an empty one selects everything, none nothing."""
    if selector is None:
        return False
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions") or []:
        key, values = rule.get("key"), rule.get("values") or []
        holds = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not holds.get(rule.get("operator"), False):
            return False
    return True


def fewest(scaler: Object) -> int:
    """Of an HPA or a ScaledObject."""
    found = scaler.spec.get("minReplicas", scaler.spec.get("minReplicaCount"))
    return 1 if found is None else int(found)


def most(scaler: Object) -> int:
    found = scaler.spec.get("maxReplicas", scaler.spec.get("maxReplicaCount"))
    return 100 if found is None else int(found)
