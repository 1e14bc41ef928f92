"""What the ConfigMap settings and the overlays say, against yumai/process/settings.py and against what is there.

Each process's own variables are rendered from deploy/render/workloads.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from deploy.check.cluster import Cluster, Pod, https_port
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Doc, Object
from yumai.process import settings

COLLECTOR = "http://otel-collector.observability:4318"

OWN = set(settings._BY_VARIABLE)
BESIDE = {"CLICKHOUSE_PASSWORD", "CLICKHOUSE_CAFILE", "KAFKA_SASL_PASSWORD"}
FILES = {"CLICKHOUSE_PASSWORD_FILE", "KAFKA_SASL_PASSWORD_FILE"}
OTEL = {
    "OTEL_SERVICE_NAME",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_SDK_DISABLED",
}
PYTHON = {"PYTHONUNBUFFERED", "PYTHONFAULTHANDLER", "NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"}
KNOWN = OWN | BESIDE | FILES | OTEL | PYTHON
"""Every variable that a process of ours reads."""
UNREAD = ("KAFKA_SSL_CAFILE", "YUMAI_MAP_FILE", "YUMAI_SUBSCRIPTIONS_KEY")
"""Files that are not here, and a secret that has a form."""


def check(cluster: Cluster) -> Iterator[Finding]:
    for pod in cluster.pods:
        for at, container in pod.containers():
            yield from _container(cluster, pod, at, container)


class _Env:
    """A container's variables, each with where it is written."""

    def __init__(self, cluster: Cluster, pod: Pod, at: Path, container: Doc) -> None:
        self._found = cluster.environment(pod, container)
        self._pod, self._at = pod, at
        self._config = cluster.tree.find("ConfigMap", "settings")

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def value(self, name: str) -> str:
        return self._found.get(name, ("", None))[0]

    def values(self) -> dict[str, str]:
        return {name: value for name, (value, _) in self._found.items()}

    def finding(self, name: str, message: str) -> Finding:
        _, path = self._found.get(name, ("", (*self._at, "env")))
        if path is None and self._config is not None:
            return self._config.finding(("data", name), message)
        field = "value" if path and name in self._found else None
        return self._pod.owner.finding(
            (*path, field) if field and path else path or self._at, message
        )


def _container(cluster: Cluster, pod: Pod, at: Path, container: Doc) -> Iterator[Finding]:
    env = _Env(cluster, pod, at, container)
    readable = {k: v for k, v in env.values().items() if k not in UNREAD}
    try:
        settings.read({**readable, "YUMAI_PORT": env.value("YUMAI_PORT") or "1"})
    except settings.BadSettings as error:
        for line in str(error).splitlines():
            name = re.split(r"[=:]", line, maxsplit=1)[0]
            if name in env:
                yield env.finding(name, line)
    yield from _kafka(cluster, env)
    yield from _clickhouse(cluster, env)
    yield from _urls(cluster, env)
    collector = env.value("OTEL_EXPORTER_OTLP_ENDPOINT")
    if collector and collector != COLLECTOR:
        yield env.finding(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector}: want {COLLECTOR}, where the policies lead"
        )


def _kafka(cluster: Cluster, env: _Env) -> Iterator[Finding]:
    host, _, port = env.value("KAFKA_BOOTSTRAP").rpartition(":")
    kafkas = {f"{o.name}-kafka-bootstrap": o for o in cluster.tree.of("Kafka")}
    if host and host.split(".")[0] not in kafkas:
        yield env.finding(
            "KAFKA_BOOTSTRAP", f"{host!r} is no Kafka here{near(host, kafkas)} ({listed(kafkas)})"
        )
    elif host:
        kafka: Object = kafkas[host.split(".")[0]]
        listeners = {str(x.get("port")): x for x in kafka.get(("spec", "kafka", "listeners"), [])}
        if port not in listeners:
            yield env.finding(
                "KAFKA_BOOTSTRAP", f"port {port}: no listener there has it ({listed(listeners)})"
            )
        elif (
            listeners[port].get("tls") is not True
            and env.value("KAFKA_SECURITY_PROTOCOL") == "SASL_SSL"
        ):
            number = list(listeners).index(port)
            yield kafka.finding(
                ("spec", "kafka", "listeners", number, "tls"), "want true: clients speak SASL_SSL"
            )
    if env.value("KAFKA_SECURITY_PROTOCOL") not in ("", "SASL_SSL"):
        yield env.finding(
            "KAFKA_SECURITY_PROTOCOL", f"{env.value('KAFKA_SECURITY_PROTOCOL')}: want SASL_SSL"
        )


