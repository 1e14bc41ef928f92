"""deploy/compose.yaml and the files that its programs are given: the middle step between `make run` and a cluster.

From the root of the repository:
  docker compose -f deploy/compose.yaml up --build     then http://127.0.0.1:8700 (page), :8701 (doors), :3000 (Grafana)
  docker compose -f deploy/compose.yaml run --rm yumai token --role bureau
"""

from __future__ import annotations

from typing import Any

from deploy.render import monitors, store, workloads
from embedded import kafka_jars
from yumai.broker import server
from yumai.store.guarantees import INSERTS

Doc = dict[str, Any]

IMAGE = f"yumai:{workloads.VERSION.replace('-', '.')}"
KAFKA_PORT, CONTROLLER_PORT, STORE_PORT, OTLP_PORT, GRPC_PORT = 9092, 9093, 8123, 4318, 4317
PROMETHEUS_PORT, GRAFANA_PORT = 9090, 3000
STATE = "/var/lib/yumai"
_PASSWORD = "${CLICKHOUSE_PASSWORD:-only-on-this-machine}"
_USER = "yumai"
_UID = f"{workloads.UID}:{workloads.UID}"
_PORTS = {one.name: one.port for one in workloads.SERVICES}
_DONE, _HEALTHY = ({"condition": f"service_{how}"} for how in ("completed_successfully", "healthy"))
_AFTER = {"volumes-ready": _DONE, "migrate": _DONE}
_ALL_BUT_CANARY = ("ingest", "metrics", "alerts")
"""Whose readiness the gateway's includes here: there is one of each."""
_PROVISIONING = "/etc/grafana/provisioning"
_BOARDS = "/var/lib/grafana/dashboards"
_COLLECTOR_CONFIG = "/etc/otelcol/config.yaml"
_PROMETHEUS_CONFIG = "/etc/prometheus/prometheus.yml"
_BROKER = "/var/lib/kafka/data"


def compose() -> list[Doc]:
    services = {
        "kafka": _kafka(),
        "clickhouse": _clickhouse(),
        # A new volume is root's; our processes are not root.
        "volumes-ready": {
            **_common(),
            "user": "0:0",
            "cap_add": ["CHOWN"],
            "entrypoint": ["chown", _UID, STATE],
            "restart": "no",
        },
        "migrate": {
            **_common(),
            "command": ["services.maintenance", "migrate", "--topics", "--wait", "300"],
            "restart": "on-failure",
            "depends_on": {"kafka": _HEALTHY, "clickhouse": _HEALTHY, "volumes-ready": _DONE},
        },
        **{one.name: _service(one) for one in workloads.SERVICES},
        # `docker compose run --rm yumai keys issue --platform unipay`, `… yumai audit`
        "yumai": {
            **_common(),
            "profiles": ["command"],
            "entrypoint": ["python", "-m", "console.cli", "--state", STATE],
            "command": ["status"],
            "restart": "no",
        },
        **_watching(),
    }
    volumes = dict.fromkeys(("kafka", "clickhouse", "state", "prometheus", "grafana"))
    return [{"name": "yumai", "services": services, "volumes": volumes}]


