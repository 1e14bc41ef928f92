"""Kafka's and ClickHouse's own metrics: exported under the names of deploy/metrics-of-others.yaml, and read by a PodMonitor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as File

import yaml

from deploy.check.cluster import Cluster, selects
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.telemetry import OTHERS
from deploy.check.tree import Object

STRIMZI_PORT = ("tcp-prometheus", 9404)
BEANS = {
    "kafka_server_replicamanager_underreplicatedpartitions": "kafka.server<type=ReplicaManager, name=UnderReplicatedPartitions><>Value",
    "kafka_server_replicamanager_underminisrpartitioncount": "kafka.server<type=ReplicaManager, name=UnderMinIsrPartitionCount><>Value",
    "kafka_controller_kafkacontroller_offlinepartitionscount": "kafka.controller<type=KafkaController, name=OfflinePartitionsCount><>Value",
}
"""Metric -> Kafka's MBean, as the JMX exporter shows it to its rules (Strimzi's examples name it so)."""
SWITCHES = {
    "ClickHouseMetrics_": "prometheus/metrics",
    "ClickHouseAsyncMetrics_": "prometheus/asynchronous_metrics",
    "ClickHouseProfileEvents_": "prometheus/events",
}
"""Start of a metric's name -> the server's setting that exports it."""
_SETTINGS: Path = ("spec", "configuration", "settings")


def ports(cluster: Cluster) -> dict[str, int]:
    """Peer -> the port of its exporter."""
    found: dict[str, int] = {}
    if any(k.get(("spec", "kafka", "metricsConfig")) for k in cluster.tree.of("Kafka")):
        found |= dict.fromkeys(("Kafka", "Kafka's controllers"), STRIMZI_PORT[1])
    for chi in cluster.tree.of("ClickHouseInstallation"):
        text = str(chi.get((*_SETTINGS, "prometheus/port"), ""))
        if text.isdigit():
            found["ClickHouse"] = int(text)
    return found


def check(cluster: Cluster, root: File) -> Iterator[Finding]:
    file = root / OTHERS
    others = yaml.safe_load(file.read_text()) if file.is_file() else {}
    for kafka in cluster.tree.of("Kafka"):
        yield from _kafka(cluster, kafka, others.get("strimzi-jmx-exporter") or {})
    for chi in cluster.tree.of("ClickHouseInstallation"):
        yield from _clickhouse(chi, others.get("clickhouse") or {})
    yield from _monitors(cluster)


def _kafka(cluster: Cluster, kafka: Object, metrics: dict[str, object]) -> Iterator[Finding]:
    path: Path = ("spec", "kafka", "metricsConfig")
    config = kafka.get(path, {})
    if config.get("type") != "jmxPrometheusExporter":
        yield kafka.finding(path, "want type jmxPrometheusExporter: rules ask for its metrics")
        return
    ref = (config.get("valueFrom") or {}).get("configMapKeyRef") or {}
    made = cluster.tree.find("ConfigMap", str(ref.get("name")))
    text = cluster.config_maps.get(str(ref.get("name")), {}).get(str(ref.get("key")))
    if made is None or text is None:  # told with every reference
        return
    where: Path = ("data", str(ref.get("key")))
    try:
        read = yaml.safe_load(text)
        rules = [(re.compile(r["pattern"]), str(r["name"])) for r in read["rules"]]
    except (yaml.YAMLError, re.error, TypeError, KeyError) as error:
        yield made.finding(where, f"the JMX exporter can't read this: {error}")
        return
    objects = read.get("includeObjectNames")
    for metric in metrics:
        bean = BEANS.get(metric)
        if bean is None:
            yield Finding(
                OTHERS, f"strimzi-jmx-exporter.{metric}", f"no MBean{near(metric, BEANS)}"
            )
            continue
        name = next((_named(found, name) for p, name in rules if (found := p.search(bean))), None)
        name = name.lower() if name and read.get("lowercaseOutputName") else name
        start = bean.partition(", ")[0].replace("<", ":")
        if objects is not None and f"{start},*" not in objects:
            yield made.finding(where, f"includeObjectNames lacks {start},*: no {metric}")
        elif name != metric:
            yield made.finding(where, f"{bean} is exported as {name}: want {metric}")


def _named(found: re.Match[str], name: str) -> str:
    return re.sub(r"\$(\d+)", lambda m: found.group(int(m[1])) or "", name)


def _clickhouse(chi: Object, metrics: dict[str, object]) -> Iterator[Finding]:
    settings = chi.get(_SETTINGS, {})
    wanted = {"prometheus/endpoint": "/metrics"} | {
        key: "true" for start, key in SWITCHES.items() if any(m.startswith(start) for m in metrics)
    }
    for key, want in wanted.items():
        if settings.get(key) != want:
            yield chi.finding((*_SETTINGS, key), f"{settings.get(key)!r}: want {want!r}")
    port = str(settings.get("prometheus/port"))
    at: Path = ("spec", "templates", "podTemplates", 0, "spec", "containers", 0, "ports")
    if port not in {str(p.get("containerPort")) for p in chi.get(at, [])}:
        yield chi.finding((*_SETTINGS, "prometheus/port"), f"{port}: no containerPort of the pod")


def _monitors(cluster: Cluster) -> Iterator[Finding]:
    named: dict[str, dict[str, int]] = {
        name: dict([STRIMZI_PORT]) for name in ports(cluster) if name.startswith("Kafka")
    }
    for chi in cluster.tree.of("ClickHouseInstallation"):
        at: Path = ("spec", "templates", "podTemplates", 0, "spec", "containers", 0, "ports")
        named["ClickHouse"] = {str(p.get("name")): p.get("containerPort") for p in chi.get(at, [])}
    peers = [p for p in cluster.peers if p.namespace is None]
    read = set()
    for monitor in cluster.tree.of("PodMonitor"):
        chosen = [p for p in peers if selects(monitor.spec.get("selector"), p.labels)]
        if not chosen:
            yield monitor.finding(("spec", "selector"), "selects nothing: no pod is labelled so")
        for number, endpoint in enumerate(monitor.spec.get("podMetricsEndpoints") or []):
            path: Path = ("spec", "podMetricsEndpoints", number)
            for peer in chosen:
                known, port = named.get(peer.name, {}), endpoint.get("port")
                if peer.name not in named:
                    yield monitor.finding(("spec", "selector"), f"{peer.name}: no exporter there")
                elif known.get(port) != ports(cluster).get(peer.name):
                    yield monitor.finding(
                        (*path, "port"),
                        f"{port!r} is no exporter's port of {peer.name}{near(port, known)} ({listed(known)})",
                    )
                else:
                    read.add(peer.name)
            if endpoint.get("path", "/metrics") != "/metrics":
                yield monitor.finding((*path, "path"), f"{endpoint['path']!r}: want '/metrics'")
    for name in sorted(set(named) - read):
        yield Finding(
            "deploy/k8s/base/monitors.yaml", "PodMonitor spec.selector", f"none reads {name}"
        )
