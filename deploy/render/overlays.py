"""What Kustomize is told: base, and both overlays with their small patches. Sizes: sizes.py."""

from __future__ import annotations

from typing import Any

from deploy.render import brokers, kafka, store, workloads
from deploy.render.sizes import PRODUCTION, SMALL, TRIAL, Size
from yumai import topics

Doc = dict[str, Any]

NAMESPACE = "yumai"
REGISTRY = "registry.yumai.example/yumai"
_LABELS = {"app.kubernetes.io/part-of": "yumai"}


def namespace() -> list[Doc]:
    security = "pod-security.kubernetes.io/"
    labels = {f"{security}{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    labels[f"{security}enforce-version"] = "latest"
    metadata = {"name": NAMESPACE, "labels": labels}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}]


def base(resources: list[str]) -> list[Doc]:
    """`resources`: files of base, in the order in which they are applied."""
    image = {"name": "yumai", "newName": REGISTRY, "newTag": workloads.VERSION.replace("-", ".")}
    labels = [{"pairs": _LABELS, "includeTemplates": True}]
    return [_kustomization(labels=labels, images=[image], resources=resources)]


def production() -> list[Doc]:
    """A data centre of three zones: strictly spread, doors for platforms, secrets from the vault."""
    patches: list[Doc] = [{"path": "listeners.yaml"}, {"path": "cluster.yaml"}]
    patches.append({"path": "spread.yaml", "target": {"kind": "Deployment"}})
    return [_overlay(PRODUCTION, ["secrets.yaml", "network.yaml"], patches)]


def trial() -> list[Doc]:
    """One node, to try it: one of everything, smaller, and secrets by hand."""
    patches: list[Doc] = [{"path": f"{name}.yaml"} for name in ("kafka", "clickhouse", "scaling")]
    patches.append({"path": "topics.yaml", "target": {"kind": "KafkaTopic"}})
    patches.append({"path": "entries.yaml"})
    patches.append({"path": "small.yaml", "target": {"kind": "Deployment"}})
    return [_overlay(TRIAL, [], patches)]


def _overlay(size: Size, resources: list[str], patches: list[Doc]) -> Doc:
    # metrics is KEDA's, ingest and gateway are the HPAs'.
    return _kustomization(
        buildMetadata=["originAnnotations"],
        resources=["../../base", *resources],
        labels=[{"pairs": _LABELS}],
        patches=patches,
        replicas=[{"name": "alerts", "count": size.judges}],
    )


def _kustomization(**fields: Any) -> Doc:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return {**head, "namespace": NAMESPACE, **fields}


def clustered() -> list[Doc]:
    """The store is a cluster: replicated and sharded tables, inserts with a quorum."""
    data = {"CLICKHOUSE_CLUSTER": store.NAME, "CLICKHOUSE_INSERT_QUORUM": "auto"}
    metadata = {"name": "settings"}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}]


def strictly_spread() -> list[list[Doc]]:
    """Three zones are there: pods that can't be spread wait, rather than stand together."""
    at = "/spec/template/spec/topologySpreadConstraints/0"
    return [
        [
            {"op": "test", "path": f"{at}/topologyKey", "value": brokers.ZONE},
            {"op": "replace", "path": f"{at}/whenUnsatisfiable", "value": "DoNotSchedule"},
        ]
    ]


def one_copy() -> list[list[Doc]]:
    return [[{"op": "replace", "path": "/spec/replicas", "value": TRIAL.copies}]]


def fewer_partitions() -> list[Doc]:
    metadata = {"name": topics.ENTRIES.name}
    spec = {"partitions": TRIAL.partitions}
    return [{"apiVersion": kafka.API, "kind": "KafkaTopic", "metadata": metadata, "spec": spec}]


def small() -> list[list[Doc]]:
    path = "/spec/template/spec/containers/0/resources"
    return [[{"op": "replace", "path": path, "value": SMALL.doc()}]]