def _common() -> Doc:
    urls = ",".join(f"{name}=http://{name}:{_PORTS[name]}" for name in _ALL_BUT_CANARY)
    return {
        "image": IMAGE,
        "build": {"context": "..", "dockerfile": "deploy/Containerfile"},
        "environment": {
            "KAFKA_BOOTSTRAP": f"kafka:{KAFKA_PORT}",
            "CLICKHOUSE_DSN": f"http://{_USER}@clickhouse:{STORE_PORT}/{store.NAME}",
            "CLICKHOUSE_PASSWORD": _PASSWORD,
            "YUMAI_HOST": "0.0.0.0",
            "YUMAI_IDENTITY_DIR": f"{STATE}/identity",
            "YUMAI_WORK_DIR": "/tmp/yumai",
            "YUMAI_INGEST_URL": f"http://ingest:{_PORTS['ingest']}",
            "YUMAI_GATEWAY_URL": f"http://127.0.0.1:{_PORTS['gateway']}",
            "YUMAI_SERVICE_URLS": urls,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://otel-collector:{OTLP_PORT}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        },
        "read_only": True,
        "tmpfs": ["/tmp"],
        "volumes": [f"state:{STATE}"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
    }


def _service(one: workloads.Service) -> Doc:
    found = _common()
    found["command"] = list(one.process.arguments)
    found["environment"] |= {
        "YUMAI_PORT": one.port,
        "YUMAI_WORKER": f"{one.name}-1",
        "OTEL_SERVICE_NAME": f"yumai-{one.name}",
    }
    if one.name == "canary":
        found["environment"]["YUMAI_GATEWAY_URL"] = f"http://gateway:{_PORTS['gateway']}"
    if one.routed:
        found["ports"] = [_here(one.port)]
    asks = f"u.urlopen('http://127.0.0.1:{one.port}/health/ready', timeout=3)"
    found |= {
        "stop_grace_period": f"{one.grace_seconds}s",
        "depends_on": _AFTER,
        "healthcheck": _healthy(
            "python", "-c", f"import urllib.request as u; {asks}", tries=24, timeout="5s"
        ),
    }
    return found


def _healthy(*command: str, timeout: str, tries: int = 20) -> Doc:
    return {"test": ["CMD", *command], "interval": "5s", "timeout": timeout, "retries": tries}


def _here(port: int) -> str:
    """Published to this machine only."""
    return f"127.0.0.1:{port}:{port}"


def _kafka() -> Doc:
    told = {f"KAFKA_{k.upper().replace('.', '_')}": v for k, v in server.SETTINGS.items()}
    tool = "/opt/kafka/bin/kafka-broker-api-versions.sh"
    return {
        "image": f"docker.io/apache/kafka:{kafka_jars.VERSION}",
        "environment": {
            "KAFKA_NODE_ID": 1,
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": f"PLAINTEXT://:{KAFKA_PORT},CONTROLLER://:{CONTROLLER_PORT}",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://kafka:{KAFKA_PORT}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@kafka:{CONTROLLER_PORT}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": 1,
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": 1,
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": 1,
            **told,
            "KAFKA_LOG_DIRS": _BROKER,
            "CLUSTER_ID": "yumai-compose-000000000",
        },
        "volumes": [f"kafka:{_BROKER}"],
        "healthcheck": _healthy(tool, "--bootstrap-server", f"kafka:{KAFKA_PORT}", timeout="10s"),
        "restart": "unless-stopped",
    }


def _clickhouse() -> Doc:
    ping = f"http://127.0.0.1:{STORE_PORT}/ping"
    inserts = "/etc/clickhouse-server/users.d/inserts.yaml"
    return {
        "image": store.SERVER,
        "environment": {
            "CLICKHOUSE_USER": _USER,
            "CLICKHOUSE_PASSWORD": _PASSWORD,
            "CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT": 1,
        },
        "ulimits": {"nofile": {"soft": 262144, "hard": 262144}},
        "volumes": [
            "clickhouse:/var/lib/clickhouse",
            f"./compose/clickhouse-inserts.yaml:{inserts}:ro",
        ],
        "healthcheck": _healthy("wget", "--quiet", "--tries=1", "--spider", ping, timeout="5s"),
        "restart": "unless-stopped",
    }


def _watching() -> Doc:
    """What an operator looks at."""
    return {
        "otel-collector": {
            "image": "docker.io/otel/opentelemetry-collector-contrib:0.140.1",
            "command": [f"--config={_COLLECTOR_CONFIG}"],
            "volumes": [f"./compose/otel-collector.yaml:{_COLLECTOR_CONFIG}:ro"],
            "restart": "unless-stopped",
        },
        "prometheus": {
            "image": "docker.io/prom/prometheus:v3.8.0",
            "command": [
                f"--config.file={_PROMETHEUS_CONFIG}",
                "--storage.tsdb.retention.time=30d",
            ],
            "volumes": [
                f"./compose/prometheus.yaml:{_PROMETHEUS_CONFIG}:ro",
                f"./rules.yaml:{monitors.RULES_AT}:ro",
                "prometheus:/prometheus",
            ],
            "ports": [_here(PROMETHEUS_PORT)],
            "restart": "unless-stopped",
        },
        "grafana": {
            "image": "docker.io/grafana/grafana:12.3.0",
            "environment": {
                "GF_AUTH_ANONYMOUS_ENABLED": "true",
                "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
                "GF_ANALYTICS_REPORTING_ENABLED": "false",
            },
            "volumes": [
                f"./compose/grafana/datasources:{_PROVISIONING}/datasources:ro",
                f"./compose/grafana/dashboards:{_PROVISIONING}/dashboards:ro",
                f"./dashboards:{_BOARDS}:ro",
                "grafana:/var/lib/grafana",
            ],
            "ports": [_here(GRAFANA_PORT)],
            "depends_on": ["prometheus"],
            "restart": "unless-stopped",
        },
    }


def inserts() -> list[Doc]:
    """For inserts by hand; our services ask for the same in every session."""
    return [{"profiles": {"default": INSERTS}}]


def collector() -> list[Doc]:
    """Takes traces and metrics by OTLP; on one machine they are only told in its log."""
    pipeline = {
        "receivers": ["otlp"],
        "processors": ["memory_limiter", "batch"],
        "exporters": ["debug"],
    }
    protocols = {
        "http": {"endpoint": f"0.0.0.0:{OTLP_PORT}"},
        "grpc": {"endpoint": f"0.0.0.0:{GRPC_PORT}"},
    }
    return [
        {
            "receivers": {"otlp": {"protocols": protocols}},
            "processors": {
                "memory_limiter": {"check_interval": "1s", "limit_mib": 256},
                "batch": {},
            },
            "exporters": {"debug": {"verbosity": "basic"}},
            "service": {"pipelines": dict.fromkeys(("traces", "metrics", "logs"), pipeline)},
        }
    ]


def boards() -> list[Doc]:
    provider = {
        "name": "Yumai",
        "type": "file",
        "disableDeletion": True,
        "options": {"path": _BOARDS},
    }
    return [{"apiVersion": 1, "providers": [provider]}]


def data_sources() -> list[Doc]:
    source = {
        "name": "Prometheus",
        "uid": "prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": f"http://prometheus:{PROMETHEUS_PORT}",
        "isDefault": True,
    }
    return [{"apiVersion": 1, "datasources": [source]}]
