"""Kafka itself, by Strimzi: KRaft, brokers in three zones, controllers of their own. Topics and users: kafka.py.

acks=all and two copies at least: what is acknowledged is on two machines, and a broker may be away.
"""

from __future__ import annotations

from typing import Any

import yaml

from deploy.render import settings, workloads
from deploy.render.kafka import API, KAFKA, LABELS
from deploy.render.sizes import PRODUCTION, Size
from embedded import kafka_jars
from yumai.broker import server

Doc = dict[str, Any]

ZONE = "topology.kubernetes.io/zone"
PLATFORMS_PORT = 9094
PLATFORM_NETWORKS = ("203.0.113.0/24",)
"""From where platforms reach the brokers. This one is nobody's (RFC 5737): put the platforms' own here."""
METRICS, METRICS_KEY = "kafka-metrics", "jmx-exporter.yaml"
_RESTRICTED: Doc = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_POD: Doc = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "terminationGracePeriodSeconds": 120,
}
_OPERATOR: Doc = {
    "resources": {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"memory": "512Mi"},
    }
}
_EXPORTED = ("kafka.server:type=ReplicaManager,*", "kafka.controller:type=KafkaController,*")


def base() -> list[Doc]:
    return [*_pools(PRODUCTION), _kafka(), _metrics()]


def patches(size: Size) -> list[Doc]:
    """What another size changes."""
    pools = _pools(size)
    for pool in pools:
        del pool["metadata"]["labels"], pool["spec"]["roles"]
    del pools[0]["spec"]["storage"]
    kafka = _object("Kafka", KAFKA, {"kafka": {"config": _copies(size)}})
    return [*pools, kafka]


def listeners() -> list[Doc]:
    """The platforms' door from outside: TLS, SCRAM, their rights of platforms.yaml, and only from their addresses."""
    outside = {
        **_listener("platforms", PLATFORMS_PORT, "loadbalancer"),
        "networkPolicyPeers": [{"ipBlock": {"cidr": cidr}} for cidr in PLATFORM_NETWORKS],
        # Else a broker sees a node's address, not the platform's.
        "configuration": {"externalTrafficPolicy": "Local"},
    }
    return [_object("Kafka", KAFKA, {"kafka": {"listeners": [_inside(), outside]}})]


def _pools(size: Size) -> list[Doc]:
    controller = {
        "replicas": size.controllers,
        "roles": ["controller"],
        "storage": _disk("20Gi", kraftMetadata="shared"),
        "resources": size.controller_room.doc(),
    }
    broker = {
        "replicas": size.brokers,
        "roles": ["broker"],
        "storage": _disk(size.broker_disk),
        "resources": size.broker_room.doc(),
        "jvmOptions": {"-Xms": size.heap, "-Xmx": size.heap},
    }
    return [
        _object("KafkaNodePool", name, spec, labels=dict(LABELS))
        for name, spec in (("controller", controller), ("broker", broker))
    ]


def _disk(size: str, **more: str) -> Doc:
    volume = {"id": 0, "type": "persistent-claim", "size": size, **more, "deleteClaim": False}
    return {"type": "jbod", "volumes": [volume]}


def _listener(name: str, port: int, kind: str) -> Doc:
    mechanism = {"type": settings.SETTINGS["KAFKA_SASL_MECHANISM"].lower()}
    return {"name": name, "port": port, "type": kind, "tls": True, "authentication": mechanism}


def _inside() -> Doc:
    clients = {"podSelector": {"matchLabels": dict(workloads.KAFKA_CLIENT)}}
    return {
        **_listener("tls", settings.KAFKA_PORT, "internal"),
        "networkPolicyPeers": [clients],
    }


def _kafka() -> Doc:
    broker = {
        # As embedded; the metadata's version is raised by hand, after all brokers run the new one.
        "version": kafka_jars.VERSION,
        "metadataVersion": server.METADATA_VERSION,
        "listeners": [_inside()],
        "authorization": {"type": "simple"},
        "metricsConfig": {
            "type": "jmxPrometheusExporter",
            "valueFrom": {"configMapKeyRef": {"name": METRICS, "key": METRICS_KEY}},
        },
        "rack": {"topologyKey": ZONE},
        "config": {**_copies(PRODUCTION), **server.SETTINGS},
        "template": {
            "pod": _POD,
            "kafkaContainer": {"securityContext": _RESTRICTED},
            "initContainer": {"securityContext": _RESTRICTED},
            "podDisruptionBudget": {"maxUnavailable": 1},
        },
    }
    operators = {
        "topicOperator": _OPERATOR,
        "userOperator": _OPERATOR,
        "template": {
            "pod": _POD,
            "topicOperatorContainer": {"securityContext": _RESTRICTED},
            "userOperatorContainer": {"securityContext": _RESTRICTED},
        },
    }
    return _object("Kafka", KAFKA, {"kafka": broker, "entityOperator": operators})


def _copies(size: Size) -> Doc:
    return {
        "default.replication.factor": size.copies,
        "min.insync.replicas": size.copies_least,
        "offsets.topic.replication.factor": size.copies,
        "transaction.state.log.replication.factor": size.copies,
        "transaction.state.log.min.isr": size.copies_least,
    }


def _metrics() -> Doc:
    """What the JMX exporter reads: one rule gives the names of deploy/metrics-of-others.yaml."""
    rule = {
        "pattern": r"kafka.(server|controller)<type=(ReplicaManager|KafkaController), name=(\w+)><>Value",
        "name": "kafka_$1_$2_$3",
        "type": "GAUGE",
    }
    config = {
        "lowercaseOutputName": True,
        "includeObjectNames": list(_EXPORTED),
        "rules": [rule],
    }
    text = yaml.safe_dump(config, sort_keys=False, width=110)
    metadata = {"name": METRICS}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {METRICS_KEY: text},
    }


def _object(kind: str, name: str, spec: Doc, **metadata: Any) -> Doc:
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }
