"""Our own processes in a cluster: what runs, with which settings, secrets, rights and resources.

One line of `SERVICES` or `JOBS` is one process; what all have in common stands below, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from yumai.broker import principals

Doc = dict[str, Any]
StoreUser = Literal["reader", "writer", "admin"]

KAFKA_CA, CLICKHOUSE_CA = "/etc/yumai/kafka", "/etc/yumai/clickhouse"
IDENTITY, WORK = "/etc/yumai/identity", "/var/lib/yumai"
"""Where they are mounted; the settings name the same."""
KAFKA_CLIENT = {"yumai/kafka": "client"}
"""By this label Kafka's listener names its clients."""
ROUTED_SECONDS = 5
VERSION = "0-1-0"
"""Of the image, as a name may bear it."""
DATABASE = "clickhouse-yumai:8443/yumai"
STORE_USERS = "clickhouse-users"
"""The secret with a password for each user of the store."""
_NAME = "app.kubernetes.io/name"
UID = 10001


@dataclass(frozen=True)
class Process:
    """What a container of ours needs. `store` None: it never asks the store."""

    name: str
    arguments: tuple[str, ...]
    kafka_user: str
    store: StoreUser | None
    cpu: str | int
    memory: str
    memory_most: str
    more_env: tuple[Doc, ...] = ()
    identity: bool = False
    """It checks tokens and keys."""

    def labels(self) -> dict[str, str]:
        return {_NAME: self.name, **KAFKA_CLIENT}

    def credentials(self) -> list[Doc]:
        found = [
            {"name": "KAFKA_SASL_USERNAME", "value": self.kafka_user},
            _secret("KAFKA_SASL_PASSWORD", self.kafka_user, "password"),
        ]
        if self.store:
            found += [
                {"name": "CLICKHOUSE_DSN", "value": f"https://{self.store}@{DATABASE}"},
                _secret("CLICKHOUSE_PASSWORD", STORE_USERS, self.store),
            ]
        return found

    def mounts(self, work: bool = True) -> list[Doc]:
        read_only = [("kafka-ca", KAFKA_CA)]
        read_only += [("clickhouse-ca", CLICKHOUSE_CA)] if self.store else []
        read_only += [("identity", IDENTITY)] if self.identity and work else []
        found: list[Doc] = [
            {"name": name, "mountPath": path, "readOnly": True} for name, path in read_only
        ]
        found += [{"name": "work", "mountPath": WORK}] if work else []
        return [*found, {"name": "tmp", "mountPath": "/tmp"}]

    def volumes(self) -> list[Doc]:
        found = [_certificate("kafka-ca", "yumai-cluster-ca-cert")]
        found += [_certificate("clickhouse-ca", "clickhouse-tls")] if self.store else []
        if self.identity:
            secret: Doc = {"secretName": "identity", "defaultMode": 0o440}
            secret["items"] = [{"key": key, "path": key} for key in ("signing.key", "keys.json")]
            found.append({"name": "identity", "secret": secret})
        return found + [{"name": n, "emptyDir": {"sizeLimit": "1Gi"}} for n in ("work", "tmp")]

    def container(self, before: list[Doc], more: Doc) -> Doc:
        return {
            "name": self.name,
            "image": "yumai",
            "args": list(self.arguments),
            **({"ports": more.pop("ports")} if "ports" in more else {}),
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "env": [
                *before,
                {"name": "OTEL_SERVICE_NAME", "value": f"yumai-{self.name}"},
                *self.credentials(),
                *self.more_env,
            ],
            **more,
            "resources": _resources(self.cpu, self.memory, self.memory_most),
            "securityContext": _unprivileged(),
            "volumeMounts": self.mounts(),
        }

    def account(self) -> Doc:
        return {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": self.metadata(),
            "automountServiceAccountToken": False,
        }

    def metadata(self, name: str = "") -> Doc:
        return {"name": name or self.name, "labels": {_NAME: self.name}}

    def pod(self, more: Doc) -> Doc:
        return {
            "serviceAccountName": self.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **more,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": UID,
                "runAsGroup": UID,
                "fsGroup": UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }


