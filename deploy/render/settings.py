"""The ConfigMap `settings`: what is the same for every process and no secret.

Names: yumai/process/settings.py, and OpenTelemetry's own. Who answers where: deploy/render/workloads.py.
"""

from __future__ import annotations

from typing import Any

from deploy.render import workloads

_PORTS = {service.name: service.port for service in workloads.SERVICES}
KAFKA_PORT = 9093
"""Of the listener inside the cluster: TLS, SCRAM."""
SETTINGS = {
    "KAFKA_BOOTSTRAP": f"yumai-kafka-bootstrap:{KAFKA_PORT}",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SSL_CAFILE": f"{workloads.KAFKA_CA}/ca.crt",
    "CLICKHOUSE_CAFILE": f"{workloads.CLICKHOUSE_CA}/ca.crt",
    "YUMAI_HOST": "0.0.0.0",
    "YUMAI_IDENTITY_DIR": workloads.IDENTITY,
    "YUMAI_WORK_DIR": workloads.WORK,
    "YUMAI_INGEST_URL": f"http://ingest:{_PORTS['ingest']}",
    "YUMAI_GATEWAY_URL": "https://yumai.example",
    # Kafka's group session: how soon the partitions of a worker that is gone move on.
    "YUMAI_SESSION_TIMEOUT": "10",
    "ALERTS_ESCALATE_AFTER": "P7D",
    "ALERTS_REPEAT_AFTER": "P14D",
    "DELIVERY_GIVE_UP_AFTER": "P3D",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel-collector.observability:4318",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
}


def config_map() -> list[dict[str, Any]]:
    metadata = {"name": "settings"}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": SETTINGS}]
