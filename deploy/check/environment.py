"""Environment variables against yumai/settings.py, and the addresses in them against what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from deploy.check.cluster import KAFKA_USER, SERVICES, Cluster, Pod, https_port
from deploy.check.findings import Finding, Path, listed, near
from deploy.check.tree import Doc, Object
from yumai import settings

OWN = {variable for variable, _ in settings._VARIABLES.values()}
KAFKA_ONLY = ("canary",)
"""Who never asks the store."""
BESIDE = {"CLICKHOUSE_PASSWORD", "CLICKHOUSE_CAFILE", "KAFKA_SASL_PASSWORD"}
FILES = {"CLICKHOUSE_PASSWORD_FILE", "KAFKA_SASL_PASSWORD_FILE"}
COLLECTOR = "http://otel-collector.observability:4318"
FIELDS = {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.podIP"}
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
ALL = (
    "KAFKA_BOOTSTRAP",
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SSL_CAFILE",
    "CLICKHOUSE_DSN",
    "CLICKHOUSE_PASSWORD",
    "CLICKHOUSE_CAFILE",
    "YUMAI_WORK_DIR",
)
SERVED = (
    "YUMAI_HOST",
    "YUMAI_PORT",
    "YUMAI_WORKER",
    "YUMAI_INGEST_URL",
    "YUMAI_GATEWAY_URL",
    "YUMAI_SESSION_TIMEOUT",
    "OTEL_SERVICE_NAME",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)
NEEDED = {
    "ingest": (*ALL, *SERVED, "YUMAI_IDENTITY_DIR"),
    "gateway": (*ALL, *SERVED, "YUMAI_IDENTITY_DIR", "YUMAI_SUBSCRIPTIONS_KEY"),
    "metrics": (*ALL, *SERVED),
    "alerts": (
        *(*ALL, *SERVED),
        *("ALERTS_ESCALATE_AFTER", "ALERTS_REPEAT_AFTER", "DELIVERY_GIVE_UP_AFTER"),
        "YUMAI_SUBSCRIPTIONS_KEY",
    ),
    "backup": (*ALL, "YUMAI_BACKUP_TO"),
    "canary": (
        *(name for name in (*ALL, *SERVED) if not name.startswith("CLICKHOUSE")),
        "YUMAI_CANARY_KEY",
    ),
}
UNREAD = ("KAFKA_SSL_CAFILE", "YUMAI_MAP_FILE", "YUMAI_SUBSCRIPTIONS_KEY")
"""Files that are not here, and a secret that has a form."""
CLICKHOUSE_USER = {"metrics": "writer", "audit": "writer", "migrate": "admin", "backup": "admin"}


def check(cluster: Cluster) -> Iterator[Finding]:
    for name in ALL[:1]:
        if name not in OWN:
            raise AssertionError(
                f"{name} is no longer in yumai/settings.py: NEEDED here is out of date"
            )
    for config in cluster.tree.of("ConfigMap"):
        if config.name == "settings":
            for key in cluster.config_maps[config.name]:
                if key not in KNOWN:
                    yield config.finding(("data", key), _unknown(key))
    for pod in cluster.pods:
        for at, container in pod.containers():
            yield from _container(cluster, pod, at, container)


def _unknown(name: str) -> str:
    return f"{name}: nobody reads this variable{near(name, KNOWN)}"


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
    seen: set[str] = set()
    for number, entry in enumerate(container.get("env") or []):
        name = str(entry.get("name"))
        if name in seen:
            yield pod.owner.finding((*at, "env", number, "name"), f"{name} stands twice")
        seen.add(name)
        field = ((entry.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
        if field is not None and field not in FIELDS:
            yield pod.owner.finding(
                (*at, "env", number, "valueFrom", "fieldRef", "fieldPath"),
                f"{field!r}: no such field{near(field, FIELDS)}",
            )
        if name not in KNOWN:
            yield pod.owner.finding((*at, "env", number, "name"), _unknown(name))
    for number, source in enumerate(container.get("envFrom") or []):
        ref = (source.get("configMapRef") or {}).get("name")
        if ref is not None and ref not in cluster.config_maps:
            yield pod.owner.finding(
                (*at, "envFrom", number, "configMapRef", "name"),
                f"{ref!r} is no ConfigMap here{near(ref, cluster.config_maps)}",
            )
    env = _Env(cluster, pod, at, container)
    needed = ALL if "initContainers" in at else NEEDED.get(pod.name, ALL)
    for name in needed:
        if not env.value(name):
            yield pod.owner.finding(
                (*at, "env"), f"{name} is not set, neither here nor in the ConfigMap settings"
            )
    readable = {k: v for k, v in env.values().items() if k not in UNREAD}
    try:
        settings.read({**readable, "YUMAI_PORT": env.value("YUMAI_PORT") or "1"})
    except settings.BadSettings as error:
        for line in str(error).splitlines():
            name = re.split(r"[=:]", line, maxsplit=1)[0]
            if name in env:
                yield env.finding(name, line)
    yield from _kafka(cluster, pod, env, at, container)
    yield from _clickhouse(cluster, pod, env, at, container)
    yield from _urls(cluster, env)
    collector = env.value("OTEL_EXPORTER_OTLP_ENDPOINT")
    if collector and collector != COLLECTOR:
        yield env.finding(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector}: want {COLLECTOR}, where the policies lead"
        )
    if "initContainers" not in at:
        yield from _own(pod, env, container)
        yield from _files(pod, env, at, container)


def _own(pod: Pod, env: _Env, container: Doc) -> Iterator[Finding]:
    port = SERVICES.get(pod.name)
    if port and env.value("YUMAI_PORT") not in ("", str(port)):
        yield env.finding(
            "YUMAI_PORT", f"{env.value('YUMAI_PORT')}: its container's port is {port}"
        )
    if port and env.value("YUMAI_HOST") not in ("", "0.0.0.0", "::"):
        yield env.finding("YUMAI_HOST", f"{env.value('YUMAI_HOST')}: no other pod could reach it")
    name = env.value("OTEL_SERVICE_NAME")
    if name and name != f"yumai-{pod.name}":
        yield env.finding("OTEL_SERVICE_NAME", f"{name!r}: want 'yumai-{pod.name}'")


def _secret_of(container: Doc, name: str) -> tuple[str, str]:
    for entry in container.get("env") or []:
        if entry.get("name") == name:
            ref = (entry.get("valueFrom") or {}).get("secretKeyRef") or {}
            return str(ref.get("name", "")), str(ref.get("key", ""))
    return "", ""


def _kafka(cluster: Cluster, pod: Pod, env: _Env, at: Path, container: Doc) -> Iterator[Finding]:
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
    want = KAFKA_USER.get(pod.name, "")
    user, (secret, _) = (
        env.value("KAFKA_SASL_USERNAME"),
        _secret_of(container, "KAFKA_SASL_PASSWORD"),
    )
    if user and user != want:
        yield env.finding(
            "KAFKA_SASL_USERNAME",
            f"{user!r}: want {want!r}{near(user, cluster.tree.names('KafkaUser'))}",
        )
    elif user and secret != user:
        yield env.finding(
            "KAFKA_SASL_PASSWORD", f"from the secret {secret!r}: want that of the user {user!r}"
        )


def _clickhouse(
    cluster: Cluster, pod: Pod, env: _Env, at: Path, container: Doc
) -> Iterator[Finding]:
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
    want = CLICKHOUSE_USER.get(pod.name, "reader")
    if to.username not in users:
        yield env.finding(
            "CLICKHOUSE_DSN",
            f"{to.username!r} is no user there{near(to.username, users)} ({listed(users)})",
        )
    elif to.username != want:
        yield env.finding(
            "CLICKHOUSE_DSN",
            f"user {to.username!r}: want {want!r}, who may do what {pod.name} does",
        )
    _, key = _secret_of(container, "CLICKHOUSE_PASSWORD")
    if key and to.username in users and key != to.username:
        yield env.finding(
            "CLICKHOUSE_PASSWORD", f"the password of {key!r}, but the user is {to.username!r}"
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


def _files(pod: Pod, env: _Env, at: Path, container: Doc) -> Iterator[Finding]:
    """A file or folder that a variable names is mounted, with that name."""
    volumes = {v.get("name"): v for v in pod.spec.get("volumes") or []}
    mounts = {
        m.get("mountPath"): volumes.get(m.get("name"), {})
        for m in container.get("volumeMounts") or []
    }
    for variable in ("KAFKA_SSL_CAFILE", "CLICKHOUSE_CAFILE"):
        if variable.startswith("CLICKHOUSE") and pod.name in KAFKA_ONLY:
            continue
        file = env.value(variable)
        folder, _, name = file.rpartition("/")
        if file and folder not in mounts:
            yield env.finding(
                variable, f"{file}: nothing is mounted at {folder} ({listed(mounts)})"
            )
            yield pod.owner.finding((*at, "volumeMounts"), f"nothing at {folder}, {variable}")
        elif file:
            items = {i.get("path") for i in (mounts[folder].get("secret") or {}).get("items") or []}
            if name not in items:
                yield env.finding(variable, f"{file}: the secret there has {listed(items)}")
    if pod.name in ("ingest", "gateway"):
        folder = env.value("YUMAI_IDENTITY_DIR")
        items = {
            i.get("path") for i in (mounts.get(folder, {}).get("secret") or {}).get("items") or []
        }
        if folder and not {"signing.key", "keys.json"} <= items:
            yield env.finding(
                "YUMAI_IDENTITY_DIR", f"{folder}: signing.key and keys.json are not mounted there"
            )
            # Either may be wrong: the variable, or the mount.
            yield pod.owner.finding(
                (*at, "volumeMounts"), f"nothing at {folder}, YUMAI_IDENTITY_DIR"
            )
    folder = env.value("YUMAI_WORK_DIR")
    if (
        folder
        and "emptyDir" not in mounts.get(folder, {})
        and "persistentVolumeClaim" not in mounts.get(folder, {})
    ):
        yield env.finding(
            "YUMAI_WORK_DIR", f"{folder}: nothing that can be written is mounted there"
        )