@dataclass(frozen=True)
class Service:
    """A process that answers on a port for as long as it runs."""

    process: Process
    port: int
    ends_in_seconds: int
    """What its end takes at worst: open requests, a flush under way (insert_quorum_timeout), a round."""
    grace_seconds: int
    """Until it is killed, after it was told to stop; a wait before the end counts too."""
    surge: bool = False
    """A new pod is ready before an old one goes; else one goes first, since one too many has nothing to do."""
    waits_for_migration: bool = False
    routed: bool = False
    """Requests are routed to it: it goes on answering until nobody is sent here any more (`ROUTED_SECONDS`)."""
    start_tries: int = 150

    def __post_init__(self) -> None:
        """Raises ValueError where it would be killed in the midst of its end."""
        least = self.ends_in_seconds + (ROUTED_SECONDS if self.routed else 0)
        if self.grace_seconds < least:
            raise ValueError(f"{self.name}: {self.grace_seconds} s, and its end takes {least} s")

    @property
    def name(self) -> str:
        return self.process.name

    def docs(self) -> list[Doc]:
        select = {"matchLabels": {_NAME: self.name}}
        port = {"name": "http", "port": self.port, "targetPort": "http"}
        rolling = {"maxSurge": 1, "maxUnavailable": 0}
        deployment = {
            "selector": select,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": rolling if self.surge else {"maxSurge": 0, "maxUnavailable": 1},
            },
            "template": {
                "metadata": {"labels": self.process.labels()},
                "spec": self._pod(select),
            },
        }
        budget = {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": select,
        }
        return [
            self.process.account(),
            self._object("v1", "Service", {"selector": {_NAME: self.name}, "ports": [port]}),
            self._object("apps/v1", "Deployment", deployment),
            self._object("policy/v1", "PodDisruptionBudget", budget),
        ]

    def _object(self, version: str, kind: str, spec: Doc) -> Doc:
        metadata = self.process.metadata()
        return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}

    def _pod(self, select: Doc) -> Doc:
        spread = {
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": select,
            "matchLabelKeys": ["pod-template-hash"],
        }
        # A zone that is being drained counts no longer, or its pods could go nowhere.
        zones = {"topologyKey": "topology.kubernetes.io/zone", "nodeTaintsPolicy": "Honor"}
        pod = self.process.pod({"terminationGracePeriodSeconds": self.grace_seconds})
        pod["topologySpreadConstraints"] = [
            zones | spread,
            {"topologyKey": "kubernetes.io/hostname"} | spread,
        ]
        if self.waits_for_migration:
            pod["initContainers"] = [_migrated(self.process)]
        pod["containers"] = [self._container()]
        pod["volumes"] = self.process.volumes()
        return pod

    def _container(self) -> Doc:
        own_name = {"fieldRef": {"fieldPath": "metadata.name"}}
        before: list[Doc] = [
            {"name": "YUMAI_PORT", "value": str(self.port)},
            {"name": "YUMAI_WORKER", "valueFrom": own_name},
        ]
        alive = {"httpGet": {"path": "/health/live", "port": "http"}}
        able = {"httpGet": {"path": "/health/ready", "port": "http"}}
        more: Doc = {
            "ports": [{"name": "http", "containerPort": self.port}],
            "startupProbe": alive | {"periodSeconds": 2, "failureThreshold": self.start_tries},
            "livenessProbe": alive
            | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
            "readinessProbe": able
            | {"periodSeconds": 3, "timeoutSeconds": 3, "failureThreshold": 2},
        }
        if self.routed:
            more["lifecycle"] = {"preStop": {"sleep": {"seconds": ROUTED_SECONDS}}}
        return self.process.container(before, more)


@dataclass(frozen=True)
class Job:
    """A process that ends: once a version, or by the clock (`schedule`, cron in Asia/Shanghai)."""

    process: Process
    most_seconds: int
    schedule: str = ""
    tries: int = 1

    @property
    def name(self) -> str:
        return self.process.name

    def docs(self) -> list[Doc]:
        process = self.process
        pod = process.pod({"restartPolicy": "Never" if self.schedule else "OnFailure"})
        pod["containers"] = [process.container([], {})]
        pod["volumes"] = process.volumes()
        job = {
            "backoffLimit": self.tries,
            "activeDeadlineSeconds": self.most_seconds,
            "template": {"metadata": {"labels": process.labels()}, "spec": pod},
        }
        if not self.schedule:
            # A Job can't be changed, so its name bears the version: a new version is a new Job.
            metadata = process.metadata(f"{self.name}-{VERSION}")
            whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job}
            return [process.account(), whole]
        spec = {
            "schedule": self.schedule,
            "timeZone": "Asia/Shanghai",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 5,
            "jobTemplate": {"metadata": {"labels": {_NAME: self.name}}, "spec": job},
        }
        metadata = process.metadata()
        whole = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}
        return [process.account(), whole]


