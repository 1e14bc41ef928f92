"""Who is asked for metrics: by the Prometheus operator in a cluster, by Prometheus' own file beside compose."""

from __future__ import annotations

from typing import Any

from deploy.render import kafka, networks, workloads

Doc = dict[str, Any]

EVERY = "15s"
_STRIMZI_PORT = "tcp-prometheus"
RULES_AT = "/etc/prometheus/rules.yaml"


def docs() -> list[Doc]:
    names = sorted(one.name for one in workloads.SERVICES)
    ours = {
        "selector": {
            "matchLabels": {"app.kubernetes.io/part-of": "yumai"},
            "matchExpressions": [
                {"key": "app.kubernetes.io/name", "operator": "In", "values": names}
            ],
        },
        "endpoints": [
            {"port": "http", "path": "/metrics", "interval": EVERY, "scrapeTimeout": "10s"}
        ],
    }
    brokers = {
        "matchLabels": {**kafka.LABELS, "strimzi.io/kind": "Kafka"},
        "matchExpressions": [{"key": "strimzi.io/pool-name", "operator": "Exists"}],
    }
    # Kafka's and ClickHouse's own are read from their pods: a Service would answer for one of them.
    return [
        _object("ServiceMonitor", "yumai", ours),
        _pods("kafka", brokers, _STRIMZI_PORT),
        _pods("clickhouse", {"matchLabels": dict(networks.CLICKHOUSE.labels)}, "prometheus"),
    ]


def prometheus() -> list[Doc]:
    """Of compose."""
    jobs = [
        {
            "job_name": one.name,
            "static_configs": [{"targets": [f"{one.name}:{one.port}"]}],
        }
        for one in workloads.SERVICES
    ]
    return [
        {
            "global": {"scrape_interval": EVERY, "evaluation_interval": EVERY},
            "rule_files": [RULES_AT],
            "scrape_configs": jobs,
        }
    ]


def _pods(name: str, selector: Doc, port: str) -> Doc:
    endpoint = {"port": port, "path": "/metrics", "interval": "30s"}
    return _object("PodMonitor", name, {"selector": selector, "podMetricsEndpoints": [endpoint]})


def _object(kind: str, name: str, spec: Doc) -> Doc:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