def _clickhouse(cluster: Cluster, env: _Env) -> Iterator[Finding]:
    to = urlsplit(env.value("CLICKHOUSE_DSN"))
    stores = {f"clickhouse-{o.name}": o for o in cluster.tree.of("ClickHouseInstallation")}
    try:
        host, port = to.hostname or "", to.port
    except ValueError:
        return
    if not host:
        return
    if host.split(".")[0] not in stores:
        yield env.finding(
            "CLICKHOUSE_DSN",
            f"{host!r} is no ClickHouse here{near(host, stores)} ({listed(stores)})",
        )
        return
    chi = stores[host.split(".")[0]]
    if port != https_port(chi) or to.scheme != "https":
        yield env.finding(
            "CLICKHOUSE_DSN", f"{to.scheme} on {port}: want https on {https_port(chi)}"
        )
    if to.path != "/yumai":
        yield env.finding(
            "CLICKHOUSE_DSN", f"{to.path!r}: want the database /yumai, which the users may read"
        )
    users = {key.split("/")[0] for key in chi.get(("spec", "configuration", "users"), {})}
    if to.username not in users:
        yield env.finding(
            "CLICKHOUSE_DSN",
            f"{to.username!r} is no user there{near(to.username, users)} ({listed(users)})",
        )
    clusters = {c.get("name") for c in chi.get(("spec", "configuration", "clusters"), [])}
    named = env.value("CLICKHOUSE_CLUSTER")
    if named and named not in clusters:
        yield env.finding(
            "CLICKHOUSE_CLUSTER",
            f"{named!r} is no cluster of {chi.name}{near(named, clusters)} ({listed(clusters)})",
        )
    layout = chi.get(("spec", "configuration", "clusters", 0, "layout"), {})
    quorum = env.value("CLICKHOUSE_INSERT_QUORUM")
    if quorum.isdigit() and int(quorum) > layout.get("replicasCount", 1):
        yield env.finding(
            "CLICKHOUSE_INSERT_QUORUM", f"{quorum}: a shard has {layout.get('replicasCount', 1)}"
        )
    collection = re.match(r"S3\((\w+)\s*,", env.value("YUMAI_BACKUP_TO"))
    server = chi.get(("spec", "configuration", "settings"), {})
    known = {key.split("/")[1] for key in server if key.startswith("named_collections/")}
    if collection and collection[1] not in known:
        yield env.finding(
            "YUMAI_BACKUP_TO",
            f"{collection[1]!r} is no named collection{near(collection[1], known)} ({listed(known)})",
        )
    many = layout.get("shardsCount", 1) * layout.get("replicasCount", 1) > 1
    if many and not named:
        yield env.finding(
            "CLICKHOUSE_CLUSTER", f"is not set, and {chi.name} has shards and replicas"
        )


def _urls(cluster: Cluster, env: _Env) -> Iterator[Finding]:
    """Every address of a Service of ours names one that is there, and its port."""
    services = {o.name: o for o in cluster.tree.of("Service")}
    if env.value("YUMAI_SERVICE_URLS"):
        yield env.finding(
            "YUMAI_SERVICE_URLS",
            "want it left out: one dead service would take every gateway out of its Service",
        )
    url = env.value("YUMAI_INGEST_URL")
    to = urlsplit(url)
    service = services.get((to.hostname or "").split(".")[0])
    if url and service is None:
        yield env.finding(
            "YUMAI_INGEST_URL", f"{url}: no Service {to.hostname!r}{near(to.hostname, services)}"
        )
    elif service and to.port not in {p.get("port") for p in service.spec.get("ports") or []}:
        yield env.finding(
            "YUMAI_INGEST_URL", f"{url}: the Service {service.name} has no port {to.port}"
        )