def _migrated(process: Process) -> Doc:
    """Goes on when the migration Job of this version is done; the old pods work until then."""
    return {
        "name": "migrated",
        "image": "yumai",
        "args": ["services.maintenance", "migrated"],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "env": process.credentials(),
        "resources": _resources("50m", "128Mi", "512Mi"),
        "securityContext": _unprivileged(),
        "volumeMounts": process.mounts(work=False),
    }


def _secret(variable: str, secret: str, key: str) -> Doc:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _certificate(volume: str, secret: str) -> Doc:
    items = [{"key": "ca.crt", "path": "ca.crt"}]
    return {"name": volume, "secret": {"secretName": secret, "items": items}}


def _resources(cpu: str | int, memory: str, memory_most: str) -> Doc:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory_most}}


def _unprivileged() -> Doc:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _service(
    name: str, store: StoreUser | None, cpu: str | int, memory: str, most: str, **more: Any
) -> Process:
    user = principals.SERVICES[name].name
    return Process(name, (f"services.{name}",), user, store, cpu, memory, most, **more)


def _maintenance(name: str, store: StoreUser, *arguments: str, **more: Any) -> Process:
    command = ("services.maintenance", name, *arguments)
    operator = principals.OPERATOR.name
    return Process(name, command, operator, store, "100m", "256Mi", "1Gi", **more)


SUBSCRIPTIONS = _secret("YUMAI_SUBSCRIPTIONS_KEY", "subscriptions", "key")
"""What seals the addresses of an office in the log."""

SERVICES = (
    # 5 s until nobody is routed here, 10 s for open requests, the last group commit, and room. It waits for no migration:
    # it accepts without a store.
    Service(
        _service("ingest", "reader", 1, "1Gi", "4Gi", identity=True),
        8701,
        ends_in_seconds=20,
        grace_seconds=45,
        surge=True,
        routed=True,
        start_tries=60,
    ),
    # A flush that has begun ends: at most a minute for a quorum (insert_quorum_timeout), then the announcement.
    Service(
        _service("metrics", "writer", 2, "4Gi", "8Gi"),
        8711,
        ends_in_seconds=90,
        grace_seconds=120,
        waits_for_migration=True,
    ),
    # A round of judging ends, and what is being sent is sent. The partition has one judge; the other worker stands by.
    Service(
        _service("alerts", "reader", "250m", "512Mi", "1Gi", more_env=(SUBSCRIPTIONS,)),
        8741,
        ends_in_seconds=30,
        grace_seconds=45,
        waits_for_migration=True,
    ),
    # 5 s until nobody is routed here, 2 s for open requests; streams are closed and come back by themselves.
    Service(
        _service(
            "gateway",
            "reader",
            "500m",
            "512Mi",
            "1Gi",
            identity=True,
            more_env=(SUBSCRIPTIONS,),
        ),
        8700,
        ends_in_seconds=10,
        grace_seconds=30,
        surge=True,
        routed=True,
        start_tries=60,
    ),
    # A round that is cut off is only a round less. One is enough: two would only send twice.
    Service(
        _service(
            "canary",
            None,
            "50m",
            "128Mi",
            "512Mi",
            more_env=(_secret("YUMAI_CANARY_KEY", "canary", "key"),),
        ),
        8751,
        ends_in_seconds=5,
        grace_seconds=15,
    ),
)
JOBS = (
    # Tables, the epoch and the plan's targets, before the rollout; safe to run twice.
    Job(_maintenance("migrate", "admin", "--wait", "600"), 3600, tries=20),
    # Recounts the ledger against the cells; the figures go to the store, and from there to the alarm on loss.
    Job(_maintenance("audit", "writer"), 3000, schedule="17 * * * *"),
    # The whole store into the object store, every night; docs/operations.md says how it is restored.
    Job(
        _maintenance(
            "backup",
            "admin",
            more_env=({"name": "YUMAI_BACKUP_TO", "value": "S3(backups, '{name}')"},),
        ),
        14400,
        schedule="30 2 * * *",
    ),
)
